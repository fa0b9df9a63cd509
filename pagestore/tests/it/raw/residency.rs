//! Reads that must not wait: what the kernel took back is found out before it is touched.
//!
//! Method: the thread that plays the executor reads only by what answers at once, touches what it
//! gets, and sends everything else to another thread; the kernel counts the page faults at which it
//! waited for the disk. Meanwhile pages are taken away as the kernel does it when memory is short
//! (`MADV_PAGEOUT`).
#![expect(unsafe_code, reason = "pages are taken away, and one thread becomes another user")]

use std::{
    fs::File,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use pagestore::RawFile;
use rustix::mm::Advice;

use super::{MIB, full_of_places, open, places, write};
use crate::{
    report::{Random, say, seed},
    skip,
};

const PAGE: usize = 4096;
const PAGES: usize = 4096;
const LEN: usize = PAGES * PAGE;

/// For how long an answer of the kernel counts, and the longest tick of its clock.
const WINDOW: Duration = Duration::from_millis(8 + 10);

/// The page faults of this thread that waited for a disk.
fn major_faults() -> i64 {
    // SAFETY: all-zero bytes are a `rusage`, which is numbers only.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: getrusage(2) writes a `rusage` through the pointer, and there is one.
    let result = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    assert_eq!(result, 0);
    usage.ru_majflt
}

/// Has the kernel take back what it has of a file in memory; the slice is all of the file.
fn take_back(file: &RawFile, all: &[u8]) {
    for _ in 0..200 {
        // SAFETY: the range is that of a mapping which is shared with a file, so that pages which
        // are given back return as they were; `all` keeps the mapping alive.
        let taken = unsafe {
            rustix::mm::madvise(all.as_ptr().cast_mut().cast(), all.len(), Advice::LinuxPageOut)
        };
        taken.unwrap();
        // What was read ahead and never touched, the mapping does not have.
        drop_unmapped(file.path());
        if resident(file) == Some(0) {
            return;
        }
        // A page that somebody has just touched or is about to read stays for a moment.
        thread::sleep(Duration::from_millis(1));
    }
    panic!("{:?} bytes stayed in memory", resident(file));
}

/// Has the kernel drop what it has of a file and no mapping shows.
fn drop_unmapped(path: &Path) {
    let file = File::open(path).unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

fn resident(file: &RawFile) -> Option<u64> {
    file.residency().map(|residency| residency.resident_bytes)
}

fn sealed(path: &Path, len: usize) -> RawFile {
    let file = full_of_places(path, len);
    file.seal().unwrap();
    file
}

/// Whether this kernel tells what it has in memory; says so where it does not.
fn kernel_tells(file: &RawFile, test: &str) -> bool {
    let tells = resident(file).is_some();
    if !tells {
        skip::skipped(test, "cachestat(2) is refused, so nobody would know what is in memory");
    }
    tells
}

#[test]
fn what_the_kernel_took_back_is_not_answered_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = sealed(&folder.path().join("bytes"), LEN);
    if !kernel_tells(&file, "what_the_kernel_took_back_is_not_answered_at_once") {
        return;
    }
    let all = file.view(0, LEN).unwrap();
    for len in [1, PAGE, 40 * PAGE, LEN] {
        assert!(file.try_view(0, len).is_some(), "{len} bytes that are in memory");
    }
    take_back(&file, &all);
    thread::sleep(WINDOW);
    for len in [1, PAGE, 40 * PAGE, LEN] {
        assert!(file.try_view(0, len).is_none(), "{len} bytes that are not in memory");
        assert!(file.try_read_at(0, &mut vec![0; len]).is_none(), "{len} bytes");
    }
    assert_eq!(resident(&file), Some(0), "looking brings nothing in");
    assert_eq!(file.view_in_memory(0, LEN).unwrap(), places(LEN));
    assert!(file.try_view(0, LEN).is_some());
}

#[test]
fn a_mutable_file_is_looked_at_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bytes");
    let file = open(&path).unwrap();
    if !kernel_tells(&file, "a_mutable_file_is_looked_at_too") {
        return;
    }
    // Page by page, and mapped before: what is written counts as brought in.
    let content = places(LEN);
    let mut copy = vec![0; PAGE];
    write(&file, 0, &content[..PAGE]).unwrap();
    file.set_len(LEN as u64).unwrap();
    file.read_at(0, &mut copy).unwrap();
    for page in 0..PAGES {
        let offset = page * PAGE;
        write(&file, offset as u64, &content[offset..offset + PAGE]).unwrap();
    }
    file.sync().unwrap();
    assert!(file.try_read_at((LEN - PAGE) as u64, &mut copy).is_some());
    drop_unmapped(&path);
    thread::sleep(WINDOW);
    let before = major_faults();
    let mut at_once = 0;
    for page in 0..PAGES {
        let offset = page * PAGE;
        if let Some(read) = file.try_read_at(offset as u64, &mut copy) {
            read.unwrap();
            assert_eq!(copy, content[offset..offset + PAGE]);
            at_once += 1;
        }
    }
    assert_eq!(major_faults() - before, 0);
    assert!(at_once < PAGES, "most of it is not in memory");
}

