//! How blocks are written: together, in order, and never forgotten.

use futures_util::FutureExt;
use storage::StorageError;

use super::double::{BLOCK, Call, Double, blocks, pattern};

const BLOCK_U64: u64 = BLOCK as u64;

#[tokio::test]
async fn neighbours_are_written_in_one_piece() {
    let double = Double::new(None);
    let buffer = double.buffer(blocks(64)).await;
    for index in [3, 1, 2, 9, 8, 20] {
        buffer.write_at(index * BLOCK_U64, &[7; BLOCK]).await.unwrap();
    }
    assert_eq!(double.calls(), []);
    buffer.flush().await.unwrap();
    let pieces = vec![(BLOCK_U64, 3 * BLOCK), (8 * BLOCK_U64, 2 * BLOCK), (20 * BLOCK_U64, BLOCK)];
    assert_eq!(double.calls(), [Call::Write(pieces), Call::Sync]);
    let stats = buffer.stats();
    assert_eq!((stats.write_backs, stats.write_back_runs, stats.dirty_bytes), (6, 3, 0));
    buffer.flush().await.unwrap();
    assert_eq!(double.calls().len(), 2, "nothing to do");
}

#[tokio::test]
async fn small_appends_read_nothing_and_become_one_write() {
    let double = Double::new(None);
    let buffer = double.buffer(blocks(64)).await;
    let expected = pattern(100 * 100);
    for (at, line) in expected.chunks(100).enumerate() {
        buffer.write_at(at as u64 * 100, line).await.unwrap();
    }
    buffer.close().await.unwrap();
    assert_eq!(double.calls(), [Call::Write(vec![(0, 100 * 100)]), Call::Sync]);
    assert_eq!(double.content(), expected);
}

#[tokio::test]
async fn what_is_around_a_small_write_is_read_first_and_only_where_there_is_something() {
    let double = Double::new(pattern(BLOCK + 50));
    let buffer = double.buffer(blocks(64)).await;
    buffer.write_at(BLOCK_U64 + 20, &[1; 100]).await.unwrap();
    assert_eq!(double.reads(), [(BLOCK_U64, 50)]);
    buffer.write_at(0, &[2; BLOCK]).await.unwrap();
    buffer.write_at(5 * BLOCK_U64 + 9, &[3; 10]).await.unwrap();
    assert_eq!(double.reads().len(), 1, "the others are replaced or new");
    buffer.flush().await.unwrap();
    let mut expected = vec![2; BLOCK];
    expected.extend(&pattern(BLOCK + 50)[BLOCK..BLOCK + 20]);
    expected.extend([1; 100]);
    expected.resize(5 * BLOCK + 9, 0);
    expected.extend([3; 10]);
    assert_eq!(double.content(), expected);
}

#[tokio::test]
async fn dirty_blocks_are_written_together_when_memory_is_needed() {
    let double = Double::new(None);
    let buffer = double.buffer(blocks(16)).await;
    for index in 0..16 {
        buffer.write_at(index * BLOCK_U64, &[1; BLOCK]).await.unwrap();
    }
    buffer.write_at(100 * BLOCK_U64, &[1; 10]).await.unwrap();
    assert_eq!(double.calls(), [Call::Write(vec![(0, 4 * BLOCK)])], "a quarter, and no sync");
}

#[tokio::test]
async fn dirty_neighbours_go_with_the_one_used_least_recently() {
    let double = Double::new(None);
    let buffer = double.buffer(blocks(16)).await;
    for index in [8, 1, 3, 5, 0, 2, 4, 6, 7, 9, 10, 11, 12, 13, 14, 15] {
        buffer.write_at(index * BLOCK_U64, &[1; BLOCK]).await.unwrap();
    }
    buffer.write_at(100 * BLOCK_U64, &[1; 10]).await.unwrap();
    assert_eq!(double.calls(), [Call::Write(vec![(5 * BLOCK_U64, 4 * BLOCK)])]);
    assert_eq!(buffer.stats().write_back_runs, 1);
    for index in 16..40 {
        buffer.write_at(index * BLOCK_U64, &[1; BLOCK]).await.unwrap();
    }
    // Both sides: nothing is dirty below 0.
    assert!(double.calls().contains(&Call::Write(vec![(0, 4 * BLOCK)])), "{:?}", double.calls());
}

#[tokio::test]
async fn a_read_does_not_undo_a_write_that_came_meanwhile() {
    let double = Double::new(pattern(BLOCK));
    let buffer = double.buffer(blocks(8)).await;
    double.stall();
    let mut read = Box::pin(buffer.read_block(0));
    assert!((&mut read).now_or_never().is_none());
    buffer.write_at(0, &[6; BLOCK]).await.unwrap();
    double.go_on();
    assert_eq!(read.await.unwrap().read(), [6; BLOCK]);
    buffer.flush().await.unwrap();
    assert_eq!(double.content(), [6; BLOCK]);
}

