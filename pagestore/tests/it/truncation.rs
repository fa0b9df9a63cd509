//! Files cut short, and extended again, under threads that read and write them: no process dies,
//! and nothing that is handed back as right is wrong.
//!
//! Method: a child process works in rounds, so that its death would be seen as one. In each round a
//! new file is opened; threads read and write it through the public interface while another
//! descriptor truncates it to random lengths, and in half of the rounds extends it again. Every
//! word of a page tells its page, its generation and its place, so a wrong byte is recognised. A
//! handler installed on top of ours counts the page faults that the kernel really raised.
//!
//! Where a file is cut and never extended, a result is right or an error, without exception. Where
//! it was extended again, the file *has* zeros, and nothing in a mutable file tells them from bytes
//! that somebody wrote; there, zeros are let pass, and any other wrong byte is not.

mod inside_a_page;
mod mutable;
mod pages;
mod round;
mod sealed;
mod writer;

use std::{
    fs::OpenOptions,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use mutable::{mutable_file, mutable_round};
use pages::{DATA_START, PAGE_LEN};
use pagestore::{Error, PageCount, PageFile, Populate};
use round::Tally;
use sealed::{sealed_file, sealed_round};
use writer::writer_round;

use crate::{
    child, elsewhere,
    report::{Random, say, seed},
    sigbus,
};

/// Faults to catch, on tmpfs and on a disk.
const FAULTS_WANTED: [usize; 2] = [30_000, 10_000];

/// The child's part: rounds in one folder until enough faults were caught.
fn rounds_in(folder: &Path, place: &str, faults_wanted: usize) {
    let seed = seed();
    let mut random = Random(seed);
    say(&format!("truncation on {place}: PAGESTORE_TEST_SEED={seed}"));
    let tally = Tally::default();
    let (mutable, sealed) = (mutable_file(folder), sealed_file(folder));
    let path = folder.join("file");
    // The first mapping installed our handler; the one that counts goes on top.
    sigbus::count_from_now();
    let started = Instant::now();
    while sigbus::counted() < faults_wanted {
        mutable_round(&path, &mutable, &tally, &mut random);
        sealed_round(&path, &sealed, &tally, &mut random);
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "only {} faults after {} rounds",
            sigbus::counted(),
            tally.rounds.load(Ordering::Relaxed)
        );
    }
    tally.say(place, started.elapsed().as_secs_f64());
}

/// Runs the child's part of `test` and says what it said; a child that dies fails the test.
fn run_child(test: &str, folder: &Path) {
    let mut command = child::command("", test, folder);
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(child::passed(&output), "the child ended with {}:\n{errors}", output.status);
    errors.lines().filter(|line| line.contains("truncation on")).for_each(say);
}

#[test]
fn on_tmpfs_no_cut_kills_the_process_or_is_taken_for_data() {
    let test = "on_tmpfs_no_cut_kills_the_process_or_is_taken_for_data";
    if let Some(folder) = child::path() {
        return rounds_in(&folder, "tmpfs", FAULTS_WANTED[0]);
    }
    run_child(test, tempfile::tempdir_in("/dev/shm").unwrap().path());
}

#[test]
fn on_a_disk_no_cut_kills_the_process_or_is_taken_for_data() {
    let test = "on_a_disk_no_cut_kills_the_process_or_is_taken_for_data";
    if let Some(folder) = child::path() {
        return rounds_in(&folder, "the disk", FAULTS_WANTED[1]);
    }
    run_child(test, tempfile::tempdir().unwrap().path());
}

/// A cut inside the part that is written already leaves a hole there when the writer goes on. Its
/// zeros are found by their pages' checksums; a cut behind it is found by the length.
#[test]
fn a_writer_whose_file_is_cut_seals_it_right_or_says_so() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let seed = seed();
    let mut random = Random(seed);
    let tally = Tally::default();
    let payload: Vec<u8> = (1..=255).cycle().take((3 << 20) / PAGE_LEN * PAGE_LEN).collect();
    let refused =
        (0..200).filter(|_| writer_round(folder.path(), &payload, &tally, &mut random)).count();
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    say(&format!(
        "truncation under a writer: seed {seed}, {} rounds with {} cuts: {refused} refused by \
         append or seal, {} found by checksums, 0 wrong bytes",
        get(&tally.rounds),
        get(&tally.cuts),
        get(&tally.errors_checksum)
    ));
}

/// What one caught fault takes: signal, handler, a page of zeros.
#[test]
fn the_cost_of_a_caught_fault_is_measured() {
    let test = "the_cost_of_a_caught_fault_is_measured";
    const FAULTS: u64 = 8192;
    if let Some(folder) = child::path() {
        let path = folder.join("file");
        let file = PageFile::options().populate(Populate::OnTouch).create(&path).unwrap();
        file.grow(PageCount::new(FAULTS)).unwrap();
        sigbus::count_from_now();
        let guard = file.pages(..).unwrap();
        let outside = OpenOptions::new().write(true).open(&path).unwrap();
        outside.set_len(DATA_START).unwrap();
        let started = Instant::now();
        let sum: u64 = guard.iter().step_by(PAGE_LEN).map(|&byte| u64::from(byte)).sum();
        let elapsed = started.elapsed();
        assert_eq!((sum, sigbus::counted() as u64), (0, FAULTS));
        assert!(matches!(file.still_valid(), Err(Error::Poisoned { .. })));
        let micros = elapsed.as_secs_f64() * 1e6 / FAULTS as f64;
        return say(&format!("truncation on its cost: {micros:.1} us for each caught fault"));
    }
    run_child(test, tempfile::tempdir_in("/dev/shm").unwrap().path());
}

#[test]
fn the_suite_passes_on_other_filesystems() {
    elsewhere::run("truncation::the_suite_passes_on_other_filesystems", &[]);
}
