//! Running a built example.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// No example needs as long, on a machine with much else to do; one that waits for itself does.
const LIMIT: Duration = Duration::from_secs(300);

/// The examples that `cargo test` built beside this test; `None` where it was told to build one test
/// only.
fn built(name: &str) -> Option<PathBuf> {
    let test = env::current_exe().unwrap();
    let path = test.parent()?.parent()?.join("examples").join(name);
    path.exists().then_some(path)
}

/// Runs an example to its end, in a folder of its own on a disk, and gives what it printed. `None`,
/// loudly, where it was not built.
#[track_caller]
pub(crate) fn run(name: &str, args: &[&str]) -> Option<String> {
    let Some(example) = built(name) else {
        let reason = "it was not built; `cargo test` without `--test` builds the examples too";
        let mut stderr = std::io::stderr().lock();
        writeln!(stderr, "SKIPPED: the example {name}: {reason}").unwrap();
        return None;
    };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let printed = |name: &str| folder.path().join(name);
    let mut child = Command::new(example)
        .args(args)
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(File::create(printed("stdout")).unwrap())
        .stderr(File::create(printed("stderr")).unwrap())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the example {name} did not end: {}", text(&printed("stdout")));
        }
        sleep(Duration::from_millis(10));
    };
    let (stdout, stderr) = (text(&printed("stdout")), text(&printed("stderr")));
    assert!(status.success() && stderr.is_empty(), "{name}: {status}\n{stdout}\n{stderr}");
    Some(stdout)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// Fails where an example in `folder` is not among `run`.
#[track_caller]
pub(crate) fn all_are_run(folder: &str, run: &[&str]) {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, run, "each example is run by a test");
}
