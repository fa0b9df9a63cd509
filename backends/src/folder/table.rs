//! The open files by their paths.
//!
//! Two locks for each part of the table. `files` guards the map and is held for moments only, so a
//! hot read never waits for a system call. `names` serialises what changes names: opening, making,
//! deleting, renaming and closing; so a file that is deleted while somebody opens it cannot be
//! entered under its old name afterwards, and a file that is closed has given its lock back before
//! it can be opened again. The order is `names` before `files`, and of two parts the one with the
//! smaller index first.

use std::{
    hash::BuildHasher,
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::{Mutex, MutexGuard, RwLock};
use rustix::process::{Resource, getrlimit};

use super::FolderFile;
use crate::{Operation, Result, StorageError, StoragePath};

/// Enough that some tens of threads that open files rarely wait for one another.
const PART_COUNT: usize = 64;

/// How many files are kept open, if the process may have that many descriptors.
const OPEN_COUNT_MAX: usize = 1000;

/// A path's hash: the map uses its ends, the choice of a part its middle.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    fn part(self) -> usize {
        usize::try_from((self.0 >> 32) % PART_COUNT as u64).expect("less than the count of parts")
    }
}

/// The table.
pub(super) struct Table<F> {
    parts: Box<[Part<F>]>,
    hasher: DefaultHashBuilder,
    open_count: AtomicUsize,
    open_count_max: usize,
    /// The part in which the next search for a file to close begins.
    hand: AtomicUsize,
}

#[repr(align(128))]
struct Part<F> {
    files: RwLock<HashTable<Slot<F>>>,
    names: Mutex<()>,
}

struct Slot<F> {
    hash: Hash,
    path: Box<str>,
    open: Arc<Open<F>>,
}

/// An open file.
pub(super) struct Open<F> {
    pub(super) file: F,
    /// Whether it was used since the last search for a file to close came by.
    used: AtomicBool,
    /// Counts the names that it had since it was opened.
    name: AtomicU64,
    /// The last of them that was made durable. A file that was just opened may have got its name
    /// from a process that died before it was.
    name_durable: AtomicU64,
    poison: OnceLock<String>,
}

/// An open file that stays open while this lives, and which of its names it was found by.
pub(super) struct Held<F> {
    open: Arc<Open<F>>,
    name: u64,
}

impl<F> Deref for Held<F> {
    type Target = Open<F>;

    fn deref(&self) -> &Open<F> {
        &self.open
    }
}

impl<F> Held<F> {
    /// To be called with the table's part locked: the name cannot change then.
    fn new(open: &Arc<Open<F>>) -> Self {
        open.used.store(true, Ordering::Relaxed);
        Self { open: Arc::clone(open), name: open.name.load(Ordering::Relaxed) }
    }

    pub(super) fn has_durable_name(&self) -> bool {
        self.name_durable.load(Ordering::Acquire) >= self.name
    }

    pub(super) fn name_is_durable(&self) {
        self.name_durable.fetch_max(self.name, Ordering::AcqRel);
    }
}

impl<F> Open<F> {
    /// Notes that something about the file, other than its bytes, cannot be trusted any more.
    pub(super) fn poison(&self, reason: String) {
        // The first reason stays.
        let _set_before = self.poison.set(reason);
    }

    #[inline]
    pub(super) fn check(&self, operation: Operation, path: StoragePath<'_>) -> Result<()> {
        match self.poison.get() {
            None => Ok(()),
            Some(reason) => Err(poisoned(operation, path, reason)),
        }
    }
}

#[cold]
fn poisoned(operation: Operation, path: StoragePath<'_>, reason: &str) -> StorageError {
    StorageError::Poisoned { operation, path: path.as_str().to_owned(), source: reason.into() }
}

impl<F: FolderFile> Open<F> {
    /// What the file itself is poisoned with stops every use of its bytes, but not of its name.
    pub(super) fn check_renamable(&self, path: StoragePath<'_>) -> Result<()> {
        self.check(Operation::Rename, path)?;
        match self.file.is_poisoned() {
            true => Err(poisoned(Operation::Rename, path, "an earlier operation on it failed")),
            false => Ok(()),
        }
    }

    fn is_poisoned(&self) -> bool {
        self.poison.get().is_some() || self.file.is_poisoned()
    }
}

/// Which files a search may close.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closable {
    /// With nothing to sync, and not used since the last search.
    CleanUnused,
    /// With nothing to sync.
    Clean,
    /// Any that can be synced.
    Unsynced,
}

