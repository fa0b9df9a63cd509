//! Writing new data: append and seal beside pwrite.

use std::{
    cell::RefCell,
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use storage::{PageWriter, SealedFile};

use crate::{
    demo::{
        compare::{Way, median, medians, timed},
        data::{CHUNK_LEN, DATA_LEN_BYTES, Data, Files},
        stage::{Stage, Than},
    },
    error::{Error, Result},
    report::Rate,
};

const TURNS: usize = 3;

/// Writes the data in both ways and keeps the last files.
pub(crate) fn show(stage: &Stage, data: &Data) -> Result<Files> {
    stage.prepare("appending the data to new files");
    let (sealed_path, plain_path) = (stage.path("sealed"), stage.path("plain"));
    // The time of the part before anything is made durable.
    let (our_appends, their_writes) = (RefCell::default(), RefCell::default());
    // A file that is replaced gives its blocks back, in time that does not count.
    let clear = |path: &Path| {
        let _was_there = std::fs::remove_file(path);
    };
    let ours = Way::timed("PageWriter", || {
        clear(&sealed_path);
        timed(|| append(&sealed_path, data, &mut our_appends.borrow_mut()))
    });
    let theirs = Way::timed("pwrite", || {
        clear(&plain_path);
        timed(|| write(&plain_path, data, &mut their_writes.borrow_mut()))
    });
    let [our_total, their_total] = medians(stage, TURNS, [ours, theirs])?;
    let rate = |elapsed| Rate { bytes: DATA_LEN_BYTES, elapsed }.to_string();
    let (ours, theirs) = (after_the_first(our_appends), after_the_first(their_writes));
    stage.heading("Append the data to a new file")?;
    stage.ours("PageWriter::append, checksums included", &rate(ours))?;
    stage.theirs("pwrite of 1 MiB, no checksums", &rate(theirs), Than { ours, theirs })?;
    stage.heading("Append the data to a new file and make it durable")?;
    stage.ours("PageWriter::append, then seal", &rate(our_total))?;
    let than = Than { ours: our_total, theirs: their_total };
    stage.theirs("pwrite of 1 MiB, then fdatasync", &rate(their_total), than)?;
    let sealed = SealedFile::open(&sealed_path)?;
    let plain = OpenOptions::new().read(true).write(true).open(&plain_path);
    let plain = plain.map_err(Error::io("open", &plain_path))?;
    Ok(Files { sealed, plain, plain_path })
}

fn append(path: &Path, data: &Data, appends: &mut Vec<Duration>) -> Result<u64> {
    let mut writer = PageWriter::create(path)?;
    let started = std::time::Instant::now();
    for chunk in data.chunks() {
        writer.append(chunk)?;
    }
    appends.push(started.elapsed());
    Ok(writer.seal()?.payload_len())
}

fn write(path: &Path, data: &Data, writes: &mut Vec<Duration>) -> Result<u64> {
    let file = new_file(path)?;
    let started = std::time::Instant::now();
    for (start, chunk) in (0..).step_by(CHUNK_LEN).zip(data.chunks()) {
        file.write_all_at(chunk, start).map_err(Error::io("write to", path))?;
    }
    writes.push(started.elapsed());
    file.sync_data().map_err(Error::io("make durable", path))?;
    Ok(file.metadata().map_err(Error::io("look at", path))?.len())
}

fn new_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io("create", path))
}

/// The median of all but the first time, which does not count.
fn after_the_first(times: RefCell<Vec<Duration>>) -> Duration {
    median(times.into_inner().split_off(1))
}
