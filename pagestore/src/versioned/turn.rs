//! Whose turn it is to write: one transaction at a time.

use layout::PageCount;
use parking_lot::{Condvar, Mutex};

use super::pages::Version;

/// What the one transaction of a file has to itself, and hands to the next.
#[derive(Debug)]
pub(super) struct Writer {
    /// The last commit.
    pub(super) version: Version,
    /// How many pages the file had at most so far.
    pub(super) page_count_max: PageCount,
    /// The file's length.
    pub(super) file_len: u64,
}

/// Holds the [`Writer`] while there is no transaction.
#[derive(Debug)]
pub(super) struct Turn {
    writer: Mutex<Option<Box<Writer>>>,
    returned: Condvar,
}

impl Turn {
    pub(super) fn new(writer: Writer) -> Self {
        Self { writer: Mutex::new(Some(Box::new(writer))), returned: Condvar::new() }
    }

    /// Waits for its turn.
    pub(super) fn take(&self) -> Box<Writer> {
        let mut slot = self.writer.lock();
        loop {
            match slot.take() {
                Some(writer) => return writer,
                None => self.returned.wait(&mut slot),
            }
        }
    }

    /// Takes its turn, if it is nobody else's.
    pub(super) fn try_take(&self) -> Option<Box<Writer>> {
        self.writer.lock().take()
    }

    /// Lets the next one have its turn.
    pub(super) fn give(&self, writer: Box<Writer>) {
        *self.writer.lock() = Some(writer);
        self.returned.notify_one();
    }
}
