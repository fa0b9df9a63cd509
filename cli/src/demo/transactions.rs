//! Changes that are whole or not there: a child process is killed in the middle of its commits.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, HumanCount};
use storage::{PageCount, PageId, Snapshot, VersionedFile};

use crate::{
    demo::stage::Stage,
    error::{Error, Result},
    report::Took,
    streams::print,
};

/// The path of the file, told to the child.
const CHILD: &str = "STORAGE_DEMO_TRANSACTIONS";

/// Each commit changes all of these pages, and then says so.
const PAGES: u64 = 1_000;

/// Children that are killed.
const KILLS: u32 = 10;

/// How many commits each of them may end; it is killed somewhere in the next.
const COMMITS: u32 = 3;

/// Shows transactions.
pub(crate) fn show(stage: &Stage) -> Result<()> {
    stage.heading("Kill a process 10 times while it commits changes of 1,000 pages")?;
    let path = stage.path("bank");
    let file = VersionedFile::create(&path)?;
    file.update(|transaction| transaction.grow(PageCount::new(PAGES)).map(drop))?;
    let mut newest = file.commit_id().get();
    file.close()?;
    let (mut cut_off, mut recovery) = (0_u32, Duration::ZERO);
    for kill in 0..KILLS {
        stage.check()?;
        let told = kill_committing(&path, Duration::from_micros(u64::from(kill) * 700))?;
        let started = Instant::now();
        let file = VersionedFile::open(&path)?;
        recovery = recovery.max(started.elapsed());
        let commit = file.commit_id().get();
        // What it said is durable; of the commit that it was at, all or nothing.
        if commit < told.max(newest) || commit > told + 1 {
            return Err(Error::Unexpected { expected: "each commit that returned to be there" });
        }
        check_whole(&file.snapshot()?, commit)?;
        cut_off += u32::from(commit == told);
        newest = commit;
        file.close()?;
    }
    stage.ours("VersionedFile::open after a kill, the longest recovery", &Took::new(recovery))?;
    stage.remark(&format!(
        "{} commits are there, each that had returned, and all pages of each of them; {cut_off} of {KILLS} \
         times the commit that was under way is not there at all",
        HumanCount(newest),
    ))?;
    readers(stage, &path)
}

/// A reader and a writer that do not wait for each other.
fn readers(stage: &Stage, path: &Path) -> Result<()> {
    let file = VersionedFile::open(path)?;
    let before = file.snapshot()?;
    let commit = before.commit().get();
    let mut transaction = file.begin()?;
    transaction.pages_mut(..)?.fill(0);
    let report = transaction.commit()?;
    check_whole(&before, commit)?;
    stage.ours("Transaction::commit of 1,000 pages", &Took::new(report.elapsed))?;
    stage.remark(&format!(
        "{} in the log, {} wait for the disk; the snapshot from before still shows commit {commit}",
        HumanBytes(report.log_bytes),
        report.syncs,
    ))
}

/// Whether all pages are those of one commit.
fn check_whole(snapshot: &Snapshot, commit: u64) -> Result<()> {
    // The first commit only made the pages.
    let expected = if commit == 1 { 0 } else { commit };
    let numbers = snapshot.as_slice_of::<u64>(..)?;
    if numbers.iter().all(|&number| number == expected) {
        return Ok(());
    }
    Err(Error::Unexpected { expected: "all pages of a commit, or none" })
}

/// Starts a child, lets it end some commits, and kills it a moment later. Gives the last commit that it said
/// had returned.
fn kill_committing(path: &Path, moment: Duration) -> Result<u64> {
    const CHILD_NAME: &str = "a child process";
    let program = env::current_exe().map_err(Error::io_of("find", "this program"))?;
    let mut child = Command::new(program)
        .arg("demo")
        .env(CHILD, path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map(Killed)
        .map_err(Error::io_of("start", CHILD_NAME))?;
    let stdout =
        child.0.stdout.take().ok_or(Error::Unexpected { expected: "a pipe to a child" })?;
    let mut lines = BufReader::new(stdout);
    let read = Error::io_of("read from", CHILD_NAME);
    let mut text = String::new();
    for _ in 0..COMMITS {
        if lines.read_line(&mut text).map_err(Error::io_of("read from", CHILD_NAME))? == 0 {
            return Err(Error::Unexpected { expected: "a child that commits" });
        }
    }
    std::thread::sleep(moment);
    child.end()?;
    // What it said before it was killed.
    lines.read_to_string(&mut text).map_err(read)?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let last = whole.lines().last().and_then(|line| line.parse().ok());
    last.ok_or(Error::Unexpected { expected: "a child that tells its commits" })
}

/// A child that is killed at the latest on drop.
struct Killed(Child);

impl Killed {
    fn end(&mut self) -> Result<()> {
        const NAME: &str = "a child process";
        self.0.kill().map_err(Error::io_of("kill", NAME))?;
        self.0.wait().map(drop).map_err(Error::io_of("wait for", NAME))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended already; that it is gone is all that matters.
        let _gone = self.end();
    }
}

/// In the child: the file to change.
pub(crate) fn child() -> Option<PathBuf> {
    env::var_os(CHILD).map(PathBuf::from)
}

/// In the child: commits until it is killed, and says each commit that has returned.
pub(crate) fn commit_for_ever(path: &Path) -> Result<()> {
    let file = VersionedFile::open(path)?;
    loop {
        let mut transaction = file.begin()?;
        let number = transaction.base().next().get();
        for page in 0..PAGES {
            transaction.as_slice_of_mut::<u64>(PageId::new(page)..=PageId::new(page))?.fill(number);
        }
        let commit = transaction.commit()?.commit;
        // Nobody reads any more where the demo itself was killed.
        print(format_args!("{commit}\n"))?;
    }
}
