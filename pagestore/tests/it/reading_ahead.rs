//! Who reads a file in order has the kernel read far ahead, and who does not has it read little more than
//! what is asked for.
//!
//! Method: an ext4 of its own on a loop device that reads ahead by windows of 128 KiB, which is what
//! Linux does by default; by itself it has two of them on their way. What is in the page cache or on
//! the way to it is counted by cachestat(2). It needs root; without, each test says that it was skipped.

use std::{
    fs,
    fs::{File, OpenOptions, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use pagestore::{Access, PageId, PageWriter, RawFile, SealedFile};
use rustix::fs::Advice;

use crate::{loop_disk::LoopDisk, skip};

const MIB: u64 = 1 << 20;
const MIB_PAGES: u64 = MIB / 4096;
const FILE_MIB: u8 = 64;

/// A disk that reads ahead by 128 KiB, and a kernel that tells what it has; says so where there is none.
fn disk(test: &str) -> Option<LoopDisk> {
    let disk = LoopDisk::new(96, 16).and_then(|disk| {
        let device = fs::metadata(disk.path()).map_err(|error| error.to_string())?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let window = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
        fs::write(&window, "128").map_err(|error| format!("{window}: {error}"))?;
        let probe =
            PageWriter::create(disk.path().join("probe")).and_then(|writer| Ok(writer.seal()?));
        let told = probe.map_err(|error| error.to_string())?.residency();
        told.map(|_| disk).ok_or_else(|| "the kernel has no cachestat(2)".into())
    });
    disk.inspect_err(|missing| skip::skipped(test, missing)).ok()
}

/// A file of which nothing is in memory.
fn cold(disk: &LoopDisk, access: Access) -> SealedFile {
    let path = disk.path().join("file");
    let mut writer = PageWriter::create(&path).unwrap();
    for number in 0..FILE_MIB {
        writer.append(&[number; 1 << 20]).unwrap();
    }
    drop(writer.seal().unwrap());
    let sealed = SealedFile::options().access(access).open(&path).unwrap();
    sealed.evict(..).unwrap();
    assert!(begun(&sealed) < MIB / 4, "cold but for the header: {}", begun(&sealed));
    sealed
}

/// The bytes that are in memory or on their way.
fn begun(sealed: &SealedFile) -> u64 {
    sealed.residency().expect("a kernel with cachestat(2)").resident_bytes
}

/// Reads so many bytes of a MiB, as one slice, and checks them.
fn read(sealed: &SealedFile, mib: u8, bytes: u64) {
    let first = PageId::new(u64::from(mib) * MIB_PAGES);
    let slice = sealed.pages(first..PageId::new(first.get() + bytes / 4096)).unwrap();
    assert!(slice.iter().all(|&byte| byte == mib));
}

#[test]
fn reading_in_order_is_read_far_ahead_of() {
    let test = "reading_in_order_is_read_far_ahead_of";
    let Some(disk) = disk(test) else { return };
    for access in [Access::Sequential, Access::Normal] {
        let sealed = cold(&disk, access);
        (10..14).for_each(|mib| read(&sealed, mib, MIB));
        let ahead = begun(&sealed) - 4 * MIB;
        assert!(ahead >= 12 * MIB, "{access:?}: {ahead} bytes ahead");
        // To the end, where there is nothing more to ask for.
        (14..FILE_MIB).for_each(|mib| read(&sealed, mib, MIB));
        drop(sealed);
        fs::remove_file(disk.path().join("file")).unwrap();
    }
}

#[test]
fn reading_here_and_there_is_not() {
    let test = "reading_here_and_there_is_not";
    let Some(disk) = disk(test) else { return };
    let sealed = cold(&disk, Access::Normal);
    let places = [40, 3, 57, 20, 11, 33, 48, 26];
    places.into_iter().for_each(|mib| read(&sealed, mib, 64 << 10));
    let begun = begun(&sealed);
    assert!(begun <= 8 * (MIB / 2), "{begun} bytes for 8 reads of 64 KiB");
}

#[test]
fn a_file_to_be_read_at_random_is_not() {
    let test = "a_file_to_be_read_at_random_is_not";
    let Some(disk) = disk(test) else { return };
    let sealed = cold(&disk, Access::Random);
    (10..14).for_each(|mib| read(&sealed, mib, MIB));
    let begun = begun(&sealed);
    assert!(begun < 5 * MIB, "{begun} bytes for 4 MiB in order");
}

#[test]
fn a_page_brings_the_checksums_of_its_neighbours_also_after_all_was_evicted() {
    let test = "a_page_brings_the_checksums_of_its_neighbours_also_after_all_was_evicted";
    let Some(disk) = disk(test) else { return };
    let sealed = cold(&disk, Access::Random);
    for _ in 0..2 {
        let before = begun(&sealed);
        assert_eq!(sealed.page(PageId::new(9 * MIB_PAGES)).unwrap()[0], 9);
        let came = begun(&sealed) - before;
        // The page, and four bytes for each page of 64 MiB.
        assert!((4096 + (64 << 10)..128 << 10).contains(&came), "{came}");
        sealed.evict(..).unwrap();
    }
}

/// A file without a header, each MiB full of its number, of which nothing is in memory.
fn cold_raw(disk: &LoopDisk, is_sealed: bool, access: Access) -> RawFile {
    let path = disk.path().join("raw");
    let bytes: Vec<u8> = (0..FILE_MIB).flat_map(|number| vec![number; 1 << 20]).collect();
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(if is_sealed { 0o400 } else { 0o600 }))
        .unwrap();
    let file = OpenOptions::new().read(true).write(!is_sealed).open(&path).unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    let file = RawFile::options().access(access).open(file, &path).unwrap();
    assert_eq!(begun_raw(&file), 0);
    file
}

fn begun_raw(file: &RawFile) -> u64 {
    file.residency().expect("a kernel with cachestat(2)").resident_bytes
}

/// Reads bytes by a view or by a copy, and checks them.
fn read_raw(file: &RawFile, offset: u64, len: usize) {
    let mut copy = vec![0; len];
    let view = if file.is_sealed() {
        file.view(offset, len).unwrap()
    } else {
        file.read_at(offset, &mut copy).unwrap();
        copy.into()
    };
    assert!(view.iter().zip(offset..).all(|(&byte, at)| u64::from(byte) == at / MIB));
}

#[test]
fn a_raw_file_read_here_and_there_brings_what_was_asked_for() {
    let test = "a_raw_file_read_here_and_there_brings_what_was_asked_for";
    let Some(disk) = disk(test) else { return };
    for is_sealed in [true, false] {
        for (len, access) in
            [(4096, Access::Normal), (200 << 10, Access::Normal), (4096, Access::Random)]
        {
            let file = cold_raw(&disk, is_sealed, access);
            let places = [40, 3, 57, 20, 11, 33, 48, 26];
            places.into_iter().for_each(|mib| read_raw(&file, mib * MIB, len));
            assert_eq!(begun_raw(&file), 8 * len as u64, "sealed: {is_sealed}, {access:?}");
        }
    }
}

#[test]
fn a_raw_file_read_in_order_is_read_ahead_of() {
    let test = "a_raw_file_read_in_order_is_read_ahead_of";
    let Some(disk) = disk(test) else { return };
    const LEN: u16 = 16 << 10;
    for is_sealed in [true, false] {
        // How many reads it takes until it shows: 128 KiB and one.
        for (access, reads) in [(Access::Sequential, 1), (Access::Normal, 9)] {
            let file = cold_raw(&disk, is_sealed, access);
            let read = |number| read_raw(&file, 10 * MIB + number * u64::from(LEN), LEN.into());
            (0..reads).for_each(read);
            let ahead = begun_raw(&file) - reads * u64::from(LEN);
            assert!(ahead > 0, "sealed: {is_sealed}, {access:?}");
        }
        let file = cold_raw(&disk, is_sealed, Access::Random);
        (0..64).for_each(|number| read_raw(&file, 10 * MIB + number * u64::from(LEN), LEN.into()));
        assert_eq!(begun_raw(&file), 64 * u64::from(LEN), "sealed: {is_sealed}");
    }
}
