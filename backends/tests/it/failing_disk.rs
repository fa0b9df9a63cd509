//! The file backends on a disk that fails at every place it can: no error is kept quiet, what was
//! said to be durable is durable, and the rest of the store goes on working.
//!
//! Method: a FUSE filesystem counts the operations that the kernel asks of it, and fails a chosen
//! one, by EIO or, where something is to be written, by ENOSPC, once or from then on. Each workload
//! (`workloads.rs`) is run with the first, second, third... read (or write or fsync, other change,
//! look for a name) made to fail, until it ends before the failure comes. Each operation fails in one of
//! these ways in a run, and in all of them where `PAGESTORE_TEST_ALL_FAILURES` is set. A workload goes on
//! after an error. A model (`model.rs`, `sheet.rs`) follows along with what each answer promised: which
//! bytes are certain, which may be old or new, what a crash may take. Every answer is held to it
//! (`session.rs`): those during the failure, those of the same backend on the healed disk, those of
//! a backend that opens the folder anew, and those after a crash that took everything that was not
//! durable.
//!
//! Both ways of the kernel with a FUSE filesystem are tried: sending at once what write(2) writes,
//! and keeping it for later as a disk's filesystem does. The server is a process of its own.
//!
//! What a disk that is full means is tried on a real one, ext4 on a loop device (`full.rs`).

#[path = "../../../pagestore/tests/it/failing_disk/disk.rs"]
mod disk;
#[path = "../../../pagestore/tests/it/failing_disk/filesystem.rs"]
mod filesystem;
mod full;
mod model;
mod session;
mod sheet;
#[path = "../../../pagestore/tests/it/failing_disk/ways.rs"]
mod ways;
mod workloads;

use std::sync::Arc;

use backends::{DynBackend, Limits, MmapBackend, PosixBackend};
use disk::FailingDisk;
use filesystem::{Fault, Kind};
use rustix::io::Errno;
use session::Open;
use ways::numbers;
use workloads::{Place, WORKLOADS};

use crate::{child, report::say, skip};

/// The name of the test below, which the server is a child of.
const SERVER: &str = "creating_and_writing_ranges";

const BACKENDS: [(&str, Open); 2] = [
    ("mmap", |root| {
        MmapBackend::open(root, Limits::default()).map(|it| Arc::new(it) as DynBackend)
    }),
    ("posixio", |root| {
        PosixBackend::open(root, Limits::default()).map(|it| Arc::new(it) as DynBackend)
    }),
];

/// Fails every operation of every kind of one workload in turn, in one way or in all ([`numbers`]), under each backend.
fn fail_all(test: &str, index: usize) {
    let workload = &WORKLOADS[index];
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for &writes in workload.writes {
        let mut disk = match FailingDisk::new(SERVER, writes) {
            Ok(disk) => disk,
            Err(reason) => return skip::skipped(test, &reason),
        };
        for (backend, open) in BACKENDS {
            let mut place = Place { disk: &mut disk, writes, backend, open, runtime: &runtime };
            let tallies = Kind::ALL.map(|kind| fail_kind(&mut place, index, kind));
            let name = workload.name;
            say(&format!(
                "failing disk, {backend}, {name}, {writes:?}: {}; 0 false",
                tallies.join("; ")
            ));
        }
    }
}

fn fail_kind(place: &mut Place<'_>, index: usize, kind: Kind) -> String {
    let (mut cases, mut told, mut unpoisoned, mut done) = (0, 0, 0, 0);
    // A disk that is full tells those who write to it or make a name.
    let errnos: &[Errno] = match kind {
        Kind::Write | Kind::Other => &[Errno::IO, Errno::NOSPC],
        _ => &[Errno::IO],
    };
    // One operation that fails is already one of another kind.
    let onces: &[bool] = if kind == Kind::Any { &[false] } else { &[true, false] };
    let ways = errnos.iter().flat_map(|&errno| onces.iter().map(move |&once| (errno, once)));
    let ways: Vec<_> = ways.collect();
    for (way, &(errno, once)) in ways.iter().enumerate() {
        for number in numbers(way, ways.len()) {
            let fault = Fault { kind, number, errno: errno.raw_os_error(), once };
            let case = WORKLOADS[index].run(place, fault);
            if case.fired == 0 {
                break;
            }
            cases += 1;
            told += u64::from(case.answers.errors > 0);
            unpoisoned += case.answers.syncs_without_poison;
            done += case.answers.renames_done_with_an_error;
            assert!(number < 1000, "the workload does not end");
        }
    }
    format!(
        "{kind:?} {cases} cases, {told} with an error, {unpoisoned} syncs failed that left the \
         file in order, {done} renames failed that were done"
    )
}

#[test]
fn creating_and_writing_ranges() {
    if let Some(path) = child::path() {
        return disk::serve(&path);
    }
    fail_all(SERVER, 0);
}

#[test]
fn appending() {
    fail_all("appending", 1);
}

#[test]
fn overwriting() {
    fail_all("overwriting", 2);
}

#[test]
fn truncating() {
    fail_all("truncating", 3);
}

#[test]
fn sealing() {
    fail_all("sealing", 4);
}

#[test]
fn reopening_and_reading() {
    fail_all("reopening_and_reading", 5);
}

#[test]
fn renaming_over() {
    fail_all("renaming_over", 6);
}

#[test]
fn deleting_and_listing() {
    fail_all("deleting_and_listing", 7);
}

#[test]
fn reading_and_writing_many() {
    fail_all("reading_and_writing_many", 8);
}
