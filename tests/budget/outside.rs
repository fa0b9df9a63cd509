//! What the kernel has charged to a control group.

use std::{
    io::Read,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use super::cgroup::Cgroup;

/// The most that was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Pages of files.
    pub(crate) files_most_bytes: u64,
    /// Those and the memory of the process.
    pub(crate) all_most_bytes: u64,
    pub(crate) looks: u64,
    said: String,
}

/// Runs a command that enters the group, and looks at the group until it ends.
pub(crate) fn watch(group: &Cgroup, command: &mut Command) -> Seen {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let said = thread::spawn(move || {
        let mut said = String::new();
        stdout.read_to_string(&mut said).map(|_| said)
    });
    let mut seen = Seen::default();
    let status = loop {
        let [files, own] = group.memory_bytes();
        seen.files_most_bytes = seen.files_most_bytes.max(files);
        seen.all_most_bytes = seen.all_most_bytes.max(files + own);
        seen.looks += 1;
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => thread::sleep(Duration::from_millis(1)),
        }
    };
    seen.said = said.join().unwrap().unwrap();
    assert!(status.success(), "{status}\n{}", seen.said);
    seen
}
