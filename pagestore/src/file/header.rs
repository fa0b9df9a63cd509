//! The header of a file, read and written with ordinary system calls: it is not mapped, so no
//! store to a page can reach it, and no page fault.

use std::{
    fs::File,
    io::{self, IoSlice, Read},
    os::unix::fs::FileExt,
    path::Path,
};

use layout::{HEADER_LEN_BYTES, Header};
use rustix::io::Errno;

use crate::{
    error::{Error, Result},
    file::claim::Claim,
};

/// Reads and judges the header.
pub(crate) fn read(file: &File, path: &Path) -> Result<Header> {
    let bytes = read_at(file, path, 0, HEADER_LEN_BYTES)?;
    Header::parse(&bytes).map_err(Error::format(path))
}

/// Reads `len` bytes from `offset` on, fewer where the file ends before. `len` is a constant of the
/// format or was checked against the file's length.
pub(crate) fn read_at(file: &File, path: &Path, offset: u64, len: u64) -> Result<Vec<u8>> {
    // All at once: a vector that grows would be filled by a system call for each time it does.
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
    let mut reader = At { file, offset }.take(len);
    reader.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok(bytes)
}

/// Writes bytes at `offset`.
pub(crate) fn write(claim: &Claim, offset: u64, bytes: &[u8]) -> Result<()> {
    claim.file().write_all_at(bytes, offset).map_err(Error::io("write to", claim.path()))
}

/// Writes bytes at `offset` that lie in two places, by one system call where it takes them all.
pub(crate) fn write_both(claim: &Claim, mut offset: u64, parts: [&[u8]; 2]) -> Result<()> {
    let mut slices = parts.map(IoSlice::new);
    let mut left = &mut slices[..];
    // Away with what is empty.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let written = match rustix::io::pwritev(claim.file(), left, offset) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Err(Errno::INTR) => continue,
            written => written.map_err(io::Error::from),
        };
        let count = written.map_err(Error::io("write to", claim.path()))?;
        IoSlice::advance_slices(&mut left, count);
        offset += count as u64;
    }
    Ok(())
}

/// Reads a file from a place on, without moving its cursor.
struct At<'file> {
    file: &'file File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(bytes, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
