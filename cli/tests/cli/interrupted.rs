//! A command that is interrupted or killed half-way leaves nothing that could be taken for its
//! result.

use std::{
    io::Write,
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::command::{Folder, Ran, command, some_bytes};

/// How long the command may take to begin or to end, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts packing a pipe that does not end, and waits until it is under way.
fn packing(folder: &Folder) -> Child {
    let out = folder.join("out");
    let mut child = command(["pack".as_ref(), "-".as_ref(), out.as_os_str()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(&some_bytes(2 << 20)).unwrap();
    let started = Instant::now();
    while folder.names().is_empty() {
        assert!(started.elapsed() < PATIENCE, "the command never began to write");
        sleep(Duration::from_millis(5));
    }
    child
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    for sent in [Signal::INT, Signal::TERM, Signal::HUP] {
        let folder = Folder::new();
        let mut child = packing(&folder);
        signal(&child, sent);
        // The pipe stays open: the command must not wait for more input.
        let stdin = child.stdin.take();
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("the command did not heed {sent:?}");
            }
            sleep(Duration::from_millis(5));
        }
        let ran = Ran::from(child.wait_with_output().unwrap());
        drop(stdin);
        assert_eq!(ran.code, Some(130), "{ran:?}");
        assert_eq!(ran.stderr, "error: interrupted; nothing was left behind\n");
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }
}

#[test]
fn a_killed_command_leaves_no_file_under_the_final_name() {
    let folder = Folder::new();
    let mut child = packing(&folder);
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    assert!(!folder.join("out").exists());
}
