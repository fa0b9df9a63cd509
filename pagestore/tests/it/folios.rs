//! Stores in place must not pay for large folios, and reads gain by them where that was asked for.
//!
//! Method: a page file is written by large writes, which fill the page cache with large folios, and
//! then opened and stored to in scattered places. The kernel's count of dirty bytes (cachestat) is
//! what it is going to write. The same with `Access::Normal`, which leaves the folios as they are,
//! shows that they were there: where it does not, there is nothing to test.

use std::{fs, os::unix::fs::OpenOptionsExt, path::Path};

use pagestore::{
    Access, Error, PageCount, PageFile, PageId, PageWriter, ResidencyBudget, SealedFile, inspect,
};

const PAGES: u64 = 8192;
const STORES: u64 = 64;

/// A page file as another program would write it: in one piece, by large writes.
fn written_by_large_writes(folder: &Path, name: &str) -> std::path::PathBuf {
    let (model, path) = (folder.join("model"), folder.join(name));
    if !model.exists() {
        let file = PageFile::create(&model).unwrap();
        file.grow(PageCount::new(PAGES)).unwrap();
        file.pages_mut(..).unwrap().fill(7);
        file.close().unwrap();
    }
    let mut options = fs::OpenOptions::new();
    let mut copy = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
    std::io::Write::write_all(&mut copy, &fs::read(&model).unwrap()).unwrap();
    path
}

/// The bytes that the kernel is going to write after one store to each of some scattered pages.
fn dirty_bytes_after_scattered_stores(path: &Path, access: Access) -> u64 {
    let file = PageFile::options().access(access).open(path).unwrap();
    file.flush().unwrap();
    // What the file's writer left dirty has been written when the file is open for use.
    fs::File::open(path).unwrap().sync_all().unwrap();
    for page in (0..PAGES).step_by(usize::try_from(PAGES / STORES).unwrap()) {
        file.page_mut(PageId::new(page)).unwrap()[0] = 1;
    }
    inspect(path).unwrap().residency.unwrap().dirty_bytes
}

#[test]
fn scattered_stores_dirty_the_pages_stored_to_and_few_others() {
    // In the build folder, which is on a disk, where /tmp may not be.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = written_by_large_writes(folder.path(), "split");
    if inspect(&path).unwrap().residency.is_none() {
        eprintln!("SKIPPED: this kernel does not tell how much of a file is dirty (cachestat)");
        return;
    }
    let control = written_by_large_writes(folder.path(), "kept");
    let kept = dirty_bytes_after_scattered_stores(&control, Access::Normal);
    if kept < 4 * STORES * 4096 {
        eprintln!("SKIPPED: this filesystem made no large folios ({kept} bytes dirty)");
        return;
    }
    let split = dirty_bytes_after_scattered_stores(&path, Access::Random);
    assert!(split >= STORES * 4096, "all pages stored to are dirty: {split} bytes");
    assert!(split <= STORES * 4096 * 3 / 2, "{split} bytes dirty, {kept} with large folios");
    let file = PageFile::open(&path).unwrap();
    assert!(file.pages(..).unwrap().iter().filter(|&&byte| byte != 7).count() as u64 == STORES);
}

/// The bytes of the file that huge entries of the page table map, as the kernel tells.
fn mapped_huge_bytes(path: &Path) -> u64 {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let path = path.canonicalize().unwrap();
    let mut is_ours = false;
    let mut bytes = 0;
    for line in smaps.lines() {
        // A mapping begins with its addresses, and ends with its name.
        if line.split_whitespace().next().is_some_and(|first| !first.ends_with(':')) {
            is_ours = line.ends_with(path.to_str().unwrap());
        } else if let (true, Some(rest)) = (is_ours, line.strip_prefix("FilePmdMapped:")) {
            let kibibytes: u64 = rest.split_whitespace().next().unwrap().parse().unwrap();
            bytes += kibibytes << 10;
        }
    }
    bytes
}

/// How many mappings the kernel keeps for the file in its books.
fn mappings_of(path: &Path) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let path = path.canonicalize().unwrap();
    maps.lines().filter(|line| line.ends_with(path.to_str().unwrap())).count()
}

/// Whatever the lengths of the pieces that are appended.
#[test]
fn a_file_written_for_huge_pages_is_mapped_by_them() {
    const LEN: usize = 16 << 20;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let bytes: Vec<u8> = (0..251_u8).cycle().take(LEN).collect();
    let write = |name: &str, huge_pages: bool, piece: usize| {
        let path = folder.path().join(name);
        let mut writer = PageWriter::options().huge_pages(huge_pages).create(&path).unwrap();
        for piece in bytes.chunks(piece) {
            writer.append(piece).unwrap();
        }
        let file = writer.seal().unwrap();
        assert!(file.pages(..).unwrap() == bytes);
        mapped_huge_bytes(&path)
    };
    assert_eq!(write("small", false, 1 << 20), 0, "by default there are none");
    let huge = [1000, 1 << 20, 5 << 20, LEN].map(|piece| write(&piece.to_string(), true, piece));
    if huge == [0; 4] {
        eprintln!("SKIPPED: this filesystem, or this kernel, maps no files in huge pages");
        return;
    }
    // All but the two ends, unless the kernel had no free block for one or the other.
    assert!(huge.iter().all(|&bytes| bytes >= LEN as u64 / 2), "{huge:?} of {LEN}");
}

