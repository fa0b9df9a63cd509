//! No hint of the kernel is needed: what is refused is done without, and the answers are the same.
//!
//! Method: a child process has one system call refused to it (seccomp(2)), or one use of it, and then
//! does everything that this crate does: mutable, sealed, temporary and raw files, anonymous memory, a
//! budget. What it reads must be what it wrote, and the refusal must be noted. Each call in turn, with one of the
//! answers that filters and older kernels give (with all, where `PAGESTORE_TEST_ALL_REFUSALS` is set). What is
//! needed, and refused, is an error that names the call.

mod workload;

use std::{env, thread};

use pagestore::{
    Error, Hint, PageCount, PageFile, PageWriter, VersionedFile, WithCauses, refused_hints,
};

use crate::{
    child,
    filter::{Call, REFUSALS, refuse},
};

/// Tells a child which call is refused, and with which answer.
const CASE: &str = "PAGESTORE_TEST_REFUSED";

/// Where this is set, each call is refused with each answer.
const ALL: &str = "PAGESTORE_TEST_ALL_REFUSALS";

const fn madvise(name: &'static str, advice: i32) -> Call {
    Call::with(name, libc::SYS_madvise, 2, advice.unsigned_abs() as u64)
}

/// The number of cachestat(2), which `libc` has not for all targets.
const SYS_CACHESTAT: i64 = 451;

/// What can be done without; and what is noted of it, where it is a hint of ours.
const HINTS: [(Call, Option<Hint>); 30] = [
    (Call::all("posix_fadvise", libc::SYS_fadvise64), Some(Hint::Fadvise)),
    (Call::with("POSIX_FADV_DONTNEED", libc::SYS_fadvise64, 3, 4), Some(Hint::Drop)),
    (Call::with("POSIX_FADV_WILLNEED", libc::SYS_fadvise64, 3, 3), Some(Hint::Fadvise)),
    (Call::with("POSIX_FADV_RANDOM", libc::SYS_fadvise64, 3, 1), Some(Hint::Fadvise)),
    (Call::all("sync_file_range", libc::SYS_sync_file_range), Some(Hint::SyncFileRange)),
    (Call::all("mincore", libc::SYS_mincore), Some(Hint::Mincore)),
    (Call::all("cachestat", SYS_CACHESTAT), Some(Hint::Cachestat)),
    (Call::all("madvise", libc::SYS_madvise), Some(Hint::Madvise)),
    (madvise("MADV_NORMAL", libc::MADV_NORMAL), None),
    (madvise("MADV_RANDOM", libc::MADV_RANDOM), Some(Hint::Madvise)),
    (madvise("MADV_HUGEPAGE", libc::MADV_HUGEPAGE), Some(Hint::Madvise)),
    (madvise("MADV_NOHUGEPAGE", libc::MADV_NOHUGEPAGE), Some(Hint::Madvise)),
    (madvise("MADV_COLD", libc::MADV_COLD), Some(Hint::Madvise)),
    (madvise("MADV_PAGEOUT", libc::MADV_PAGEOUT), None),
    (madvise("MADV_DONTNEED", libc::MADV_DONTNEED), Some(Hint::Unmap)),
    (madvise("MADV_POPULATE_READ", libc::MADV_POPULATE_READ), Some(Hint::Populate)),
    (madvise("MADV_POPULATE_WRITE", libc::MADV_POPULATE_WRITE), Some(Hint::Populate)),
    (Call::with("F_SETLEASE", libc::SYS_fcntl, 1, 1024), Some(Hint::Lease)),
    (Call::with("F_GETLEASE", libc::SYS_fcntl, 1, 1025), None),
    (Call::with("F_SETSIG", libc::SYS_fcntl, 1, 10), Some(Hint::Lease)),
    (Call::with("F_GET_SEALS", libc::SYS_fcntl, 1, 1034), None),
    (Call::all("linkat", libc::SYS_linkat), Some(Hint::Nameless)),
    (Call::all("renameat2", libc::SYS_renameat2), Some(Hint::RenameNoReplace)),
    (Call::all("mlock", libc::SYS_mlock), None),
    (Call::all("openat2", libc::SYS_openat2), None),
    (Call::all("statx", libc::SYS_statx), None),
    (Call::all("preadv2", libc::SYS_preadv2), None),
    (Call::all("pwritev2", libc::SYS_pwritev2), Some(Hint::WriteDurably)),
    (Call::all("fsetxattr", libc::SYS_fsetxattr), None),
    (Call::all("fremovexattr", libc::SYS_fremovexattr), None),
];

/// The case of this process, where it is a child.
fn case(calls: impl Iterator<Item = Call>) -> Option<(Call, i32)> {
    let case = env::var(CASE).ok()?;
    let (name, errno) = case.split_once(' ').unwrap();
    let call = calls.into_iter().find(|call| call.name == name).unwrap();
    Some((call, errno.parse().unwrap()))
}

fn run(test: &str, call: Call, (answer, errno): (&str, i32)) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut command = child::command("", test, folder.path());
    crate::report::say(&format!("{} is refused with {answer}", call.name));
    child::check(command.env(CASE, format!("{} {errno}", call.name)));
}

