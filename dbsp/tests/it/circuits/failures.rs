//! A circuit whose storage fails ends with an error, and the process does not.

use std::io::ErrorKind;

use feldera_storage::error::StorageError;
use feldera_types::config::StorageCompression;

use super::On;
use crate::{
    failing_ext4::FailingExt4,
    loop_disk::LoopDisk,
    skip,
    workload::{self, Operators, Step, Use},
};

#[test]
fn a_circuit_on_a_full_disk_ends_with_an_error() {
    let test = "a_circuit_on_a_full_disk_ends_with_an_error";
    let disk = match LoopDisk::new(24, 1000) {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let with = Use { workers: 1, cache_mib: None, compression: StorageCompression::None };
    let config = with.config(On::Ours.storage(&disk.path().join("state")));
    let mut running = workload::Running::start(config, Operators::Four);
    let failed = (0..100).find_map(|number| running.try_step(Step::whole(number, 50_000)).err());
    let error = failed.expect("millions of records have no room in 24 MiB");
    let told = ErrorKind::StorageFull.to_string();
    assert!(format!("{error:?}").contains(&told), "{told}: {error:?}");
    // Its threads are gone or going; what they held is given back.
    drop(running);
}

#[test]
fn a_failed_sync_reaches_the_circuit_as_an_error() {
    let test = "a_failed_sync_reaches_the_circuit_as_an_error";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let with = Use { workers: 1, cache_mib: None, compression: StorageCompression::None };
    let config = with.config(On::Ours.storage(&disk.above().join("state")));
    let mut running = workload::Running::start(config, Operators::Four);
    running.try_step(Step::whole(0, 1_000)).unwrap();
    disk.fill();
    let failed = (1..100).find_map(|number| running.try_step(Step::whole(number, 20_000)).err());
    let error = failed.expect("no file can be made durable");
    // DBSP's batches cannot hand an error on, so the worker ends with it.
    let told = format!("fsync failed: {}", disk.sync_error_kind());
    assert!(format!("{error:?}").contains(&told), "{told}: {error:?}");
    drop(running);
}

#[test]
fn a_failed_sync_of_a_checkpoint_is_a_storage_error() {
    let test = "a_failed_sync_of_a_checkpoint_is_a_storage_error";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let with = Use { workers: 1, cache_mib: None, compression: StorageCompression::None };
    let config = with.config(On::Ours.storage(&disk.above().join("state")));
    let mut running = workload::Running::start(config, Operators::Four);
    running.try_step(Step::whole(0, 1_000)).unwrap();
    running.circuit.checkpoint().run().unwrap();
    disk.fill();
    // Its batches are durable; what each further checkpoint writes is small, and the first of them
    // may find room that was there before.
    let failed = (0..200).find_map(|_| running.circuit.checkpoint().run().err());
    let error = failed.expect("no more checkpoints can be made durable");
    let dbsp::Error::Storage(StorageError::StdIo { kind, .. }) = &error else {
        panic!("not an error of the storage: {error:?}");
    };
    assert_eq!(*kind, disk.sync_error_kind(), "{error}");
    running.stop();
}
