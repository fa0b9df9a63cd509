//! A large commit that cannot be written into the file: nothing is built on it.
//!
//! Method: a medium that keeps the pages of one commit on their way until the next one is durable, and then fails.

use std::{
    io::{self, IoSlice},
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use pagestore::{Error, Medium, VersionedFile};

use super::{count, page};

const PAGES: u64 = 100;

/// Whether pages are to wait and then to fail, or to panic; and whether they are to wait no longer.
#[derive(Debug, Default)]
struct Gate {
    stops: AtomicBool,
    panics: AtomicBool,
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn wait(&self) {
        let mut is_open = self.is_open.lock().unwrap();
        while !*is_open {
            is_open = self.opened.wait(is_open).unwrap();
        }
    }

    fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

#[derive(Debug)]
struct Gated {
    real: Arc<dyn Medium>,
    gate: Arc<Gate>,
}

impl Medium for Gated {
    fn write(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let is_page = parts.len() == 1 && parts[0].len() == 4096;
        if is_page && self.gate.stops.load(SeqCst) {
            self.gate.wait();
            assert!(!self.gate.panics.load(SeqCst), "on purpose");
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.real.write(offset, parts)
    }

    fn write_durably(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.real.write_durably(offset, parts)
    }

    fn sync(&self) -> io::Result<()> {
        self.real.sync()
    }

    fn start_write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        self.real.start_write_back(offset, len)
    }

    fn extend(&self, old_len: u64, new_len: u64) -> io::Result<()> {
        self.real.extend(old_len, new_len)
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.real.cut(len)
    }
}

/// A file whose pages are all 1, on a gated medium.
fn gated(path: &Path) -> (VersionedFile, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let given = Arc::clone(&gate);
    let options = VersionedFile::options().log_bytes(8 << 20);
    let file = options
        .medium(move |real| Arc::new(Gated { real, gate: Arc::clone(&given) }))
        .create(path)
        .unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.grow(count(PAGES)).unwrap();
    transaction.pages_mut(..).unwrap().fill(1);
    transaction.commit().unwrap();
    file.checkpoint().unwrap();
    (file, gate)
}

#[track_caller]
fn shows(file: &VersionedFile, byte: u8) {
    let snapshot = file.snapshot().unwrap();
    for number in 0..PAGES {
        assert_eq!(snapshot.page(page(number)).unwrap(), [byte; 4096], "page {number}");
    }
}

#[test]
fn the_next_commit_fails_and_snapshots_show_what_was_committed() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("file");
    let (file, gate) = gated(&path);
    gate.stops.store(true, SeqCst);
    let mut transaction = file.begin().unwrap();
    transaction.pages_mut(..).unwrap().fill(2);
    transaction.commit().unwrap();
    let mut transaction = file.begin().unwrap();
    transaction.page_mut(page(0)).unwrap().fill(3);
    let committed = thread::scope(|scope| {
        let committing = scope.spawn(|| transaction.commit());
        // It is durable by then, and waits for the one before.
        thread::sleep(Duration::from_millis(50));
        gate.open();
        committing.join().unwrap()
    });
    assert!(matches!(committed, Err(Error::Poisoned { .. })), "{committed:?}");
    shows(&file, 2);
    assert!(matches!(file.begin().map(drop), Err(Error::Poisoned { .. })));
    drop(file);

    // Both are in the log.
    let file = VersionedFile::open(&path).unwrap();
    let snapshot = file.snapshot().unwrap();
    assert_eq!(snapshot.page(page(1)).unwrap(), [2; 4096]);
    assert_eq!(snapshot.page(page(0)).unwrap(), [3; 4096]);
}

/// A panic in the middle of a commit is a bug. Whoever waits for his turn hears of it, and who comes later too.
#[test]
fn a_commit_that_panics_keeps_nobody_waiting() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("file");
    let (file, gate) = gated(&path);
    let file = Arc::new(file);
    gate.panics.store(true, SeqCst);
    gate.stops.store(true, SeqCst);
    let committing = {
        let file = Arc::clone(&file);
        thread::spawn(move || {
            let mut transaction = file.begin().unwrap();
            transaction.page_mut(page(0)).unwrap().fill(2);
            transaction.commit().map(drop)
        })
    };
    while file.commit_id().get() < 2 {
        thread::yield_now();
    }
    let (told, hears) = mpsc::channel();
    let waiting = {
        let file = Arc::clone(&file);
        thread::spawn(move || told.send(file.begin().map(drop)))
    };
    // It waits for its turn by then.
    thread::sleep(Duration::from_millis(50));
    gate.open();
    assert!(committing.join().is_err());
    let begun = hears.recv_timeout(Duration::from_secs(30)).expect("it waits for ever");
    assert!(matches!(begun, Err(Error::Poisoned { .. })), "{begun:?}");
    waiting.join().unwrap().unwrap();
    assert!(matches!(file.try_begin(), Err(Error::Poisoned { .. })));
    drop(file);
    let file = VersionedFile::open(&path).unwrap();
    assert_eq!(file.snapshot().unwrap().page(page(0)).unwrap(), [2; 4096], "the log has it");
}
