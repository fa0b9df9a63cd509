//! The names of batches' files: given one by one, made durable all at once.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use dbsp::profile::{BlockingFor, ParkReason};
use feldera_storage::error::StorageError;
use parking_lot::Mutex;

use super::{file::failure, folder::io_error};
use crate::names::{self, Names};

/// The folders in which files have names from here, for as long as anybody may ask what became of those.
static FOLDERS: Mutex<BTreeMap<PathBuf, Weak<Folder>>> = Mutex::new(BTreeMap::new());

/// A folder, opened before the first of its names was given: the kernel reports to this description what it could not
/// write since, whoever else it told. To one that is opened later it reports only what nobody was told of.
struct Folder {
    opened: File,
    names: Arc<Names>,
}

/// A name that a file has in its folder, and has got from here.
pub(super) struct Given {
    folder: Arc<Folder>,
    given: names::Given,
}

/// Gives a file that is whole and durable its name, in the folder in which it has to stay.
pub(super) fn give(unfinished: &Path, path: &Path) -> storage::Result<Given> {
    let parent = folder_of(path);
    let folder = Folder::at(parent).map_err(io_error("open the folder", parent))?;
    let rename = || fs::rename(unfinished, path).map_err(io_error("rename", unfinished));
    let ((), given) = folder.names.give(rename)?;
    Ok(Given { folder, given })
}

impl Given {
    /// Makes the name durable, and with it all others that were given in its folder. Once this failed, it fails for good.
    pub(super) fn make_durable(&self, path: &Path) -> Result<(), StorageError> {
        let folder = folder_of(path);
        let operation = "make the names durable in";
        let _waiting = BlockingFor::new(ParkReason::StorageSync);
        self.given.make_durable(|| {
            let synced = storage::sync_folder(&self.folder.opened);
            synced.map_err(|error| failure("commit", folder, io_error(operation, folder)(error)))
        })
    }
}

impl Folder {
    /// The folder that is there now. It may be another one than before, as where a disk was replaced.
    fn at(path: &Path) -> io::Result<Arc<Self>> {
        let opened = File::open(path)?;
        let mut folders = FOLDERS.lock();
        if let Some(known) = folders.get(path).and_then(Weak::upgrade)
            && is_same(&known.opened, &opened)?
        {
            return Ok(known);
        }
        folders.retain(|_, folder| folder.strong_count() > 0);
        let folder = Arc::new(Self { opened, names: Arc::default() });
        folders.insert(path.into(), Arc::downgrade(&folder));
        Ok(folder)
    }
}

fn is_same(one: &File, other: &File) -> io::Result<bool> {
    let [one, other] = [one.metadata()?, other.metadata()?];
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().expect("a path with a name has a folder")
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc, thread};

    use super::{FOLDERS, Given, give};
    use crate::filter::{self, Call};

    fn named(folder: &Path, name: &str) -> Given {
        let unfinished = folder.join("unfinished");
        std::fs::write(&unfinished, name).unwrap();
        give(&unfinished, &folder.join(name)).unwrap()
    }

    /// What is asked for on a thread whose syncs fail.
    fn failing<T: Send>(ask: impl FnOnce() -> T + Send) -> T {
        let on_thread = || {
            filter::refuse(Call::all("fsync", libc::SYS_fsync), libc::EIO);
            ask()
        };
        thread::scope(|scope| scope.spawn(on_thread).join().unwrap())
    }

    #[test]
    fn a_failed_sync_is_about_the_names_that_there_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any");
        let before = named(folder.path(), "before");
        before.make_durable(&path).unwrap();
        let lost = named(folder.path(), "lost");
        let error = failing(|| lost.make_durable(&path)).unwrap_err().to_string();
        assert!(error.contains("make the names durable"), "{error}");
        let after = named(folder.path(), "after");
        after.make_durable(&path).unwrap();
        before.make_durable(&path).unwrap();
        // The kernel would say now that all is in order.
        assert_eq!(lost.make_durable(&path).unwrap_err().to_string(), error);
    }

    /// As where a disk was replaced, or a circuit is started again when all of the one before is gone.
    #[test]
    fn what_is_known_of_a_folder_ends_with_it() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("state");
        let path = folder.join("any");
        std::fs::create_dir(&folder).unwrap();
        let lost = named(&folder, "lost");
        failing(|| lost.make_durable(&path)).unwrap_err();
        std::fs::rename(&folder, outer.path().join("before")).unwrap();
        std::fs::create_dir(&folder).unwrap();
        let elsewhere = named(&folder, "elsewhere");
        assert!(!Arc::ptr_eq(&lost.folder, &elsewhere.folder));
        elsewhere.make_durable(&path).unwrap();
        lost.make_durable(&path).unwrap_err();
        drop((lost, elsewhere));
        assert!(FOLDERS.lock()[&folder].upgrade().is_none());
        named(&folder, "anew").make_durable(&path).unwrap();
    }
}
