//! What is written comes back, and takes the room that it should.

use storage::{BufferPool, Compressed, StorageBackend, StorageError};

use super::shelf::{KIB, PAGE, PATH, Shelf, content, noise, number, text};

#[tokio::test]
async fn any_data_in_any_block_size_comes_back() {
    for block_size in [4 * KIB, 64 * KIB, 2048 * KIB] {
        for len in [0, 1, 4064, 4095, 4096, 4097, block_size, block_size + 1, 3 * block_size - 7] {
            let mixed = [text(len / 2), noise(len - len / 2, 7)].concat();
            for data in [text(len), noise(len, 1), vec![0; len], mixed] {
                let shelf = Shelf::default();
                shelf.layer_of(block_size as u64).write(PATH, 0, &data).await.unwrap();
                let reopened = shelf.layer();
                assert_eq!(reopened.len(PATH).await.unwrap(), len as u64);
                assert!(content(&reopened, PATH).await.unwrap() == data, "{len} in {block_size}");
            }
        }
    }
}

#[tokio::test]
async fn text_is_compressed_and_noise_is_stored_as_it_is() {
    let shelf = Shelf::default();
    let layer = shelf.layer_of(64 << 10);
    layer.write("text", 0, &text(64 * KIB)).await.unwrap();
    layer.write("noise", 0, &noise(64 * KIB, 3)).await.unwrap();
    let (packed, raw) = (shelf.stored("text"), shelf.stored("noise"));
    assert_eq!(number(&packed, PAGE), 2, "LZ4");
    assert!(packed.len() < 32 * KIB, "{} bytes are stored", packed.len());
    assert_eq!(number(&raw, PAGE), 1, "raw");
    assert_eq!(raw.len(), PAGE + 32 + 64 * KIB);
}

#[tokio::test]
async fn a_block_that_saves_no_page_is_raw() {
    let shelf = Shelf::default();
    let layer = shelf.layer_of(8192);
    // Both are compressed to about 6030 bytes, with the header two pages. As they are, 8192 bytes
    // and a header take three pages, and 8100 take two.
    for (len, stored) in [(8192, 2), (8100, 1)] {
        let data = [noise(6000, 1), vec![0; len - 6000]].concat();
        layer.write(PATH, 0, &data).await.unwrap();
        assert_eq!(number(&shelf.stored(PATH), PAGE), stored, "{len} bytes");
        layer.delete(PATH).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_never_written_is_zero_and_takes_no_room() {
    let shelf = Shelf::default();
    let layer = shelf.layer_of(64 << 10);
    layer.write(PATH, 10 << 20, b"far").await.unwrap();
    assert_eq!(layer.len(PATH).await.unwrap(), (10 << 20) + 3);
    assert!(content(&layer, PATH).await.unwrap()[..10 << 20].iter().all(|&byte| byte == 0));
    let used = shelf.stored(PATH).iter().filter(|&&byte| byte != 0).count();
    assert!(used < 128, "{used} bytes are not zero");
}

#[tokio::test]
async fn old_files_keep_their_block_size() {
    let shelf = Shelf::default();
    let data = text(100 * KIB);
    shelf.layer_of(16 << 10).write(PATH, 0, &data).await.unwrap();
    let other = shelf.layer_of(1 << 20);
    other.write(PATH, 100 << 10, &data).await.unwrap();
    assert!(content(&other, PATH).await.unwrap() == [&data[..], &data].concat());
    assert_eq!(number(&shelf.stored(PATH), 16), 14);
}

#[tokio::test]
async fn a_read_and_a_write_need_few_buffers() {
    let shelf = Shelf::default();
    let data = text(300 * KIB);
    // The data, a block, a block's image with its header: rounded up to powers of two.
    let pool = BufferPool::new((512 + 64 + 16 * 128) << 10);
    let layer = Compressed::new(shelf, 64 << 10, pool.clone()).unwrap();
    layer.write(PATH, 100, &data).await.unwrap();
    assert!(layer.read(PATH, 100, data.len()).await.unwrap() == data);
    assert_eq!(pool.used_bytes(), 0, "every buffer was given back");
    let held = (pool.take(2 << 20).unwrap(), pool.take(128 << 10).unwrap());
    let error = layer.read(PATH, 0, 300 * KIB).await.map(drop).unwrap_err();
    assert!(matches!(error, StorageError::BudgetExceeded { .. }), "{error}");
    drop(held);
}

#[tokio::test]
async fn small_operations_need_two_or_three_blocks_of_buffers() {
    let pool = BufferPool::new((4 + 64 + 128) << 10);
    let layer = Compressed::new(Shelf::default(), 64 << 10, pool).unwrap();
    for at in [5, 65 << 10, 3] {
        layer.write(PATH, at, b"a few").await.unwrap();
    }
    assert_eq!(layer.read(PATH, 3, 7).await.unwrap(), b"a fewew"[..]);
}

#[test]
fn block_sizes_are_checked() {
    for size in [0, 1, 2048, 4095, 5000, 4 << 20, 1 << 63, u64::MAX] {
        let error = Compressed::new(Shelf::default(), size, BufferPool::new(0)).unwrap_err();
        assert!(error.to_string().contains("power of two"), "{error}");
    }
}

#[tokio::test]
async fn sealed_files_are_read_and_not_written() {
    let layer = Shelf::default().layer();
    layer.write(PATH, 0, &text(9000)).await.unwrap();
    layer.seal(PATH).await.unwrap();
    assert!(content(&layer, PATH).await.unwrap() == text(9000));
    let results = [
        layer.write(PATH, 0, b"x").await,
        layer.write(PATH, 9000, b"x").await,
        layer.write(PATH, 0, b"").await,
        layer.truncate(PATH, 9000).await,
        layer.truncate(PATH, 0).await,
    ];
    for result in results {
        assert!(matches!(result, Err(StorageError::Sealed { .. })), "{result:?}");
    }
    layer.rename(PATH, "other").await.unwrap();
    assert!(content(&layer, "other").await.unwrap() == text(9000));
    assert!(matches!(layer.len(PATH).await, Err(StorageError::NotFound { .. })));
}

#[tokio::test]
async fn ends_and_absences_are_told_in_bytes_of_the_content() {
    let layer = Shelf::default().layer();
    let absent = layer.read(PATH, 0, 0).await.unwrap_err().to_string();
    assert!(absent.starts_with("cannot read \"dir/file\": there is no such file"), "{absent}");
    layer.write(PATH, 0, b"").await.unwrap();
    assert_eq!(layer.len(PATH).await.unwrap(), 0);
    layer.write(PATH, 9, b"").await.unwrap();
    assert_eq!(layer.len(PATH).await.unwrap(), 0);
    layer.write(PATH, 0, b"five!").await.unwrap();
    for (offset, length) in [(0, 6), (5, 1), (6, 0), (u64::MAX, 1), (0, usize::MAX)] {
        let error = layer.read(PATH, offset, length).await.unwrap_err();
        assert!(matches!(error, StorageError::PastEnd { file_len: 5, .. }), "{error:?}");
    }
    assert!(layer.read(PATH, 5, 0).await.unwrap().is_empty());
    for result in
        [layer.write(PATH, u64::MAX, b"xy").await, layer.truncate(PATH, i64::MAX as u64).await]
    {
        let error = result.unwrap_err();
        assert_eq!(error.io_kind(), std::io::ErrorKind::FileTooLarge, "{error}");
    }
}
