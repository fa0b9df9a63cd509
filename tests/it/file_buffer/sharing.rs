//! Many tasks at one file: snapshots stay, nothing is lost.

use futures_util::future;

use super::double::{BLOCK, Double, blocks, pattern};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_of_different_bytes_of_one_block_are_all_kept() {
    let double = Double::new(pattern(BLOCK));
    // Too little for all the copies that readers cause.
    let buffer = double.buffer(blocks(4)).await;
    let writers = (0..64_u8).map(|task| {
        let buffer = buffer.clone();
        tokio::spawn(async move {
            for turn in 0..64_u8 {
                let at = u64::from(task) * 64 + u64::from(turn);
                buffer.write_at(at, &[task ^ turn]).await.unwrap();
                if turn % 8 == 0 {
                    drop(buffer.read_block(0).await.unwrap());
                    tokio::task::yield_now().await;
                }
                if turn % 32 == 31 {
                    buffer.flush().await.unwrap();
                }
            }
        })
    });
    for writer in future::join_all(writers.collect::<Vec<_>>()).await {
        writer.unwrap();
    }
    buffer.flush().await.unwrap();
    let expected: Vec<u8> =
        (0..64_u8).flat_map(|task| (0..64_u8).map(move |turn| task ^ turn)).collect();
    assert_eq!(double.content(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_snapshot_never_changes_and_shows_whole_writes() {
    let double = Double::new(vec![0; 2 * BLOCK]);
    let buffer = double.buffer(blocks(16)).await;
    let writer = tokio::spawn({
        let buffer = buffer.clone();
        async move {
            for byte in 0..=255_u8 {
                buffer.write_at(0, &[byte; BLOCK]).await.unwrap();
                let mut block = buffer.read_block(1).await.unwrap();
                block.write().unwrap().fill(byte);
                buffer.write_block(block).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let readers = (0..4_u64).map(|reader| {
        let buffer = buffer.clone();
        tokio::spawn(async move {
            for _ in 0..500 {
                let block = buffer.read_block(reader % 2).await.unwrap();
                let first = block.read()[0];
                assert_eq!(block.read(), [first; BLOCK]);
                tokio::task::yield_now().await;
                assert_eq!(block.read(), [first; BLOCK], "changed under its reader");
            }
        })
    });
    for reader in future::join_all(readers.collect::<Vec<_>>()).await {
        reader.unwrap();
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_block_of_another_buffer_leaves_its_memory_there() {
    let (from, to) = (Double::new(pattern(BLOCK)), Double::new(None));
    let source = from.buffer(blocks(2)).await;
    let target = to.buffer(blocks(2)).await;
    let mut block = source.read_block(0).await.unwrap();
    block.write().unwrap()[0] = 77;
    target.write_block(block).await.unwrap();
    assert_eq!(source.stats().used_bytes, BLOCK as u64);
    assert_eq!(target.stats().used_bytes, BLOCK as u64);
    target.close().await.unwrap();
    assert_eq!(to.content()[0], 77);
    assert_eq!(to.content()[1..], pattern(BLOCK)[1..]);
}
