//! What a crash leaves of a file that was written without a name: the whole of it under its name
//! where it was sealed, and nothing where it was not.
//!
//! Method: ext4 with a journal on a loop device is shut down as by a crash (the ioctl that ext4 has
//! for such tests): from then on nothing that is in memory reaches the device, neither pages nor what
//! the journal has not got. It is mounted again, which replays the journal. The tests of
//! `failing_disk` do the like for files that have a temporary name from the beginning, since FUSE has
//! no nameless ones. Needs root; without, each test says that it was skipped.

use std::{fs::File, ops::ControlFlow};

use pagestore::{Existing, PageWriter, SealedFile};

use crate::{
    loop_disk::LoopDisk,
    nameless::the_nameless_in,
    power::{self, Journal},
    skip,
};

/// A disk with a journal, or the word that `test` is skipped.
fn disk_for(test: &str) -> Option<LoopDisk> {
    LoopDisk::with_feature("has_journal", 64, 64)
        .inspect_err(|reason| skip::skipped(test, reason))
        .ok()
}

/// 6 MB of a byte; the kernel has begun to write some of it by then.
fn writer_of(disk: &LoopDisk, byte: u8) -> PageWriter {
    let options = PageWriter::options().existing(Existing::Replace);
    let mut writer = options.create(disk.path().join("file")).unwrap();
    the_nameless_in(&disk.path());
    writer.append(&vec![byte; 6_000_000]).unwrap();
    writer
}

#[track_caller]
fn check_holds(disk: &LoopDisk, byte: u8) {
    assert_eq!(disk.names(), ["file"]);
    let file = SealedFile::open(disk.path().join("file")).unwrap();
    assert!(file.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
    assert_eq!(file.payload_len(), 6_000_000);
    assert_eq!(file.pages(..).unwrap()[..6_000_000].iter().find(|&&found| found != byte), None);
}

#[test]
fn what_was_sealed_is_there_whole_after_a_crash() {
    let Some(disk) = disk_for("what_was_sealed_is_there_whole_after_a_crash") else { return };
    for byte in [1, 2, 3] {
        drop(writer_of(&disk, byte).seal().unwrap());
        power::cut(&disk, Journal::Lost);
        disk.mount_again().unwrap();
        check_holds(&disk, byte);
    }
}

#[test]
fn what_was_not_sealed_is_gone_after_a_crash_with_all_of_its_blocks() {
    let test = "what_was_not_sealed_is_gone_after_a_crash_with_all_of_its_blocks";
    let Some(disk) = disk_for(test) else { return };
    drop(writer_of(&disk, 1).seal().unwrap());
    disk.mount_again().unwrap();
    let before = disk.free_blocks();
    for _ in 0..3 {
        let writer = writer_of(&disk, 2);
        // The file and its blocks are known on the device when it goes.
        File::open(the_nameless_in(&disk.path())).unwrap().sync_all().unwrap();
        power::cut(&disk, Journal::Lost);
        drop(writer);
        disk.mount_again().unwrap();
        check_holds(&disk, 1);
        assert_eq!(disk.free_blocks(), before);
    }
}
