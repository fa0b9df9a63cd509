//! What is kept of which file, over real media: of one that can be written, its blocks; of one that is
//! sealed and whose reads are views, nothing.

use std::sync::Arc;

use storage::{
    AsyncFile, BufferPool, Caching, Compressed, DynBackend, FileBuffer, FileBufferOptions, Limits,
    MemoryBackend, MmapBackend, PosixBackend, StorageBackend, StorageConfig, StorageError, backend,
    config::BackendKind,
};
use tempfile::TempDir;

use super::double::{BLOCK, pattern};

const BLOCKS: u64 = 8;

fn mapped() -> (DynBackend, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Arc::new(MmapBackend::open(folder.path(), Limits::default()).unwrap()), folder)
}

async fn write_file(backend: &DynBackend) {
    backend.write("f", 0, &pattern(8 * BLOCK)).await.unwrap();
    backend.sync("f").await.unwrap();
}

async fn buffer_with(backend: &DynBackend, options: FileBufferOptions) -> FileBuffer {
    let file = AsyncFile::new(Arc::clone(backend), "f").unwrap();
    FileBuffer::new(file, options.block_size_bytes(BLOCK)).await.unwrap()
}

async fn buffer(backend: &DynBackend) -> FileBuffer {
    buffer_with(backend, FileBufferOptions::default().read_ahead_blocks_max(0)).await
}

/// Whether a block lies where the backend reads it, without a copy.
async fn is_view(buffer: &FileBuffer, index: u64) -> bool {
    let backend = buffer.file().backend();
    let block = buffer.read_block(index).await.unwrap();
    let read = backend.read("f", index * BLOCK as u64, BLOCK).await.unwrap();
    assert_eq!(block.read(), read);
    block.read().as_ptr() == read.as_ptr()
}

/// Small updates of a mutable file reach memory only, whatever the medium.
#[tokio::test]
async fn updates_of_a_mutable_file_are_kept_until_the_flush() {
    let (backend, _folder) = mapped();
    write_file(&backend).await;
    let buffer = buffer(&backend).await;
    let before = backend.stats();
    for round in 0..1000_u64 {
        let index = round % BLOCKS;
        let block = buffer.read_block(index).await.unwrap();
        let word = u64::from_le_bytes(block.read()[..8].try_into().unwrap());
        drop(block);
        let word = word.wrapping_add(1).to_le_bytes();
        buffer.write_at(index * BLOCK as u64, &word).await.unwrap();
    }
    let (stats, after) = (buffer.stats(), backend.stats());
    assert_eq!((stats.hits, stats.misses, stats.views), (1000 - BLOCKS, BLOCKS, 0));
    assert_eq!(after.writes.count, before.writes.count, "nothing was written yet");
    assert_eq!(after.reads.count - before.reads.count, BLOCKS, "each block was read once");
    buffer.close().await.unwrap();
    let mut expected = pattern(8 * BLOCK);
    for block in expected.chunks_mut(BLOCK) {
        let word = u64::from_le_bytes(block[..8].try_into().unwrap());
        block[..8].copy_from_slice(&word.wrapping_add(125).to_le_bytes());
    }
    assert_eq!(backend.read("f", 0, 8 * BLOCK).await.unwrap(), expected);
}

