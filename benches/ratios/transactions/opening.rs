//! Opening a file: closed, and after a crash.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    time::Instant,
};

use layout::{Header, VersionedGeometry, VersionedState};
use storage::{Checkpoints, PageCount, PageId, VersionedFile};

use super::{MANY, change, page_count, snapshots::alone};
use crate::{
    Bench, Result,
    data::{PAGE_BYTES, PageOrder, first_word},
    runner::{Pairs, Run, timed},
    table::{Reach, Row, Unit},
};

const OPEN: &str = "transactions: open a closed file of 512 MiB and read a page";
const OPEN_LARGE: &str = "transactions: the same of 64 GiB, sparse";
const RECOVERY: &str =
    "transactions: recovery with a full log of 64 MiB against pread of it, both cold";

pub(super) const ROWS: [&str; 3] = [OPEN, OPEN_LARGE, RECOVERY];

pub(super) fn run(bench: &mut Bench, ours_path: &Path) -> Result<()> {
    if bench.wants(OPEN) {
        let row = opening(bench, OPEN, ours_path)?;
        bench.push(row);
    }
    if bench.wants(OPEN_LARGE) {
        let path = bench.path("large");
        make_sparse(&path)?;
        let row = opening(bench, OPEN_LARGE, &path)?;
        bench.push(row);
        fs::remove_file(path)?;
    }
    if bench.wants(RECOVERY) {
        recovery(bench, ours_path)?;
    }
    Ok(())
}

fn opening(bench: &Bench, work: &'static str, path: &Path) -> Result<Row> {
    let mut each = Vec::new();
    // The first one brings the header in.
    for round in 0..=3 * bench.pairs() {
        let started = Instant::now();
        let file = VersionedFile::open(path)?;
        let snapshot = file.snapshot()?;
        std::hint::black_box(first_word(snapshot.page(PageId::new(0))?));
        if round > 0 {
            each.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    Ok(alone(work, &each, "us", 100.0))
}

/// A closed file of 64 GiB of pages that were never written, as a commit that only grew it leaves one, without
/// the room on the disk.
fn make_sparse(path: &Path) -> Result<()> {
    let page_count = PageCount::new((64 << 30) / PAGE_BYTES as u64);
    VersionedFile::create(path)?.close()?;
    let made = *Header::parse(&fs::read(path)?)?.superblock();
    let state = made.versioned().ok_or("a new versioned file says so")?;
    let grown =
        made.next_version(page_count, VersionedState { page_count_max: page_count, ..*state })?;
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&Header::encode([Some(&grown), None]), 0)?;
    file.set_len(state.geometry.file_len(page_count)?)?;
    Ok(())
}

/// A copy of the file while its log is nearly full is what a crash leaves. Nothing of it is in memory, as
/// after a crash of the machine; the rival's log is not either.
fn recovery(bench: &mut Bench, ours_path: &Path) -> Result<()> {
    let crashed_path = bench.path("crashed");
    let file = VersionedFile::options().checkpoints(Checkpoints::WhenFull).open(ours_path)?;
    let (mut logged, mut round) = (0, 0);
    while logged < 58 << 20 {
        logged += change(&file, &PageOrder::shuffled(page_count(bench), MANY, 900 + round), round)?;
        round += 1;
    }
    fs::copy(ours_path, &crashed_path)?;
    file.close()?;
    let copy_path = bench.path("copy");
    let pairs = Pairs::run(
        bench.pairs(),
        |_| {
            fs::copy(&crashed_path, &copy_path)?;
            forget(bench, &copy_path)?;
            let mut recovered = None;
            let run = timed(|| {
                let file = recovered.insert(VersionedFile::open(&copy_path)?);
                std::hint::black_box(first_word(file.snapshot()?.page(PageId::new(0))?));
                assert!(file.recovered().is_some_and(|report| report.commits == round));
                Ok(0)
            });
            drop(recovered);
            fs::remove_file(&copy_path)?;
            run
        },
        |_| {
            forget(bench, &crashed_path)?;
            read_log(&crashed_path)
        },
    )?;
    bench.push(Row::of_times(RECOVERY, Unit::Milliseconds, Reach::TimesTheTime(2.0), &pairs));
    fs::remove_file(crashed_path)?;
    Ok(())
}

fn read_log(path: &Path) -> Result<Run> {
    let log = File::open(path)?;
    timed(|| {
        let mut buffer = vec![0; 1 << 20];
        for piece in 0..64 {
            log.read_exact_at(&mut buffer, VersionedGeometry::LOG_START + (piece << 20))?;
        }
        Ok(0)
    })
}

/// Has nothing of a file in memory.
fn forget(bench: &Bench, path: &Path) -> Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.sync_all()?;
    bench.settle()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}
