//! Flushing where nothing is dirty: what it costs, and the proof that the kernel is not asked.
//!
//! The proof runs this program again under strace(1): the child flushes a clean file 1,000 times,
//! and then a dirty one once, between calls of getppid(2), which nothing else makes. The dirty
//! flush shows that the counting works.

use std::{
    fs::OpenOptions, hint::black_box, os::unix::process::parent_id, path::Path, process::Command,
};

use storage::{PageCount, PageFile, PageId};

use crate::{
    Bench, Result,
    raw::RawMapMut,
    runner::{Pairs, Run, timed, timed_busy},
    table::{Row, spread},
};

pub(crate) const CLEAN: &str = "flush with nothing dirty, against msync of the whole file";
const CALLS: usize = 1_000;
const NANOSECONDS_MAX: f64 = 100.0;

/// Names the folder for the child to work in, and so tells it that it is the child.
const CHILD_FOLDER: &str = "STORAGE_RATIOS_CLEAN_FLUSHES_IN";

pub(crate) fn run(bench: &mut Bench, ours: &PageFile, rival_path: &Path) -> Result<()> {
    if !bench.wants(CLEAN) {
        return Ok(());
    }
    ours.flush()?;
    let rival = OpenOptions::new().read(true).write(true).open(rival_path)?;
    let rival = RawMapMut::new(&rival)?;
    rival.flush_all()?;
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |_| {
            timed_busy(|| {
                for _ in 0..CALLS {
                    black_box(ours.flush()?);
                }
                Ok(0)
            })
        },
        |_| {
            let one = timed(|| Ok(rival.flush_all().map(|()| 0)?))?;
            Ok(Run { elapsed: one.elapsed * 1_000, answer: one.answer })
        },
    )?;
    let each = |seconds: f64| seconds * 1e9 / CALLS as f64;
    let calls = system_calls(bench.folder())?;
    let (calls_text, calls_are_none) = match calls {
        None => ("strace not found".to_owned(), true),
        Some(counted) => {
            let text =
                format!("{} calls in {CALLS}, {} in one dirty", counted.clean, counted.dirty);
            (text, counted.clean == 0 && counted.dirty > 0)
        }
    };
    bench.note(&format!("clean flush under strace: {calls_text}"));
    let times: Vec<f64> = pairs.our_times().iter().map(|&seconds| each(seconds)).collect();
    bench.push(Row {
        work: CLEAN,
        ours: format!("{:.1} ns; {calls_text}", each(pairs.ours())),
        rival: format!("{:.2} ms", each(pairs.rival()) / 1e6),
        ratio: format!("{:.0}x faster", pairs.rival() / pairs.ours()),
        spread: format!("{} ns", spread(&times)),
        reach: format!("< {NANOSECONDS_MAX:.0} ns, no call"),
        is_met: calls.map(|_| calls_are_none && each(pairs.ours()) < NANOSECONDS_MAX),
    });
    Ok(())
}

/// The system calls that strace saw.
#[derive(Clone, Copy)]
struct Counted {
    clean: usize,
    dirty: usize,
}

/// `None` where there is no strace, or it may not trace.
fn system_calls(folder: &Path) -> Result<Option<Counted>> {
    let log = folder.join("strace");
    let traced = Command::new("strace")
        .arg("-f")
        .arg("-o")
        .arg(&log)
        .arg(std::env::current_exe()?)
        .env(CHILD_FOLDER, folder)
        .output();
    match traced {
        Ok(output) if output.status.success() => {}
        _ => return Ok(None),
    }
    let log = std::fs::read_to_string(log)?;
    let mut parts = log.split_inclusive('\n').map(|line| line.contains("getppid("));
    let mut count_to_marker = || parts.by_ref().take_while(|is_marker| !is_marker).count();
    let _start_up = count_to_marker();
    Ok(Some(Counted { clean: count_to_marker(), dirty: count_to_marker() }))
}

/// Does the child's part and says so, where this process is the child.
pub(crate) fn run_as_child() -> Result<std::ops::ControlFlow<()>> {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else {
        return Ok(std::ops::ControlFlow::Continue(()));
    };
    let path = Path::new(&folder).join("clean");
    let file = PageFile::create(&path)?;
    file.grow(PageCount::new(256))?;
    file.page_mut(PageId::new(7))?.fill(1);
    file.flush()?;
    black_box(parent_id());
    for _ in 0..CALLS {
        black_box(file.flush()?);
    }
    black_box(parent_id());
    file.page_mut(PageId::new(7))?.fill(2);
    file.flush()?;
    black_box(parent_id());
    std::fs::remove_file(path)?;
    Ok(std::ops::ControlFlow::Break(()))
}
