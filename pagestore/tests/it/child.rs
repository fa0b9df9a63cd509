//! Runs a test once more in a process of its own: as another user, under other limits, or to be
//! killed.
//!
//! The test asks [`path`] first; where it gives a path, it is the child and does the child's part.

use std::{
    env,
    io::{self, BufRead, BufReader, Write as _},
    panic::Location,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

const VARIABLE: &str = "PAGESTORE_TEST_CHILD";
const DONE: &str = "the child's part is done";

/// In a child: the path that its parent gave it.
pub(crate) fn path() -> Option<PathBuf> {
    env::var_os(VARIABLE).map(PathBuf::from)
}

/// In a child: tells the parent that everything went as expected.
pub(crate) fn done() {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "\n{DONE}").unwrap();
    stdout.flush().unwrap();
}

/// In a child: tells the parent so far so good, and waits to be killed.
pub(crate) fn done_and_wait() -> ! {
    done();
    thread::sleep(Duration::from_secs(60));
    panic!("the parent should have killed this process");
}

/// The command that runs the one test `test` of the calling module as a child, behind the words of a
/// shell, such as `umask 0;`.
#[track_caller]
pub(crate) fn command(shell: &str, test: &str, path: &Path) -> Command {
    let test = full_name(Path::new(Location::caller().file()), test);
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture", "--test-threads=1"])
        .env(VARIABLE, path)
        .stdin(Stdio::null());
    command
}

/// What the test harness calls a test of the module that lies in this file, such as
/// `pagestore/tests/it/budget/limited.rs`.
fn full_name(file: &Path, test: &str) -> String {
    let mut module: Vec<_> = file.with_extension("").iter().map(|part| part.to_owned()).collect();
    // What is above the program's own folder, and that.
    let tests = module.iter().rposition(|part| part == "tests").expect("tests are in tests/");
    module.drain(..(tests + 2).min(module.len()));
    module.retain(|part| part != "main");
    let names = module.iter().map(|part| part.to_str().expect("modules have plain names"));
    names.chain([test]).collect::<Vec<_>>().join("::")
}

/// Whether a child ran its test, and it passed. One that finds no test of its name ends well too.
#[allow(dead_code, reason = "not every suite looks at more than that")]
pub(crate) fn passed(output: &Output) -> bool {
    output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed")
}

/// Runs a child to its end; it must have said [`done`].
#[track_caller]
pub(crate) fn check(command: &mut Command) {
    let output = command.output().unwrap();
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let right = output.status.success() && said.contains(DONE);
    assert!(right, "the child failed ({}):\n{said}\n{errors}", output.status);
}

/// A child that waits to be killed, which it is at the latest on drop.
pub(crate) struct Waiting(Child);

impl Waiting {
    /// Starts a child and waits until it said [`done_and_wait`].
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let waiting = Self(child);
        let ready = stdout.lines().any(|line| line.unwrap() == DONE);
        assert!(ready, "the child ended before it was ready");
        waiting
    }

    /// Its process id.
    #[allow(dead_code, reason = "not every suite looks at its children from outside")]
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}
