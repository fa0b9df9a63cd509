//! Giving up, on media where that is harder to get right, or sure to meet a thread at work: changes
//! that take their time, compression over files and over such changes.
//!
//! Purpose and method: see `given_up.rs` and `foreign.rs`.

use std::{thread, time::Duration};

use bytes::Bytes;
use storage::{
    BlockingBackend, BufferPool, Compressed, Limits, Medium, MemoryMedium, MmapBackend,
    PosixBackend, StorageBackend, StorageError, StoragePath,
};

use crate::{Holes, Kind, Sealed, Subject, plain_tests, themes};

type Result<T> = std::result::Result<T, StorageError>;

/// Memory whose changes take a millisecond to begin.
struct Slow(MemoryMedium);

fn dawdle() {
    thread::sleep(Duration::from_millis(1));
}

impl Medium for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn read(&self, path: StoragePath<'_>, offset: u64, length: usize) -> Result<Bytes> {
        self.0.read(path, offset, length)
    }

    fn try_read(&self, path: StoragePath<'_>, offset: u64, length: usize) -> Option<Result<Bytes>> {
        self.0.try_read(path, offset, length)
    }

    fn len(&self, path: StoragePath<'_>) -> Result<u64> {
        self.0.len(path)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.0.list(prefix)
    }

    fn write(&self, path: StoragePath<'_>, offset: u64, parts: &[Bytes]) -> Result<()> {
        dawdle();
        self.0.write(path, offset, parts)
    }

    fn delete(&self, path: StoragePath<'_>) -> Result<()> {
        dawdle();
        self.0.delete(path)
    }

    fn sync(&self, path: StoragePath<'_>) -> Result<()> {
        dawdle();
        self.0.sync(path)
    }

    fn rename(&self, from: StoragePath<'_>, to: StoragePath<'_>) -> Result<()> {
        dawdle();
        self.0.rename(from, to)
    }

    fn truncate(&self, path: StoragePath<'_>, len: u64) -> Result<()> {
        dawdle();
        self.0.truncate(path, len)
    }

    fn seal(&self, path: StoragePath<'_>) -> Result<()> {
        dawdle();
        self.0.seal(path)
    }
}

fn slow(limits: Limits) -> BlockingBackend<Slow> {
    BlockingBackend::new(limits, |buffers| {
        MemoryMedium::new(256 << 20, buffers.clone()).map(Slow)
    })
    .unwrap()
}

fn packed<B: StorageBackend<Error = StorageError> + 'static>(backend: B) -> Compressed<B> {
    Compressed::new(backend, 16 << 10, BufferPool::new(1 << 30)).unwrap()
}

const fn copied(make: fn(Limits) -> Subject) -> Kind {
    Kind { make, sealed: Sealed::Copied, holes: Holes::Free }
}

macro_rules! giving_up {
    ($name:ident, $make:expr) => {
        mod $name {
            use super::*;
            const KIND: Kind = copied($make);
            themes! { (KIND, "multi_thread")
                given_up: a_write_that_was_ok_stays, each_change_before_each_other,
                    random_changes;
            }
            plain_tests! { (KIND)
                foreign: across_runtimes, nobody_waits_for_an_idle_runtime;
            }
        }
    };
}

giving_up!(directly, |limits| Subject::passing(slow(limits)));
giving_up!(compressed, |limits| Subject::passing(packed(slow(limits))));

giving_up!(compressed_in_mapped_files, |limits| {
    let folder = tempfile::tempdir().unwrap();
    let backend = MmapBackend::open(folder.path().join("root"), limits).unwrap();
    Subject::lasting(packed(backend), move || unreachable!("{folder:?} is not opened again"))
});

giving_up!(compressed_in_positioned_files, |limits| {
    let folder = tempfile::tempdir().unwrap();
    let backend = PosixBackend::open(folder.path().join("root"), limits).unwrap();
    Subject::lasting(packed(backend), move || unreachable!("{folder:?} is not opened again"))
});
