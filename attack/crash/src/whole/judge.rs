//! Looks at a state with the real code: each name has what it may have, whole; what was left over is harmless.

use std::{
    ffi::OsStr,
    fs,
    ops::ControlFlow,
    os::unix::ffi::OsStrExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use pagestore::{Existing, PageCount, PageFile, PageId, RawFile, SealedFile, has_seal};
use storage::backup::{Backup, Chain};
use tempfile::TempDir;

use super::{
    calls::{Call, Calls, Content, NAMES, What},
    expected::Expected,
    maker::{Maker, go_on, is_taken, tell},
    source::{Word, commit_of, compare, options, page_of, states},
    stage::Stage,
};
use crate::{check::tell_error, disk, stage};

/// How a state is looked at, beyond opening every file and comparing it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// No further.
    Quick,
    /// Every versioned file takes one more commit, and the chain of backups is restored.
    GoesOn,
    /// The call that was under way, or returned last, is made again.
    Repeats,
}

pub(crate) struct Judge {
    pub(crate) calls: Calls,
    pub(crate) contents: Vec<Content>,
    maker: Maker,
    states: Vec<Vec<Word>>,
    elsewhere: TempDir,
}

impl Judge {
    pub(crate) fn new(calls: Calls) -> pagestore::Result<Self> {
        let maker = Maker::new(calls.clone())?;
        let (contents, states) = (calls.contents(), states(calls.seed));
        Ok(Self { calls, contents, maker, states, elsewhere: stage::folder() })
    }

    /// Gives the digest of what each name shows.
    pub(crate) fn judge(
        &self,
        stage: &mut Stage,
        expected: &Expected,
        look: Look,
    ) -> Result<Vec<u64>, String> {
        let judged = catch_unwind(AssertUnwindSafe(|| self.look(stage, expected, look)));
        judged.unwrap_or_else(|panic| {
            stage.touch_all();
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(|&said| said.to_owned()));
            Err(format!("a panic: {}", said.unwrap_or_default()))
        })
    }

    fn look(&self, stage: &mut Stage, expected: &Expected, look: Look) -> Result<Vec<u64>, String> {
        let mut shown = Vec::new();
        for (number, name) in NAMES.iter().enumerate() {
            let found = show(&stage.path().join(name), expected.of(number), look);
            // Opening it may have changed it.
            if !matches!(found, Ok(Content::Nothing | Content::Sealed(_) | Content::Backup { .. }))
            {
                stage.touch(OsStr::new(name));
            }
            shown.push(found.map_err(|wrong| format!("{name}: {wrong}"))?);
        }
        for name in stage.names().iter().filter(|name| !is_known(name)) {
            self.look_at_what_is_left(&stage.path().join(name))
                .map_err(|wrong| format!("left over, {}: {wrong}", name.display()))?;
        }
        if look == Look::GoesOn {
            self.restore_chain(stage.path(), &shown)?;
        }
        if let Some(last) = self.to_repeat(expected).filter(|_| look == Look::Repeats) {
            let outcome = self.repeat(last, stage, &shown);
            stage.touch_all();
            outcome.map_err(|wrong| format!("call {last} made again: {wrong}"))?;
        }
        Ok(shown.iter().map(Content::digest).collect())
    }

    /// A file that has not got its name: nobody takes it for a finished one, and a sealed one that can be
    /// verified is one.
    fn look_at_what_is_left(&self, path: &Path) -> Result<(), String> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        if !(name.starts_with(b".") && name.ends_with(b".tmp")) {
            return Err("it has not the name of a temporary file".into());
        }
        let is_one = |content: &Content| match content {
            Content::Sealed(_) | Content::Backup { .. } => is(path, content).is_ok(),
            _ => false,
        };
        match is_verified(path) {
            Ok(_) if self.contents.iter().any(is_one) => Ok(()),
            Ok(_) => Err("it can be verified, and is none that was to be".into()),
            // That does not find it whole. Other kinds may open or not, but nothing may break.
            Err(_) => {
                let _opened = options().open_read_only(path);
                Ok(())
            }
        }
    }

    /// Restores from as many backups as there are in a row.
    fn restore_chain(&self, folder: &Path, shown: &[Content]) -> Result<(), String> {
        let backup = |of: Option<usize>| {
            shown.iter().enumerate().find_map(|(name, content)| match content {
                Content::Backup { state, since } if *since == of => Some((name, *state)),
                _ => None,
            })
        };
        let Some((mut name, mut last)) = backup(None) else { return Ok(()) };
        let mut chain = vec![folder.join(NAMES[name])];
        while let Some(next) = backup(Some(last)) {
            (name, last) = next;
            chain.push(folder.join(NAMES[name]));
        }
        let path = self.elsewhere.path().join("restored");
        let restored = Chain::open(&chain)
            .and_then(|chain| chain.restore(&path, Existing::Replace, go_on))
            .map_err(|error| tell(&error));
        let count = chain.len();
        restored.map_err(|wrong| format!("a chain of {count} is not restored: {wrong}"))?;
        let (commit, pages) = (commit_of(last), self.states[last].clone());
        let content = Content::Versioned { commit, pages };
        is(&path, &content).map_err(|wrong| format!("restored from a chain of {count}: {wrong}"))
    }

    /// The call that began last, if it is one that whoever was told of no success makes again as it is.
    pub(crate) fn to_repeat(&self, expected: &Expected) -> Option<usize> {
        expected.last.filter(|&last| match self.calls.calls[last].what {
            What::Commit | What::Remove | What::SealRaw(_) => false,
            What::Seal(_)
            | What::SealAndClose(_)
            | What::Bytes(_)
            | What::PageFile
            | What::Create
            | What::Copy(_)
            | What::Rescue
            | What::Backup { .. }
            | What::Restore(_) => true,
        })
    }

    /// Makes a call once more, as whoever was told of no success does.
    fn repeat(&self, number: usize, stage: &Stage, shown: &[Content]) -> Result<(), String> {
        let Call { name, existing, .. } = &self.calls.calls[number];
        let mut names = stage.names();
        let content = match self.maker.make(number, stage.path()) {
            Ok(()) => &self.contents[number],
            // What is there from the first time, or from before, is not replaced.
            Err(error) if is_taken(&error) && *existing == Existing::Refuse => {
                match &shown[*name] {
                    Content::Nothing => return Err(tell(&error)),
                    content => content,
                }
            }
            Err(error) => return Err(tell(&error)),
        };
        is(&stage.path().join(NAMES[*name]), content)?;
        names.push(NAMES[*name].into());
        names.sort();
        names.dedup();
        let found = stage.names();
        if found == names { Ok(()) } else { Err(format!("it leaves {found:?}, not {names:?}")) }
    }
}

