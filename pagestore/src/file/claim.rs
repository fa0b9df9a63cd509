//! Opening files so that nobody else writes to them: what makes borrowing their bytes safe.
//!
//! A [`Claim`] is an open regular file under our lock, with the [`Evidence`], found on the opened
//! descriptor and not on the path, that nobody but this user and root could write to it. The argument
//! why that is enough, and what remains, stands in `ARCHITECTURE.md`.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    process,
    sync::OnceLock,
    time::Duration,
};

use parking_lot::Mutex;
use rustix::{
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
};

use crate::{
    error::{Error, Result},
    file::{
        durable,
        evidence::{self, Doubt, Evidence},
        filesystem::Filesystem,
        lease::{self, Lease, Writers},
        purpose::{Purpose, Trust},
    },
    kernel::calls,
};

/// An open regular file, locked, that nobody else writes to.
#[derive(Debug)]
pub(crate) struct Claim {
    file: File,
    path: PathBuf,
    /// The process that took the lock.
    process: u32,
    evidence: Evidence,
    has_lease: bool,
    /// See [`Filesystem::is_shorter_before_zeros`].
    is_shorter_before_zeros: bool,
    purpose: Purpose,
    /// What the kernel said of pages that it could not write to the disk.
    lost: OnceLock<String>,
    /// Held while it is asked, which it tells once, until that is noted.
    asking: Mutex<()>,
}

impl Claim {
    /// Opens the file at `path`, without following a symlink there.
    pub(crate) fn open(path: &Path, purpose: Purpose, trust: Trust) -> Result<Self> {
        check_kind(path)?;
        let access = match purpose {
            Purpose::Write => OFlags::RDWR,
            Purpose::Read => OFlags::RDONLY,
        };
        // NONBLOCK: a FIFO or device that took the file's place since the check above must not
        // hang the open. It means nothing to a regular file.
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => file,
            // Of a regular file only a lease is waited for, which NONBLOCK forbids.
            Err(Errno::WOULDBLOCK) => {
                let holder = "it is open elsewhere under a lease of the kernel";
                return Err(Error::Locked { path: path.into(), holder });
            }
            Err(errno) => return Err(Error::io("open", path)(errno)),
        };
        Self::new(File::from(file), path, purpose, trust)
    }

    /// Claims a file that was opened already.
    pub(crate) fn new(file: File, path: &Path, purpose: Purpose, trust: Trust) -> Result<Self> {
        let stat = rustix::fs::fstat(&file).map_err(Error::io("examine", path))?;
        let found = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => None,
            FileType::Directory => Some("a folder"),
            _ => Some("a special file"),
        };
        if let Some(found) = found {
            return Err(Error::NotAFile { path: path.into(), found });
        }
        let (locked, holder) = match purpose {
            Purpose::Write => (file.try_lock(), "another writer or a reader has it open"),
            Purpose::Read => (file.try_lock_shared(), "a writer has it open"),
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked { path: path.into(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", path)(source)),
        }
        // Made first, so that a refusal gives the lock back as every other end does.
        let mut claim = Self {
            file,
            path: path.into(),
            process: process::id(),
            evidence: Evidence::CallersWord,
            has_lease: false,
            is_shorter_before_zeros: false,
            purpose,
            lost: OnceLock::new(),
            asking: Mutex::new(()),
        };
        // Where that cannot be asked, the longer way is taken.
        let filesystem = Filesystem::of(&claim.file);
        claim.is_shorter_before_zeros = filesystem.is_ok_and(Filesystem::is_shorter_before_zeros);
        if trust == Trust::Evidence {
            let found = evidence::find(&claim.file, &stat, purpose);
            claim.evidence = found.map_err(|Doubt { reason, advice }| Error::OthersCanWrite {
                path: path.into(),
                reason,
                advice,
            })?;
        }
        Ok(claim)
    }

    /// What shows that nobody else writes to the file.
    pub(crate) fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// Whether this is the file that another description is of.
    pub(crate) fn is_same_file(&self, other: &Stat) -> Result<bool> {
        let stat = rustix::fs::fstat(&self.file).map_err(Error::io("examine", &self.path))?;
        Ok((stat.st_dev, stat.st_ino) == (other.st_dev, other.st_ino))
    }

    /// Makes sure that nobody has a file open for writing that was claimed to be read, and has the
    /// kernel hold up those who want to, if `writers` says so; both where it can, see [`Lease`]. Who has
    /// it open for writing gets up to `patience` to close it.
    ///
    /// # Errors
    /// [`Error::Locked`] where the file is open for writing, by whomever, or somebody waits to open
    /// it so.
    pub(crate) fn keep_out(&mut self, writers: Writers, patience: Duration) -> Result<()> {
        self.has_lease = lease::take(&self.file, &self.path, patience)?;
        if self.has_lease && writers == Writers::LetIn {
            self.has_lease = false;
            calls::give_lease_back(&self.file);
        }
        Ok(())
    }

    /// What the kernel does now about those who want to write.
    pub(crate) fn lease(&self) -> Lease {
        if self.has_lease { lease::look(&self.file) } else { Lease::Unavailable }
    }

    /// Lets readers have the file too, from now on; for a file that was claimed to be written and is
    /// sealed now. On a local filesystem the lock changes in one step: nobody gets one between.
    pub(crate) fn share(&self) -> Result<()> {
        match self.file.try_lock_shared() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                let holder = "a writer took the lock while it was passed on to readers";
                Err(Error::Locked { path: self.path.clone(), holder })
            }
            Err(TryLockError::Error(source)) => Err(Error::io("lock", &self.path)(source)),
        }
    }

    /// The open file. Its one file description is the only one that this claim's owner syncs
    /// through: the kernel reports a failed write-back once to each.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Where the file was when it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was claimed to be written.
    pub(crate) fn is_ours(&self) -> bool {
        self.purpose == Purpose::Write
    }

    /// What the kernel said where it could not write something of this file to the disk by itself, if ever that was
    /// asked. It takes such pages for clean.
    pub(crate) fn known_lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// The same, and asks, where we wrote the file: one system call. It tells of each failure once, to this or to a
    /// sync; so this is for files that are not synced.
    pub(crate) fn lost(&self) -> Option<&str> {
        if self.is_ours() && self.lost.get().is_none() {
            // What it fails with is what is noted.
            let _noted = self.note_lost(durable::look_for_failed_writes);
        }
        self.known_lost()
    }

    /// Makes a call by which the kernel tells what it could not write, and notes what it says before anybody else asks.
    /// The first error stays, and fails the call from then on.
    pub(crate) fn note_lost(&self, ask: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        let _one_at_a_time = self.asking.lock();
        let asked = ask(&self.file);
        if let Err(error) = &asked {
            let _first = self.lost.set(error.to_string());
        }
        match (asked, self.known_lost()) {
            (Ok(()), Some(earlier)) => Err(io::Error::other(earlier.to_owned())),
            (asked, _) => asked,
        }
    }

    /// The file's length in bytes. Whoever read zeros from its mapping that were put there because the file
    /// was cut, and asks then, gets the new length.
    pub(crate) fn len_bytes(&self) -> Result<u64> {
        if !self.is_shorter_before_zeros {
            self.wait_for_cuts()?;
        }
        // fstat(2): the standard library's statx(2) asks for more and takes longer.
        let stat = rustix::fs::fstat(&self.file).map_err(Error::io("examine", &self.path))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    /// Comes back when no ftruncate(2) is under way that began before.
    ///
    /// XFS holds up a reader as long as one is, wherever he reads. So the place is one that no file reaches,
    /// and nothing is read. It is a byte, since overlayfs does not pass on what asks for none.
    fn wait_for_cuts(&self) -> Result<()> {
        const NOWHERE: u64 = i64::MAX as u64 - 1;
        rustix::io::retry_on_intr(|| rustix::io::pread(&self.file, &mut [0_u8; 1], NOWHERE))
            .map_err(Error::io("examine", &self.path))?;
        Ok(())
    }
}

