//! How blocks are read: which calls reach the backend.

use std::time::Duration;

use futures_util::{FutureExt, future};
use storage::{FileBufferOptions, StorageError};

use super::double::{BLOCK, Double, blocks, pattern};

#[tokio::test]
async fn what_is_in_memory_is_answered_in_the_same_poll() {
    let double = Double::new(pattern(2 * BLOCK));
    let buffer = double.buffer(blocks(4)).await;
    drop(buffer.read_block(1).await.unwrap());
    double.stall();
    let block = buffer.read_block(1).now_or_never().expect("in the same poll").unwrap();
    assert_eq!(block.read(), &pattern(2 * BLOCK)[BLOCK..]);
    assert_eq!((block.index(), block.offset(), block.len()), (1, BLOCK as u64, BLOCK));
    assert_eq!(double.reads().len(), 1);
    let stats = buffer.stats();
    assert_eq!((stats.hits, stats.misses), (1, 1));
}

#[tokio::test]
async fn the_last_block_is_as_short_as_the_file() {
    let double = Double::new(pattern(BLOCK + 10));
    let buffer = double.buffer(blocks(4)).await;
    let last = buffer.read_block(1).await.unwrap();
    assert_eq!(last.read(), &pattern(BLOCK + 10)[BLOCK..]);
    let past = buffer.read_block(2).await.unwrap_err();
    assert!(
        matches!(past, StorageError::PastEnd { file_len, .. } if file_len == BLOCK as u64 + 10)
    );
    assert!(matches!(buffer.read_block(u64::MAX).await, Err(StorageError::PastEnd { .. })));
}

#[tokio::test]
async fn one_read_serves_all_who_want_the_block() {
    let double = Double::new(pattern(BLOCK));
    let buffer = double.buffer(blocks(4)).await;
    double.stall();
    let readers = (0..20).map(|_| {
        let buffer = buffer.clone();
        tokio::spawn(async move { buffer.read_block(0).await.unwrap().read().to_vec() })
    });
    let readers: Vec<_> = readers.collect();
    tokio::task::yield_now().await;
    double.go_on();
    for read in future::join_all(readers).await {
        assert_eq!(read.unwrap(), pattern(BLOCK));
    }
    assert_eq!(double.reads(), [(0, BLOCK)]);
}

#[tokio::test]
async fn a_read_goes_on_when_the_first_who_wanted_it_leaves() {
    let double = Double::new(pattern(BLOCK));
    let buffer = double.buffer(blocks(4)).await;
    double.stall();
    let mut first = Box::pin(buffer.read_block(0));
    assert!((&mut first).now_or_never().is_none());
    let mut second = Box::pin(buffer.read_block(0));
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    assert!((&mut second).now_or_never().is_none());
    double.go_on();
    assert_eq!(second.await.unwrap().read(), pattern(BLOCK));
    assert_eq!(double.reads(), [(0, BLOCK)]);
}

#[tokio::test]
async fn a_read_goes_on_when_all_who_wanted_it_leave() {
    let double = Double::new(pattern(BLOCK));
    let buffer = double.buffer(blocks(1)).await;
    double.stall();
    assert!(buffer.read_block(0).now_or_never().is_none());
    double.go_on();
    assert_eq!(buffer.read_block(0).await.unwrap().read(), pattern(BLOCK));
    assert_eq!(double.reads(), [(0, BLOCK)]);
}

#[tokio::test]
async fn a_failed_read_is_told_to_all_and_tried_again_by_the_next() {
    let double = Double::new(pattern(BLOCK));
    let buffer = double.buffer(blocks(4)).await;
    double.fail_reads(1);
    double.stall();
    let both = future::join(buffer.read_block(0), buffer.read_block(0));
    let go_on = async {
        tokio::task::yield_now().await;
        double.go_on();
    };
    let ((first, second), ()) = future::join(both, go_on).await;
    for failed in [first, second] {
        let error = failed.unwrap_err();
        assert_eq!(error.io_kind(), std::io::ErrorKind::StorageFull, "{error}");
    }
    assert_eq!(buffer.read_block(0).await.unwrap().read(), pattern(BLOCK));
}

