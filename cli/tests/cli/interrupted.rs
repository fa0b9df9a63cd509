//! A command that is interrupted or killed half-way leaves nothing that could be taken for its
//! result.

use std::{
    fs,
    io::Write,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::command::{Folder, Ran, command, some_bytes};

/// How long the command may take to begin or to end, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts packing a pipe that does not end, and waits until it is under way.
fn packing(folder: &Folder) -> Child {
    busy("pack", folder)
}

/// Starts making something of a pipe that does not end, and waits until it is under way.
fn busy(name: &str, folder: &Folder) -> Child {
    let out = folder.join("out");
    let mut child = command([name.as_ref(), "-".as_ref(), out.as_os_str()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.as_mut().unwrap().write_all(&some_bytes(2 << 20)).unwrap();
    wait_until(|| holds_nameless(&child, folder), "the command never began to write");
    child
}

fn wait_until(mut is_so: impl FnMut() -> bool, otherwise: &str) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "{otherwise}");
        sleep(Duration::from_millis(1));
    }
}

/// Whether the command has a file in the folder that has no name yet (proc(5)).
fn holds_nameless(child: &Child, folder: &Folder) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
    let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let folder = folder.path().canonicalize().unwrap();
    targets.any(|target| {
        target.parent() == Some(&folder) && target.to_string_lossy().ends_with(" (deleted)")
    })
}

/// Whether the command has a handler for SIGINT by now (`SigCgt` in proc(5), bit 1).
fn listens(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & 2 != 0
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
fn what_was_ignored_at_the_start_stays_ignored() {
    let folder = Folder::new();
    let out = folder.join("out");
    // As nohup(1) does, and a shell that starts a command in the background.
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP INT; exec \"$0\" pack - \"$1\""])
        .args([env!("CARGO_BIN_EXE_storage").as_ref(), out.as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&some_bytes(2 << 20)).unwrap();
    wait_until(|| holds_nameless(&child, &folder), "the command never began to write");
    for sent in [Signal::HUP, Signal::INT] {
        signal(&child, sent);
    }
    stdin.write_all(&some_bytes(2 << 20)).unwrap();
    drop(stdin);
    Ran::from(child.wait_with_output().unwrap()).done();
    assert_eq!(folder.names(), ["out"]);
}

#[test]
fn a_killed_command_leaves_nothing() {
    for command in ["pack", "sort"] {
        let folder = Folder::new();
        let mut child = busy(command, &folder);
        signal(&child, Signal::KILL);
        child.wait().unwrap();
        assert!(folder.names().is_empty(), "{command}: {:?}", folder.names());
    }
}

/// A verification is over soon, so it may take some tries to interrupt one.
#[test]
fn an_interrupted_verification_tells_how_far_it_came_and_not_that_all_is_good() {
    let folder = Folder::new();
    let path = folder.packed("packed", &some_bytes(100 << 20), "4KiB");
    let interrupted = || {
        let child = command(["verify".as_ref(), path.as_os_str()]).spawn().unwrap();
        wait_until(|| listens(&child), "the command never listened");
        signal(&child, Signal::INT);
        Ran::from(child.wait_with_output().unwrap())
    };
    let ran = (0..50).map(|_| interrupted()).find(|ran| ran.code != Some(0));
    let ran = ran.expect("one of fifty is interrupted before it is over");
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert_eq!(ran.stderr, "error: interrupted; nothing was left behind\n");
    assert!(ran.told().contains("stopped after "), "{ran:?}");
    assert!(ran.told().contains(" of 25,600 pages"), "{ran:?}");
    assert!(!ran.told().contains("good"), "{ran:?}");
}