#[test]
fn the_thread_that_must_not_wait_does_not() {
    const TEST: &str = "the_thread_that_must_not_wait_does_not";
    const ROUNDS: usize = 12;
    // The code that runs is in a file of its own, which the kernel brings in as it is touched.
    const WARM_UP_ROUNDS: usize = 3;
    const READS: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let file = sealed(&folder.path().join("bytes"), LEN);
    if !kernel_tells(&file, TEST) {
        return;
    }
    let (content, seed) = (places(LEN), seed());
    let mut random = Random(seed);
    let all = file.view(0, LEN).unwrap();
    let (mut majors, mut at_once, mut waited) = (0, 0, 0);
    thread::scope(|scope| {
        let (to_pool, jobs) = mpsc::channel::<(u64, usize)>();
        let (done, views) = mpsc::channel();
        let file = &file;
        scope.spawn(move || {
            for (offset, len) in jobs {
                done.send(file.view_in_memory(offset, len).unwrap()).unwrap();
            }
        });
        for round in 0..ROUNDS {
            // Nothing, everything, or just what a few reads brought in is in memory.
            if round % 3 != 2 {
                take_back(file, &all);
                thread::sleep(WINDOW);
            }
            let before = major_faults();
            for _ in 0..READS {
                let offset = random.below((LEN - 3 * PAGE) as u64);
                let len = 1 + usize::try_from(random.below(3 * PAGE as u64)).unwrap();
                let view = match file.try_view(offset, len) {
                    Some(view) => {
                        at_once += 1;
                        view.unwrap()
                    }
                    None => {
                        waited += 1;
                        to_pool.send((offset, len)).unwrap();
                        views.recv().unwrap()
                    }
                };
                let first = usize::try_from(offset).unwrap();
                assert!(view == content[first..first + len], "seed {seed}");
            }
            if round >= WARM_UP_ROUNDS {
                majors += major_faults() - before;
            }
        }
        drop(to_pool);
    });
    say(&format!("{at_once} reads at once, {waited} by another thread, seed {seed}"));
    assert!(at_once > 0 && waited > 0);
    // The kernel counts a page fault as one that waited also where it was only tried twice, since
    // somebody else had the page locked for a moment.
    assert!(majors * 4 <= waited, "seed {seed}: the thread waited for the disk {majors} times");
}

#[test]
fn one_whom_the_kernel_does_not_tell_is_not_told_wrong() {
    const NOBODY: u32 = 65_534;
    if !skip::is_root_or_skipped("one_whom_the_kernel_does_not_tell_is_not_told_wrong") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bytes");
    let len = usize::try_from(MIB).unwrap();
    drop(sealed(&path, len));
    let outside = File::open(&path).unwrap();
    let resident = |file: &RawFile| resident(file).unwrap_or(0);
    let file = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let opened = File::open(&path).unwrap();
            // SAFETY: setresuid(2) by its number changes this thread alone, which only the scope
            // below uses; it takes no pointer.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
            assert_eq!(changed, 0);
            let file = RawFile::open(opened, &path).unwrap();
            let cached = rustix::fs::Advice::DontNeed;
            rustix::fs::fadvise(&outside, 0, None, cached).unwrap();
            let content = places(len);
            let before = major_faults();
            for page in 0..len / PAGE {
                let offset = (page * PAGE) as u64;
                if let Some(view) = file.try_view(offset, PAGE) {
                    assert_eq!(view.unwrap(), content[page * PAGE..(page + 1) * PAGE]);
                }
            }
            assert_eq!(major_faults() - before, 0, "it believed that everything is in memory");
            // Once it is, it is found there.
            file.view_in_memory(0, len).unwrap();
            assert!(file.try_view(5 * PAGE as u64, PAGE).is_some());
            file
        });
        reader.join().unwrap()
    });
    assert_eq!(resident(&file), MIB);
}

#[test]
fn a_prefetch_brings_in_what_was_asked_for() {
    const TEST: &str = "a_prefetch_brings_in_what_was_asked_for";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bytes");
    let file = sealed(&path, LEN);
    drop(file);
    drop_unmapped(&path);
    let file = RawFile::open(File::open(&path).unwrap(), &path).unwrap();
    if !kernel_tells(&file, TEST) {
        return;
    }
    assert_eq!(resident(&file), Some(0), "nothing was read yet");
    let ranges = [(0, 1), (PAGE as u64, PAGE), (500 * PAGE as u64, 300 * PAGE), (1 << 40, 7)];
    file.prefetch(&ranges).unwrap();
    assert_eq!(resident(&file), Some(302 * PAGE as u64), "longer than the kernel reads ahead");
    let before = Instant::now();
    while file.try_view(500 * PAGE as u64, PAGE).is_none() {
        assert!(before.elapsed() < Duration::from_secs(10), "the kernel does not read");
        thread::sleep(Duration::from_millis(1));
    }
}
