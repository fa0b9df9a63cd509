//! `storage inspect`: what a page file says of itself.

use std::{fmt, path::PathBuf};

use indicatif::{HumanBytes, HumanCount};
use storage::{
    FORMAT_VERSION, Features, FormatError, Geometry, Inspection, Residency, SealRecord, Slot,
};

use crate::{error::Result, streams::print};

mod versioned;

/// Show what a page file says of itself, and how much of it is in memory.
///
/// Reads the header and the seal, not the pages, and takes no lock: it works on a file that is in
/// use.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::exit::EXIT_CODES)]
pub(crate) struct Args {
    /// The page file to look at, sealed or not
    file: PathBuf,
}

impl Args {
    /// Inspects.
    pub(crate) fn run(&self) -> Result<()> {
        let inspection = storage::inspect(&self.file)?;
        print(format_args!("{}\n{}", self.file.display(), Shown(&inspection)))
    }
}

/// An inspection as lines of text.
struct Shown<'a>(&'a Inspection);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(inspection) = self;
        let superblock = &inspection.superblock;
        let page_size = superblock.page_size();
        let mut line = |name: &str, value: &dyn fmt::Display| writeln!(f, "  {name:<13}{value}");
        let state = match superblock.versioned() {
            Some(_) => "versioned",
            None if superblock.is_sealed() => "sealed",
            None => "mutable",
        };
        line("format", &format_args!("version {FORMAT_VERSION}, {state}"))?;
        line("uuid", &superblock.file_uuid())?;
        line("generation", &superblock.generation())?;
        line("features", &features(superblock.features()))?;
        line("page size", &format_args!("{page_size} ({} bytes)", page_size.get()))?;
        line("pages", &pages(inspection))?;
        line("file length", &file_length(inspection))?;
        line("superblock", &format_args!("slot {} in use", number(inspection.slot)))?;
        let other = number(inspection.slot.other());
        line("", &format_args!("slot {other} {}", other_slot(inspection)))?;
        if let Some(state) = superblock.versioned() {
            versioned::show(&mut line, state, inspection)?;
        }
        match &inspection.seal {
            None if superblock.versioned().is_some() => {}
            None => line("seal record", &"none: the file is not sealed")?,
            Some(Ok(seal)) => line("seal record", &seal_record(seal))?,
            Some(Err(error)) => line("seal record", error)?,
        }
        match &inspection.residency {
            None => line("in memory", &"unknown: this kernel does not tell")?,
            Some(residency) => {
                line("in memory", &in_memory(residency.resident_bytes, inspection))?;
                line("dirty", &dirty(residency, inspection))?;
            }
        }
        Ok(())
    }
}

fn features(features: Features) -> String {
    let sealed = match features.incompatible {
        set if set & Features::SEALED != 0 => " (sealed)",
        set if set & Features::VERSIONED != 0 => " (versioned)",
        _ => "",
    };
    format!(
        "compatible {:#x}, incompatible {:#x}{sealed}",
        features.compatible, features.incompatible
    )
}

fn pages(inspection: &Inspection) -> String {
    if let Some(state) = inspection.superblock.versioned() {
        return versioned::pages(state, inspection);
    }
    let (count, page_size) = (inspection.page_count, inspection.superblock.page_size());
    let bytes = count.bytes(page_size).unwrap_or(u64::MAX);
    let data_start = Geometry::data_start(page_size);
    let mut text =
        format!("{} ({}), from byte {data_start} on", HumanCount(count.get()), HumanBytes(bytes));
    let flushed = inspection.superblock.page_count();
    if flushed != count {
        text += &format!("; {} at the last flush", HumanCount(flushed.get()));
    }
    text
}

fn file_length(inspection: &Inspection) -> String {
    let found = inspection.file_len;
    if let Some(state) = inspection.superblock.versioned() {
        return versioned::file_length(state, inspection);
    }
    let geometry = inspection.superblock.geometry();
    let bytes = HumanCount(found);
    match inspection.superblock.is_sealed() {
        true if found != geometry.file_len_sealed() => format!(
            "{bytes} bytes: DAMAGED, the header describes {}",
            HumanCount(geometry.file_len_sealed())
        ),
        false if found < geometry.data_end() => format!(
            "{bytes} bytes: DAMAGED, the header describes at least {}",
            HumanCount(geometry.data_end())
        ),
        _ => format!("{bytes} bytes, as the header describes"),
    }
}

fn number(slot: Slot) -> u8 {
    match slot {
        Slot::First => 0,
        Slot::Second => 1,
    }
}

fn other_slot(inspection: &Inspection) -> String {
    match inspection.other_slot_error {
        None => "intact".to_owned(),
        Some(FormatError::Magic { found: [0, 0, 0, 0, 0, 0, 0, 0], .. }) => {
            "empty: never written".to_owned()
        }
        Some(FormatError::Magic { found, expected }) => {
            format!("DAMAGED: it begins with {found:02x?}, expected {expected:02x?}")
        }
        Some(FormatError::RecordChecksum { found, expected, .. }) => {
            format!("DAMAGED: its checksum is {expected:#010x}, but its bytes give {found:#010x}")
        }
        Some(other) => format!("DAMAGED: {other}"),
    }
}

fn seal_record(seal: &SealRecord) -> String {
    format!(
        "intact: payload of {} bytes, checksum table {:#010x}",
        HumanCount(seal.payload_len()),
        seal.table_crc32c()
    )
}

fn in_memory(bytes: u64, inspection: &Inspection) -> String {
    let page_size = inspection.superblock.page_size();
    let pages = bytes / page_size.get();
    let percent = match inspection.file_len {
        0 => 0.0,
        // The page cache counts whole pages of the operating system.
        len => (bytes as f64 / len as f64 * 100.0).min(100.0),
    };
    format!("{} ({} pages), {percent:.0} % of the file", HumanBytes(bytes), HumanCount(pages))
}

fn dirty(residency: &Residency, inspection: &Inspection) -> String {
    let bytes = residency.dirty_bytes;
    let pages = bytes / inspection.superblock.page_size().get();
    format!("{} ({} pages) not on the disk yet", HumanBytes(bytes), HumanCount(pages))
}
