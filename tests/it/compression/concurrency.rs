//! What calls at the same time see of each other.

use std::sync::Arc;

use storage::StorageBackend;

use super::shelf::{KIB, PATH, Shelf, content};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_one_block_lose_nothing() {
    let shelf = Shelf::default();
    let layer = shelf.layer_of(64 << 10);
    layer.write(PATH, 0, &vec![0; 64 * KIB]).await.unwrap();
    let writers = (0..64_u64).map(|i| {
        let layer = layer.clone();
        tokio::spawn(async move {
            for round in 1..=10_u8 {
                layer
                    .write(PATH, i * 1024, &[round.wrapping_add(u8::try_from(i).unwrap()); 1024])
                    .await
                    .unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let expected: Vec<u8> = (0..64_u8).flat_map(|i| [i + 10; 1024]).collect();
    assert!(content(&layer, PATH).await.unwrap() == expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appenders_lose_nothing() {
    let shelf = Shelf::default();
    let layer = shelf.layer();
    let writers = (0..100_u64).map(|i| {
        let layer = layer.clone();
        let byte = u8::try_from(i).unwrap();
        tokio::spawn(async move { layer.write(PATH, i * 1000, &[byte; 1000]).await.unwrap() })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let expected: Vec<u8> = (0..100_u8).flat_map(|i| [i; 1000]).collect();
    assert!(content(&layer, PATH).await.unwrap() == expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_read_sees_a_write_of_many_blocks_wholly_or_not() {
    let shelf = Shelf::default();
    let layer = Arc::new(shelf.layer());
    let len = 20 * 4096 - 500;
    layer.write(PATH, 0, &vec![0; len + 1000]).await.unwrap();
    let writer = tokio::spawn({
        let layer = Arc::clone(&layer);
        async move {
            for round in 1..=60_u8 {
                layer.write(PATH, 250, &vec![round; len]).await.unwrap();
            }
        }
    });
    let mut seen = 0;
    while !writer.is_finished() {
        let read = layer.read(PATH, 250, len).await.unwrap();
        assert!(read.iter().all(|&byte| byte == read[0]), "a read saw half a write");
        assert!(read[0] >= seen, "an older write was seen after a newer one");
        seen = read[0];
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_is_not_done_after_a_later_one() {
    let shelf = Shelf::default();
    let layer = shelf.layer();
    layer.write(PATH, 0, &[0; 4096]).await.unwrap();
    shelf.gate.forget_permits(usize::MAX);
    let abandoned = tokio::spawn({
        let layer = layer.clone();
        async move { layer.write(PATH, 0, &[1; 100]).await }
    });
    // Lets it run until it waits at the gate.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    let later = tokio::spawn({
        let layer = layer.clone();
        async move { layer.write(PATH, 100, &[2; 100]).await }
    });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    shelf.gate.add_permits(2);
    later.await.unwrap().unwrap();
    let read = layer.read(PATH, 0, 201).await.unwrap();
    assert_eq!(read, [&[1; 100][..], &[2; 100], &[0]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_known_of_a_file_goes_with_its_name() {
    let shelf = Shelf::default();
    let layer = shelf.layer();
    for round in 0..50_usize {
        let len = 1 + round * 997;
        layer.write("new", 0, &vec![1; len]).await.unwrap();
        layer.rename("new", PATH).await.unwrap();
        assert_eq!(layer.len(PATH).await.unwrap(), len as u64);
        assert!(!layer.exists("new").await.unwrap());
        layer.write(PATH, len as u64, &[2; 10]).await.unwrap();
        assert_eq!(content(&layer, PATH).await.unwrap().len(), len + 10);
    }
    layer.delete(PATH).await.unwrap();
    layer.write(PATH, 0, b"new").await.unwrap();
    assert_eq!(content(&layer, PATH).await.unwrap(), b"new"[..]);
}
