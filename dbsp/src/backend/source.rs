//! Where the bytes of a complete file come from.

use std::{
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use dbsp::profile::{BlockingFor, ParkReason};
use feldera_storage::{block::BlockLocation, error::StorageError, fbuf::FBuf};
use storage::RawFile;

use super::{
    durability::Durability,
    error::{io_error, page_error},
};

/// The longest range that adjacent blocks are brought into memory as.
const SPAN_BYTES_MAX: u64 = 4 << 20;

/// The unit in which blocks are brought into the mapping where the page cache has them: what the
/// kernel maps at one page fault anyway. Nearly half of a small cache's reads were first ones, which
/// cost two system calls each.
const AROUND_BYTES: u64 = 64 << 10;

/// How many bytes, at the most, are copied on the caller's own thread where they are in memory.
/// Passing the work to another thread takes 8 us, in which about as much can be copied.
const AT_ONCE_BYTES_MAX: usize = 64 << 10;

/// What becomes of a block that is read.
pub(super) type ReadResult = Result<Arc<FBuf>, StorageError>;

/// An open file that is complete.
#[derive(Debug)]
pub(super) struct Source {
    bytes: Bytes,
    durability: Durability,
    path: PathBuf,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "each is in an `Arc` of its own, in no collection")]
enum Bytes {
    /// Sealed, so that nobody changes it any more, and mapped.
    Mapped(RawFile),
    /// It is not sealed, somebody else could write to it, or it cannot be mapped: read by pread(2).
    Positioned(Arc<File>),
}

impl Source {
    /// Seals a file that was just written.
    pub(super) fn seal(file: &File, path: &Path) -> Result<(), StorageError> {
        match storage::put_seal(file, path) {
            Ok(()) => Ok(()),
            // Then it is read as every file that could still be written to.
            Err(error @ storage::Error::SealNotKept { .. }) => {
                tracing::warn!(error = %storage::WithCauses(&error), "not sealed");
                Ok(())
            }
            Err(error) => Err(page_error("seal", path)(error)),
        }
    }

    /// Takes over a complete file to read it, by a mapping where there can be one. A file that is whole
    /// does not depend on that: it is also read where no descriptor or address space is free, and where
    /// the filesystem knows no locks.
    pub(super) fn open(
        file: Arc<File>,
        path: PathBuf,
        durability: Durability,
    ) -> Result<Self, StorageError> {
        if !storage::has_seal(&file).map_err(io_error("look for the seal of", &path))? {
            return Ok(Self { bytes: Bytes::Positioned(file), durability, path });
        }
        let mapped = match file.try_clone() {
            Ok(copy) => RawFile::open(copy, &path).map_err(|error| told(&error)),
            Err(error) => Err(error.to_string()),
        };
        let bytes = match mapped {
            Ok(raw) => Bytes::Mapped(raw),
            Err(error) => {
                tracing::warn!(error, path = %path.display(), "read without a mapping");
                Bytes::Positioned(file)
            }
        };
        Ok(Self { bytes, durability, path })
    }

    /// Makes the file durable, if it is not yet. Nothing that is seen to be gone since counts as durable.
    pub(super) fn commit(&self) -> Result<(), StorageError> {
        self.durability.commit(&self.path)?;
        match &self.bytes {
            Bytes::Mapped(raw) => raw.still_valid().map_err(page_error("fsync", &self.path)),
            Bytes::Positioned(_) => Ok(()),
        }
    }

    /// Reads one block: for a mapped file one copy, and a look at the file's length afterwards.
    pub(super) fn read(&self, block: BlockLocation) -> Result<Arc<FBuf>, StorageError> {
        match &self.bytes {
            Bytes::Mapped(raw) => {
                let copied = view(raw, block).map(|view| FBuf::from_slice(&view));
                copied
                    .and_then(|copy| raw.still_valid().map(|()| Arc::new(copy)))
                    .map_err(page_error("read", &self.path))
            }
            Bytes::Positioned(file) => {
                let mut buffer = FBuf::with_capacity(block.size);
                let _waiting = BlockingFor::new(ParkReason::StorageRead);
                buffer
                    .read_exact_at(file, block.offset, block.size)
                    .map(|()| Arc::new(buffer))
                    .map_err(io_error("read", &self.path))
            }
        }
    }

