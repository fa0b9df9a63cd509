//! A column's bytes while another column is written straight to the file.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use backends::BufferPool;
use pagestore::{Error, PageWriter, file_len_max};

/// How much is read back at a time: the writer's own chunk, so that it is written out from here.
const READ_BYTES: usize = 1 << 20;

/// A temporary file without a name, which goes when it is closed.
#[derive(Debug)]
pub(crate) struct Spool {
    file: File,
    folder: PathBuf,
    len: u64,
}

impl Spool {
    /// Begins one in `folder`, since there is the room for the file that its bytes will go to.
    pub(crate) fn create_in(folder: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io {
            operation: "make a temporary file in",
            path: folder.into(),
            source,
        };
        let file = tempfile::tempfile_in(folder).map_err(io)?;
        Ok(Self { file, folder: folder.into(), len: 0 })
    }

    /// Takes all of `bytes`, or, with an error, none of them.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let fits = self.len.saturating_add(bytes.len() as u64) <= file_len_max();
        let written = if fits {
            self.file.write_all_at(bytes, self.len)
        } else {
            Err(io::ErrorKind::FileTooLarge.into())
        };
        written.map_err(self.io("write to a temporary file in"))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Appends all that was taken to the file.
    pub(crate) fn drain_into<T>(self, writer: &mut PageWriter<T>) -> Result<(), Error> {
        // Of pages: how long reading takes depends on where in a page a buffer begins (`docs/facts.md`).
        let buffer = BufferPool::new(READ_BYTES as u64).take(READ_BYTES);
        let mut buffer = buffer.ok_or_else(|| {
            self.io("read a temporary file in")(io::ErrorKind::OutOfMemory.into())
        })?;
        let mut offset = 0;
        while offset < self.len {
            let left = usize::try_from(self.len - offset).unwrap_or(usize::MAX);
            let piece = &mut buffer[..left.min(READ_BYTES)];
            let read = self.file.read_exact_at(piece, offset);
            read.map_err(self.io("read a temporary file in"))?;
            writer.append(piece)?;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    fn io(&self, operation: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.folder.clone();
        move |source| Error::Io { operation, path, source }
    }
}
