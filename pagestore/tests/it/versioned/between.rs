//! Snapshots that are taken in the middle of a commit: each shows one commit, then and for ever.
//!
//! Method: a medium that does what the real one does, and before and after each call takes a snapshot and a
//! view of its bytes. So a snapshot is taken at every moment at which the steps of a commit can be told apart.

use std::{
    io::{self, IoSlice},
    sync::{Arc, Mutex, OnceLock, Weak},
};

use pagestore::{Medium, Snapshot, VersionedFile};
use tempfile::tempdir;

use super::{count, fill, page, small_log};

/// The snapshots that were taken, and which byte all of their pages have.
type Taken = Mutex<Vec<(Snapshot, u8)>>;

#[derive(Debug)]
struct Between {
    real: Arc<dyn Medium>,
    file: Arc<OnceLock<Weak<VersionedFile>>>,
    taken: Arc<Taken>,
}

impl Between {
    fn look(&self) {
        let Some(file) = self.file.get().and_then(Weak::upgrade) else { return };
        let snapshot = file.snapshot().unwrap();
        let first = snapshot.page(page(0)).unwrap()[0];
        assert!(snapshot.pages(..).unwrap().iter().all(|&byte| byte == first), "it is torn");
        self.taken.lock().unwrap().push((snapshot, first));
    }

    fn around<R>(&self, call: impl FnOnce(&dyn Medium) -> R) -> R {
        self.look();
        let result = call(&*self.real);
        self.look();
        result
    }
}

impl Medium for Between {
    fn write(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.around(|real| real.write(offset, parts))
    }

    fn write_durably(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.around(|real| real.write_durably(offset, parts))
    }

    fn sync(&self) -> io::Result<()> {
        self.around(|real| real.sync())
    }

    fn start_write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        self.around(|real| real.start_write_back(offset, len))
    }

    fn extend(&self, old_len: u64, new_len: u64) -> io::Result<()> {
        self.around(|real| real.extend(old_len, new_len))
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.around(|real| real.cut(len))
    }
}

/// Commits and, in between, drops all snapshots but each `kept`th.
fn commit_some(kept: usize) {
    let folder = tempdir().unwrap();
    let (handle, taken) = (Arc::new(OnceLock::new()), Arc::new(Taken::default()));
    let wrap = {
        let (file, taken) = (Arc::clone(&handle), Arc::clone(&taken));
        move |real| {
            let (file, taken) = (Arc::clone(&file), Arc::clone(&taken));
            Arc::new(Between { real, file, taken }) as Arc<dyn Medium>
        }
    };
    let options = small_log().checkpoints(pagestore::Checkpoints::WhenFull).medium(wrap);
    let file = Arc::new(options.create(folder.path().join("file")).unwrap());
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(4)).unwrap();
    (0..4).for_each(|number| fill(&mut transaction, number, 1));
    transaction.commit().unwrap();
    handle.set(Arc::downgrade(&file)).unwrap();
    for byte in 2..12 {
        let mut transaction = file.begin().unwrap();
        (0..4).for_each(|number| fill(&mut transaction, number, byte));
        transaction.commit().unwrap();
        let mut taken = taken.lock().unwrap();
        for (snapshot, byte) in taken.iter() {
            assert!(snapshot.pages(..).unwrap().iter().all(|found| found == byte), "it changed");
        }
        let mut number = 0;
        taken.retain(|_| {
            number += 1;
            kept > 0 && number % kept == 0
        });
    }
    assert_eq!(file.snapshot().unwrap().page(page(3)).unwrap(), [11; 4096]);
}

#[test]
fn a_snapshot_taken_in_the_middle_of_a_commit_shows_one_commit_for_ever() {
    // With different numbers that stay, other mappings are there to be used again.
    (0..6).for_each(commit_some);
}