#[test]
fn nothing_is_refused_where_nothing_is_in_the_way() {
    let test = "nothing_is_refused_where_nothing_is_in_the_way";
    if let Some(folder) = child::path() {
        workload::run(&folder, workload::Limit::IsKept);
        // On this machine's own filesystem. A hint that is used wrongly would hide here.
        assert_eq!(refused_hints(), []);
        return child::done();
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    child::check(&mut child::command("", test, folder.path()));
}

#[test]
fn each_hint_can_be_refused() {
    let test = "each_hint_can_be_refused";
    let calls = || HINTS.iter().map(|(call, _)| *call);
    let Some((call, errno)) = case(calls()) else {
        // The answers mean the same, so each call gets one of them, or all.
        let cases = calls().enumerate().flat_map(|(number, call)| {
            let answers = match env::var_os(ALL) {
                Some(_) => &REFUSALS[..],
                None => &REFUSALS[number % REFUSALS.len()..][..1],
            };
            answers.iter().map(move |&answer| (call, answer))
        });
        let cases: Vec<_> = cases.collect();
        return thread::scope(|scope| {
            for some in cases.chunks(cases.len().div_ceil(REFUSALS.len())) {
                scope.spawn(|| some.iter().for_each(|&(call, answer)| run(test, call, answer)));
            }
        });
    };
    refuse(call, errno);
    // The kernel drops no page for who may not ask it to, and reads ahead as it likes.
    let without = [
        "posix_fadvise",
        "POSIX_FADV_DONTNEED",
        "madvise",
        "MADV_DONTNEED",
        "MADV_RANDOM",
        "cachestat",
    ];
    let is_kept = !without.contains(&call.name);
    let limit = if is_kept { workload::Limit::IsKept } else { workload::Limit::CannotBeKept };
    workload::run(&child::path().unwrap(), limit);
    let (_, hint) = HINTS.iter().find(|(hint, _)| hint.name == call.name).unwrap();
    let noted = refused_hints();
    if let Some(hint) = hint {
        let noted = noted.iter().find(|refused| refused.hint == *hint);
        let noted = noted.unwrap_or_else(|| panic!("{hint:?} is not noted"));
        assert_eq!(noted.os_error, errno);
        let (words, call) = (noted.to_string(), hint.system_call());
        assert!(words.starts_with(&format!("{call} is refused")), "{words}");
    }
    child::done();
}

/// What nothing can stand in for: the call, and what the error says of it.
const NEEDED: [(Call, &str); 3] = [
    (Call::all("fallocate", libc::SYS_fallocate), "(fallocate)"),
    (Call::all("flock", libc::SYS_flock), "lock"),
    (Call::all("mmap", libc::SYS_mmap), "address space"),
];

#[test]
fn what_is_needed_and_refused_is_named() {
    let test = "what_is_needed_and_refused_is_named";
    let calls = || NEEDED.iter().map(|(call, _)| *call);
    let Some((call, errno)) = case(calls()) else {
        for call in calls() {
            REFUSALS.into_iter().for_each(|answer| run(test, call, answer));
        }
        return;
    };
    let path = child::path().unwrap().join("file");
    // Whatever this thread allocates later is there by now.
    drop(vec![1_u8; 1 << 20]);
    refuse(call, errno);
    let grown = PageFile::create(&path).and_then(|file| file.grow(PageCount::new(1)).map(drop));
    let (_, words) = NEEDED.iter().find(|(needed, _)| needed.name == call.name).unwrap();
    let message = grown.unwrap_err().to_string();
    assert!(message.contains(words), "{message}");
    if call.name == "mmap" {
        // Packing needs no mapping.
        let mut writer = PageWriter::create(&path).unwrap();
        writer.append(&[7; 100_000]).unwrap();
        writer.seal_and_close().unwrap();
        assert!(path.exists());
    }
    child::done();
}

/// A durable write that fails, with the answer of a filter, where the call itself is to be had. To write once more
/// and sync would use up what the kernel has to say of other writes.
#[test]
fn a_durable_write_that_fails_is_no_refusal() {
    let test = "a_durable_write_that_fails_is_no_refusal";
    // That of a superblock, which has one part.
    let failing = Call::with("pwritev2", libc::SYS_pwritev2, 2, 1);
    let Some((call, errno)) = case([failing].into_iter()) else {
        REFUSALS.into_iter().for_each(|answer| run(test, failing, answer));
        return;
    };
    let file = VersionedFile::create(child::path().unwrap().join("file")).unwrap();
    refuse(call, errno);
    let commit = || -> pagestore::Result<()> {
        let mut transaction = file.begin()?;
        transaction.grow(PageCount::new(1))?;
        transaction.commit().map(drop)
    };
    let error = commit().unwrap_err();
    let words = WithCauses(&error).to_string();
    assert!(words.contains(&std::io::Error::from_raw_os_error(errno).to_string()), "{words}");
    assert!(matches!(commit(), Err(Error::Poisoned { .. })));
    assert!(refused_hints().iter().all(|refused| refused.hint != Hint::WriteDurably));
    child::done();
}
