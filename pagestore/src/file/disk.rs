//! Disk space: reserved before a page can be seen, given back where that fails.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    ops::Range,
    path::Path,
};

use rustix::{
    fs::{Advice, FallocateFlags, SeekFrom},
    io::{Errno, ReadWriteFlags, preadv2},
    process::{Resource, getrlimit},
};

use crate::{
    error::{Error, Result},
    file::{access::Access, claim::Claim, durable, filesystem::Filesystem},
    kernel::{calls, hint::Hint},
};

/// Extends the file from `old_len` to `new_len` bytes with zeros that have their place on the disk,
/// so that no later store can find the disk full (fallocate(2)).
///
/// # Errors
/// [`Error::DiskFull`], or another refusal, as of a file longer than [`file_len_max`]. The file is as
/// long as before and holds as many blocks: a failed fallocate leaves part of the space behind on
/// ext4, which is given back here.
pub(crate) fn extend(claim: &Claim, old_len: u64, new_len: u64) -> Result<()> {
    let path = claim.path();
    check_limit(new_len).map_err(Error::io("reserve disk space for", path))?;
    let needed_bytes = new_len - old_len;
    let refusal = loop {
        match rustix::fs::fallocate(claim.file(), FallocateFlags::empty(), old_len, needed_bytes) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => break io::Error::from(errno),
        }
    };
    truncate(claim, old_len)?;
    Err(match refusal.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::DiskFull { path: path.into(), needed_bytes, source: refusal }
        }
        _ => Error::io("reserve disk space (fallocate) for", path)(refusal),
    })
}

/// How long this process may make a file, in bytes: its `RLIMIT_FSIZE` (`ulimit -f`), or as long as a file can
/// be. A write past that raises SIGXFSZ, which by default ends the process (setrlimit(2)); so look here before
/// writing.
#[must_use]
pub fn file_len_max() -> u64 {
    const LARGEST_OFFSET: u64 = i64::MAX as u64;
    getrlimit(Resource::Fsize).current.unwrap_or(LARGEST_OFFSET).min(LARGEST_OFFSET)
}

/// Fails with `EFBIG` where no file of this process may reach up to `end`.
pub(crate) fn check_limit(end: u64) -> io::Result<()> {
    if end > file_len_max() { Err(Errno::FBIG.into()) } else { Ok(()) }
}

/// Sets the file's length and frees what lies behind it.
pub(crate) fn truncate(claim: &Claim, len: u64) -> Result<()> {
    claim.file().set_len(len).map_err(Error::io("set the length of", claim.path()))
}

/// Frees what a range of the file has on the disk; it reads as zeros from then on.
pub(crate) fn punch(claim: &Claim, span: Range<u64>) -> Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    loop {
        match rustix::fs::fallocate(claim.file(), flags, span.start, span.end - span.start) {
            Err(Errno::INTR) => {}
            punched => return punched.map_err(Error::io("make a hole in", claim.path())),
        }
    }
}

/// How far a span of a file was ever written to, from its beginning on, where a first write is known to cost more than
/// later ones; else its end. Blocks that were only reserved are holes to lseek(2).
///
/// It may lie too far behind: what was read of a reserved block is in the page cache, and no hole; so is the log after
/// a recovery, which reads it.
pub(crate) fn written_until(file: &File, span: Range<u64>) -> u64 {
    if !matches!(Filesystem::of(file), Ok(Filesystem::Ext | Filesystem::Xfs)) {
        // There is no disk to tell, or each write goes to a new place, or may.
        return span.end;
    }
    match rustix::fs::seek(file, SeekFrom::Hole(span.start)) {
        Ok(hole) => hole.clamp(span.start, span.end),
        Err(_) => span.end,
    }
}

/// Whether the files of a folder are in memory, because its filesystem is (tmpfs, as `/dev/shm` and often
/// `/tmp`). Spilling there saves no memory.
///
/// # Errors
/// Where there is no such folder, or it cannot be opened.
pub fn is_memory_folder(folder: &Path) -> io::Result<bool> {
    Ok(Filesystem::of(&File::open(folder)?)?.is_memory())
}

/// The parts of a file that take up space, where the filesystem tells holes from data; the whole of it
/// otherwise.
pub(crate) fn pieces(file: &File) -> impl Iterator<Item = Result<Range<u64>, io::Error>> {
    pieces_in(file, 0..u64::MAX)
}

