//! This test binary run once more, as a process of its own that tells what it does line by line.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

const VARIABLE: &str = "STORAGE_DBSP_TEST_PROCESS";
/// What tells a process's lines from those of the test harness.
const MARK: &str = "told: ";

/// In such a process: what its parent passed.
pub(crate) fn passed() -> Option<String> {
    env::var(VARIABLE).ok()
}

/// In such a process: tells the parent something.
pub(crate) fn tell(line: &str) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "\n{MARK}{line}").unwrap();
    stdout.flush().unwrap();
}

/// In such a process: waits for a line from the parent.
pub(crate) fn listen() -> String {
    let mut line = String::new();
    assert_ne!(io::stdin().lock().read_line(&mut line).unwrap(), 0, "the parent is gone");
    line.trim().to_owned()
}

/// A process that runs one test of this binary; killed on drop.
pub(crate) struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(test: &str, passed: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(VARIABLE, passed)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The next line that it tells, `None` at its end.
    pub(crate) fn hear(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(told) = line.trim().strip_prefix(MARK) {
                return Some(told.to_owned());
            }
        }
    }

    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends it with SIGKILL; gives the lines that were not heard yet.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.hear()).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
