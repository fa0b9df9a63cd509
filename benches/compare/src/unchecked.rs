//! Rivals whose own interface is unsafe. All `unsafe` of this crate is here.
//!
//! Callers stay safe because the files lie in a private folder that this run has made, and because
//! each is opened by one rival at a time.
#![expect(unsafe_code, reason = "rivals that leave it to their callers that files do not change")]

use std::{fs::File, io, path::Path};

use heed::{Env, EnvFlags, EnvOpenOptions};
use memmap2::MmapMut;

/// Maps a file to read and write.
pub(crate) fn map_mut(file: &File) -> io::Result<MmapMut> {
    // SAFETY: nobody else uses the file as long as it is mapped: it lies in this run's own folder,
    // and the one rival that made it maps it once at a time.
    unsafe { MmapMut::map_mut(file) }
}

/// Opens an environment of LMDB.
pub(crate) fn open_lmdb(folder: &Path, map_size: usize, flags: EnvFlags) -> heed::Result<Env> {
    let mut options = EnvOpenOptions::new();
    options.map_size(map_size);
    // SAFETY: no flag that is passed here takes a lock away (`NO_LOCK`) or lets bytes be written
    // through the map (`WRITE_MAP`): they are about syncing and reading ahead only.
    unsafe { options.flags(flags) };
    // SAFETY: the folder is this run's own, on a local disk, and nothing but this environment writes
    // to the files in it; no transaction of it outlives the call that began it.
    unsafe { options.open(folder) }
}
