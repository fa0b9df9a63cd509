//! Making files and names durable: fsync(2) and its kin, and a look whether what they said is true.
//!
//! **ext4** writes new blocks first, and then notes in its journal that they have something. Where the journal is
//! aborted in between, because the disk failed to take a part of it or ext4 found a fault in itself, the bytes are
//! zeros after the next mount; but the call that waited for them says that they are durable. So the journal is
//! asked afterwards whether it still takes anything.
//!
//! **XFS** that has shut itself down says that the names in a folder are durable, and they are lost.

use std::{fs::File, io, os::fd::AsFd, path::Path};

use rustix::{fs::OFlags, io::Errno};

use super::filesystem::Filesystem;
use crate::{
    error::{Error, Result},
    kernel::{
        calls,
        hint::{Hint, is_refusal},
    },
};

/// Makes durable what was written to a file, and its length.
///
/// It is an fsync(2), and a look whether that was true: ext4 whose journal is aborted meanwhile, as after a write of
/// it that failed, answers the fsync(2) with success, and what was written to new blocks is lost.
///
/// # Errors
/// The operating system's. What is durable is unknown then, for good.
pub fn sync_file(file: impl AsFd) -> io::Result<()> {
    rustix::fs::fsync(&file)?;
    believe(file)
}

/// The same, but for what of a file's length and times nobody needs to read it (fdatasync(2)).
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    rustix::fs::fdatasync(file)?;
    believe(file)
}

/// Makes durable what happened to the names in a folder: those of files that were made, renamed or removed there.
///
/// It is an fsync(2), and a look whether that was true: XFS that has shut itself down, as after a write of its journal
/// that failed, answers the fsync(2) of a folder with success, and what it was asked for is lost.
///
/// # Errors
/// The operating system's. What is durable is unknown then.
pub fn sync_folder(folder: impl AsFd) -> io::Result<()> {
    rustix::fs::fsync(&folder)?;
    // Fails where the filesystem was shut down before.
    rustix::fs::fstat(&folder)?;
    believe(folder)
}

/// The same for the folder of a file.
pub(crate) fn sync_folder_of(folder: impl AsFd, path: &Path) -> Result<()> {
    sync_folder(folder).map_err(Error::io("make durable the folder of", path))
}

/// Fails where the kernel could not write something of a file to the disk since this description was last told of it.
///
/// It waits for a place at which no file has anything, and so for nothing (sync_file_range(2)). Where the call is
/// refused, nothing is known.
pub(crate) fn look_for_failed_writes(file: &File) -> io::Result<()> {
    let found =
        Filesystem::check_has_pages(file).and_then(|()| calls::look_for_failed_writes(file));
    Hint::SyncFileRange.unless_refused(found).unwrap_or(Ok(()))
}

/// Says whether a call is to be believed that has said that a file's bytes are durable: fails where the journal
/// takes nothing any more, and so may not have taken what it had to note of them.
///
/// It takes about 5 us on ext4, and the next durable write about 20 us more (docs/facts.md). Where ext4 has `fast_commit`, the next
/// commit of its journal is a whole one.
pub(crate) fn believe(file: impl AsFd) -> io::Result<()> {
    /// An attribute that no file has.
    const NONE: &str = "user.pagestore.none";
    // An overlay passes it on to what lies below, which may be ext4.
    if !matches!(Filesystem::of(&file), Ok(Filesystem::Ext | Filesystem::Overlay)) {
        return Ok(());
    }
    // To take one away, ext4 begins to write its journal before it looks whether there is one; so nothing is
    // changed, and a journal that is aborted is an error.
    match rustix::fs::fremovexattr(&file, NONE) {
        Ok(()) | Err(Errno::NODATA) => Ok(()),
        // Of a mount that is read-only nothing more is known.
        Err(Errno::ROFS) if is_open_to_read(&file) => Ok(()),
        Err(errno) if is_refusal(&errno.into()) => believe_less(file),
        Err(errno) => Err(errno.into()),
    }
}

fn is_open_to_read(file: impl AsFd) -> bool {
    rustix::fs::fcntl_getfl(file).is_ok_and(|flags| flags & OFlags::ACCMODE == OFlags::RDONLY)
}

/// The same where a filter or a file's mode forbids to ask: an empty write fails too, but not at once where ext4
/// found a fault in itself.
fn believe_less(file: impl AsFd) -> io::Result<()> {
    match rustix::io::pwrite(file, &[], 0) {
        // It is open to read alone.
        Ok(_) | Err(Errno::BADF) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