impl Drop for Claim {
    /// Gives lease and lock back by name. Closing the descriptor would do it only when no other
    /// process has a copy, and every child that another thread is just starting has one until it
    /// has called exec(2). A child that runs on after a fork must not give away what its parent
    /// holds: both are the file description's, which the two share.
    fn drop(&mut self) {
        if self.process == process::id() {
            if self.has_lease {
                calls::give_lease_back(&self.file);
            }
            // A lock that cannot be given back ends with the descriptor, a moment later.
            let _unlocked = self.file.unlock();
        }
    }
}

/// Opens a file to look at it, without a claim; gives its length too.
pub(crate) fn open_to_look(path: &Path) -> Result<(File, u64)> {
    check_kind(path)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(Error::io("open", path))?;
    let file = File::from(file);
    let stat = rustix::fs::fstat(&file).map_err(Error::io("examine", path))?;
    Ok((file, u64::try_from(stat.st_size).unwrap_or(0)))
}

/// Refuses what is not a regular file before it is opened, since opening a device can have effects.
pub(crate) fn check_kind(path: &Path) -> Result<()> {
    // Not by the standard library, which does not do without statx(2) where that is forbidden.
    let stat = rustix::fs::lstat(path).map_err(Error::io("open", path))?;
    let found = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Symlink => "a symlink (they are not followed, name the file itself)",
        FileType::Directory => "a folder",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::BlockDevice | FileType::CharacterDevice => "a device",
        FileType::Unknown => "a special file",
    };
    Err(Error::NotAFile { path: path.into(), found })
}

/// The folder in which `path` names a file, opened, and the file's name in it.
pub(crate) fn open_folder(path: &Path) -> Result<(File, PathBuf)> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
    let name = path.file_name().ok_or_else(invalid).map_err(Error::io("create", path))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(parent, flags, Mode::empty())
        .map_err(Error::io("open the folder", parent))?;
    Ok((File::from(folder), name.into()))
}
