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
fn a_demo_without_a_folder_says_so() {
    let ran = Ran::from(command(["demo"]).env("TMPDIR", "/no/such/folder").output().unwrap());
    ran.refused(&["cannot make a folder in /no/such/folder", "check the path"]);
}