#[tokio::test]
async fn of_a_sealed_file_that_is_mapped_nothing_is_kept() {
    let (backend, folder) = mapped();
    write_file(&backend).await;
    backend.seal("f").await.unwrap();
    // Also by a backend that has not had it open.
    drop(backend);
    let backend: DynBackend =
        Arc::new(MmapBackend::open(folder.path(), Limits::default()).unwrap());
    let buffer = buffer(&backend).await;
    let error = buffer.write_at(0, b"x").await.unwrap_err();
    assert!(matches!(error, StorageError::Sealed { .. }), "before anything was read: {error}");
    for index in (0..BLOCKS).chain(0..BLOCKS) {
        assert!(is_view(&buffer, index).await);
    }
    let stats = buffer.stats();
    assert_eq!((stats.hits, stats.misses, stats.views), (0, 0, 2 * BLOCKS));
    assert_eq!(stats.held_bytes, 0);
    buffer.read_block(BLOCKS).await.err().unwrap();
    buffer.close().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_sealed_meanwhile_is_shown_from_then_on() {
    let (backend, _folder) = mapped();
    write_file(&backend).await;
    let buffer = buffer(&backend).await;
    buffer.write_at(10, b"changed").await.unwrap();
    assert!(!is_view_or_dirty(&buffer, 1).await);
    buffer.flush().await.unwrap();
    backend.seal("f").await.unwrap();
    assert!(is_view(&buffer, 2).await, "not in memory, so it is shown");
    assert!(!is_view(&buffer, 1).await, "in memory, so it is there at no cost");
    assert_eq!(&buffer.read_block(0).await.unwrap().read()[10..17], b"changed");
    let stats = buffer.stats();
    assert_eq!((stats.views, stats.misses), (1, 1), "{stats:?}");
    let error = buffer.write_at(0, b"x").await.unwrap_err();
    assert!(matches!(error, StorageError::Sealed { .. }), "{error}");
}

/// The block is compared by itself, since the file has not what was changed.
async fn is_view_or_dirty(buffer: &FileBuffer, index: u64) -> bool {
    let used_before = buffer.stats().used_bytes;
    let _block = buffer.read_block(index).await.unwrap();
    buffer.stats().used_bytes == used_before
}

/// Sealed before all was written out: what the buffer has stays readable, and the flush tells.
#[tokio::test]
async fn what_was_not_flushed_before_the_seal_is_told_and_not_lost() {
    let (backend, _folder) = mapped();
    write_file(&backend).await;
    let buffer = buffer(&backend).await;
    // Far behind the end, so that there are blocks that no medium has.
    buffer.write_at(20 * BLOCK as u64, b"late").await.unwrap();
    backend.seal("f").await.unwrap();
    assert!(is_view(&buffer, 3).await);
    assert_eq!(&buffer.read_block(20).await.unwrap().read()[..4], b"late");
    assert_eq!(buffer.read_block(12).await.unwrap().read(), vec![0; BLOCK]);
    let error = buffer.flush().await.unwrap_err();
    assert!(matches!(error, StorageError::Sealed { .. }), "{error}");
    assert_eq!(&buffer.read_block(20).await.unwrap().read()[..4], b"late");
}

#[tokio::test]
async fn each_medium_by_what_its_sealed_reads_are() {
    let folder = tempfile::tempdir().unwrap();
    let memory = MemoryBackend::with_budget(16 << 20, Limits::default()).unwrap();
    let over = MemoryBackend::with_budget(16 << 20, Limits::default()).unwrap();
    let compressed = Compressed::new(over, 4096, BufferPool::new(16 << 20)).unwrap();
    let posix = PosixBackend::open(folder.path().join("p"), Limits::default()).unwrap();
    let store = |backend, compression| {
        let root = folder.path().join(format!("{compression:?}"));
        backend::open(&StorageConfig { root, backend, compression, ..Default::default() }).unwrap()
    };
    use storage::config::CompressionConfig::{Lz4, None};
    let table: [(&str, DynBackend, bool); 5] = [
        ("memory", Arc::new(memory), true),
        ("posixio", Arc::new(posix), false),
        ("compressed", Arc::new(compressed), false),
        ("a mapped store", store(BackendKind::Mmap, None), true),
        ("a compressed store", store(BackendKind::Mmap, Lz4), false),
    ];
    for (name, backend, views) in table {
        write_file(&backend).await;
        let kept = buffer(&backend).await;
        kept.read_block(0).await.unwrap();
        assert_eq!((kept.stats().views, kept.stats().misses), (0, 1), "{name} is mutable");
        backend.seal("f").await.unwrap();
        let shown = buffer(&backend).await;
        assert_eq!(is_view(&shown, 0).await, views, "{name}");
        assert_eq!(shown.stats().views, u64::from(views), "{name}");
        assert_eq!(shown.stats().misses, u64::from(!views), "{name}");
        // By hand it is as asked, whatever the file is.
        for (caching, count) in [(Caching::Buffered, 0), (Caching::PassThrough, 1)] {
            let options = FileBufferOptions::default().caching(caching);
            let by_hand = buffer_with(&backend, options).await;
            by_hand.read_block(0).await.unwrap();
            assert_eq!(by_hand.stats().views, count, "{name} {caching:?}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_yet_is_buffered() {
    let (backend, _folder) = mapped();
    let buffer = buffer(&backend).await;
    buffer.write_at(0, b"first").await.unwrap();
    assert!(!backend.exists("f").await.unwrap());
    buffer.close().await.unwrap();
    assert_eq!(backend.read("f", 0, 5).await.unwrap(), b"first"[..]);
}
