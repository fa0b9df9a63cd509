//! Running the command.

use std::{
    ffi::OsStr,
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// The command with these arguments, to be run.
pub(crate) fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storage"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the command.
pub(crate) fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    Ran::from(command(args).output().unwrap())
}

/// Runs the command with bytes on its standard input, a pipe.
pub(crate) fn run_with_input<S: AsRef<OsStr>>(
    args: impl IntoIterator<Item = S>,
    input: &[u8],
) -> Ran {
    let mut child = command(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    drop(stdin);
    Ran::from(child.wait_with_output().unwrap())
}

/// How a run of the command ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stdout = &self.stdout[..self.stdout.len().min(2_000)];
        f.debug_struct("Ran")
            .field("code", &self.code)
            .field("stdout", &String::from_utf8_lossy(stdout))
            .field("stderr", &self.stderr)
            .finish()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

impl Ran {
    /// Checks that it went well without a word on standard error, and gives what it told.
    #[track_caller]
    pub(crate) fn done(&self) -> &str {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.told()
    }

    /// Checks that it ended in an error, told once in one line that has all of `words`.
    #[track_caller]
    pub(crate) fn refused(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing in {}", self.stderr);
        }
    }

    /// Checks that damage was found and told with all of `words`.
    #[track_caller]
    pub(crate) fn damaged(&self, words: &[&str]) {
        assert_eq!((self.code, self.stderr.as_str()), (Some(3), ""), "{self:?}");
        let told = self.told();
        for word in words.iter().chain(&["DAMAGED"]) {
            assert!(told.contains(word), "{word:?} is missing in {told}");
        }
    }

    /// What came on standard output, as text.
    #[track_caller]
    pub(crate) fn told(&self) -> &str {
        str::from_utf8(&self.stdout).unwrap()
    }
}

/// A temporary folder with files in it.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One in the target folder, which is on a disk.
    pub(crate) fn in_target() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in it, there or not.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file with these bytes.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A packed file of these bytes, made by the command.
    pub(crate) fn packed(&self, name: &str, bytes: &[u8], page_size: &str) -> PathBuf {
        let (input, packed) = (self.file("input", bytes), self.join(name));
        let page_size = format!("--page-size={page_size}");
        run([OsStr::new("pack"), page_size.as_ref(), input.as_os_str(), packed.as_os_str()]).done();
        packed
    }

    /// The names of all files in it, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Bytes without a pattern, always the same.
pub(crate) fn some_bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}