impl<F: FolderFile> Table<F> {
    pub(super) fn new() -> Self {
        let part = |_| Part { files: RwLock::new(HashTable::new()), names: Mutex::new(()) };
        Self {
            parts: (0..PART_COUNT).map(part).collect(),
            hasher: DefaultHashBuilder::default(),
            open_count: AtomicUsize::new(0),
            open_count_max: open_count_max(),
            hand: AtomicUsize::new(0),
        }
    }

    fn hash(&self, path: &str) -> Hash {
        Hash(self.hasher.hash_one(path))
    }

    /// Calls `f` with an open file; `None` where that is not open. Part of the table is locked
    /// meanwhile, so `f` must be short and must not use the table.
    #[inline]
    pub(super) fn with<T>(
        &self,
        path: StoragePath<'_>,
        f: impl FnOnce(&Open<F>) -> T,
    ) -> Option<T> {
        let hash = self.hash(path.as_str());
        let files = self.parts[hash.part()].files.read();
        let open = &files.find(hash.0, |slot| *slot.path == *path.as_str())?.open;
        // Not stored where it is set, so that readers do not take the cache line from each other.
        if !open.used.load(Ordering::Relaxed) {
            open.used.store(true, Ordering::Relaxed);
        }
        Some(f(open))
    }

    /// The open file at `path`, if it is open.
    pub(super) fn get(&self, path: StoragePath<'_>) -> Option<Held<F>> {
        let hash = self.hash(path.as_str());
        let files = self.parts[hash.part()].files.read();
        files.find(hash.0, |slot| *slot.path == *path.as_str()).map(|slot| Held::new(&slot.open))
    }

    /// All open files.
    pub(super) fn all(&self) -> Vec<Arc<Open<F>>> {
        let mut all = Vec::with_capacity(self.open_count.load(Ordering::Relaxed));
        for part in &self.parts {
            all.extend(part.files.read().iter().map(|slot| Arc::clone(&slot.open)));
        }
        all
    }

    /// Keeps everybody else from changing what `path` names.
    pub(super) fn lock(&self, path: StoragePath<'_>) -> Names<'_, F> {
        let names = self.parts[self.hash(path.as_str()).part()].names.lock();
        Names { table: self, _first: names, _second: None }
    }

    /// The same for two paths.
    pub(super) fn lock_two(&self, a: StoragePath<'_>, b: StoragePath<'_>) -> Names<'_, F> {
        let (a, b) = (self.hash(a.as_str()).part(), self.hash(b.as_str()).part());
        let first = self.parts[a.min(b)].names.lock();
        let second = (a != b).then(|| self.parts[a.max(b)].names.lock());
        Names { table: self, _first: first, _second: second }
    }

    /// Closes files until there is room for one more. Where all are in use or poisoned there is no
    /// such room, and the table grows past its limit: by at most as many as operations run.
    pub(super) fn make_room(&self) {
        while self.open_count.load(Ordering::Relaxed) >= self.open_count_max && self.close_one() {}
    }

    /// Closes a file; says whether there was one to close.
    pub(super) fn close_one(&self) -> bool {
        [Closable::CleanUnused, Closable::Clean, Closable::Unsynced]
            .into_iter()
            .any(|closable| self.search(closable))
    }

    fn search(&self, closable: Closable) -> bool {
        let start = self.hand.fetch_add(1, Ordering::Relaxed);
        (0..PART_COUNT).any(|i| {
            let part = &self.parts[(start.wrapping_add(i)) % PART_COUNT];
            // Whoever has it is about to use a file of it, or closes one.
            let Some(names) = part.names.try_lock() else { return false };
            let Some(slot) = part.take_idle(closable) else { return false };
            self.open_count.fetch_sub(1, Ordering::Relaxed);
            drop(slot);
            drop(names);
            true
        })
    }
}

impl<F: FolderFile> Part<F> {
    /// Takes a file that nobody uses out; with `names` locked.
    fn take_idle(&self, closable: Closable) -> Option<Slot<F>> {
        if closable == Closable::Unsynced {
            self.sync_idle()?;
        }
        let mut files = self.files.write();
        // Nobody gets at a file while the map is locked, so a count of one stays one.
        let mut idle = files.extract_if(|slot| {
            let used = slot.open.used.swap(false, Ordering::Relaxed);
            slot.is_idle()
                && slot.open.file.unsynced_bytes() == 0
                && (closable != Closable::CleanUnused || !used)
        });
        idle.next()
    }

    /// Makes one file that nobody uses durable.
    fn sync_idle(&self) -> Option<()> {
        let (path, open) = self
            .files
            .read()
            .iter()
            .find(|slot| slot.is_idle())
            .map(|slot| (slot.path.clone(), Arc::clone(&slot.open)))?;
        let path = StoragePath::new(&path).expect("only checked paths are entered");
        match open.file.sync(path) {
            Ok(()) => Some(()),
            Err(error) => {
                tracing::error!(error = %pagestore::WithCauses(&error), "a file that was to be closed could not be made durable");
                None
            }
        }
    }
}

