//! Stored bytes that changed are found, wherever they lie, and hostile ones do no harm.

use proptest::prelude::*;
use storage::{BufferPool, Compressed, StorageBackend, StorageError};

use crate::shelf::{KIB, PAGE, PATH, Shelf, content, crc32c, noise, number, text};

/// The size of a slot for blocks of 4 KiB.
const SLOT: usize = 2 * PAGE;

/// A file of three blocks: text, nothing ever, noise that ends early; and what it holds.
async fn sample(shelf: &Shelf) -> Vec<u8> {
    let (first, last) = (text(3000), noise(700, 1));
    shelf.layer().write(PATH, 0, &first).await.unwrap();
    shelf.layer().write(PATH, 8192, &last).await.unwrap();
    [first, vec![0; 8192 - 3000], last].concat()
}

/// Where stored bytes have a meaning; all others are holes, or reserved.
fn meant(stored: &[u8]) -> Vec<std::ops::Range<usize>> {
    let used = |slot: usize| {
        let start = PAGE + slot * SLOT;
        start..start + 32 + number(stored, start + 8)
    };
    vec![0..64, used(0), used(1), used(2)]
}

#[tokio::test]
async fn each_bit_that_means_something_is_checked() {
    let shelf = Shelf::default();
    let data = sample(&shelf).await;
    let good = shelf.stored(PATH);
    let meant = meant(&good);
    let (mut found, mut harmless) = (0, 0);
    for byte in 0..good.len() {
        let means = meant.iter().any(|range| range.contains(&byte));
        let masks = if means { (0..8).map(|bit| 1 << bit).collect() } else { vec![0xff_u8] };
        for mask in masks {
            let mut bad = good.clone();
            bad[byte] ^= mask;
            shelf.put(PATH, &bad);
            match content(&shelf.layer(), PATH).await {
                Ok(read) => {
                    assert!(!means, "byte {byte} with {mask:#04x} was not found");
                    assert!(read == data);
                    harmless += 1;
                }
                Err(StorageError::Corrupt { .. }) => found += 1,
                // The first eight bytes say whose file it is.
                Err(StorageError::Unsupported { .. }) if byte < 8 => found += 1,
                Err(error) => panic!("byte {byte}: {error}"),
            }
        }
    }
    assert!(found > 1000 * 8 && harmless > 4096, "{found} were found, {harmless} harmless");
}

#[tokio::test]
async fn a_stored_file_that_was_cut_is_shorter_by_whole_blocks_or_an_error() {
    let shelf = Shelf::default();
    sample(&shelf).await;
    let good = shelf.stored(PATH);
    let (used, mut shorter) = (meant(&good), Vec::new());
    for len in 0..good.len() {
        shelf.put(PATH, &good[..len]);
        match content(&shelf.layer(), PATH).await {
            Ok(read) => shorter.push((len, read.len())),
            Err(StorageError::Corrupt { .. } | StorageError::Unsupported { .. }) => {}
            Err(error) => panic!("{len}: {error}"),
        }
    }
    // Cut behind what is stored of block 0: a file of that block. Behind the header: an empty one.
    let expected = std::iter::once((PAGE, 0)).chain((used[1].end..=PAGE + SLOT).map(|n| (n, 3000)));
    assert!(shorter.iter().copied().eq(expected), "{shorter:?}");
}

#[tokio::test]
async fn blocks_are_bound_to_their_place_and_file() {
    let shelf = Shelf::default();
    let layer = shelf.layer();
    layer.write(PATH, 0, &text(3 * 4096)).await.unwrap();
    layer.write("other", 0, &text(3 * 4096)).await.unwrap();
    let (good, other) = (shelf.stored(PATH), shelf.stored("other"));
    let slot = |n: usize| PAGE + n * SLOT..PAGE + (n + 1) * SLOT;
    let mut swapped = good.clone();
    swapped[slot(0)].copy_from_slice(&good[slot(1)]);
    swapped[slot(1)].copy_from_slice(&good[slot(0)]);
    let mut foreign = good.clone();
    foreign[slot(1)].copy_from_slice(&other[slot(1)]);
    for (bad, wrong) in [(swapped, vec![0, 1]), (foreign, vec![1])] {
        shelf.put(PATH, &bad);
        for block in 0..3 {
            let read = shelf.layer().read(PATH, block * 4096, 4096).await;
            assert_eq!(read.is_err(), wrong.contains(&block), "block {block}: {read:?}");
        }
    }
}

