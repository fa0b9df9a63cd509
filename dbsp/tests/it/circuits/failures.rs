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

/// Batches are made durable for a checkpoint alone, so that is what hears of it.
#[test]
fn a_batch_that_the_disk_did_not_take_fails_the_checkpoint() {
    let test = "a_batch_that_the_disk_did_not_take_fails_the_checkpoint";
    let disk = match FailingExt4::new() {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let with = Use { workers: 1, cache_mib: None, compression: StorageCompression::None };
    let folder = disk.above().join("state");
    let config = with.config(On::Ours.storage(&folder));
    let mut running = workload::Running::start(config, Operators::Four);
    running.try_step(Step::whole(0, 1_000)).unwrap();
    let first = running.circuit.checkpoint().run().unwrap();
    disk.fill();
    (1..4).for_each(|number| {
        running.try_step(Step::whole(number, 50_000)).unwrap();
    });
    let error = running.circuit.checkpoint().run().unwrap_err();
    let told = format!("fsync failed: {}", disk.sync_error_kind());
    assert!(format!("{error}").contains(&told), "{told}: {error}");
    // The list of checkpoints is that of before, and the circuit goes on.
    let list = running.circuit.list_checkpoints().unwrap();
    assert_eq!(list.iter().map(|checkpoint| checkpoint.uuid).collect::<Vec<_>>(), [first.uuid]);
    running.try_step(Step::whole(4, 1_000)).unwrap();
    running.stop();
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
