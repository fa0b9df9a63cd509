//! What the pages of a versioned store lie in: a claimed file, or memory that looks like one.

use std::{fs::File, path::Path};

use rustix::fs::MemfdFlags;

use crate::{
    error::{Error, Result},
    file::claim::Claim,
};

/// The file under the mappings. Whoever maps it keeps it, and so its lock, alive.
#[derive(Debug)]
pub(super) enum Backing {
    /// A file under our exclusive lock, or a shared one where it is only read.
    Claimed(Claim),
    /// Memory, by memfd_create(2): nobody else has a descriptor of it.
    Memory(File),
}

impl Backing {
    pub(super) fn memory() -> Result<Self> {
        let file = rustix::fs::memfd_create("versioned pages", MemfdFlags::CLOEXEC)
            .map_err(Error::io("make memory for", Path::new(MEMORY)))?;
        Ok(Self::Memory(File::from(file)))
    }

    pub(super) fn file(&self) -> &File {
        match self {
            Self::Claimed(claim) => claim.file(),
            Self::Memory(file) => file,
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Claimed(claim) => claim.path(),
            Self::Memory(_) => Path::new(MEMORY),
        }
    }

    pub(super) fn len_bytes(&self) -> Result<u64> {
        match self {
            Self::Claimed(claim) => claim.len_bytes(),
            Self::Memory(file) => {
                let stat = rustix::fs::fstat(file).map_err(Error::io("examine", self.path()))?;
                Ok(u64::try_from(stat.st_size).unwrap_or(0))
            }
        }
    }
}

/// What messages call memory without a file.
const MEMORY: &str = "memory";
