//! Writing a new file from end to end.

use std::{fs, fs::File, os::unix::fs::FileExt, path::Path};

use storage::PageWriter;

use crate::{
    Bench, Result,
    data::{self, DATA_START, PIECE_BYTES, Pieces},
    runner::{Pairs, Run, timed},
    table::{Reach, Row, Unit},
};

const NO_SYNC: &str = "append, no sync, against pwrite of 1 MiB";
const DURABLE: &str = "append + seal against pwrite + fdatasync";

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    let (len, pieces) = (bench.data_len(), bench.piece_count());
    let unit = Unit::GigabytesPerSecond { bytes: len as u64 };
    let (ours, rival) = (bench.path("appended"), bench.path("pwritten"));
    if bench.wants(NO_SYNC) {
        let pairs = Pairs::run(
            bench.pairs(),
            |_| {
                bench.settle()?;
                append(&ours, pieces)
            },
            |_| {
                bench.settle()?;
                pwrite(&rival, pieces, |_| Ok(()))
            },
        )?;
        bench.push(Row::of_times(NO_SYNC, unit, Reach::TimesFaster(1.6), &pairs));
    }
    if bench.wants(DURABLE) {
        let pairs = Pairs::run(
            bench.pairs(),
            |_| {
                bench.settle()?;
                append_and_seal(&ours, pieces)
            },
            |_| {
                bench.settle()?;
                pwrite(&rival, pieces, File::sync_data)
            },
        )?;
        bench.push(Row::of_times(DURABLE, unit, Reach::TimesFaster(1.0), &pairs));
    }
    Ok(())
}

/// Appends without sealing. What was written is checked where it stands, in the file without a name,
/// which goes when the writer is dropped.
fn append(path: &Path, piece_count: usize) -> Result<Run> {
    let mut pieces = Pieces::new();
    let mut writer = None;
    let mut run = timed(|| {
        let writer = writer.insert(PageWriter::create(path)?);
        for number in 0..piece_count {
            writer.append(pieces.get(number))?;
        }
        Ok(0)
    })?;
    run.answer = data::sum_of_file(&pending(path)?, DATA_START, piece_count * PIECE_BYTES)?;
    Ok(run)
}

fn append_and_seal(path: &Path, piece_count: usize) -> Result<Run> {
    let mut pieces = Pieces::new();
    let mut run = timed(|| {
        let mut writer = PageWriter::create(path)?;
        for number in 0..piece_count {
            writer.append(pieces.get(number))?;
        }
        writer.seal()?;
        Ok(0)
    })?;
    run.answer = data::sum_of_file(path, DATA_START, piece_count * PIECE_BYTES)?;
    fs::remove_file(path)?;
    Ok(run)
}

fn pwrite(
    path: &Path,
    piece_count: usize,
    sync: impl FnOnce(&File) -> std::io::Result<()>,
) -> Result<Run> {
    let mut pieces = Pieces::new();
    let mut run = timed(|| {
        let file = File::create_new(path)?;
        for number in 0..piece_count {
            file.write_all_at(pieces.get(number), (number * PIECE_BYTES) as u64)?;
        }
        sync(&file)?;
        Ok(0)
    })?;
    run.answer = data::sum_of_file(path, 0, piece_count * PIECE_BYTES)?;
    fs::remove_file(path)?;
    Ok(run)
}

/// The file that a writer has not sealed yet: the one that this process has open beside `path`
/// without a name (proc(5)).
fn pending(path: &Path) -> Result<std::path::PathBuf> {
    let folder = path.parent().ok_or("a file lies in a folder")?.canonicalize()?;
    for entry in fs::read_dir("/proc/self/fd")? {
        let descriptor = entry?.path();
        // One that was closed meanwhile is not the writer's.
        let Ok(target) = fs::read_link(&descriptor) else { continue };
        if target.parent() == Some(&folder) && target.to_string_lossy().ends_with(" (deleted)") {
            return Ok(descriptor);
        }
    }
    Err("the writer has a file without a name".into())
}
