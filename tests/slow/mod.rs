//! A medium whose changes take their time, so that what overtakes them is sure to be seen.

use std::{thread, time::Duration};

use bytes::Bytes;
use storage::{BlockingBackend, Limits, Medium, MemoryMedium, StorageError, StoragePath};

type Result<T> = std::result::Result<T, StorageError>;

/// Memory whose changes take a millisecond to begin.
pub(crate) struct Slow(MemoryMedium);

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

/// A backend over it.
pub(crate) fn slow(limits: Limits) -> BlockingBackend<Slow> {
    BlockingBackend::new(limits, |buffers| MemoryMedium::new(256 << 20, buffers.clone()).map(Slow))
        .unwrap()
}
