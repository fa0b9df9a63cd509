//! Writing and reading whole files through DBSP's traits.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering, mpsc},
};

use dbsp::storage::backend::posixio_impl::PosixBackend;
use feldera_storage::{
    FileReader, StorageBackend, StoragePath, block::BlockLocation, error::StorageError, fbuf::FBuf,
};
use feldera_types::config::{FileBackendConfig, StorageCacheConfig};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use storage_dbsp::MappedStorage;
use tempfile::TempDir;

pub(crate) type Backend = Arc<dyn StorageBackend>;

/// Our backend on a folder of its own.
pub(crate) fn backend() -> (TempDir, Backend) {
    let folder = tempfile::tempdir().unwrap();
    let backend = open(folder.path());
    (folder, backend)
}

pub(crate) fn open(folder: &Path) -> Backend {
    Arc::new(MappedStorage::open(folder).unwrap())
}

/// DBSP's own backend.
pub(crate) fn built_in(folder: &Path) -> Backend {
    let (cache, options) = (StorageCacheConfig::default(), FileBackendConfig::default());
    Arc::new(PosixBackend::new(folder, cache, &options))
}

pub(crate) fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Writes a file in blocks of the given sizes, of which it then consists.
pub(crate) fn write(
    backend: &Backend,
    name: &StoragePath,
    bytes: &[u8],
    sizes: &[usize],
) -> Arc<dyn FileReader> {
    assert_eq!(sizes.iter().sum::<usize>(), bytes.len());
    let mut writer = backend.create_named(name).unwrap();
    let mut left = bytes;
    for &size in sizes {
        let (block, rest) = left.split_at(size);
        let written = writer.write_block(FBuf::from_slice(block)).unwrap();
        assert_eq!(written.as_slice(), block, "the block comes back");
        left = rest;
    }
    let reader = writer.complete().unwrap();
    assert_eq!(reader.path(), name);
    reader
}

/// Writes a file that stays.
pub(crate) fn keep(backend: &Backend, name: &str, bytes: &[u8]) {
    write(backend, &name.into(), bytes, &[bytes.len()]).mark_for_checkpoint();
}

/// A place in a file, which need not be a multiple of 512.
pub(crate) fn block(offset: u64, size: usize) -> BlockLocation {
    BlockLocation { offset, size }
}

pub(crate) fn read(
    reader: &dyn FileReader,
    offset: u64,
    size: usize,
) -> Result<Vec<u8>, StorageError> {
    reader.read_block(block(offset, size)).map(|block| block.to_vec())
}

/// Reads asynchronously, and waits.
pub(crate) fn read_async(
    reader: &dyn FileReader,
    blocks: Vec<BlockLocation>,
) -> Vec<Result<Arc<FBuf>, StorageError>> {
    let (sender, receiver) = mpsc::channel();
    reader.read_async(blocks, Box::new(move |results| sender.send(results).unwrap()));
    receiver.recv().unwrap()
}

pub(crate) fn usage(backend: &Backend) -> i64 {
    backend.usage().load(Ordering::Relaxed)
}

/// The names that lie in a folder of the disk, sorted.
pub(crate) fn names_on_disk(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
