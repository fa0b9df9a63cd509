//! The demo runs through, and removes its files however it ends.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::command::{Folder, Ran, command};

#[test]
fn the_demo_shows_everything_and_cleans_up() {
    let folder = Folder::new();
    let ran = Ran::from(command(["demo"]).env("TMPDIR", folder.path()).output().unwrap());
    for words in [
        "Append the data to a new file",
        "SealedFile::page",
        "raw memmap2",
        "pread of 4 KiB",
        "1000 pages in 1000 runs",
        "PageFile::grow",
        "VersionedFile::open after a kill",
        "all pages of each of them",
        "PageFile::anonymous",
        "page 12345 of damaged is damaged",
        "refused",
        "the files of the demo are removed",
    ] {
        assert!(ran.done().contains(words), "{words:?} is missing in {}", ran.told());
    }
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

#[test]
fn an_interrupted_demo_cleans_up() {
    let folder = Folder::new();
    let child = command(["demo"]).env("TMPDIR", folder.path()).spawn().unwrap();
    let started = Instant::now();
    while folder.names().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "the demo never made its folder");
        sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

#[test]
fn what_a_killed_demo_left_is_cleared_away_by_the_next_and_that_of_a_running_one_is_not() {
    let folder = Folder::new();
    let start = || command(["demo"]).env("TMPDIR", folder.path()).spawn().unwrap();
    let wait_for = |what: &str, is_so: &dyn Fn(&[String]) -> bool| {
        let started = Instant::now();
        while !is_so(&folder.names()) {
            assert!(started.elapsed() < Duration::from_secs(60), "{what}: {:?}", folder.names());
            sleep(Duration::from_millis(5));
        }
    };
    let has_lock = |name: &String| folder.join(name).join("lock").exists();
    let mut killed = start();
    wait_for("the first", &|names| names.len() == 1 && names.iter().all(has_lock));
    let left = folder.names();
    let running = start();
    wait_for("the second", &|names| names.len() == 2 && names.iter().all(has_lock));
    killed.kill().unwrap();
    killed.wait().unwrap();
    let next = start();
    wait_for("the third", &|names| names.len() == 2 && !names.contains(&left[0]));
    for child in [running, next] {
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    }
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

#[test]
fn a_demo_without_a_folder_says_so() {
    let ran = Ran::from(command(["demo"]).env("TMPDIR", "/no/such/folder").output().unwrap());
    ran.refused(&["cannot make a folder in /no/such/folder", "check the path"]);
}
