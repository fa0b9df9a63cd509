//! The manifest: the root says what its files hold, so that nobody takes stored bytes for content.
//!
//! It is made before the first file, appears whole or not at all, and is never changed. No name leads
//! to it ([`StoragePath::new`] refuses what begins as it does), and no list has it.

use std::{os::fd::AsFd, path::Path};

use layout::{Manifest, ManifestError, StoredContent};
use rustix::{
    fs::{AtFlags, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{FILE_MODE, Missing, Root, TRIES_MAX, regular};
use crate::{Operation, Result, StorageError, StoragePath};

/// The file's name. It begins with [`StoragePath::RESERVED_PREFIX`].
const NAME: &str = ".storage-manifest";

/// How many bytes of a file tell what it holds.
const START_BYTES: usize = StoredContent::LZ4_BLOCKS_MAGIC.len();

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

impl Root {
    /// Opens the folder at `path` for files that hold `asked`. One that says nothing is taken for what
    /// it is asked for, and goes on saying nothing.
    ///
    /// # Errors
    /// [`StorageError::StoredOtherwise`] where the folder's manifest says something else; also where
    /// the manifest cannot be read.
    pub(crate) fn open_files(path: &Path, asked: StoredContent) -> Result<Self> {
        let root = Self::open(path)?;
        root.check_manifest(path, asked)?;
        Ok(root)
    }

    /// Opens the folder at `path` as a store of files that hold `asked`, and has it say so from now
    /// on. One that says nothing and has files in it is taken for what these look like.
    ///
    /// A folder that cannot be written to stays as it is, so its files are looked at each time.
    ///
    /// # Errors
    /// As [`open_files`](Self::open_files), where a file looks otherwise, and where the manifest
    /// cannot be made for another reason than that this user may not, or that the disk is full.
    pub(crate) fn open_store(path: &Path, asked: StoredContent) -> Result<Self> {
        let root = Self::open(path)?;
        if root.check_manifest(path, asked)? == Said::Something {
            return Ok(root);
        }
        root.check_files(path, asked)?;
        match root.make_manifest(Manifest::new(asked)) {
            // Again, since somebody else may have been first, with another one.
            Ok(()) => root.check_manifest(path, asked).map(|_| root),
            Err(
                error @ (Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::NOSPC | Errno::DQUOT),
            ) => {
                tracing::warn!(
                    target: "storage", root = %path.display(), %error,
                    "the root cannot say how its files are stored, since it cannot be written to"
                );
                Ok(root)
            }
            Err(errno) => Err(StorageError::io(Operation::Open, shown(path))(errno)),
        }
    }

    /// Compares what the manifest says with what is asked for.
    fn check_manifest(&self, root: &Path, asked: StoredContent) -> Result<Said> {
        let Some(manifest) = self.read_manifest(root)? else { return Ok(Said::Nothing) };
        let stored = manifest.content();
        if stored == asked {
            return Ok(Said::Something);
        }
        let (path, evidence) = (root.to_string_lossy().into_owned(), "its manifest".to_owned());
        Err(StorageError::StoredOtherwise { path, stored, asked, evidence })
    }

    fn read_manifest(&self, root: &Path) -> Result<Option<Manifest>> {
        let read = || {
            let file = rustix::fs::openat(&self.folder, NAME, READ, Mode::empty())?;
            regular(&rustix::fs::fstat(&file)?)?;
            // One byte more than there should be.
            read_start::<{ Manifest::LEN_BYTES + 1 }>(file)
        };
        let (bytes, len) = match read() {
            Ok(read) => read,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => {
                let name = StoragePath::reserved(NAME);
                return Err(self.explain(Operation::Open, name, Missing::Make, errno));
            }
        };
        let operation = Operation::Open;
        Manifest::parse(&bytes[..len]).map(Some).map_err(|error| match error {
            ManifestError::Unknown { .. } => {
                let reason = format!("{error}; use a newer build");
                StorageError::Unsupported { operation, path: shown(root), reason }
            }
            damaged => {
                let reason = format!(
                    "{damaged}; or, if you know how the files are stored, remove it, and the next \
                     opening makes a new one"
                );
                StorageError::Corrupt { operation, path: shown(root), offset: 0, reason }
            }
        })
    }

    /// Looks at how each file begins.
    fn check_files(&self, root: &Path, asked: StoredContent) -> Result<()> {
        for path in self.list("")? {
            let name = StoragePath::new(&path)?;
            let start = match self.start_of(name) {
                Ok(start) => start,
                // It is gone, or nothing that this user can read here.
                Err(
                    Errno::NOENT
                    | Errno::NOTDIR
                    | Errno::LOOP
                    | Errno::NXIO
                    | Errno::ACCESS
                    | Errno::PERM,
                ) => continue,
                Err(errno) => return Err(StorageError::io(Operation::Open, &path)(errno)),
            };
            if !asked.fits(&start) {
                let stored = match StoredContent::Lz4Blocks.fits(&start) {
                    true => StoredContent::Lz4Blocks,
                    false => StoredContent::Plain,
                };
                let evidence = format!("how its file {path:?} begins");
                let path = root.to_string_lossy().into_owned();
                return Err(StorageError::StoredOtherwise { path, stored, asked, evidence });
            }
        }
        Ok(())
    }

    /// The first bytes of a file.
    fn start_of(&self, path: StoragePath<'_>) -> rustix::io::Result<Vec<u8>> {
        let (folder, name) = path.split();
        let file = rustix::fs::openat(self.folder(folder)?, name, READ, Mode::empty())?;
        regular(&rustix::fs::fstat(&file)?)?;
        let (start, len) = read_start::<START_BYTES>(file)?;
        Ok(start[..len].to_vec())
    }

    /// Makes the manifest, durably and all at once; leaves one that is there.
    fn make_manifest(&self, manifest: Manifest) -> rustix::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut tries = 0..TRIES_MAX;
        let (temporary, file) = loop {
            // Not the process id: two containers that share a folder may have the same one.
            let number = tries.next().ok_or(Errno::EXIST)?;
            let name = format!("{NAME}-{number}.tmp");
            match rustix::fs::openat(&self.folder, &name, flags, FILE_MODE) {
                Ok(file) => break (name, file),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        };
        let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let whole = write_all(&file, &manifest.encode())
            .and_then(|()| pagestore::sync_file(&file).map_err(errno));
        let named = whole.and_then(|()| self.name_manifest(&temporary));
        // After a rename the temporary name is free, and may be somebody else's by now.
        if named != Ok(Named::Moved) {
            // One that stays is seen by nobody.
            let _gone = rustix::fs::unlinkat(&self.folder, &temporary, AtFlags::empty());
        }
        named?;
        pagestore::sync_folder(&self.folder).map_err(errno)
    }

    /// Gives the manifest its name, unless there is one.
    fn name_manifest(&self, temporary: &str) -> rustix::io::Result<Named> {
        let (folder, replace_none) = (&self.folder, RenameFlags::NOREPLACE);
        let named = match rustix::fs::renameat_with(folder, temporary, folder, NAME, replace_none) {
            // Filesystems that do not know the flag, and kernels that do not know the call.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(folder, temporary, folder, NAME, AtFlags::empty())
                    .map(|()| Named::Beside)
            }
            named => named.map(|()| Named::Moved),
        };
        match named {
            Err(Errno::EXIST) => Ok(Named::Beside),
            named => named,
        }
    }
}

/// Whether the temporary name of a manifest is still there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Named {
    Moved,
    Beside,
}

/// Whether a root says how its files are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Nothing,
    Something,
}

/// The manifest's path, for messages.
fn shown(root: &Path) -> String {
    root.join(NAME).to_string_lossy().into_owned()
}

/// Up to `N` bytes from the beginning of a file, and how many there are.
fn read_start<const N: usize>(file: impl AsFd) -> rustix::io::Result<([u8; N], usize)> {
    let (mut bytes, mut len) = ([0; N], 0);
    while len < N {
        match rustix::io::pread(&file, &mut bytes[len..], len as u64) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok((bytes, len))
}

fn write_all(file: impl AsFd, bytes: &[u8]) -> rustix::io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(&file, &bytes[written..]) {
            Ok(0) => return Err(Errno::IO),
            Ok(more) => written += more,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