#[tokio::test]
async fn a_sequence_is_read_ahead_in_growing_pieces() {
    let count = 100;
    let double = Double::new(pattern(count * BLOCK));
    let buffer = double.buffer(blocks(256).read_ahead_blocks_max(16)).await;
    for index in 0..count as u64 {
        let at = usize::try_from(index).unwrap() * BLOCK;
        let block = buffer.read_block(index).await.unwrap();
        assert_eq!(block.read(), &pattern(count * BLOCK)[at..at + BLOCK]);
    }
    let block_counts: Vec<usize> = double.reads().iter().map(|(_, len)| len / BLOCK).collect();
    assert_eq!(block_counts, [1, 1, 1, 4, 8, 16, 16, 16, 16, 16, 5]);
    let stats = buffer.stats();
    assert_eq!((stats.read_ahead, stats.read_ahead_used), (97, 97));
    assert_eq!((stats.misses, stats.hits, stats.read_ahead_wasted), (3, 97, 0));
}

#[tokio::test]
async fn reading_ahead_does_not_wait_to_be_asked() {
    let double = Double::new(pattern(40 * BLOCK));
    let buffer = double.buffer(blocks(64).read_ahead_blocks_max(8)).await;
    for index in 0..3 {
        buffer.read_block(index).await.unwrap();
    }
    double.stall();
    // Leads on to the next run, and leaves at once.
    drop(buffer.read_block(3).await.unwrap());
    let asked = buffer.stats().read_ahead;
    double.go_on();
    // Another thread takes what was read.
    while buffer.read_block(14).now_or_never().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(asked >= 8, "it was asked for before anybody wanted it: {asked}");
    double.stall();
    for index in 7..15 {
        let block = buffer.read_block(index).now_or_never();
        block.unwrap_or_else(|| panic!("block {index} was read ahead")).unwrap();
    }
}

#[tokio::test]
async fn random_reads_read_nothing_ahead() {
    let count = 500_u64;
    let double = Double::new(pattern(500 * BLOCK));
    let buffer = double.buffer(blocks(64)).await;
    // All blocks, each once, no three in a row.
    for step in 0..count {
        buffer.read_block(step * 197 % count).await.unwrap();
    }
    assert_eq!(double.reads().len(), 500);
    assert!(double.reads().iter().all(|(_, len)| *len == BLOCK));
    assert_eq!(buffer.stats().read_ahead, 0);
}

#[tokio::test]
async fn sequences_are_told_apart_and_none_is_read_ahead_where_that_is_off() {
    let double = Double::new(pattern(200 * BLOCK));
    let buffer = double.buffer(blocks(256)).await;
    for index in 0..50 {
        buffer.read_block(index).await.unwrap();
        buffer.read_block(100 + index).await.unwrap();
    }
    assert!(double.reads().len() < 20, "{:?}", double.reads());
    double.forget_calls();
    let buffer = double.buffer(FileBufferOptions::default().read_ahead_blocks_max(0)).await;
    for index in 0..50 {
        buffer.read_block(index).await.unwrap();
    }
    assert_eq!(double.reads().len(), 50);
}

#[tokio::test]
async fn who_was_used_least_recently_goes_first() {
    let double = Double::new(pattern(8 * BLOCK));
    let buffer = double.buffer(blocks(3)).await;
    for index in [0, 5, 2, 0, 7] {
        buffer.read_block(index).await.unwrap();
    }
    double.forget_calls();
    for index in [7, 0, 2] {
        buffer.read_block(index).await.unwrap();
    }
    assert_eq!(double.reads(), [], "they stayed");
    buffer.read_block(5).await.unwrap();
    assert_eq!(double.reads(), [(5 * BLOCK as u64, BLOCK)]);
    assert_eq!(buffer.stats().evictions, 2);
}
