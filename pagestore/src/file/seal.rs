//! The seal of a file that has no header of ours.
//!
//! It stands in two places, neither of which touches the file's bytes. The *mode* has no write bit: that
//! keeps out every program, and stays with `cp`, `rsync` and archives. The *mark* is an extended
//! attribute: it stays where modes are set anew from outside, as by a pod's `fsGroup`, or where the
//! filesystem gives all files one mode. Either of them seals; what a filesystem did not keep is found out
//! before a seal is said to be one. `docs/seals.md` says what filesystems and programs make of them.

use std::{fs::File, io, path::Path};

use rustix::{
    fs::{Mode, XattrFlags},
    io::Errno,
};

use crate::{
    error::{Error, Result},
    file::evidence::is_sealed_memory,
};

/// The attribute.
const MARK_NAME: &str = "user.storage.sealed";
const MARK: &[u8] = b"1";

/// Whether a file without a header is sealed: by its mode, by its attribute, or, if it is memory, against
/// writing (fcntl(2), `F_SEAL_WRITE`).
///
/// # Errors
/// Where the operating system does not tell.
pub fn has_seal(file: &File) -> io::Result<bool> {
    const WRITE_BITS: u32 = 0o222;
    let stat = rustix::fs::fstat(file)?;
    Ok(stat.st_mode & WRITE_BITS == 0 || is_sealed_memory(file) || has_mark(file)?)
}

fn has_mark(file: &File) -> io::Result<bool> {
    match rustix::fs::fgetxattr(file, MARK_NAME, &mut [0; 16]) {
        Ok(_) | Err(Errno::RANGE) => Ok(true),
        // There is none, or this filesystem has no attributes.
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Seals a file without a header that this process may write to: takes its write bits away and sets an
/// attribute. Does not make that durable. `path` is for messages only.
///
/// # Errors
/// [`Error::SealNotKept`] where the filesystem keeps neither; [`Error::Io`]. The file is as before.
pub fn put_seal(file: &File, path: &Path) -> Result<()> {
    const READ_AND_EXECUTE: u32 = 0o555;
    // First, since only who may write to a file may give it attributes. Where it has none, or no room
    // for one, the mode has to do; what came of both is looked at below.
    let _marked = rustix::fs::fsetxattr(file, MARK_NAME, MARK, XattrFlags::empty());
    let stat = rustix::fs::fstat(file).map_err(Error::io("examine", path))?;
    let mode = Mode::from_raw_mode(stat.st_mode & READ_AND_EXECUTE);
    let changed = rustix::fs::fchmod(file, mode);
    if has_seal(file).map_err(Error::io("look for the seal (fgetxattr) of", path))? {
        return Ok(());
    }
    changed.map_err(Error::io("set the mode (fchmod) of", path))?;
    Err(Error::SealNotKept { path: path.into() })
}