#[tokio::test]
async fn a_damaged_last_block_hides_nothing_before_it_and_can_be_cut_off() {
    let shelf = Shelf::default();
    shelf.layer().write(PATH, 0, &text(3 * 4096)).await.unwrap();
    let mut bad = shelf.stored(PATH);
    bad[PAGE + 2 * SLOT + 40] ^= 1;
    shelf.put(PATH, &bad);
    let layer = shelf.layer();
    let corrupt = |result: Result<(), StorageError>| {
        let error = result.unwrap_err();
        assert!(
            matches!(error, StorageError::Corrupt { offset, .. } if offset == (PAGE + 2 * SLOT) as u64),
            "{error:?}"
        );
    };
    corrupt(layer.len(PATH).await.map(drop));
    corrupt(layer.read(PATH, 8192, 1).await.map(drop));
    corrupt(layer.write(PATH, 8200, b"x").await);
    corrupt(layer.write(PATH, 1 << 20, b"x").await);
    corrupt(layer.truncate(PATH, 8193).await);
    assert!(layer.read(PATH, 0, 8192).await.unwrap() == text(8192));
    layer.write(PATH, 8000, b"good").await.unwrap();
    layer.truncate(PATH, 8192).await.unwrap();
    assert_eq!(layer.len(PATH).await.unwrap(), 8192);
    layer.write(PATH, 8192, b"more").await.unwrap();
    assert_eq!(layer.read(PATH, 8000, 4).await.unwrap(), b"good"[..]);
}

