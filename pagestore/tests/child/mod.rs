//! Runs a test once more in a process of its own: as another user, under other limits, or to be
//! killed.
//!
//! The test asks [`path`] first; where it gives a path, it is the child and does the child's part.

use std::{
    env,
    io::{self, BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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

/// The command that runs the one test `test` of this binary as a child, behind the words of a
/// shell, such as `umask 0;`.
pub(crate) fn command(shell: &str, test: &str, path: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(VARIABLE, path)
        .stdin(Stdio::null());
    command
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