impl<F: FolderFile> Slot<F> {
    /// Whether nobody uses the file, and nothing is lost by closing it once it is synced. What made
    /// a file poisoned is known to nobody but us, so such a file stays.
    fn is_idle(&self) -> bool {
        Arc::strong_count(&self.open) == 1 && !self.open.is_poisoned()
    }
}

/// The right to change what one or two paths name.
pub(super) struct Names<'a, F> {
    table: &'a Table<F>,
    _first: MutexGuard<'a, ()>,
    _second: Option<MutexGuard<'a, ()>>,
}

/// What a rename did to the table.
pub(super) struct Moved<F> {
    /// The file that has the name now, if it is open.
    pub(super) held: Option<Held<F>>,
    /// The file that had the name before, if it is open.
    pub(super) replaced: Option<Arc<Open<F>>>,
}

impl<F: FolderFile> Names<'_, F> {
    /// The open file at `path`, if it is open.
    pub(super) fn get(&self, path: StoragePath<'_>) -> Option<Held<F>> {
        self.table.get(path)
    }

    /// Enters a file under a path that has none.
    pub(super) fn insert(&self, path: StoragePath<'_>, file: F) -> Held<F> {
        let open = Open {
            file,
            used: AtomicBool::new(true),
            name: AtomicU64::new(1),
            name_durable: AtomicU64::new(0),
            poison: OnceLock::new(),
        };
        let (hash, open) = (self.table.hash(path.as_str()), Arc::new(open));
        let mut files = self.table.parts[hash.part()].files.write();
        let held = Held::new(&open);
        insert(&mut files, Slot { hash, path: path.as_str().into(), open });
        self.table.open_count.fetch_add(1, Ordering::Relaxed);
        held
    }

    /// Takes the file at `path` out.
    pub(super) fn remove(&self, path: StoragePath<'_>) -> Option<Arc<Open<F>>> {
        let hash = self.table.hash(path.as_str());
        let removed = remove(&mut self.table.parts[hash.part()].files.write(), hash, path);
        removed.inspect(|_| _ = self.table.open_count.fetch_sub(1, Ordering::Relaxed))
    }

    /// Gives the file at `from` the path `to`, in one step for everybody who looks.
    pub(super) fn rename(&self, from: StoragePath<'_>, to: StoragePath<'_>) -> Moved<F> {
        let (old, new) = (self.table.hash(from.as_str()), self.table.hash(to.as_str()));
        if from == to {
            return Moved { held: self.get(to), replaced: None };
        }
        let (first, second) = (old.part().min(new.part()), old.part().max(new.part()));
        let mut first_files = self.table.parts[first].files.write();
        let mut second_files = (first != second).then(|| self.table.parts[second].files.write());
        let mut in_part = |part, act: &mut dyn FnMut(&mut HashTable<Slot<F>>)| match second_files
            .as_deref_mut()
        {
            Some(files) if part == second => act(files),
            _ => act(&mut first_files),
        };
        let (mut moved, mut replaced, mut held) = (None, None, None);
        in_part(old.part(), &mut |files| moved = remove(files, old, from));
        in_part(new.part(), &mut |files| {
            replaced = remove(files, new, to);
            held = moved.take().map(|open| {
                open.name.fetch_add(1, Ordering::Relaxed);
                let held = Held::new(&open);
                insert(files, Slot { hash: new, path: to.as_str().into(), open });
                held
            });
        });
        let gone = usize::from(replaced.is_some());
        self.table.open_count.fetch_sub(gone, Ordering::Relaxed);
        Moved { held, replaced }
    }
}

fn insert<F>(files: &mut HashTable<Slot<F>>, slot: Slot<F>) {
    files.insert_unique(slot.hash.0, slot, |slot| slot.hash.0);
}

fn remove<F>(
    files: &mut HashTable<Slot<F>>,
    hash: Hash,
    path: StoragePath<'_>,
) -> Option<Arc<Open<F>>> {
    let entry = files.find_entry(hash.0, |slot| *slot.path == *path.as_str()).ok()?;
    Some(entry.remove().0.open)
}

/// How many files are kept open: at most three quarters of the descriptors that this process may
/// have, since it opens files of its own, and folders while it looks for them.
fn open_count_max() -> usize {
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 4 * 3;
    usize::try_from(allowed).unwrap_or(usize::MAX).clamp(1, OPEN_COUNT_MAX)
}