#[tokio::test]
async fn other_files_are_refused_with_what_to_do() {
    let shelf = Shelf::default();
    shelf.put(PATH, b"plain text, never compressed");
    for error in [
        shelf.layer().len(PATH).await.unwrap_err(),
        shelf.layer().read(PATH, 0, 1).await.unwrap_err(),
        shelf.layer().write(PATH, 0, b"x").await.unwrap_err(),
        shelf.layer().truncate(PATH, 0).await.unwrap_err(),
    ] {
        assert!(matches!(error, StorageError::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains("read it there and write it anew here"), "{error}");
    }
    shelf.layer().rename(PATH, "elsewhere").await.unwrap();
    shelf.layer().delete("elsewhere").await.unwrap();
    shelf.layer().write(PATH, 0, b"ours").await.unwrap();
    for (at, value, word) in [(8, 2_u32, "version 2"), (12, 9, "method 9"), (16, 40, "2^40")] {
        let mut bad = shelf.stored(PATH);
        bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let checksum = crc32c(&bad[..60]);
        bad[60..64].copy_from_slice(&checksum.to_le_bytes());
        shelf.put("bad", &bad);
        let error = shelf.layer().len("bad").await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

/// A file of one block of 4 KiB with a header of these fields, and the right checksum.
fn forged(base: &[u8], codec: u32, raw_len: u32, stored_len: u32, stored: &[u8]) -> Vec<u8> {
    let mut file = base[..PAGE].to_vec();
    let mut header = [codec, raw_len, stored_len].map(u32::to_le_bytes).concat();
    header.resize(28, 0);
    let covered = stored.get(..stored_len as usize).unwrap_or(stored);
    let checksum = crc32c(&[&base[24..40], &[0; 8], &header, covered].concat());
    file.extend(header);
    file.extend(checksum.to_le_bytes());
    file.extend(stored);
    file
}

/// Opens whatever a file holds, with room for two blocks: a forged length asks for more in vain.
async fn open(file: &[u8], block_size: usize) -> Result<Vec<u8>, StorageError> {
    let shelf = Shelf::default();
    shelf.put(PATH, file);
    let pool = BufferPool::new(2 * block_size as u64);
    let layer = Compressed::new(shelf, 4096, pool).unwrap();
    let len = layer.len(PATH).await?;
    let mut read = Vec::new();
    for offset in (0..len).step_by(block_size).take(8) {
        let length = usize::try_from(len - offset).unwrap().min(block_size);
        read.extend_from_slice(&layer.read(PATH, offset, length).await?);
    }
    layer.read(PATH, len / 2, usize::from(len > 0)).await?;
    Ok(read)
}

async fn base() -> Vec<u8> {
    let shelf = Shelf::default();
    shelf.layer().write(PATH, 0, b"x").await.unwrap();
    shelf.stored(PATH)
}

#[tokio::test]
async fn forged_lengths_are_refused_with_a_reason() {
    let base = base().await;
    let long_match = [0x1f, b'a', 1, 0].into_iter().chain([0xff; 3000]).chain([0]);
    let bomb: Vec<u8> = long_match.collect();
    let bomb_len = u32::try_from(bomb.len()).unwrap();
    for (codec, raw_len, stored_len, stored, word) in [
        (0, 5, 5, &b"hello"[..], "method 0"),
        (3, 5, 5, b"hello", "method 3"),
        (1, 0, 0, b"", "1 to 4096 are possible"),
        (1, 4097, 4097, &[0; 5000], "1 to 4096 are possible"),
        (1, u32::MAX, u32::MAX, b"hello", "1 to 4096 are possible"),
        (1, 5, 4, b"hello", "4 bytes are stored of a block of 5"),
        (2, 5, 5, b"hello", "which Lz4 never does"),
        (2, 5, 0, b"", "which Lz4 never does"),
        (2, 4096, u32::MAX, b"hello", "which Lz4 never does"),
        (2, 4096, 4095, b"hello", "5 are there"),
        (2, 4096, 5, b"\x40hell", "decompresses to 4 bytes"),
        (2, 4096, bomb_len, &bomb, "is no LZ4 block"),
        (2, 4096, 4, b"\x1fa\x09\0", "is no LZ4 block"),
    ] {
        let error = open(&forged(&base, codec, raw_len, stored_len, stored), 4096).await;
        let error = error.unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains(word), "{codec} {raw_len} {stored_len}: {error}");
    }
    let good = forged(&base, 1, 5, 5, b"hello");
    assert_eq!(open(&good, 4096).await.unwrap(), b"hello", "the forging is right");
}

#[tokio::test]
async fn a_block_longer_than_the_rest_of_a_file_is_never_written() {
    // Not the last block, yet shorter than a block: the rest is zeros.
    let shelf = Shelf::default();
    shelf.layer().write(PATH, 0, &text(100)).await.unwrap();
    shelf.layer().write(PATH, 5000, b"end").await.unwrap();
    let read = content(&shelf.layer(), PATH).await.unwrap();
    assert!(read[..100] == text(100) && read[100..5000].iter().all(|&b| b == 0));
    assert_eq!(read.len(), 5003);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(mut file in prop::collection::vec(any::<u8>(), 0..20_000)) {
        runtime().block_on(async {
            let _whatever = open(&file, 4096).await;
            let base = base().await;
            let len = file.len().min(PAGE);
            file[..len].copy_from_slice(&base[..len]);
            let _whatever = open(&file, 4096).await;
        });
    }

    #[test]
    fn random_lz4_with_the_right_checksum_never_panics(
        stored in prop::collection::vec(any::<u8>(), 1..4000),
        raw_len in 1..=4096_u32,
    ) {
        runtime().block_on(async {
            let stored_len = u32::try_from(stored.len()).unwrap();
            let file = forged(&base().await, 2, raw_len, stored_len, &stored);
            match open(&file, 4096).await {
                Ok(read) => assert_eq!(read.len(), raw_len as usize),
                Err(error) => assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}"),
            }
        });
    }

    #[test]
    fn changed_lz4_with_the_right_checksum_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut stored = lz4_flex::block::compress(&text(4 * KIB));
        for (index, byte) in changes {
            let at = index.index(stored.len());
            stored[at] = byte;
        }
        runtime().block_on(async {
            let file = forged(&base().await, 2, 4096, u32::try_from(stored.len()).unwrap(), &stored);
            match open(&file, 4096).await {
                Ok(read) => assert_eq!(read.len(), 4096),
                Err(error) => assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}"),
            }
        });
    }
}
