//! One block of a file, in memory.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    Operation, StorageError,
    file_buffer::frame::{Frame, Gate, Pinned},
};

/// What a page of memory and direct I/O are aligned to.
const ALIGN_BYTES: usize = 4096;

/// One block of a file, from [`FileBuffer::read_block`](crate::FileBuffer::read_block): a stable
/// snapshot, whose bytes nobody else changes, whatever is written to the file meanwhile.
///
/// It is either a view (of the buffer's memory, or of the medium's), or after the first
/// [`write`](Self::write) a private copy, which becomes the content of the file by
/// [`FileBuffer::write_block`](crate::FileBuffer::write_block). Dropping a changed block drops the
/// change.
///
/// While it lives its memory is not used for anything else, and counts to the limit of its buffer:
/// do not collect more blocks than fit.
pub struct Block {
    content: Content,
    index: u64,
    offset: u64,
    len: usize,
    dirty: bool,
}

pub(crate) enum Content {
    /// Memory of the buffer: shared with it, or private where `Pinned::unshared` says so.
    Frame(Pinned),
    /// Memory of the medium.
    View(Bytes, Arc<Gate>),
}

impl Block {
    pub(crate) fn new(content: Content, index: u64, offset: u64, len: usize) -> Self {
        Self { content, index, offset, len, dirty: false }
    }

    pub(crate) fn into_content(self) -> Content {
        self.content
    }

    /// Says that the content differs from the file's.
    pub(crate) fn changed(mut self) -> Self {
        self.dirty = true;
        self
    }

    /// The bytes.
    #[must_use]
    #[inline]
    pub fn read(&self) -> &[u8] {
        match &self.content {
            Content::Frame(frame) => &frame.bytes()[..self.len],
            Content::View(view, _) => view,
        }
    }

    /// The bytes, to be changed. The first call makes a private copy, unless the block is private
    /// already; nobody sees the change before
    /// [`FileBuffer::write_block`](crate::FileBuffer::write_block).
    ///
    /// # Errors
    /// [`StorageError::BuffersInUse`] where there is no memory for the copy: everything in the
    /// buffer is in users' hands, or changed and not yet written out.
    /// [`FileBuffer::flush`](crate::FileBuffer::flush) helps in the second case. The block stays as
    /// it was.
    pub fn write(&mut self) -> Result<&mut [u8], StorageError> {
        self.make_private()?;
        self.dirty = true;
        Ok(self.private_bytes())
    }

    /// Makes the block shorter, as the last of a file may be. Does nothing where it is not longer
    /// than `len`.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Panics
    /// Where `len` is 0: there is no empty block.
    pub fn truncate(&mut self, len: usize) -> Result<(), StorageError> {
        assert!(len > 0, "a block has at least one byte");
        if len < self.len {
            self.write()?[len..].fill(0);
            self.len = len;
        }
        Ok(())
    }

    /// Whether the bytes were changed and not yet given to
    /// [`FileBuffer::write_block`](crate::FileBuffer::write_block).
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Where the block begins in the file.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Which block of the file it is: the first one is 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many bytes it has: the size of a block, or fewer for the last one of a file.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: each block has at least one byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the bytes begin at an address that is a multiple of 4 KiB. Always so in memory of a
    /// buffer; views are where the medium has them.
    #[must_use]
    pub fn is_aligned(&self) -> bool {
        self.read().as_ptr().addr().is_multiple_of(ALIGN_BYTES)
    }

    /// The bytes after [`make_private`](Self::make_private).
    fn private_bytes(&mut self) -> &mut [u8] {
        let Content::Frame(frame) = &mut self.content else {
            unreachable!("a private block is no view");
        };
        let bytes = frame.unshared().expect("a private block is not shared");
        &mut bytes[..self.len]
    }

    fn make_private(&mut self) -> Result<(), StorageError> {
        let (source, gate) = match &mut self.content {
            Content::Frame(frame) => {
                if frame.unshared().is_some() {
                    return Ok(());
                }
                (&frame.bytes()[..self.len], frame.gate())
            }
            Content::View(view, gate) => (&view[..], &*gate),
        };
        let origin = gate.source.upgrade();
        let buffer = match &origin {
            Some(origin) => origin.take_any(),
            // The buffer is gone, so nothing is there to be evicted. Views of the medium tell their
            // block size by nothing but their length.
            None => gate.pool.take(self.len),
        };
        if let Some(buffer) = buffer {
            let mut copy = Frame::new(buffer, gate);
            copy.fill(source);
            self.content = Content::Frame(Pinned::new(Arc::new(copy)));
            return Ok(());
        }
        let in_use = gate.in_use(Operation::Write, Duration::ZERO);
        // The buffer can do without its frame where it is on the medium, and it is not shared then
        // if no other block shows it.
        if let (Some(origin), Content::Frame(frame)) = (&origin, &mut self.content) {
            origin.forget(self.index, frame);
            if frame.unshared().is_some() {
                return Ok(());
            }
        }
        Err(in_use)
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("index", &self.index)
            .field("offset", &self.offset)
            .field("len", &self.len)
            .field("dirty", &self.dirty)
            .finish_non_exhaustive()
    }
}
