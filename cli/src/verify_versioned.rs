//! `storage verify` of a versioned file: is everything there that the last commit left?

use std::{ops::ControlFlow, path::Path};

use indicatif::{HumanBytes, HumanCount};
use storage::{LogState, VersionedFile, VersionedReport, inspect};

use crate::{
    error::{Error, Result},
    exit::Outcome,
    interrupt::Interrupt,
    progress,
    report::{Rate, Took},
    streams::print,
};

/// Checks the file, and shows how far it is. Nothing is written to it.
pub(crate) fn check(path: &Path, interrupt: &Interrupt) -> Result<VersionedReport> {
    let page_size = inspect(path)?.superblock.page_size();
    let bar = progress::bytes("verifying", Some(0));
    let report = VersionedFile::verify(path, |progress| {
        bar.set_length(progress.page_count.bytes(page_size).unwrap_or(u64::MAX));
        bar.set_position(progress.pages_done.bytes(page_size).unwrap_or(u64::MAX));
        match interrupt.check() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    bar.finish_and_clear();
    if interrupt.check().is_err() && !report.is_complete() {
        if !report.damage.is_empty() || !report.bad_pages.is_empty() {
            name_damage(&report, page_size.get())?;
        }
        print(format_args!(
            "stopped after {} of {} pages\n",
            HumanCount(report.pages.get()),
            HumanCount(report.page_count.get()),
        ))?;
        return Err(Error::Interrupted);
    }
    Ok(report)
}

/// Verifies, and tells what was found.
pub(crate) fn run(path: &Path, interrupt: &Interrupt) -> Result<Outcome> {
    let report = check(path, interrupt)?;
    let page_size = inspect(path)?.superblock.page_size();
    let log = match report.log_state {
        LogState::Clean => String::new(),
        LogState::Needed => format!(
            "; the file was not closed: {} commits are only in the log, which the next open puts into {} pages",
            HumanCount(report.log_commits),
            HumanCount(report.log_pages.get()),
        ),
    };
    if report.is_ok() {
        let bytes = report.page_count.bytes(page_size).unwrap_or(u64::MAX);
        print(format_args!(
            "good: all {} pages of {} ({}) at commit {} match their stamps, and header, mark and log are \
             intact; in {} ({}){log}\n",
            HumanCount(report.pages.get()),
            path.display(),
            HumanBytes(bytes),
            report.commit,
            Took::new(report.elapsed),
            Rate { bytes, elapsed: report.elapsed },
        ))?;
        return Ok(Outcome::Done);
    }
    name_damage(&report, page_size.get())?;
    let pages = if report.is_complete() {
        format!(
            "{} of {} pages of {} at commit {}",
            HumanCount(report.bad_pages.len() as u64),
            HumanCount(report.pages.get()),
            path.display(),
            report.commit,
        )
    } else {
        format!("{}, whose pages nobody can judge without its log", path.display())
    };
    let places = match report.damage.len() {
        0 => "nothing".to_owned(),
        1 => "1 place".to_owned(),
        count => format!("{count} places"),
    };
    print(format_args!(
        "DAMAGED: {pages}, and {places} outside of pages; restore the file from a backup{log}\n"
    ))?;
    Ok(Outcome::Damaged)
}

fn name_damage(report: &VersionedReport, page_bytes: u64) -> Result<()> {
    for bad in &report.bad_pages {
        print(format_args!(
            "page {} is damaged (bytes {}..{} of the file): {}\n",
            bad.page,
            bad.offset,
            bad.offset + page_bytes,
            bad.damage,
        ))?;
    }
    for damage in &report.damage {
        print(format_args!("{damage}\n"))?;
    }
    Ok(())
}
