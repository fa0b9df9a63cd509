//! The same circuit, data and settings on both backends.

use std::sync::atomic::Ordering;

use feldera_types::{config::StorageCompression, size::ConfigSize};

use super::{
    On,
    join::{self, Kept, Keys, Load, Work},
};
use crate::{
    state_on_disk,
    workload::{Digest, Operators, Running, Step, Use},
};

const STEPS: u64 = 8;
const RECORDS: u64 = 20_000;

/// What is on the disk at the least. The inputs of the join alone are 16 bytes a record, before they
/// are compressed, on each of two sides; a fifth of them is taken back.
const STATE_BYTES_MIN: u64 = STEPS * RECORDS * 4;

/// What comes out step by step, and how many bytes of state the disk has at the end.
fn run(on: On, with: Use) -> (Vec<Digest>, u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut storage = on.storage(folder.path());
    // Or only what was merged goes to storage, and when that is, is up to the mergers.
    storage.options.min_step_spill_size = Some(ConfigSize::ZERO);
    let usage = storage.backend.usage();
    let mut running = Running::start(with.config(storage), Operators::Four);
    let digests = (0..STEPS).map(|number| running.step(Step::whole(number, RECORDS))).collect();
    let (used_bytes, disk_bytes) =
        (usage.load(Ordering::Relaxed), state_on_disk::bytes_in(folder.path()));
    assert!(used_bytes > 0, "{on:?}, {with:?}: the backend holds nothing");
    running.stop();
    (digests, disk_bytes)
}

fn check(compression: StorageCompression) {
    for workers in [1, 2] {
        for cache_mib in [Some(16), None] {
            let with = Use { workers, cache_mib, compression };
            let (ours, disk_bytes) = run(On::Ours, with);
            assert!(disk_bytes > STATE_BYTES_MIN, "{with:?}: {disk_bytes} bytes are on the disk");
            assert!(ours.iter().all(|digest| digest.weight > 0));
            let (built_in, disk_bytes) = run(On::BuiltIn, with);
            assert!(disk_bytes > STATE_BYTES_MIN, "{with:?}: {disk_bytes} bytes are on the disk");
            assert_eq!(ours, built_in, "{with:?}");
        }
    }
}

#[test]
fn without_compression() {
    check(StorageCompression::None);
}

#[test]
fn with_snappy() {
    check(StorageCompression::Snappy);
}

#[test]
fn with_lz4() {
    check(StorageCompression::Lz4);
}

#[test]
fn with_zstd() {
    check(StorageCompression::Zstd);
}

/// Two million records where the code is optimised, and fewer elsewhere.
#[test]
fn over_millions_of_records() {
    let records = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let load = Load { records, step_records: records / 20, keys: Keys::Anywhere };
    let checksum = |kept| {
        let folder = tempfile::tempdir().unwrap();
        let mut disk_bytes = 0;
        let at_end = || disk_bytes = state_on_disk::bytes_in(folder.path());
        let outcome = join::run(kept, Work::JoinAndMax, load, folder.path(), at_end);
        // Two inputs of 16 bytes a record.
        let is_on_disk = disk_bytes > records * 16;
        assert_eq!(is_on_disk, kept != Kept::InMemory, "{kept:?}: {disk_bytes} bytes on the disk");
        outcome.checksum
    };
    let expected = checksum(Kept::InMemory);
    for cache_mib in [Some(16), None] {
        assert_eq!(checksum(Kept::Posixio { cache_mib }), expected, "{cache_mib:?}");
        assert_eq!(checksum(Kept::MappedStorage { cache_mib }), expected, "{cache_mib:?}");
    }
    assert_eq!(checksum(Kept::InPlace), expected);
}
