//! Standard streams that are closed, of the wrong kind, without room, or that nobody reads.
//!
//! Method: a shell redirects the streams as a user would, and runs the command in its own place.
//! Whatever is refused is refused before anything is touched.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    command::{Folder, Ran, command, some_bytes},
    loop_disk::LoopDisk,
    skip,
};

/// Runs the command with its streams redirected, in the words of sh(1).
fn redirected(args: &[&str], redirections: &str) -> Ran {
    let script = format!("exec \"$0\" \"$@\" {redirections}");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_storage")]).args(args);
    Ran::from(command.stdin(Stdio::null()).output().unwrap())
}

/// A folder with what the commands below need, and a file that must not be lost.
struct Files {
    folder: Folder,
    packed: PathBuf,
    precious: PathBuf,
    out: PathBuf,
}

impl Files {
    fn new() -> Self {
        let folder = Folder::new();
        let packed = folder.packed("packed", &some_bytes(3 << 20), "4k");
        let (precious, out) = (folder.file("precious", b"b\na\n"), folder.join("out"));
        Self { folder, packed, precious, out }
    }

    /// A command for each way in which something is told or made.
    fn commands(&self) -> Vec<Vec<&str>> {
        let [packed, precious, out] =
            [&self.packed, &self.precious, &self.out].map(|path| path.to_str().unwrap());
        vec![
            vec!["pack", packed, out],
            vec!["pack", packed, precious, "--force"],
            vec!["unpack", packed, out],
            vec!["unpack", packed, precious, "--force"],
            vec!["unpack", packed, "-"],
            vec!["verify", packed],
            vec!["inspect", packed],
            vec!["heatmap", packed, "--svg", out],
            vec!["sort", precious, precious],
            vec!["sort", packed, precious, "--force"],
            vec!["sort", precious, "-"],
            vec!["demo"],
            vec!["--version"],
            vec!["--help"],
            vec!["sort", "--help"],
        ]
    }

    #[track_caller]
    fn are_untouched(&self) {
        assert_eq!(self.folder.names(), ["input", "packed", "precious"]);
        assert_eq!(fs::read(&self.precious).unwrap(), b"b\na\n");
    }
}

#[test]
fn a_closed_input_is_no_empty_input() {
    let files = Files::new();
    let (out, precious) = (files.out.to_str().unwrap(), files.precious.to_str().unwrap());
    for args in [
        &["pack", "-", out][..],
        &["pack", "-", precious, "--force"],
        &["sort", "-", precious, "--force"],
        &["sort", "-", "-"],
    ] {
        redirected(args, "<&-").refused(&["standard input is closed", "name a file"]);
        redirected(args, "0>/dev/null").refused(&["standard input was not opened for reading"]);
        redirected(args, "</").refused(&["standard input is a folder"]);
        files.are_untouched();
    }
    // An empty input is none of this, however it was opened: `<>` is what many programs do.
    for empty in ["</dev/null", "<>/dev/null"] {
        redirected(&["pack", "-", out, "--force"], empty).done();
        redirected(&["sort", "-", precious, "--force"], empty).done();
        assert_eq!(fs::read(precious).unwrap(), b"");
    }
    // Who does not read it does not miss it.
    redirected(&["verify", out], "<&-").done();
}

#[test]
fn a_closed_output_is_refused_by_every_command() {
    let files = Files::new();
    for args in files.commands() {
        redirected(&args, ">&-").refused(&["standard output is closed", "`/dev/null`"]);
        redirected(&args, "1</dev/null").refused(&["standard output was not opened for writing"]);
        redirected(&args, "<&- >&-").refused(&["standard output is closed"]);
        files.are_untouched();
    }
}

#[test]
fn an_output_without_room_is_refused_by_every_command() {
    let files = Files::new();
    for args in files.commands() {
        let ran = redirected(&args, ">/dev/full");
        ran.refused(&["cannot write to standard output", "No space left on device"]);
        files.are_untouched();
    }
}

#[test]
fn an_output_that_forgets_everything_is_fine() {
    let files = Files::new();
    let packed = files.packed.to_str().unwrap();
    for silent in [">/dev/null", "1<>/dev/null"] {
        for args in [&["verify", packed][..], &["unpack", packed, "-"], &["--version"]] {
            redirected(args, silent).done();
        }
    }
}

#[test]
fn a_closed_standard_error_changes_no_result() {
    let files = Files::new();
    let [packed, out] = [&files.packed, &files.out].map(|path| path.to_str().unwrap());
    for closed in ["2>&-", "2>/dev/full"] {
        let good = redirected(&["pack", packed, out, "--force"], closed);
        assert!(good.done().contains("sealed and durable"), "{good:?}");
        let bad = redirected(&["pack", packed, out], closed);
        assert_eq!((bad.code, bad.told()), (Some(1), ""));
        let wrong = redirected(&["pack"], closed);
        assert_eq!((wrong.told(), wrong.stderr.as_str()), ("", ""));
        assert_ne!(wrong.code, Some(0));
    }
}

#[test]
fn nobody_reads_the_output() {
    let files = Files::new();
    let packed = &files.packed;
    for (args, code) in [
        (vec!["inspect".as_ref(), packed.as_os_str()], 0),
        (vec!["verify".as_ref(), packed.as_os_str()], 0),
        (vec!["pack".as_ref(), packed.as_os_str(), files.folder.join("again").as_os_str()], 0),
        (vec!["--help".as_ref()], 0),
        // The bytes went nowhere, so this is no success; but there is nothing to say about it.
        (vec!["unpack".as_ref(), packed.as_os_str(), "-".as_ref()], 1),
    ] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let ran = Ran::from(command(&args).stdout(writer).output().unwrap());
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(code), ""), "{args:?}");
    }
}

/// Its input stays open and empty, so a command that begins to read would never end.
#[test]
fn nothing_is_read_where_nobody_would_get_it() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let (input, _open) = io::pipe().unwrap();
    let child = command(["sort", "-", "-"]).stdin(input).stdout(writer).spawn().unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""));
}

#[test]
fn a_reader_that_leaves_half_way_ends_it() {
    let folder = Folder::new();
    let packed = folder.packed("packed", &some_bytes(8 << 20), "4k");
    let args = ["unpack".as_ref(), packed.as_os_str(), "-".as_ref()];
    let mut child = command(args).spawn().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 100]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.status.signal()), (Some(1), None));
    assert!(output.stderr.is_empty());
}

#[test]
fn a_report_that_finds_no_room_says_that_the_work_is_done() {
    let name = "a_report_that_finds_no_room_says_that_the_work_is_done";
    let disk = match LoopDisk::new(16, 64) {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(name, &reason),
    };
    let files = Files::new();
    let log = OpenOptions::new().create_new(true).append(true).open(disk.path().join("log"));
    let log = log.unwrap();
    let _ballast = disk.fill_but(0);
    let out: &Path = &files.out;
    let args = ["pack".as_ref(), files.packed.as_os_str(), out.as_os_str()];
    let ran = Ran::from(command(args).stdout(log).output().unwrap());
    ran.refused(&["out is whole and durable", "cannot write to standard output", "No space left"]);
    redirected(&["verify", out.to_str().unwrap()], "").done();
}
