//! What is known of files: their headers and lengths, so that not each call reads them again.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use super::format::{BLOCK_HEADER_BYTES, BlockHasher, FileHeader, Geometry};

/// The most files that something is remembered of; one more lets another one go.
const KNOWN_FILES_MAX: usize = 4096;

/// How long a file is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Length {
    /// Exactly this.
    Known(u64),
    /// Its last block, which would tell, is damaged.
    Damaged {
        /// The file has at least these bytes, all blocks but the last.
        at_least: u64,
        /// What is wrong.
        reason: String,
    },
}

/// One file as it was when it was last looked at. Lengths change by who uses the whole file
/// only, and then another `File` takes the place of this one.
#[derive(Debug)]
pub(super) struct File {
    header: FileHeader,
    hasher: BlockHasher,
    length: Length,
    /// How long the stored file is; grows where a last block is rewritten and takes more.
    stored_len: AtomicU64,
    /// The most bytes that a slot was seen to use: what to read first.
    used_max: AtomicUsize,
}

impl File {
    pub(super) fn new(header: FileHeader, length: Length, stored_len: u64) -> Self {
        let hasher = header.hasher();
        let stored_len = AtomicU64::new(stored_len);
        Self { header, hasher, length, stored_len, used_max: AtomicUsize::new(BLOCK_HEADER_BYTES) }
    }

    /// The same file with another length.
    pub(super) fn resized(&self, len: u64, stored_len: u64) -> Self {
        let resized = Self::new(self.header, Length::Known(len), stored_len);
        resized.note_used(self.used_max.load(Ordering::Relaxed));
        resized
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.header.geometry
    }

    pub(super) fn hasher(&self) -> BlockHasher {
        self.hasher
    }

    pub(super) fn length(&self) -> &Length {
        &self.length
    }

    /// The bytes that the file has for sure.
    pub(super) fn len_min(&self) -> u64 {
        match self.length {
            Length::Known(len) => len,
            Length::Damaged { at_least, .. } => at_least,
        }
    }

    pub(super) fn stored_len(&self) -> u64 {
        self.stored_len.load(Ordering::Acquire)
    }

    pub(super) fn slot_count(&self) -> u64 {
        self.geometry().slot_count(self.stored_len())
    }

    /// The most bytes that a block can have, as the file is that long.
    pub(super) fn content_max(&self, block: u64) -> usize {
        let block_size = self.geometry().block_size();
        let left = self.len_min().saturating_sub(self.geometry().block_start(block));
        usize::try_from(left).map_or(block_size, |left| left.min(block_size))
    }

    /// Remembers that the stored file is at least this long, having been written to.
    pub(super) fn note_stored(&self, end: u64) {
        self.stored_len.fetch_max(end, Ordering::AcqRel);
    }

    /// Remembers that a slot uses this many bytes.
    pub(super) fn note_used(&self, used_bytes: usize) {
        self.used_max.fetch_max(used_bytes, Ordering::Relaxed);
    }

    /// How many bytes of a slot to read, not knowing how many its block uses: what sufficed so far,
    /// in whole pages, as far as the stored file goes.
    pub(super) fn guess(&self, block: u64) -> usize {
        let seen = self.used_max.load(Ordering::Relaxed).next_multiple_of(4096);
        self.slot_rest(block).min(seen)
    }

    /// How many bytes of a slot can be in use.
    pub(super) fn slot_rest(&self, block: u64) -> usize {
        let used_max = self.geometry().used_max();
        let rest = self.stored_len().saturating_sub(self.geometry().slot_start(block));
        usize::try_from(rest).map_or(used_max, |rest| rest.min(used_max))
    }
}

/// What is known of which paths.
///
/// Something is put in by who uses the whole file only, and taken out at any time: whoever misses it
/// waits to use the whole file, hence for everybody who still uses it, and reads it again.
#[derive(Default)]
pub(super) struct KnownFiles {
    by_path: Mutex<HashMap<String, Arc<File>>>,
}

impl KnownFiles {
    pub(super) fn get(&self, path: &str) -> Option<Arc<File>> {
        self.by_path.lock().get(path).cloned()
    }

    pub(super) fn remember(&self, path: &str, file: &Arc<File>) {
        let mut by_path = self.by_path.lock();
        if by_path.len() >= KNOWN_FILES_MAX && !by_path.contains_key(path) {
            let any = by_path.keys().next().cloned();
            any.and_then(|path| by_path.remove(&path));
        }
        by_path.insert(path.to_owned(), Arc::clone(file));
    }

    pub(super) fn forget(&self, path: &str) {
        self.by_path.lock().remove(path);
    }
}