/// A sealed file of `len` bytes of which nothing is in memory; none where the control tells that files are not
/// mapped in huge pages here at all.
fn cold(folder: &Path, len: usize) -> Option<(std::path::PathBuf, Vec<u8>)> {
    let bytes: Vec<u8> = (0..251_u8).cycle().take(len).collect();
    let path = folder.join("cold");
    let mut writer = PageWriter::create(&path).unwrap();
    writer.append(&bytes).unwrap();
    writer.seal().unwrap().evict(..).unwrap();
    let control = folder.join("control");
    let mut writer = PageWriter::options().huge_pages(true).create(&control).unwrap();
    writer.append(&bytes).unwrap();
    let sealed = writer.seal().unwrap();
    assert!(sealed.pages(..).unwrap() == bytes);
    (mapped_huge_bytes(&control) > 0).then_some((path, bytes))
}

#[test]
fn what_is_loaded_from_the_disk_is_mapped_by_huge_pages() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let Some((path, bytes)) = cold(folder.path(), 16 << 20) else {
        eprintln!("SKIPPED: this filesystem, or this kernel, maps no files in huge pages");
        return;
    };
    // Read at random, or the kernel reads far enough ahead to make such folios by itself.
    let file = SealedFile::options().access(Access::Random).open(&path).unwrap();
    assert_eq!(file.residency().unwrap().resident_bytes >> 20, 0, "nothing is there");
    file.load(..).unwrap();
    let huge = mapped_huge_bytes(&path);
    assert!(huge >= bytes.len() as u64 / 2, "{huge}");
    assert!(file.is_resident(..).unwrap());
    assert!(file.pages(..).unwrap() == bytes);
    assert!(matches!(file.load(..PageId::new(5000)), Err(Error::Range(_))));
    file.load(PageId::new(7)..PageId::new(7)).unwrap();
}

/// One page of each block is borrowed, and all of the block is there, and is charged; when it leaves, nothing stays.
#[test]
fn under_a_budget_a_scan_is_read_by_blocks_that_leave_whole() {
    const BLOCK: u64 = 2 << 20;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let Some((path, bytes)) = cold(folder.path(), 32 << 20) else {
        eprintln!("SKIPPED: this filesystem, or this kernel, maps no files in huge pages");
        return;
    };
    let budget = ResidencyBudget::new(16 << 20).unwrap();
    let options = SealedFile::options().budget(&budget).access(Access::Sequential);
    let file = options.open(&path).unwrap();
    let charged = || budget.stats().used_bytes;
    // The data begins with the third page of the file.
    let page = |block: u64| PageId::new(block * BLOCK / 4096 - 2);
    file.page(page(3)).unwrap();
    assert_eq!(charged(), BLOCK + 4096, "a block, and a page of the table");
    assert_eq!(mapped_huge_bytes(&path), BLOCK);
    assert_eq!(mappings_of(&path), 1, "a process may have 65,530");
    file.page(PageId::new(page(4).get() - 1)).unwrap();
    assert_eq!(charged(), BLOCK + 4096, "which was all of the block");
    file.page(page(4)).unwrap();
    assert_eq!(mapped_huge_bytes(&path), 2 * BLOCK);
    let before = charged();
    file.load(page(10)..PageId::new(page(10).get() + 1)).unwrap();
    assert_eq!(charged() - before, BLOCK + 4096, "all that was read");
    file.evict(page(10)..page(11)).unwrap();
    assert_eq!(charged(), before + 4096);
    file.evict(page(3)..page(5)).unwrap();
    assert_eq!((charged(), mapped_huge_bytes(&path)), (2 * 4096, 0));
    let resident_bytes = file.residency().unwrap().resident_bytes;
    assert!(resident_bytes < BLOCK, "{resident_bytes} bytes stay in memory");
    // All of it, in more than the budget: what is charged is what is there, and never more than there may be.
    for (piece, expected) in (0..).zip(bytes.chunks(64 << 10)) {
        let first = piece * 16;
        assert!(file.pages(PageId::new(first)..PageId::new(first + 16)).unwrap() == expected);
        assert!(charged() <= 16 << 20, "{}", charged());
    }
    let resident_bytes = file.residency().unwrap().resident_bytes;
    assert!(resident_bytes <= (16 << 20) + BLOCK, "{resident_bytes} bytes are in memory");
}
