//! Which name is which file.

use std::{
    array,
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use pagestore::RawMemory;
use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;

use super::{not_found, refused};
use crate::{Operation, Result, StoragePath, metrics};

type File = Arc<RawMemory>;

/// How many copies of the table there are. Threads look names up in copies of their own, so that
/// they do not meet at one lock; whoever changes a name holds the locks of all copies.
const COPY_COUNT: usize = 8;

/// A copy has its cache lines for itself.
#[derive(Default)]
#[repr(align(128))]
struct Copy(RwLock<HashMap<Arc<str>, File>>);

/// All files by their names.
#[derive(Default)]
pub(super) struct Names {
    /// In order, for listing and for the rules of names. Locked before the copies, and by itself
    /// wherever no copy is needed.
    sorted: Mutex<BTreeMap<Arc<str>, File>>,
    copies: [Copy; COPY_COUNT],
}

impl Names {
    fn mine(&self) -> &RwLock<HashMap<Arc<str>, File>> {
        &self.copies[metrics::stripe() % COPY_COUNT].0
    }

    /// The file of a name.
    pub(super) fn get(&self, name: &str) -> Option<File> {
        self.mine().read().get(name).cloned()
    }

    /// Runs a short call with the file of a name, unless a name is being changed.
    #[inline]
    pub(super) fn try_with<T>(
        &self,
        name: &str,
        call: impl FnOnce(Option<&RawMemory>) -> Option<T>,
    ) -> Option<T> {
        let copy = self.mine().try_read()?;
        call(copy.get(name).map(|file| &**file))
    }

    pub(super) fn count(&self) -> u64 {
        self.sorted.lock().len() as u64
    }

    /// The names that begin with `prefix`, in ascending order.
    pub(super) fn list(&self, prefix: &str) -> Vec<String> {
        let sorted = self.sorted.lock();
        let names = from(&sorted, prefix).map(|(name, _)| &**name);
        names.take_while(|name| name.starts_with(prefix)).map(str::to_owned).collect()
    }

    /// Fails where a file of that name could not be made.
    pub(super) fn check(&self, operation: Operation, path: StoragePath<'_>) -> Result<()> {
        check(&self.sorted.lock(), operation, path)
    }

    /// Gives a file its name. Where that name has a file already, that file, and nothing is done.
    pub(super) fn insert(&self, path: StoragePath<'_>, file: File) -> Result<Option<File>> {
        let mut sorted = self.sorted.lock();
        if let Some(theirs) = sorted.get(path.as_str()) {
            return Ok(Some(Arc::clone(theirs)));
        }
        check(&sorted, Operation::Write, path)?;
        let name: Arc<str> = Arc::from(path.as_str());
        self.change(|copy| {
            copy.insert(Arc::clone(&name), Arc::clone(&file));
        });
        sorted.insert(name, file);
        Ok(None)
    }

    /// Takes a name away.
    pub(super) fn remove(&self, path: StoragePath<'_>) -> Result<()> {
        let mut sorted = self.sorted.lock();
        let file = sorted.remove(path.as_str());
        let file = file.ok_or_else(|| not_found(Operation::Delete, path))?;
        self.change(|copy| {
            copy.remove(path.as_str());
        });
        drop(sorted);
        // Giving much memory back takes its time, so it happens under no lock.
        drop(file);
        Ok(())
    }

    /// Gives a file another name.
    pub(super) fn rename(&self, from: StoragePath<'_>, to: StoragePath<'_>) -> Result<()> {
        let mut sorted = self.sorted.lock();
        let file = sorted.get(from.as_str());
        let file = Arc::clone(file.ok_or_else(|| not_found(Operation::Rename, from))?);
        if from == to {
            return Ok(());
        }
        check(&sorted, Operation::Rename, to)?;
        let name: Arc<str> = Arc::from(to.as_str());
        self.change(|copy| {
            copy.remove(from.as_str());
            copy.insert(Arc::clone(&name), Arc::clone(&file));
        });
        sorted.remove(from.as_str());
        let replaced = sorted.insert(name, file);
        drop(sorted);
        drop(replaced);
        Ok(())
    }

    /// Changes all copies, between two looks that anybody takes at any of them.
    fn change(&self, change: impl Fn(&mut HashMap<Arc<str>, File>)) {
        let mut copies: [_; COPY_COUNT] = array::from_fn(|i| self.copies[i].0.write());
        copies.iter_mut().for_each(|copy| change(copy));
    }
}

/// The names from `first` on.
fn from<'a>(
    sorted: &'a BTreeMap<Arc<str>, File>,
    first: &str,
) -> impl Iterator<Item = (&'a Arc<str>, &'a File)> {
    sorted.range::<str, _>((Bound::Included(first), Bound::Unbounded))
}

/// The rules: no folder on the way is a file, and the name is not a folder's.
fn check(
    sorted: &BTreeMap<Arc<str>, File>,
    operation: Operation,
    path: StoragePath<'_>,
) -> Result<()> {
    if path.folders().any(|folder| sorted.contains_key(folder)) {
        return Err(refused(operation, path, Errno::NOTDIR));
    }
    let inside = format!("{path}/");
    let next = from(sorted, &inside).next();
    if next.is_some_and(|(name, _)| name.starts_with(&inside)) {
        return Err(refused(operation, path, Errno::ISDIR));
    }
    Ok(())
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("count", &self.count()).finish_non_exhaustive()
    }
}
