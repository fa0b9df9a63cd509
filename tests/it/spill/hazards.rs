//! Crashes, full disks, and files that somebody else damages.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    sync::{Mutex, PoisonError},
};

use storage::{
    Error,
    spill::{SpillCompression, SpillError, SpillOptions, SpillReader},
};

use super::{all_options, folder};
use crate::{
    child,
    loop_disk::{BLOCK_BYTES, LoopDisk},
    nameless::the_nameless_in,
    skip,
};

/// A test that forks for mkfs(8) copies all descriptors for a moment, and so keeps another test's
/// removed file, and its blocks, alive. So one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn on_a_disk(name: &str, test: impl FnOnce(&LoopDisk)) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match LoopDisk::new(64, 32) {
        Ok(disk) => test(&disk),
        Err(reason) => skip::skipped(name, &reason),
    }
}

#[track_caller]
fn is_full(error: &SpillError) {
    assert!(matches!(error, SpillError::Store(Error::DiskFull { .. })), "{error}");
    assert!(error.to_string().contains("free some space and try again"), "{error}");
}

#[test]
fn on_a_full_disk_nothing_half_appended_is_visible_and_it_goes_on_after_space_is_freed() {
    let name =
        "on_a_full_disk_nothing_half_appended_is_visible_and_it_goes_on_after_space_is_freed";
    on_a_disk(name, |disk| {
        let free = disk.free_blocks();
        for compression in [SpillCompression::None, SpillCompression::Lz4] {
            let mut random = fastrand::Rng::with_seed(7);
            let mut writer =
                SpillOptions::new(disk.path()).compression(compression).create().unwrap();
            let ballast = disk.fill_but(20 << 20 >> 12);
            let mut records = Vec::new();
            let refused = loop {
                let mut record = vec![0; random.usize(..3 << 19)];
                random.fill(&mut record);
                let position = writer.position();
                match writer.append_record(&record) {
                    Ok(_) => records.push(record),
                    Err(error) => {
                        is_full(&error);
                        assert_eq!(writer.position(), position, "nothing is appended");
                        break record;
                    }
                }
            };
            assert!(records.len() > 5, "{}", records.len());
            is_full(&writer.append_record(&refused).unwrap_err());
            fs::remove_file(ballast).unwrap();
            writer.append_record(&refused).unwrap();
            records.push(refused);
            let reader = writer.finish().unwrap();
            let mut cursor = reader.cursor(..).unwrap();
            for record in &records {
                assert!(cursor.next().unwrap() == Some(record));
            }
            assert!(cursor.next().unwrap().is_none());
            drop((cursor, reader));
            assert_eq!(disk.free_blocks(), free, "all space is free again");
        }
    });
}

#[test]
fn a_spill_that_finds_no_room_to_begin_or_to_finish_leaves_nothing() {
    let name = "a_spill_that_finds_no_room_to_begin_or_to_finish_leaves_nothing";
    on_a_disk(name, |disk| {
        let free = disk.free_blocks();
        for compression in [SpillCompression::None, SpillCompression::Lz4] {
            let options = SpillOptions::new(disk.path()).compression(compression);
            let ballast = disk.fill_but(0);
            is_full(&options.create().unwrap_err());
            fs::remove_file(ballast).unwrap();
            let mut writer = options.create().unwrap();
            let mut noise = vec![0; 64 << 10];
            fastrand::Rng::with_seed(1).fill(&mut noise);
            let ballast = disk.fill_but(16);
            // A compressed block that is not full waits to be written.
            let len = noise.len() - usize::from(compression != SpillCompression::None);
            writer.append(&noise[..len]).map(drop).unwrap();
            let free_now = disk.free_blocks();
            let (error, writer) = writer.finish().unwrap_err().into_parts();
            is_full(&error);
            drop(writer);
            assert!(disk.free_blocks() > free_now);
            fs::remove_file(ballast).unwrap();
            assert_eq!(disk.free_blocks(), free);
        }
    });
}

#[test]
fn a_killed_process_leaves_no_file_and_no_space_taken() {
    let name = "a_killed_process_leaves_no_file_and_no_space_taken";
    if let Some(folder) = child::path() {
        let mut writer = SpillOptions::new(&folder).create().unwrap();
        writer.append(&vec![1; 20 << 20]).unwrap();
        let _reader = numbered(&SpillOptions::new(&folder));
        child::done_and_wait();
    }
    on_a_disk(name, |disk| {
        let free = disk.free_blocks();
        let child = child::Waiting::start(&mut child::command("", name, &disk.path()));
        assert!(disk.free_blocks() < free - (20 << 20) / BLOCK_BYTES, "it is spilling");
        assert_eq!(disk.names(), [""; 0], "it has no name");
        child.kill();
        assert_eq!(disk.names(), [""; 0]);
        assert_eq!(disk.free_blocks(), free);
    });
}

/// A spill of 1,000 records of 10,000 bytes.
fn numbered(options: &SpillOptions) -> SpillReader {
    let mut writer = options.create().unwrap();
    let mut random = fastrand::Rng::with_seed(8);
    for _ in 0..1000 {
        let mut record = [0; 10_000];
        random.fill(&mut record);
        writer.append_record(&record).unwrap();
    }
    writer.finish().unwrap()
}

/// Reads all records; gives how many were read before an error, and the error.
fn read(reader: &SpillReader) -> (u32, Result<(), SpillError>) {
    let mut cursor = reader.cursor(..).unwrap();
    let mut count = 0;
    loop {
        match cursor.next() {
            Ok(Some(_)) => count += 1,
            Ok(None) => return (count, Ok(())),
            Err(error) => return (count, Err(error)),
        }
    }
}

#[test]
fn a_file_that_somebody_cuts_short_is_an_error() {
    let folder = folder();
    for options in all_options(&folder) {
        let reader = numbered(&options);
        assert!(matches!(read(&reader), (1000, Ok(()))));
        let path = the_nameless_in(folder.path());
        OpenOptions::new().write(true).open(path).unwrap().set_len(5_000_000).unwrap();
        // Pages that were verified before show zeros now, which look like records.
        read(&reader).1.unwrap_err();
    }
}

/// Its records were all lent by then, and nobody can say which of them were looked at before.
#[test]
fn the_end_of_a_file_that_was_cut_short_meanwhile_is_an_error() {
    let folder = folder();
    for options in all_options(&folder) {
        let reader = numbered(&options);
        let mut cursor = reader.cursor(..).unwrap();
        for _ in 0..1000 {
            assert_eq!(cursor.next().unwrap().unwrap().len(), 10_000);
        }
        let path = the_nameless_in(folder.path());
        OpenOptions::new().write(true).open(path).unwrap().set_len(5_000_000).unwrap();
        cursor.next().unwrap_err();
    }
}

#[test]
fn a_byte_that_somebody_changes_is_an_error() {
    let folder = folder();
    for options in all_options(&folder) {
        let reader = numbered(&options);
        let path = the_nameless_in(folder.path());
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_at(b"changed", 6_000_000).unwrap();
        let (count, outcome) = read(&reader);
        let error = outcome.unwrap_err();
        assert!(matches!(error, SpillError::Store(Error::Checksum { .. })), "{error}");
        assert!((300..600).contains(&count), "{count} records before it");
    }
}