/// The same of a range of it.
pub(crate) fn pieces_in(
    file: &File,
    span: Range<u64>,
) -> impl Iterator<Item = Result<Range<u64>, io::Error>> {
    let mut next = span.start;
    std::iter::from_fn(move || {
        if next >= span.end {
            return None;
        }
        let start = match rustix::fs::seek(file, SeekFrom::Data(next)) {
            Ok(start) if start >= span.end => return None,
            Ok(start) => start,
            // There is no data behind this place.
            Err(Errno::NXIO) => return None,
            Err(errno) => return Some(Err(errno.into())),
        };
        Some(match rustix::fs::seek(file, SeekFrom::Hole(start)) {
            Ok(end) if next <= start && start < end => {
                next = end;
                Ok(start..end.min(span.end))
            }
            // As /dev/null does, which says 0 whatever it is asked. One would ask it for ever.
            Ok(_) => {
                next = span.end;
                Err(io::Error::other("the filesystem does not say where the file has data"))
            }
            Err(errno) => Err(errno.into()),
        })
    })
}

/// Tells the kernel how the file is going to be used. A [hint](Hint::Fadvise).
pub(crate) fn advise(claim: &Claim, access: Access) {
    let advised = rustix::fs::fadvise(claim.file(), 0, None, access.fadvice());
    Hint::Fadvise.go_on(advised.map_err(io::Error::from));
}

/// Has the kernel begin to write a range of the file to the disk, without waiting for it.
///
/// This is sync_file_range(2) with `SYNC_FILE_RANGE_WRITE` alone. Only its waiting flags look at, and
/// so use up, errors of earlier write-back; those stay for the sync that is to report them. Where the
/// call is refused, the kernel begins when it likes.
pub(crate) fn start_write_back(claim: &Claim, offset: u64, len: u64) -> Result<()> {
    let begun = Filesystem::check_has_pages(claim.file())
        .and_then(|()| calls::start_write_back(claim.file(), offset, len));
    let begun = Hint::SyncFileRange.unless_refused(begun).unwrap_or(Ok(()));
    begun.map_err(Error::io("begin to write to the disk", claim.path()))
}

/// Writes a range of the file to the disk and waits for it. This is no promise that it is durable:
/// the disk may still have it in a cache, and the file system what it needs to find it.
///
/// It uses up errors of earlier write-back: whoever calls this remembers that it failed. Where the call
/// is refused, the whole file is made durable in its place (fdatasync(2)).
pub(crate) fn write_back(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let written =
        Filesystem::check_has_pages(file).and_then(|()| calls::write_back(file, offset, len));
    Hint::SyncFileRange.unless_refused(written).unwrap_or_else(|| durable::sync_data(file))
}

/// Has the kernel begin to read a range of the file into the page cache (`POSIX_FADV_WILLNEED`). A
/// [hint](Hint::Fadvise).
pub(crate) fn will_need(file: &File, offset: u64, len: u64) {
    let Some(len) = std::num::NonZeroU64::new(len) else { return };
    let begun = rustix::fs::fadvise(file, offset, Some(len), Advice::WillNeed);
    Hint::Fadvise.go_on(begun.map_err(io::Error::from));
}

/// Touches a byte of the file as a reader does that does not wait: preadv2(2) with `RWF_NOWAIT`. Where
/// the kernel marked the page, it goes on reading ahead.
pub(crate) fn touch(file: &File, offset: u64) -> io::Result<()> {
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    match preadv2(file, &mut parts, offset, ReadWriteFlags::NOWAIT) {
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Drops a range of the file from the page cache, where no mapping uses it. Says whether the kernel took
/// it; a [hint](Hint::Drop).
pub(crate) fn drop_cached(file: &File, offset: u64, len: u64) -> Taken {
    let Some(len) = std::num::NonZeroU64::new(len) else { return Taken::Yes };
    match rustix::fs::fadvise(file, offset, Some(len), Advice::DontNeed) {
        Ok(()) => Taken::Yes,
        Err(errno) => {
            Hint::Drop.note(&errno.into());
            Taken::No
        }
    }
}

/// Whether the kernel took a hint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_a_file_answers_nonsense() {
        let null = File::open("/dev/null").unwrap();
        let pieces: Vec<_> = pieces(&null).take(3).collect();
        assert!(matches!(pieces[..], [Err(_)]), "{pieces:?}");
    }
}
