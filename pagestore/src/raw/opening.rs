//! Adopting files that were opened elsewhere.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

use rustix::fs::OFlags;

use crate::{
    error::{Error, Result},
    file::{
        claim::Claim,
        purpose::{Purpose, Trust},
        seal,
    },
    raw::{
        backing::Backing, file::RawFile, options::RawFileOptions, sealed::Sealed, stripes::Striped,
        unsynced::Unsynced,
    },
    sync::{Mutex, atomic::AtomicU64},
};

impl RawFileOptions {
    /// Adopts an opened regular file that nobody but this user and root can write to. `path` is only for
    /// messages. A [sealed](crate::has_seal) file has to be open for reading, any other one for reading and
    /// writing.
    ///
    /// # Errors
    /// * [`Error::NotAFile`](crate::Error::NotAFile): it is something else than a regular file.
    /// * [`Error::Locked`](crate::Error::Locked): it is open elsewhere, in this process or in
    ///   another.
    /// * [`Error::OthersCanWrite`](crate::Error::OthersCanWrite): its owner or mode lets others
    ///   write to it.
    /// * [`Error::AddressSpace`](crate::Error::AddressSpace): a sealed file cannot be mapped.
    /// * [`Error::Io`](crate::Error::Io): the descriptor is not opened as it must be, or the system
    ///   refuses something.
    pub fn open(&self, file: File, path: &Path) -> Result<RawFile> {
        RawFile::adopt(self, file, path, Trust::Evidence)
    }

    /// Adopts an opened file that other users could write to.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for [`Error::OthersCanWrite`](crate::Error::OthersCanWrite).
    ///
    /// # Safety
    /// As long as the returned value and the views of it live, nobody else writes to the file or
    /// changes its length, by whatever path or descriptor: a `&[u8]` whose bytes change is undefined
    /// behaviour. The lock that is taken here keeps out only those who ask for it.
    #[expect(unsafe_code, reason = "the caller vouches for what owner and mode cannot show")]
    pub unsafe fn open_shared(&self, file: File, path: &Path) -> Result<RawFile> {
        RawFile::adopt(self, file, path, Trust::Caller)
    }
}

impl RawFile {
    fn adopt(options: &RawFileOptions, file: File, path: &Path, trust: Trust) -> Result<Self> {
        let (was_sealed, _) = look(&file, path)?;
        let purpose = if was_sealed { Purpose::Read } else { Purpose::Write };
        let claim = Claim::new(file, path, purpose, trust)?;
        // Once more, under the lock: somebody may have sealed it between the look and the lock.
        let (is_sealed, len) = look(claim.file(), path)?;
        check_flags(&claim, is_sealed)?;
        match (purpose, is_sealed) {
            (Purpose::Write, true) => claim.share()?,
            (Purpose::Read, false) => {
                return Err(Error::Locked {
                    path: path.into(),
                    holder: "its seal was just taken away",
                });
            }
            _ => {}
        }
        let claim = Arc::new(claim);
        let backing = Backing::new(&claim, options)?;
        let sealed = if is_sealed { Some(Sealed::new(&backing, len)?) } else { None };
        if let Some(sealed) = &sealed {
            sealed.read_through(None);
        }
        Ok(Self {
            sealed: sealed.map_or_else(OnceLock::new, OnceLock::from),
            len: AtomicU64::new(len),
            growth: Mutex::new(()),
            window: Striped::new(None),
            syncing: Mutex::new(()),
            unsynced: Unsynced::unknown(),
            backing,
        })
    }
}

/// Whether a file is sealed, and how many bytes it has.
fn look(file: &File, path: &Path) -> Result<(bool, u64)> {
    let is_sealed = seal::has_seal(file);
    let is_sealed = is_sealed.map_err(Error::io("look for the seal (fgetxattr) of", path))?;
    let stat = rustix::fs::fstat(file).map_err(Error::io("examine", path))?;
    Ok((is_sealed, u64::try_from(stat.st_size).unwrap_or(0)))
}

/// Refuses a descriptor that cannot do what is going to be asked of it, or would do something else:
/// with `O_APPEND`, pwrite(2) writes to the end whatever the offset.
fn check_flags(claim: &Claim, is_sealed: bool) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(claim.file());
    let flags = flags.map_err(Error::io("examine", claim.path()))?;
    let access = flags & OFlags::RWMODE;
    let reason = if flags.contains(OFlags::PATH) || access == OFlags::WRONLY {
        "it has to be open for reading"
    } else if is_sealed {
        return Ok(());
    } else if access != OFlags::RDWR {
        "it is not sealed, so it has to be open for writing too"
    } else if flags.contains(OFlags::APPEND) {
        "it must not be open for appending only (O_APPEND)"
    } else {
        return Ok(());
    };
    let source = io::Error::new(io::ErrorKind::InvalidInput, reason);
    Err(Error::io("use the descriptor of", claim.path())(source))
}
