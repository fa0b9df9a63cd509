//! What DBSP's own backends are held to: a file is written in blocks, completed, read at random
//! places at once and asynchronously, dropped, and then there or not.

use rand::{Rng, SeedableRng, rngs::StdRng};

use feldera_storage::FileReader;

use super::files::{self, Backend, block, read, read_async};

const SECTOR: usize = 512;

fn check(sizes: &[usize], is_kept: bool) {
    let (_folder, backend) = files::backend();
    let bytes = files::random(1, sizes.iter().sum());
    let mut writer = backend.create().unwrap();
    let (name, id) = (writer.path().clone(), writer.file_id());
    let mut left = &bytes[..];
    for &size in sizes {
        let data;
        (data, left) = left.split_at(size);
        writer.write_block(feldera_storage::fbuf::FBuf::from_slice(data)).unwrap();
    }
    let reader = writer.complete().unwrap();
    reader.commit().unwrap();
    assert_eq!((reader.path(), reader.file_id()), (&name, id), "the writer's name and id stay");
    assert_eq!(files::usage(&backend), bytes.len() as i64);
    check_reads(reader.as_ref(), &bytes);
    if is_kept {
        reader.mark_for_checkpoint();
    }
    drop(reader);
    check_after(&backend, &name, &bytes, is_kept);
}

fn check_after(
    backend: &Backend,
    name: &feldera_storage::StoragePath,
    bytes: &[u8],
    is_kept: bool,
) {
    assert_eq!(backend.exists(name).unwrap(), is_kept);
    assert_eq!(files::usage(backend), if is_kept { bytes.len() as i64 } else { 0 });
    match backend.open(name) {
        Ok(reader) => {
            assert!(is_kept);
            check_reads(reader.as_ref(), bytes);
            drop(reader);
            assert!(backend.exists(name).unwrap(), "a file that was opened stays when dropped");
        }
        Err(error) => {
            assert!(!is_kept, "{error}");
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}

/// A place of some sectors in a file of `len` bytes.
fn place(random: &mut StdRng, len: usize) -> (usize, usize) {
    let offset = random.gen_range(0..len / SECTOR) * SECTOR;
    let mut size = SECTOR << random.gen_range(0..12);
    while size > len - offset {
        size /= 2;
    }
    (offset, size)
}

fn check_reads(reader: &dyn FileReader, bytes: &[u8]) {
    let random = &mut StdRng::seed_from_u64(2);
    assert_eq!(reader.get_size().unwrap(), bytes.len() as u64);
    let past_end = read(reader, bytes.len() as u64, SECTOR).unwrap_err();
    assert_eq!(past_end.kind(), std::io::ErrorKind::UnexpectedEof);
    if bytes.is_empty() {
        return;
    }
    for _ in 0..200 {
        let (offset, size) = place(random, bytes.len());
        let found = read(reader, offset as u64, size).unwrap();
        assert_eq!(found, bytes[offset..offset + size]);
    }
    // Hundreds of blocks at a time, in any order, overlapping and the same ones twice.
    for _ in 0..20 {
        let count = random.gen_range(0..300);
        let places: Vec<_> = (0..count).map(|_| place(random, bytes.len())).collect();
        let blocks = places.iter().map(|&(offset, size)| block(offset as u64, size)).collect();
        let results = read_async(reader, blocks);
        assert_eq!(results.len(), places.len());
        for (result, (offset, size)) in results.into_iter().zip(places) {
            assert_eq!(result.unwrap().as_slice(), &bytes[offset..offset + size]);
        }
    }
}

#[test]
fn ten_mebibytes_in_blocks_of_a_kibibyte() {
    check(&[1024; 10 * 1024], true);
}

#[test]
fn a_file_that_is_not_marked_goes_when_it_is_dropped() {
    check(&[1024; 10 * 1024], false);
}

#[test]
fn blocks_of_random_sizes() {
    let random = &mut StdRng::seed_from_u64(3);
    for is_kept in [true, false] {
        let sizes: Vec<usize> = (0..30).map(|_| SECTOR << random.gen_range(0..12)).collect();
        check(&sizes, is_kept);
    }
}

#[test]
fn an_empty_file() {
    for is_kept in [true, false] {
        check(&[], is_kept);
        check(&[0, 0], is_kept);
    }
}

#[test]
fn more_blocks_at_once_than_one_system_call_takes() {
    check(&[SECTOR; 3000], true);
}
