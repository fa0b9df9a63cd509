//! `storage verify`: is every byte as it was written?

use std::{ops::ControlFlow, path::PathBuf};

use indicatif::{HumanBytes, HumanCount};
use storage::{BadPage, Error as StoreError, FormatError, Geometry, PageSize, SealedFile, inspect};

use crate::{
    error::{Error, Result},
    exit::Outcome,
    interrupt::Interrupt,
    progress,
    report::{Rate, Took},
    streams::print,
    verify_versioned,
};

/// Check every byte of a sealed page file: pages, checksums, header, seal. Of a versioned file, check every page
/// of the last commit, header and log.
///
/// Names every damaged page with the checksum that it should have and the one that it has, and
/// every other damaged place. A file that was cut short, or whose seal is broken, is damaged as well.
/// One that is not a page file, or that this build cannot read, is an error.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::exit::EXIT_CODES)]
pub(crate) struct Args {
    /// The sealed page file to check, or the versioned one that nobody has open to write
    file: PathBuf,
}

impl Args {
    /// Verifies.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let interrupt = Interrupt::listen()?;
        // What cannot be looked at is told of by opening it.
        if inspect(&self.file).is_ok_and(|found| found.superblock.versioned().is_some()) {
            return verify_versioned::run(&self.file, &interrupt);
        }
        let file = match SealedFile::open(&self.file) {
            Ok(file) => file,
            Err(StoreError::Format { path, source }) if is_damage(&source) => {
                print(format_args!(
                    "{source}\nDAMAGED: {} cannot be opened, so its pages were not checked\n",
                    path.display(),
                ))?;
                return Ok(Outcome::Damaged);
            }
            Err(error) => return Err(error.into()),
        };
        let page_size = file.page_size();
        let bytes = file.page_count().bytes(page_size).unwrap_or(u64::MAX);
        let bar = progress::bytes("verifying", Some(bytes));
        let report = file.verify(|progress| {
            bar.set_position(progress.pages_done.bytes(page_size).unwrap_or(bytes));
            match interrupt.check() {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        bar.finish_and_clear();
        if report.is_ok() {
            print(format_args!(
                "good: all {} pages of {} ({}) match their checksums, and header, checksum table \
                 and seal are intact; in {} ({})\n",
                HumanCount(report.pages.get()),
                self.file.display(),
                HumanBytes(bytes),
                Took::new(report.elapsed),
                Rate { bytes, elapsed: report.elapsed },
            ))?;
            return Ok(Outcome::Done);
        }
        for bad in &report.bad_pages {
            print(format_args!("{}\n", describe_page(bad, page_size)))?;
        }
        for damage in &report.damage {
            print(format_args!("{damage}\n"))?;
        }
        if !report.is_complete() {
            print(format_args!(
                "stopped after {} of {} pages\n",
                HumanCount(report.pages.get()),
                HumanCount(report.page_count.get()),
            ))?;
            return Err(Error::Interrupted);
        }
        print(format_args!(
            "DAMAGED: {} of {} pages of {}, and {} outside of pages; restore the file from a good \
             copy\n",
            HumanCount(report.bad_pages.len() as u64),
            HumanCount(report.pages.get()),
            self.file.display(),
            match report.damage.len() {
                0 => "nothing".to_owned(),
                1 => "1 place".to_owned(),
                count => format!("{count} places"),
            },
        ))?;
        Ok(Outcome::Damaged)
    }
}

/// Whether a file that cannot be opened for this reason is a page file that was damaged, rather
/// than something else.
fn is_damage(error: &FormatError) -> bool {
    matches!(
        error,
        FormatError::Short { .. }
            | FormatError::RecordChecksum { .. }
            | FormatError::SlotsDisagree { .. }
            | FormatError::Seal { .. }
            | FormatError::SealUuid { .. }
            | FormatError::Length { .. }
            | FormatError::Padding { .. }
    )
}

fn describe_page(bad: &BadPage, page_size: PageSize) -> String {
    let start = Geometry::data_start(page_size) + bad.page.get() * page_size.get();
    let end = start + page_size.get();
    format!(
        "page {} is damaged (bytes {start}..{end} of the file): expected checksum {}, actual {}",
        bad.page, bad.expected, bad.found,
    )
}
