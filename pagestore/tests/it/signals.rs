//! The fault handler among others: signals that are not ours go where they would have gone, and
//! faults that are ours are caught wherever they happen.
//!
//! Method: every case runs in a child process, since a process has one handler for SIGBUS and some
//! of the children are to die by it; their parent looks at how they ended.

use std::{
    ffi::{c_int, c_void},
    fs::{File, OpenOptions},
    io, iter,
    ops::ControlFlow,
    os::unix::{fs::FileExt, process::ExitStatusExt},
    path::Path,
    process::Output,
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering},
    },
    thread,
};

use memmap2::{Mmap, MmapOptions};
use pagestore::{
    Error, FaultCause, Guard, PageCount, PageFile, PageId, PageWriter, PoisonCause, Populate,
    Result, SealedFile,
};

use crate::{child, report::say, sigbus, unleased::open_unleased};

const PAGE_LEN: usize = 4096;
/// Where page 0 begins in a file with pages of 4 KiB.
const DATA_START: u64 = 8192;

/// Runs `part` as the child's part of `test`; in the parent, gives how the child ended and what it
/// wrote to its standard error.
fn in_child(test: &str, part: impl FnOnce(&Path)) -> Option<(Output, String)> {
    if let Some(folder) = child::path() {
        part(&folder);
        return None;
    }
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let output = child::command("ulimit -c 0;", test, folder.path()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Some((output, errors))
}

/// Runs `part` in a child, which must end well.
#[track_caller]
fn survives(test: &str, part: impl FnOnce(&Path)) {
    if let Some((output, errors)) = in_child(test, part) {
        assert!(child::passed(&output), "the child ended with {}:\n{errors}", output.status);
        errors.lines().filter(|line| line.starts_with("signals:")).for_each(say);
    }
}

/// Runs `part` in a child, which must be ended by SIGBUS.
#[track_caller]
fn dies_by_sigbus(test: &str, part: impl FnOnce(&Path)) {
    if let Some((Output { status, .. }, errors)) = in_child(test, part) {
        assert_eq!(status.signal(), Some(libc::SIGBUS), "the child ended with {status}:\n{errors}");
    }
}

/// A mapping of memmap2's, not ours, of a file that was then cut short: touching it is a fault.
fn foreign(folder: &Path) -> Mmap {
    let path = folder.join("foreign");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap();
    file.set_len(4 * PAGE_LEN as u64).unwrap();
    let options = MmapOptions::new();
    #[expect(unsafe_code, reason = "a mapping whose file is to be cut short")]
    // SAFETY: nothing relies on its bytes.
    let mapping = unsafe { options.map(&file) }.unwrap();
    file.set_len(0).unwrap();
    mapping
}

/// Touches page 2 of a foreign mapping, whose file does not have it.
fn touch_foreign(mapping: &Mmap) -> u8 {
    let byte = mapping.as_ptr().wrapping_add(2 * PAGE_LEN + 5);
    #[expect(unsafe_code, reason = "the fault is what is wanted")]
    // SAFETY: inside the mapping; a volatile read of any byte.
    unsafe {
        byte.read_volatile()
    }
}

fn sealed(folder: &Path, name: &str, page_count: usize) -> std::path::PathBuf {
    let path = folder.join(name);
    let mut writer = PageWriter::create(&path).unwrap();
    for page in 0..page_count {
        writer.append(&[u8::try_from(page % 200).unwrap() + 1; PAGE_LEN]).unwrap();
    }
    drop(writer.seal().unwrap());
    path
}

/// Lets somebody cut the file at `path` behind its first `pages` pages.
fn cut(path: &Path, pages: u64) {
    // The lease of a reader would make an `open` for writing wait; one that was opened before, or
    // that asks with NONBLOCK, does not. `cutter` opens it before.
    cutter(path).set_len(DATA_START + pages * PAGE_LEN as u64).unwrap();
}

fn cutter(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

/// A mutable file of `pages` pages, and a descriptor to cut it by.
fn mutable(folder: &Path, name: &str, pages: u64) -> (PageFile, File) {
    let path = folder.join(name);
    let file = PageFile::options().populate(Populate::OnTouch).create(&path).unwrap();
    file.grow(PageCount::new(pages)).unwrap();
    let cutter = cutter(&path);
    (file, cutter)
}

#[track_caller]
fn check_poisoned<T: std::fmt::Debug>(result: &Result<T>, page: u64) {
    match result {
        Err(error @ Error::Poisoned { pages, cause: PoisonCause::Fault(cause), .. }) => {
            assert_eq!(pages.start().get(), page, "{error}");
            assert!(matches!(cause, FaultCause::CutShort { .. }), "{error}");
            let message = error.to_string();
            assert!(message.contains("is poisoned for good"), "{message}");
            assert!(message.contains("was cut short from outside"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

/// Has a fault of ours caught: cuts a new file and reads from it.
fn check_ours_is_caught(folder: &Path, name: &str) {
    let (file, cutter) = mutable(folder, name, 8);
    file.page_mut(PageId::new(6)).unwrap().fill(9);
    cutter.set_len(DATA_START + 2 * PAGE_LEN as u64).unwrap();
    check_poisoned(&file.with_pages(PageId::new(6)..PageId::new(7), |bytes| bytes[0]), 6);
}

static SEEN: AtomicUsize = AtomicUsize::new(0);
static SEEN_ADDRESS: AtomicUsize = AtomicUsize::new(0);
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// Answers a fault of the foreign mapping with a page of zeros, and notes its address.
extern "C" fn noting(_signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    let address = sigbus::address(info);
    SEEN.fetch_add(1, Ordering::Relaxed);
    SEEN_ADDRESS.store(address, Ordering::Relaxed);
    patch(address);
}

/// Notes faults, answers those of the foreign mapping and hands on all others.
extern "C" fn noting_and_chaining(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let address = sigbus::address(info);
    SEEN.fetch_add(1, Ordering::Relaxed);
    SEEN_ADDRESS.store(address, Ordering::Relaxed);
    let foreign = FOREIGN.load(Ordering::Relaxed);
    if (foreign..foreign + 4 * PAGE_LEN).contains(&address) {
        patch(address);
    } else if let Some(before) = BEFORE.get() {
        sigbus::call(before, signal, info, context);
    }
}

static FOREIGN: AtomicUsize = AtomicUsize::new(0);

fn patch(address: usize) {
    let page = ptr::without_provenance_mut(address & !(PAGE_LEN - 1));
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    #[expect(unsafe_code, reason = "a handler of the test's own")]
    // SAFETY: the page belongs to the mapping that a test made to fault.
    let mapped = unsafe { libc::mmap(page, PAGE_LEN, libc::PROT_READ, flags, -1, 0) };
    if mapped == libc::MAP_FAILED {
        std::process::abort();
    }
}

#[test]
fn a_handler_installed_before_ours_still_gets_its_faults() {
    survives("a_handler_installed_before_ours_still_gets_its_faults", |folder| {
        let foreign = foreign(folder);
        sigbus::install(noting);
        check_ours_is_caught(folder, "ours");
        assert_eq!(SEEN.load(Ordering::Relaxed), 0, "a fault of ours is not handed on");
        assert_eq!(touch_foreign(&foreign), 0);
        assert_eq!(SEEN.load(Ordering::Relaxed), 1);
        let expected = foreign.as_ptr().addr() + 2 * PAGE_LEN + 5;
        assert_eq!(SEEN_ADDRESS.load(Ordering::Relaxed), expected, "with the same arguments");
        check_ours_is_caught(folder, "again");
    });
}

/// One of the old kind: no `SA_SIGINFO`, so it gets the signal's number alone.
#[test]
fn an_old_kind_of_handler_installed_before_ours_still_gets_its_signals() {
    extern "C" fn old_kind(signal: c_int) {
        SEEN.fetch_add(usize::try_from(signal).unwrap_or(0), Ordering::Relaxed);
    }
    survives("an_old_kind_of_handler_installed_before_ours_still_gets_its_signals", |folder| {
        let handler: extern "C" fn(c_int) = old_kind;
        sigbus::install_disposition(handler as usize);
        check_ours_is_caught(folder, "ours");
        raise();
        assert_eq!(SEEN.load(Ordering::Relaxed), 7);
    });
}

#[test]
fn a_handler_installed_after_ours_that_chains_works_both_ways() {
    survives("a_handler_installed_after_ours_that_chains_works_both_ways", |folder| {
        check_ours_is_caught(folder, "first");
        let foreign = foreign(folder);
        FOREIGN.store(foreign.as_ptr().addr(), Ordering::Relaxed);
        BEFORE.get_or_init(sigbus::current);
        sigbus::install(noting_and_chaining);
        check_ours_is_caught(folder, "second");
        assert_eq!(SEEN.load(Ordering::Relaxed), 1, "it saw our fault");
        assert_eq!(touch_foreign(&foreign), 0);
        let expected = foreign.as_ptr().addr() + 2 * PAGE_LEN + 5;
        assert_eq!(SEEN_ADDRESS.load(Ordering::Relaxed), expected, "and its own");
        check_ours_is_caught(folder, "third");
    });
}

#[test]
fn a_foreign_fault_without_a_handler_ends_the_process_by_sigbus() {
    dies_by_sigbus("a_foreign_fault_without_a_handler_ends_the_process_by_sigbus", |folder| {
        // As in a program without Rust's runtime, which installs a handler for stack overflows.
        sigbus::install_disposition(libc::SIG_DFL);
        check_ours_is_caught(folder, "ours");
        touch_foreign(&foreign(folder));
    });
}

#[test]
fn a_foreign_fault_ends_the_process_by_sigbus_with_the_handler_of_rust_there_too() {
    let test = "a_foreign_fault_ends_the_process_by_sigbus_with_the_handler_of_rust_there_too";
    dies_by_sigbus(test, |folder| {
        assert_ne!(sigbus::current().sa_sigaction, libc::SIG_DFL, "Rust has one");
        check_ours_is_caught(folder, "ours");
        touch_foreign(&foreign(folder));
    });
}

#[test]
fn a_foreign_fault_that_was_ignored_ends_the_process_as_it_would_have_without_us() {
    let test = "a_foreign_fault_that_was_ignored_ends_the_process_as_it_would_have_without_us";
    dies_by_sigbus(test, |folder| {
        sigbus::install_disposition(libc::SIG_IGN);
        check_ours_is_caught(folder, "ours");
        touch_foreign(&foreign(folder));
    });
}

fn raise() {
    #[expect(unsafe_code, reason = "raise(3) has no safe wrapper here")]
    // SAFETY: takes no pointer.
    let raised = unsafe { libc::raise(libc::SIGBUS) };
    assert_eq!(raised, 0);
}

fn kill_self() {
    let myself = rustix::process::getpid();
    rustix::process::kill_process(myself, rustix::process::Signal::BUS).unwrap();
}

#[test]
fn a_raised_sigbus_ends_the_process() {
    dies_by_sigbus("a_raised_sigbus_ends_the_process", |folder| {
        sigbus::install_disposition(libc::SIG_DFL);
        check_ours_is_caught(folder, "ours");
        raise();
    });
}

#[test]
fn a_sigbus_sent_by_kill_ends_the_process_with_the_handler_of_rust_there_too() {
    dies_by_sigbus(
        "a_sigbus_sent_by_kill_ends_the_process_with_the_handler_of_rust_there_too",
        |folder| {
            check_ours_is_caught(folder, "ours");
            // Rust's handler puts the default back and returns, for a fault to happen again. A
            // signal that was sent does not; the next one ends the process, as without us. It is
            // another thread that may be sent it, so this one waits for it.
            for _ in 0..1_000 {
                kill_self();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        },
    );
}

#[test]
fn an_ignored_sigbus_that_is_sent_stays_ignored() {
    survives("an_ignored_sigbus_that_is_sent_stays_ignored", |folder| {
        sigbus::install_disposition(libc::SIG_IGN);
        check_ours_is_caught(folder, "ours");
        for _ in 0..3 {
            raise();
            kill_self();
        }
        check_ours_is_caught(folder, "again");
    });
}

#[test]
fn without_a_guard_a_fault_ends_the_process_by_sigbus() {
    dies_by_sigbus("without_a_guard_a_fault_ends_the_process_by_sigbus", |folder| {
        // A guarded file beside it changes nothing for this one.
        check_ours_is_caught(folder, "guarded");
        let path = folder.join("unguarded");
        let options = PageFile::options().guard(Guard::Off).populate(Populate::OnTouch);
        let file = options.create(&path).unwrap();
        file.grow(PageCount::new(4)).unwrap();
        cut(&path, 1);
        let byte = file.page(PageId::new(3)).unwrap()[0];
        panic!("the read gave {byte}");
    });
}

#[test]
fn without_a_guard_a_fault_of_a_sealed_file_ends_the_process_by_sigbus() {
    dies_by_sigbus(
        "without_a_guard_a_fault_of_a_sealed_file_ends_the_process_by_sigbus",
        |folder| {
            let path = sealed(folder, "unguarded", 4);
            let cutter = cutter(&path);
            let file = open_unleased(&SealedFile::options().guard(Guard::Off), &path);
            cutter.set_len(DATA_START + 5).unwrap();
            let read = file.page(PageId::new(3)).map(drop);
            panic!("the read gave {read:?}");
        },
    );
}

/// Found by a look at its length, without a fault.
#[test]
fn without_a_guard_a_sealed_file_that_was_found_too_short_lends_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = sealed(folder.path(), "unguarded", 4);
    let cutter = cutter(&path);
    let file = open_unleased(&SealedFile::options().guard(Guard::Off), &path);
    file.pages(..).unwrap();
    cutter.set_len(DATA_START + 2 * 4096).unwrap();
    check_poisoned(&file.still_valid(), 2);
    let read = file.page(PageId::new(0)).map(drop);
    assert!(matches!(read, Err(Error::Poisoned { .. })), "{read:?}");
}

/// Its pages are handed out without a look at anything else, until then.
#[test]
fn a_sealed_file_that_was_wholly_verified_is_poisoned_by_a_fault() {
    survives("a_sealed_file_that_was_wholly_verified_is_poisoned_by_a_fault", |folder| {
        let path = sealed(folder, "file", 64);
        let cutter = cutter(&path);
        let file = open_unleased(&SealedFile::options(), &path);
        file.pages(..).unwrap();
        let last = file.page(PageId::new(63)).unwrap();
        cutter.set_len(DATA_START + 3 * PAGE_LEN as u64).unwrap();
        assert_eq!(last[0], 0, "the page is gone, and nobody has the right bytes");
        check_poisoned(&file.page(PageId::new(63)), 63);
        check_poisoned(&file.page(PageId::new(0)), 63);
        check_poisoned(&file.pages(..PageId::new(1)), 63);
        check_poisoned(&file.still_valid(), 63);
    });
}

/// The table of mappings grows in chunks of 128; the last of 300 is in its third.
#[test]
fn a_fault_in_the_last_of_many_mappings_is_caught_and_places_are_used_again() {
    survives(
        "a_fault_in_the_last_of_many_mappings_is_caught_and_places_are_used_again",
        |folder| {
            let path = sealed(folder, "file", 4);
            let last = sealed(folder, "last", 4);
            for _ in 0..3 {
                let others: Vec<_> = (0..300).map(|_| SealedFile::open(&path).unwrap()).collect();
                let cutter = cutter(&last);
                let bytes = std::fs::read(&last).unwrap();
                let file = open_unleased(&SealedFile::options(), &last);
                file.pages(..).unwrap();
                cutter.set_len(DATA_START + PAGE_LEN as u64).unwrap();
                check_poisoned(&file.with_pages(PageId::new(2).., |bytes| bytes[0]), 2);
                for other in &others {
                    assert_eq!(other.page(PageId::new(3)).unwrap()[17], 4, "not poisoned");
                    other.still_valid().unwrap();
                }
                drop((file, cutter));
                std::fs::write(&last, bytes).unwrap();
                let whole = SealedFile::open(&last).unwrap();
                assert!(
                    whole.verify(|_| ControlFlow::Continue(())).unwrap().is_ok(),
                    "a new handle is not poisoned"
                );
            }
        },
    );
}

#[test]
fn faults_are_caught_while_others_map_and_unmap() {
    survives("faults_are_caught_while_others_map_and_unmap", |folder| {
        let over = AtomicBool::new(false);
        let (mut rounds, remapped) = (0, AtomicUsize::new(0));
        let path = sealed(folder, "file", 2);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let files = [(); 3].map(|()| SealedFile::open(&path).unwrap());
                        assert_eq!(files[1].page(PageId::new(1)).unwrap()[1], 2);
                        remapped.fetch_add(files.len(), Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..400 {
                let name = format!("mutable{rounds}");
                check_ours_is_caught(folder, &name);
                std::fs::remove_file(folder.join(name)).unwrap();
                rounds += 1;
            }
            over.store(true, Ordering::Relaxed);
        });
        let remapped = remapped.load(Ordering::Relaxed);
        say(&format!("signals: {rounds} faults caught while {remapped} files were mapped"));
    });
}

/// The kernel allows a process 65,530 mappings, and each page put in a bad one's place splits one, into two more.
/// So whether the last one is met, or passed by one, depends on how many there were at first: both are tried.
#[test]
fn faults_are_caught_when_the_process_has_no_mapping_left() {
    survives("faults_are_caught_when_the_process_has_no_mapping_left", |folder| {
        let mut others = Vec::new();
        for round in 0..2 {
            let (pages, mut touched) = (150_000, 0);
            let path = folder.join(format!("file{round}"));
            PageFile::create(&path).unwrap().close().unwrap();
            cutter(&path).set_len(DATA_START + pages * PAGE_LEN as u64).unwrap();
            let options = PageFile::options().populate(Populate::OnTouch);
            let file = options.open(&path).unwrap();
            let first = sealed(folder, &format!("other{round}"), 1);
            let guard = file.pages(..).unwrap();
            cut(&path, 1);
            sigbus::count_from_now();
            // Every other page, so that no two of them make one mapping.
            for page in guard.chunks(2 * PAGE_LEN) {
                assert_eq!(page[PAGE_LEN + 3], 0);
                touched += 1;
            }
            let caught = sigbus::counted();
            check_poisoned(&file.still_valid(), 1);
            drop(guard);
            drop(file);
            let other = SealedFile::open(first).unwrap();
            assert_eq!(other.page(PageId::new(0)).unwrap()[0], 1);
            // One mapping more from here on.
            others.push(other);
            say(&format!("signals: {touched} bad pages touched, {caught} faults, none fatal"));
        }
    });
}

#[test]
fn a_system_call_that_is_handed_a_bad_page_fails_without_a_signal() {
    survives("a_system_call_that_is_handed_a_bad_page_fails_without_a_signal", |folder| {
        let (file, outside) = mutable(folder, "file", 4);
        let guard = file.pages(..).unwrap();
        outside.set_len(DATA_START).unwrap();
        sigbus::count_from_now();
        let error = outside.write_at(&guard[2 * PAGE_LEN..], 0).unwrap_err();
        assert_eq!((error.raw_os_error(), sigbus::counted()), (Some(libc::EFAULT), 0));
        check_poisoned(&file.still_valid(), 0);
    });
}

#[test]
fn a_caught_fault_leaves_errno_alone() {
    survives("a_caught_fault_leaves_errno_alone", |folder| {
        let (file, cutter) = mutable(folder, "file", 4);
        let guard = file.pages(..).unwrap();
        cutter.set_len(DATA_START).unwrap();
        sigbus::count_from_now();
        let (set, kept) = (4321, AtomicI32::new(0));
        #[expect(unsafe_code, reason = "sets errno")]
        // SAFETY: the address of this thread's errno.
        let errno = unsafe { libc::__errno_location() };
        #[expect(unsafe_code, reason = "sets errno")]
        // SAFETY: as above.
        unsafe {
            errno.write_volatile(set);
        }
        let byte = guard[2 * PAGE_LEN];
        kept.store(io::Error::last_os_error().raw_os_error().unwrap(), Ordering::Relaxed);
        assert_eq!((byte, sigbus::counted()), (0, 1));
        assert_eq!(kept.load(Ordering::Relaxed), set);
        check_poisoned(&file.still_valid(), 2);
    });
}

/// Threads that Rust starts have an alternate stack for signals; those of other languages may not.
#[test]
fn a_fault_on_a_thread_without_an_alternate_stack_is_caught() {
    extern "C" fn read_page(file: *mut c_void) -> *mut c_void {
        let none = libc::stack_t { ss_sp: ptr::null_mut(), ss_flags: 0, ss_size: 0 };
        let mut stack = none;
        #[expect(unsafe_code, reason = "asks for the alternate stack")]
        // SAFETY: sigaltstack(2) with a null first argument only writes the second.
        let asked = unsafe { libc::sigaltstack(ptr::null(), &raw mut stack) };
        let without = asked == 0 && stack.ss_flags & libc::SS_DISABLE != 0;
        let file = file.cast::<PageFile>().cast_const();
        #[expect(unsafe_code, reason = "the argument of a thread that C starts")]
        // SAFETY: the file lives until the thread was joined.
        let file = unsafe { &*file };
        let read = file.with_pages(PageId::new(3).., |bytes| bytes[7]);
        let poisoned = matches!(read, Err(Error::Poisoned { .. }));
        ptr::without_provenance_mut(usize::from(without && poisoned))
    }
    survives("a_fault_on_a_thread_without_an_alternate_stack_is_caught", |folder| {
        let (file, cutter) = mutable(folder, "file", 4);
        cutter.set_len(DATA_START).unwrap();
        let mut thread = 0;
        let argument = ptr::from_ref(&file).cast_mut().cast();
        #[expect(unsafe_code, reason = "a thread that Rust does not start")]
        // SAFETY: the function has the right signature, and its argument outlives the thread.
        let started =
            unsafe { libc::pthread_create(&raw mut thread, ptr::null(), read_page, argument) };
        assert_eq!(started, 0);
        let mut right = ptr::null_mut();
        #[expect(unsafe_code, reason = "a thread that Rust does not start")]
        // SAFETY: the thread was started above and is joined once.
        let joined = unsafe { libc::pthread_join(thread, &raw mut right) };
        assert_eq!((joined, right.addr()), (0, 1));
        check_poisoned(&file.still_valid(), 3);
    });
}

/// Runs `part` in a process made by fork(2); says whether it gave true.
fn forked(part: impl FnOnce() -> bool) -> bool {
    #[expect(unsafe_code, reason = "fork(2) is what is tested")]
    // SAFETY: this process has no thread that holds a lock which the child needs: the other one is
    // the test harness's, which waits.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let right = part();
        #[expect(unsafe_code, reason = "a forked child runs no destructors")]
        // SAFETY: ends the process.
        unsafe {
            libc::_exit(if right { 0 } else { 1 })
        }
    }
    let mut status = 0;
    #[expect(unsafe_code, reason = "waits for a child that std does not know")]
    // SAFETY: writes the status to a variable on this stack.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    status == 0
}

#[test]
fn a_forked_process_reads_its_pages_and_catches_its_own_faults() {
    survives("a_forked_process_reads_its_pages_and_catches_its_own_faults", |folder| {
        let path = sealed(folder, "sealed", 4);
        let sealed_cutter = cutter(&path);
        let sealed = open_unleased(&SealedFile::options(), &path);
        let (file, cutter) = mutable(folder, "mutable", 8);
        for page in 0..8 {
            file.page_mut(PageId::new(page)).unwrap().fill(u8::try_from(page).unwrap() + 1);
        }
        file.flush().unwrap();
        let page = PageId::new(5);
        let reads = || {
            let same = sealed.page(PageId::new(2)).is_ok_and(|bytes| bytes[9] == 3)
                && file.page(page).is_ok_and(|bytes| bytes[9] == 6);
            same && sealed.still_valid().is_ok() && file.still_valid().is_ok()
        };
        assert!(forked(reads), "the child reads what its parent mapped");

        // The child is shown a file that is cut, its parent one that is whole again.
        let full_len = std::fs::metadata(file.path().unwrap()).unwrap().len();
        let catches = || {
            cutter.set_len(DATA_START).unwrap();
            let poisoned = matches!(
                file.with_pages(page..=page, |bytes| bytes[0]),
                Err(Error::Poisoned { .. })
            );
            cutter.set_len(full_len).unwrap();
            let lasts = matches!(file.still_valid(), Err(Error::Poisoned { .. }));
            poisoned && lasts && sealed.page(PageId::new(3)).is_ok_and(|bytes| bytes[0] == 4)
        };
        assert!(forked(catches), "the child catches its own fault");
        file.still_valid().unwrap();
        file.page_mut(page).unwrap().fill(77);
        file.flush().unwrap();
        assert_eq!(file.page(page).unwrap()[0], 77, "the parent goes on");

        // And the other way round.
        sealed.pages(..).unwrap();
        sealed_cutter.set_len(DATA_START).unwrap();
        check_poisoned(&sealed.with_pages(.., |bytes| bytes.len()), 0);
        let sees = || sealed.page(PageId::new(2)).is_err() && file.page(page).is_ok();
        assert!(forked(sees), "a child of a poisoned parent has it poisoned too");
    });
}

/// The guard names the first page that could not be reached, whatever comes after.
#[test]
fn a_poisoned_file_names_the_first_page_that_could_not_be_reached() {
    survives("a_poisoned_file_names_the_first_page_that_could_not_be_reached", |folder| {
        let (file, cutter) = mutable(folder, "file", 64);
        let guard = file.pages(..).unwrap();
        cutter.set_len(DATA_START + 3 * PAGE_LEN as u64).unwrap();
        let order = iter::once(41).chain(3..64);
        let sum: u64 = order.map(|page| u64::from(guard[page * PAGE_LEN])).sum();
        assert_eq!(sum, 0);
        drop(guard);
        for _ in 0..3 {
            check_poisoned(&file.still_valid(), 41);
            check_poisoned(&file.page(PageId::new(0)), 41);
            check_poisoned(&file.page_mut(PageId::new(1)), 41);
            check_poisoned(&file.flush(), 41);
            check_poisoned(&file.grow(PageCount::new(1)), 41);
        }
        check_poisoned(&file.close(), 41);
    });
}
