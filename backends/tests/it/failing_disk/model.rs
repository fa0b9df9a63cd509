//! What a store may hold: of each name, which file it may name; of each file, what it may hold.

use std::collections::BTreeMap;

use super::sheet::Sheet;

/// The number of a file, whatever it is named.
pub(crate) type Id = usize;

/// What a name may name: files, or nothing.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    /// Now.
    pub(crate) live: Vec<Option<Id>>,
    /// After a crash.
    pub(crate) durable: Vec<Option<Id>>,
}

impl Name {
    pub(crate) fn may_be_missing(&self) -> bool {
        self.live.contains(&None)
    }

    /// The one file that it may name.
    pub(crate) fn file(&self) -> Option<Id> {
        let mut files = self.live.iter().flatten();
        let file = files.next();
        assert!(files.all(|other| Some(other) == file), "the workloads leave no such doubt");
        file.copied()
    }

    /// It names this now, and a crash may lose that.
    pub(crate) fn set(&mut self, file: Option<Id>) {
        self.live = vec![file];
        self.durable.push(file);
    }

    /// It names this, also after a crash.
    pub(crate) fn set_durable(&mut self, file: Option<Id>) {
        self.live = vec![file];
        self.durable = vec![file];
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Sealed {
    #[default]
    No,
    Perhaps,
    Yes,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    pub(crate) live: Sheet,
    pub(crate) durable: Sheet,
    pub(crate) sealed: Sealed,
    pub(crate) durably_sealed: Sealed,
    pub(crate) poisoned: bool,
}

/// How the store was left, and is opened again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    /// The kernel had passed everything on.
    Whole,
    /// What was not synced may have been lost.
    Unsynced,
    /// Everything that was not synced is lost.
    Crashed,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) names: BTreeMap<&'static str, Name>,
    pub(crate) files: Vec<File>,
}

impl Model {
    pub(crate) fn name(&mut self, name: &'static str) -> &mut Name {
        let missing = || Name { live: vec![None], durable: vec![None] };
        self.names.entry(name).or_insert_with(missing)
    }

    /// The file of a name; a new one, which nothing names yet, where it has none.
    pub(crate) fn file_or_new(&mut self, name: &'static str) -> Id {
        self.name(name).file().unwrap_or_else(|| {
            self.files.push(File::default());
            self.files.len() - 1
        })
    }

    /// What may be there for somebody who opens the store anew.
    pub(crate) fn reopen(&mut self, left: Left) {
        for file in &mut self.files {
            if left != Left::Whole || file.poisoned {
                file.live = file.durable.clone();
            }
            if left == Left::Crashed {
                file.sealed = file.durably_sealed;
            }
            file.poisoned = false;
        }
        if left == Left::Crashed {
            for name in self.names.values_mut() {
                name.live.clone_from(&name.durable);
            }
        }
    }
}
