//! The limit of memory, and what happens at it.

use std::time::Duration;

use futures_util::{FutureExt, future};
use storage::{FileBufferOptions, StorageError};
use tokio::time::Instant;

use crate::double::{BLOCK, Double, blocks, pattern};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_limit_is_never_passed() {
    let double = Double::new(pattern(64 * BLOCK));
    let buffer = double.buffer(blocks(8).wait_max(Duration::from_secs(60))).await;
    let tasks = (0..32_u64).map(|task| {
        let buffer = buffer.clone();
        tokio::spawn(async move {
            for step in 0..400 {
                let index = (task * 31 + step * 17) % 64;
                match step % 4 {
                    0 => {
                        let at = index * BLOCK as u64 + task * 100;
                        buffer.write_at(at, &[u8::try_from(task).unwrap(); 100]).await.unwrap();
                    }
                    1 => {
                        let mut block = buffer.read_block(index).await.unwrap();
                        tokio::task::yield_now().await;
                        // Where there is no memory for a copy, there is none.
                        drop(block.write().map(drop));
                    }
                    _ => drop(buffer.read_block(index).await.unwrap()),
                }
                let stats = buffer.stats();
                assert!(stats.held_bytes <= 8 * BLOCK as u64, "{stats:?}");
            }
        })
    });
    for task in future::join_all(tasks.collect::<Vec<_>>()).await {
        task.unwrap();
    }
    let stats = buffer.stats();
    assert!(stats.evictions > 1000 && stats.write_backs > 100, "{stats:?}");
    buffer.flush().await.unwrap();
    let content = double.content();
    for (at, found) in content.into_iter().enumerate() {
        let task = at % BLOCK / 100;
        let written =
            task < 32 && (0..100).any(|turn| (task * 31 + turn * 4 * 17) % 64 == at / BLOCK);
        let expected = if written { u8::try_from(task).unwrap() } else { pattern_at(at) };
        assert_eq!(found, expected, "byte {at}");
    }
}

fn pattern_at(at: usize) -> u8 {
    u8::try_from((at * 7 + at / BLOCK * 13) % 251).unwrap()
}

#[tokio::test]
async fn where_everything_is_in_use_the_wait_is_bounded() {
    let double = Double::new(pattern(8 * BLOCK));
    let wait_max = Duration::from_millis(50);
    let buffer = double.buffer(blocks(2).wait_max(wait_max)).await;
    let held = [buffer.read_block(0).await.unwrap(), buffer.read_block(1).await.unwrap()];
    let error = buffer.read_block(2).await.unwrap_err();
    let StorageError::BuffersInUse { waited, budget_bytes, .. } = error else {
        panic!("{error}");
    };
    assert!(waited >= wait_max && budget_bytes == 2 * BLOCK as u64, "{waited:?}");
    assert_eq!(double.reads().len(), 2);
    drop(held);
    buffer.read_block(2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_waits_goes_on_when_a_block_is_dropped() {
    let double = Double::new(pattern(8 * BLOCK));
    let buffer = double.buffer(blocks(1)).await;
    let held = buffer.read_block(0).await.unwrap();
    let started = Instant::now();
    let (block, ()) = future::join(buffer.read_block(3), async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(held);
    })
    .await;
    assert_eq!(block.unwrap().index(), 3);
    assert_eq!(started.elapsed(), Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn who_waits_goes_on_when_a_private_copy_is_dropped() {
    let double = Double::new(pattern(8 * BLOCK));
    let buffer = double.buffer(blocks(1)).await;
    let blank = buffer.blank_block(5).await.unwrap();
    let started = Instant::now();
    let (block, ()) = future::join(buffer.read_block(3), async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(blank);
    })
    .await;
    assert_eq!(block.unwrap().index(), 3);
    assert_eq!(started.elapsed(), Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn one_block_is_enough_for_one_user() {
    let double = Double::new(pattern(8 * BLOCK));
    let buffer = double.buffer(blocks(1)).await;
    for index in 0..8 {
        let mut block = buffer.read_block(index).await.unwrap();
        // There is no memory for a copy, and none is needed.
        block.write().unwrap()[0] = 1;
        buffer.write_block(block).await.unwrap();
        buffer.write_at(index * BLOCK as u64 + 1, &[2]).await.unwrap();
    }
    buffer.flush().await.unwrap();
    let expected: Vec<u8> = (0..8 * BLOCK)
        .map(|at| match at % BLOCK {
            0 => 1,
            1 => 2,
            _ => pattern_at(at),
        })
        .collect();
    assert_eq!(double.content(), expected);
}

#[tokio::test]
async fn a_block_in_use_stays() {
    let double = Double::new(pattern(8 * BLOCK));
    let buffer = double.buffer(blocks(2)).await;
    let held = buffer.read_block(0).await.unwrap();
    for index in 1..5 {
        buffer.read_block(index).await.unwrap();
    }
    double.forget_calls();
    assert_eq!(buffer.read_block(0).await.unwrap().read().as_ptr(), held.read().as_ptr());
    assert_eq!(double.reads(), []);
}

#[tokio::test]
async fn a_copy_takes_the_place_of_what_nobody_uses() {
    let double = Double::new(pattern(8 * BLOCK));
    let buffer = double.buffer(blocks(3)).await;
    for index in 0..3 {
        buffer.read_block(index).await.unwrap();
    }
    let mut block = buffer.read_block(1).await.unwrap();
    let other = buffer.read_block(1).await.unwrap();
    block.write().unwrap().fill(0);
    assert_eq!(other.read(), &pattern(2 * BLOCK)[BLOCK..]);
    assert_eq!(buffer.stats().evictions, 1);
    let last = buffer.read_block(2).await.unwrap();
    let mut third = buffer.read_block(2).await.unwrap();
    let error = third.write().unwrap_err();
    assert!(matches!(error, StorageError::BuffersInUse { .. }), "{error}");
    assert!(!third.is_dirty());
    drop(last);
    // Now nobody else shows it: it need not be shared.
    third.write().unwrap();
}

#[tokio::test]
async fn bad_options_are_refused() {
    use storage::{AsyncFile, FileBuffer};
    let options = FileBufferOptions::default();
    for (options, field) in [
        (options.block_size_bytes(2048), "block_size_bytes"),
        (options.block_size_bytes(5000), "block_size_bytes"),
        (options.block_size_bytes(4 << 20), "block_size_bytes"),
        (options.memory_limit_bytes(1000), "memory_limit_bytes"),
    ] {
        let file = AsyncFile::new(Double::new(None), "a").unwrap();
        let error = FileBuffer::new(file, options).now_or_never().unwrap().unwrap_err();
        assert!(
            matches!(error, StorageError::Config { field: found, .. } if found == field),
            "{error}"
        );
    }
}