#[tokio::test]
async fn a_failed_flush_keeps_the_blocks() {
    let double = Double::new(pattern(3 * BLOCK));
    let buffer = double.buffer(blocks(8)).await;
    buffer.write_at(10, &[9; 2 * BLOCK]).await.unwrap();
    double.fail_writes(2);
    let error = buffer.flush().await.unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
    assert!(!double.calls().contains(&Call::Sync), "nothing is durable, and nothing says so");
    assert_eq!(buffer.stats().write_back_failures, 2);
    assert_eq!(buffer.stats().dirty_bytes, 2 * BLOCK_U64);
    assert_eq!(buffer.read_block(1).await.unwrap().read(), [9; BLOCK]);
    buffer.flush().await.unwrap();
    assert_eq!(double.content()[10..10 + 2 * BLOCK], [9; 2 * BLOCK]);
}

#[tokio::test]
async fn a_write_that_failed_for_want_of_memory_is_told_by_the_next_flush() {
    let double = Double::new(pattern(20 * BLOCK));
    let buffer = double.buffer(blocks(2)).await;
    buffer.write_at(0, &[5; BLOCK]).await.unwrap();
    buffer.write_at(7 * BLOCK_U64, &[5; BLOCK]).await.unwrap();
    double.fail_writes(1);
    // It cannot get memory, and says why.
    let error = buffer.read_block(15).await.unwrap_err();
    assert_eq!(error.io_kind(), std::io::ErrorKind::StorageFull);
    // Nobody else hears of it.
    assert_eq!(buffer.read_block(15).await.unwrap().read()[0], pattern(16 * BLOCK)[15 * BLOCK]);
    let error = buffer.flush().await.unwrap_err();
    assert_eq!(error.io_kind(), std::io::ErrorKind::StorageFull);
    buffer.flush().await.unwrap();
    assert!(double.calls().contains(&Call::Sync));
    assert_eq!(double.content()[..BLOCK], [5; BLOCK]);
    assert_eq!(double.content()[7 * BLOCK..8 * BLOCK], [5; BLOCK]);
}

#[tokio::test]
async fn a_write_is_not_overtaken_by_an_earlier_one_that_nobody_waits_for() {
    let double = Double::new(None);
    let buffer = double.buffer(blocks(8)).await;
    buffer.write_at(0, b"early").await.unwrap();
    double.stall();
    assert!(buffer.flush().now_or_never().is_none(), "and dropped");
    buffer.write_at(0, b"later").await.unwrap();
    let flush = tokio::spawn({
        let buffer = buffer.clone();
        async move { buffer.flush().await }
    });
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
    let write_count = double.calls().len();
    assert_eq!(write_count, 1, "the second write waits for the first");
    double.go_on();
    flush.await.unwrap().unwrap();
    assert_eq!(double.content(), b"later");
}

#[tokio::test]
async fn what_is_written_during_a_flush_is_not_taken_for_written() {
    let double = Double::new(None);
    let buffer = double.buffer(blocks(8)).await;
    buffer.write_at(0, b"early").await.unwrap();
    double.stall();
    let mut flush = Box::pin(buffer.flush());
    assert!((&mut flush).now_or_never().is_none());
    buffer.write_at(0, b"later").await.unwrap();
    double.go_on();
    flush.await.unwrap();
    assert_eq!(double.content(), b"early");
    assert_eq!(buffer.stats().dirty_bytes, BLOCK_U64);
    buffer.flush().await.unwrap();
    assert_eq!(double.content(), b"later");
}

#[tokio::test]
async fn a_stale_short_block_does_not_cut_what_was_appended() {
    let double = Double::new(pattern(100));
    let buffer = double.buffer(blocks(8)).await;
    let mut block = buffer.read_block(0).await.unwrap();
    block.write().unwrap()[0] = 99;
    buffer.write_at(100, &[8; 50]).await.unwrap();
    buffer.write_block(block).await.unwrap();
    buffer.flush().await.unwrap();
    let mut expected = pattern(100);
    expected[0] = 99;
    expected.extend([8; 50]);
    assert_eq!(double.content(), expected);
}

#[tokio::test]
async fn offsets_that_no_file_has_are_refused() {
    let double = Double::new(None);
    let buffer = double.buffer(blocks(8)).await;
    for offset in [u64::MAX, u64::MAX - 1, i64::MAX as u64] {
        let error = buffer.write_at(offset, &[0; 2]).await.unwrap_err();
        assert!(matches!(error, StorageError::Unsupported { .. }), "{error}");
    }
    let error = buffer.blank_block(u64::MAX / BLOCK_U64).await.unwrap_err();
    assert!(matches!(error, StorageError::Unsupported { .. }), "{error}");
    assert_eq!(buffer.file_len(), 0);
}