    /// Reads blocks in any order. Those that lie side by side are brought into memory together, and
    /// the disk is told of all of them before the first is waited for.
    pub(super) fn read_many(&self, blocks: &[BlockLocation]) -> Vec<ReadResult> {
        let Bytes::Mapped(raw) = &self.bytes else {
            return blocks.iter().map(|&block| self.read(block)).collect();
        };
        // A range that the file does not have is told with the block that asks for it.
        let mut cold = spans(blocks);
        cold.retain(|span| raw.try_view(span.start, len_of(span)).is_none());
        let ranges: Vec<_> = cold.iter().map(|span| (span.start, len_of(span))).collect();
        if let Err(error) = raw.prefetch(&ranges) {
            tracing::debug!(error = %storage::WithCauses(&error), "not read ahead");
        }
        for span in &cold {
            if let Err(error) = raw.view_in_memory(span.start, len_of(span)) {
                tracing::debug!(error = %storage::WithCauses(&error), "not brought in together");
            }
        }
        self.copy_many(raw, blocks, |&block| view(raw, block))
    }

    /// The same where all of it is in memory and little enough to be copied at once; else `None`.
    pub(super) fn try_read_many(&self, blocks: &[BlockLocation]) -> Option<Vec<ReadResult>> {
        let Bytes::Mapped(raw) = &self.bytes else { return None };
        let bytes = blocks.iter().fold(0_usize, |sum, block| sum.saturating_add(block.size));
        if bytes > AT_ONCE_BYTES_MAX {
            return None;
        }
        let views: Option<Vec<_>> = blocks.iter().map(|&block| try_view(raw, block)).collect();
        let mut views = views?.into_iter();
        Some(self.copy_many(raw, blocks, |_| views.next().expect("one view a block")))
    }

    /// Copies blocks, and then looks once whether the file still had them all.
    fn copy_many(
        &self,
        raw: &RawFile,
        blocks: &[BlockLocation],
        view: impl FnMut(&BlockLocation) -> storage::Result<bytes::Bytes>,
    ) -> Vec<ReadResult> {
        let views = blocks.iter().map(view);
        let copies: Vec<_> = views.map(|view| view.map(|view| FBuf::from_slice(&view))).collect();
        let is_valid = raw.still_valid().is_ok();
        let check = |copy| if is_valid { Ok(copy) } else { raw.still_valid().map(|()| copy) };
        copies
            .into_iter()
            .map(|copy| copy.and_then(check).map(Arc::new).map_err(page_error("read", &self.path)))
            .collect()
    }
}

/// A block as it lies in memory. What the kernel took back is asked for again: where it is a page fault that
/// finds a page gone, the kernel reads around it as much as it reads ahead, and drops other pages for that.
fn view(raw: &RawFile, block: BlockLocation) -> storage::Result<bytes::Bytes> {
    try_view(raw, block).unwrap_or_else(|| {
        let _waiting = BlockingFor::new(ParkReason::StorageRead);
        raw.view_in_memory(block.offset, block.size)
    })
}

/// The same, where it takes no waiting. What lies around the block is brought in with it, as far as
/// the page cache has all of it, so that its neighbours take no system call for that.
fn try_view(raw: &RawFile, block: BlockLocation) -> Option<storage::Result<bytes::Bytes>> {
    let len = match raw.len() {
        Ok(len) => len,
        Err(error) => return Some(Err(error)),
    };
    let Some(end) = block.offset.checked_add(block.size as u64).filter(|&end| end <= len) else {
        return Some(raw.view(block.offset, block.size));
    };
    let start = block.offset - block.offset % AROUND_BYTES;
    let around = start..end.next_multiple_of(AROUND_BYTES).min(len);
    let place = usize::try_from(block.offset - start).expect("less than `AROUND_BYTES`");
    let view = raw.try_view(around.start, len_of(&around))?;
    Some(view.map(|view| view.slice(place..place + block.size)))
}

fn told(error: &storage::Error) -> String {
    storage::WithCauses(error).to_string()
}

/// The ranges that blocks lie in, adjacent and overlapping ones joined, in order.
fn spans(blocks: &[BlockLocation]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = blocks
        .iter()
        .map(|block| block.offset..block.offset.saturating_add(block.size as u64))
        .collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end && range.end - last.start <= SPAN_BYTES_MAX => {
                last.end = last.end.max(range.end);
            }
            _ => joined.push(range),
        }
    }
    joined
}

fn len_of(span: &Range<u64>) -> usize {
    usize::try_from(span.end - span.start).unwrap_or(usize::MAX)
}
