//! Over a backend whose reads are views, nothing is kept twice.

use storage::{Caching, FileBufferOptions};

use super::double::{BLOCK, Call, Double, blocks, pattern};

#[tokio::test]
async fn blocks_are_the_views_and_writes_go_straight_through() {
    let mut double = Double::new(pattern(2 * BLOCK + 5));
    double.views = true;
    let buffer = double.buffer(FileBufferOptions::default()).await;
    let view = double.view();
    let mut block = buffer.read_block(1).await.unwrap();
    assert_eq!(block.read().as_ptr(), view[BLOCK..].as_ptr(), "no copy");
    assert_eq!(buffer.stats().held_bytes, 0);

    block.write().unwrap()[0] = 200;
    assert_ne!(block.read().as_ptr(), view[BLOCK..].as_ptr());
    assert_eq!(view[BLOCK], pattern(BLOCK + 1)[BLOCK], "the view is as it was");
    buffer.write_block(block).await.unwrap();
    assert_eq!(double.content()[BLOCK], 200);
    buffer.write_at(2 * BLOCK as u64, &[1; 10]).await.unwrap();
    assert_eq!(buffer.read_block(2).await.unwrap().read(), [1; 10]);
    assert_eq!(buffer.file_len(), 2 * BLOCK as u64 + 10);
    assert!(!double.calls().contains(&Call::Sync));
    buffer.close().await.unwrap();
    assert_eq!(double.calls().last(), Some(&Call::Sync));
}

#[tokio::test]
async fn the_choice_can_be_made_by_hand() {
    let double = Double::new(pattern(BLOCK));
    for (caching, read_count) in [(Caching::PassThrough, 3), (Caching::Buffered, 1)] {
        double.forget_calls();
        let buffer = double.buffer(blocks(4).caching(caching)).await;
        for _ in 0..3 {
            assert_eq!(buffer.read_block(0).await.unwrap().read(), pattern(BLOCK));
        }
        assert_eq!(double.reads().len(), read_count);
    }
}

#[tokio::test]
async fn a_block_outlives_its_buffer() {
    let mut double = Double::new(pattern(BLOCK));
    double.views = true;
    let buffer = double.buffer(blocks(4)).await;
    let mut block = buffer.read_block(0).await.unwrap();
    drop(buffer);
    block.write().unwrap()[0] = 9;
    assert_eq!(block.read()[1..], pattern(BLOCK)[1..]);
}