fn is_known(name: &OsStr) -> bool {
    NAMES.iter().any(|known| name == *known)
}

/// What is under a name, out of what may be.
fn show(path: &Path, allowed: &[Content], look: Look) -> Result<Content, String> {
    if !path.exists() {
        let may_be = allowed.contains(&Content::Nothing);
        return if may_be { Ok(Content::Nothing) } else { Err("it is not there".into()) };
    }
    let mut wrong = Vec::new();
    for content in allowed.iter().rev().filter(|content| **content != Content::Nothing) {
        match is(path, content) {
            Ok(()) if look == Look::GoesOn => {
                return goes_on(path, content).map(|()| content.clone());
            }
            Ok(()) => return Ok(content.clone()),
            Err(error) => wrong.push(error),
        }
    }
    if allowed.contains(&Content::Nothing) && is_unsealed(path, allowed) {
        return Ok(Content::Nothing);
    }
    Err(if wrong.is_empty() { "it is there".into() } else { wrong.join("; ") })
}

/// Whether it is a raw file that nobody was told is sealed, and that does not say so.
fn is_unsealed(path: &Path, allowed: &[Content]) -> bool {
    let is_raw = allowed.iter().any(|content| matches!(content, Content::SealedRaw(_)));
    is_raw && fs::File::open(path).is_ok_and(|file| has_seal(&file).is_ok_and(|sealed| !sealed))
}

/// Whether a file is this, whole.
fn is(path: &Path, content: &Content) -> Result<(), String> {
    match content {
        Content::Nothing => Err("it is there".into()),
        Content::Sealed(payload) => {
            let file = is_verified(path)?;
            let bytes = file.pages(..).map_err(tell_error)?;
            let len = usize::try_from(file.payload_len()).unwrap_or(usize::MAX);
            let is_equal = bytes.get(..len) == Some(payload);
            if is_equal { Ok(()) } else { Err("it has other bytes".into()) }
        }
        Content::Bytes(bytes) => {
            let found = fs::read(path).map_err(|error| error.to_string())?;
            if found == *bytes { Ok(()) } else { Err("it has other bytes".into()) }
        }
        Content::SealedRaw(bytes) => {
            let file = fs::File::open(path).map_err(|error| error.to_string())?;
            let file = RawFile::open(file, path).map_err(tell_error)?;
            if !file.is_sealed() {
                return Err("it is not sealed".into());
            }
            let len = file.len().map_err(tell_error)?;
            let view = file.view(0, disk::index(len)).map_err(tell_error)?;
            if view == *bytes { Ok(()) } else { Err("it has other bytes".into()) }
        }
        Content::PageFile => {
            let file = PageFile::open(path).map_err(tell_error)?;
            let count = file.page_count();
            if count == PageCount::ZERO { Ok(()) } else { Err(format!("it has {count} pages")) }
        }
        Content::Versioned { commit, pages } => {
            let file = options().open(path).map_err(tell_error)?;
            let snapshot = file.snapshot().map_err(tell_error)?;
            compare(&snapshot, *commit, pages)
        }
        Content::Backup { state, since } => {
            is_verified(path)?;
            let backup = Backup::open(path).map_err(|error| tell(&error))?;
            let found = (backup.commit().get(), backup.since().map(|since| since.get()));
            let expected = (commit_of(*state), since.map(commit_of));
            if found == expected {
                Ok(())
            } else {
                Err(format!("its commits are {found:?}, not {expected:?}"))
            }
        }
    }
}

fn is_verified(path: &Path) -> Result<SealedFile, String> {
    let file = SealedFile::open(path).map_err(tell_error)?;
    let report = file.verify(|_| ControlFlow::Continue(())).map_err(tell_error)?;
    if report.is_ok() { Ok(file) } else { Err(format!("it is damaged: {report:?}")) }
}

/// A versioned file takes one more commit.
fn goes_on(path: &Path, content: &Content) -> Result<(), String> {
    let Content::Versioned { commit, pages } = content else { return Ok(()) };
    let file = options().open(path).map_err(tell_error)?;
    let commit_next = || {
        let mut transaction = file.begin()?;
        transaction.grow(PageCount::new(1))?;
        let last = PageId::new(pages.len() as u64);
        transaction.page_mut(last)?.copy_from_slice(&page_of(Some(1)));
        transaction.commit()
    };
    commit_next().map_err(|error| format!("the next commit: {}", tell_error(error)))?;
    let mut pages = pages.clone();
    pages.push(Some(1));
    let snapshot = file.snapshot().map_err(tell_error)?;
    compare(&snapshot, commit + 1, &pages).map_err(|wrong| format!("the next commit: {wrong}"))
}
