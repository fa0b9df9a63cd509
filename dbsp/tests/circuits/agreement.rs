//! The same circuit, data and settings on both backends.

use feldera_types::config::StorageCompression;

use crate::{
    On,
    circuits::{self, Kept, Keys, Load, Work},
    workload::{Digest, Operators, Running, Step, Use},
};

const STEPS: u64 = 8;
const RECORDS: u64 = 20_000;

fn run(on: On, with: Use) -> (Vec<Digest>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(with.config(on.storage(folder.path())), Operators::Four);
    let digests = (0..STEPS).map(|number| running.step(Step::whole(number, RECORDS))).collect();
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    running.stop();
    (digests, files)
}

fn check(compression: StorageCompression) {
    for workers in [1, 2] {
        for cache_mib in [Some(16), None] {
            let with = Use { workers, cache_mib, compression };
            let (ours, files) = run(On::Ours, with);
            assert!(files > 2, "{with:?}: the traces are in storage");
            assert!(ours.iter().all(|digest| digest.weight > 0));
            assert_eq!(ours, run(On::BuiltIn, with).0, "{with:?}");
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

/// Two million records where the code is optimised, and fewer elsewhere.
#[test]
fn over_millions_of_records() {
    let records = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let load = Load { records, step_records: records / 20, keys: Keys::Anywhere };
    let checksum = |kept| {
        let folder = tempfile::tempdir().unwrap();
        circuits::run(kept, Work::JoinAndMax, load, folder.path(), || {}).checksum
    };
    let expected = checksum(Kept::InMemory);
    for cache_mib in [Some(16), None] {
        assert_eq!(checksum(Kept::Posixio { cache_mib }), expected, "{cache_mib:?}");
        assert_eq!(checksum(Kept::MappedStorage { cache_mib }), expected, "{cache_mib:?}");
    }
    assert_eq!(checksum(Kept::InPlace), expected);
}
