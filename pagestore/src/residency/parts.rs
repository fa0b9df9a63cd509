//! Which parts of a file are in memory.

use std::{num::NonZeroU32, path::Path};

use crate::{
    error::{Error, Result},
    file::claim::open_to_look,
    residency::cache::{self, Residency},
};

/// What the page cache holds of each of many equal parts of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ResidencyMap {
    /// The file's length in bytes.
    pub file_len: u64,
    /// The bytes of a part: a multiple of the operating system's page, the same for all parts, of
    /// which the last may reach past the file's end.
    pub part_len: u64,
    /// The parts in the order of the file; none of an empty one.
    pub parts: Vec<Residency>,
}

/// Asks the kernel what it has in memory of the file at `path`, in at most `parts_max` parts, as small as
/// possible. Any regular file will do. Takes no lock and maps nothing, so it works on a file that is in use,
/// and brings no page in. One system call for each part (0.4 us).
///
/// # Errors
/// [`Error::Io`], also where the kernel does not tell: before Linux 6.5, where a filter forbids
/// cachestat(2), to who neither owns the file nor may write to it, and on filesystems that keep
/// their pages elsewhere (hugetlbfs). [`Error::NotAFile`].
///
/// ```
/// use std::num::NonZeroU32;
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("pages");
/// # pagestore::PageFile::create(&path)?.grow(pagestore::PageCount::new(100))?;
/// let map = pagestore::residency_map(&path, NonZeroU32::new(64).unwrap())?;
/// assert!(map.parts.len() <= 64);
/// # Ok::<(), pagestore::Error>(())
/// ```
pub fn residency_map(path: impl AsRef<Path>, parts_max: NonZeroU32) -> Result<ResidencyMap> {
    let path = path.as_ref();
    let (file, file_len) = open_to_look(path)?;
    let os_page_size = rustix::param::page_size() as u64;
    let part_len = file_len
        .div_ceil(u64::from(parts_max.get()))
        .next_multiple_of(os_page_size)
        .max(os_page_size);
    let ask = |part: u64| {
        cache::ask(&file, part * part_len, part_len).map_err(Error::io(
            "ask the kernel (Linux 6.5 or later, not on overlayfs) what it has in memory of",
            path,
        ))
    };
    let parts = (0..file_len.div_ceil(part_len)).map(ask).collect::<Result<_>>()?;
    Ok(ResidencyMap { file_len, part_len, parts })
}
