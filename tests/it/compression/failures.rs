//! Writes that fail half-way keep what they did not cover.

use std::sync::atomic::Ordering;

use storage::{StorageBackend, StorageError};

use super::shelf::{PATH, Shelf, content, noise, text};

/// Runs a write that fails after `good` writes below, and so does each further one.
async fn torn(shelf: &Shelf, offset: u64, data: &[u8], good: usize) {
    let layer = shelf.layer();
    layer.len(PATH).await.unwrap();
    shelf.good_writes.store(good, Ordering::SeqCst);
    let error = layer.write(PATH, offset, data).await.unwrap_err();
    assert_eq!(error.io_kind(), std::io::ErrorKind::StorageFull, "{error}");
}

#[tokio::test]
async fn an_extension_that_fails_leaves_the_file_as_it_was() {
    for good in 0..4 {
        let shelf = Shelf::default();
        let old = text(2 * 4096 + 1000);
        shelf.layer().write(PATH, 0, &old).await.unwrap();
        let stored = shelf.stored(PATH);
        // From block 3 on: nothing that there is changes.
        torn(&shelf, 3 * 4096, &noise(5 * 4096, 1), good).await;
        shelf.good_writes.store(usize::MAX, Ordering::SeqCst);
        assert!(shelf.stored(PATH) == stored, "after {good} good writes");
        assert!(content(&shelf.layer(), PATH).await.unwrap() == old);
    }
}

#[tokio::test]
async fn a_file_that_could_not_be_made_is_not_there() {
    let shelf = Shelf::default();
    shelf.good_writes.store(0, Ordering::SeqCst);
    shelf.layer().write(PATH, 0, b"x").await.unwrap_err();
    assert!(!shelf.layer().exists(PATH).await.unwrap());
    shelf.good_writes.store(usize::MAX, Ordering::SeqCst);
    shelf.layer().write(PATH, 0, b"x").await.unwrap();
}

#[tokio::test]
async fn a_block_written_in_part_gets_its_old_bytes_back() {
    let shelf = Shelf::default();
    let old = noise(4096, 1);
    shelf.layer().write(PATH, 0, &old).await.unwrap();
    shelf.tear_next.store(true, Ordering::SeqCst);
    let error = shelf.layer().write(PATH, 1000, &noise(500, 2)).await.unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
    assert!(content(&shelf.layer(), PATH).await.unwrap() == old);
}
