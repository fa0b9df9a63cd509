//! What is kept of a file takes memory by what of it was touched, and not by how long it is.
//!
//! Method: a child process asks the kernel for its own memory (smaps_rollup: anonymous pages) before and
//! after. Nobody else's memory is in between there.

use std::{
    fs::{self, OpenOptions},
    io::IoSlice,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use pagestore::{PageCount, PageFile, PageId, PageSize, RawFile, ResidencyBudget};

use crate::child;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// The anonymous memory of this process: its heap, its tables, its stacks.
fn own_bytes() -> u64 {
    let maps = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = maps.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

#[track_caller]
fn takes_at_most<T>(most: u64, what: &str, work: impl FnOnce() -> T) -> T {
    let before = own_bytes();
    let kept = work();
    let taken = own_bytes().saturating_sub(before);
    assert!(taken <= most, "{what}: {taken} bytes");
    kept
}

fn raw(folder: &Path, name: &str, budget: Option<&ResidencyBudget>) -> RawFile {
    let path = folder.join(name);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path).unwrap();
    let options = RawFile::options();
    let options = budget.map_or(options.clone(), |budget| options.budget(budget));
    options.open(file, &path).unwrap()
}

/// As far out as the filesystem lets a file be, of these.
fn write_far(file: &RawFile, ends: &[u64]) -> u64 {
    let far =
        ends.iter().find(|&&end| file.write_at(end - 4096, &[IoSlice::new(&[7; 4096])]).is_ok());
    *far.expect("a file of a TiB")
}

#[test]
fn memory_follows_what_was_touched() {
    let test = "memory_follows_what_was_touched";
    let Some(folder) = child::path() else {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        return child::check(&mut child::command("", test, folder.path()));
    };
    let folder = folder.as_path();
    // The first use of everything.
    drop(raw(folder, "first", Some(&ResidencyBudget::new(8 * MIB).unwrap())));

    let file = takes_at_most(MIB, "sealing a sparse file", || {
        let file = raw(folder, "sparse", None);
        let len = write_far(&file, &[8 * TIB, TIB]);
        let mut byte = [0];
        file.read_at(len - 1, &mut byte).unwrap();
        file.read_at(0, &mut byte).unwrap();
        file.seal().unwrap();
        assert_eq!(file.view(len - 1, 1).unwrap(), &[7][..]);
        file
    });
    drop(file);

    let budget = ResidencyBudget::new(8 * MIB).unwrap();
    let file = takes_at_most(MIB, "a write far out under a budget", || {
        let file = raw(folder, "budgeted", Some(&budget));
        let len = write_far(&file, &[8 * TIB, TIB]);
        let mut byte = [0];
        file.read_at(len - 1, &mut byte).unwrap();
        assert_eq!(byte, [7]);
        budget.enforce().unwrap();
        file
    });
    drop(file);
    assert_eq!(budget.stats().used_bytes, 0);

    let pages = takes_at_most(MIB, "16 GiB of pages that nobody touched", || {
        let pages = PageFile::anonymous(PageSize::DEFAULT).unwrap();
        pages.grow(PageCount::new((16 << 30) / 4096)).unwrap();
        pages
    });
    // Anonymous memory comes in huge pages.
    takes_at_most(3 * 2 * MIB + MIB / 2, "a page here and there", || {
        for page in [0, 1_000_000, 4_000_000] {
            pages.page_mut(PageId::new(page)).unwrap()[0] = 1;
        }
        assert_eq!(pages.dirty_count(), PageCount::new(3));
    });

    let (path, len) = long_page_file(folder);
    let pages = takes_at_most(MIB, "opening a long page file", || PageFile::open(&path).unwrap());
    let last = PageId::new(pages.page_count().get() - 1);
    assert!(last.get() > len / 4096 - 10, "all of it is pages");
    takes_at_most(MIB, "its last page", || {
        pages.page_mut(last).unwrap()[0] = 1;
        assert_eq!(pages.flush().unwrap().pages, PageCount::new(1));
    });
    takes_at_most(MIB, "evicting all of it", || pages.evict(..).unwrap());
    // Dirty for the kernel, but not by a store of ours.
    drop(pages);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[9; 4096], len / 2).unwrap();
    drop(file);
    let pages = PageFile::open(&path).unwrap();
    takes_at_most(MIB, "evicting what another process wrote", || pages.evict(..).unwrap());
    assert_eq!(pages.residency().map_or(0, |residency| residency.dirty_bytes), 0);
    assert_eq!(pages.page(last).unwrap()[0], 1);
    drop(pages);
    let options = PageFile::options().budget(&budget);
    let pages = takes_at_most(MIB, "opening it under a budget", || options.open(&path).unwrap());
    takes_at_most(MIB, "using it under a budget", || {
        pages.page_mut(last).unwrap()[1] = 2;
        pages.evict(..).unwrap();
        assert_eq!(pages.page(last).unwrap()[..2], [1, 2]);
    });
    child::done();
}

/// A page file as long as the filesystem lets it be, of one page and a hole; and its length.
fn long_page_file(folder: &Path) -> (PathBuf, u64) {
    let path = folder.join("long");
    PageFile::create(&path).unwrap().grow(1).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let lens = [8 * TIB, TIB];
    let len = lens.into_iter().find(|&len| file.set_len(len).is_ok());
    (path, len.expect("a file of a TiB"))
}
