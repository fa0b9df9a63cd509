//! `storage heatmap`: which parts of a file are in memory, as a picture.

use std::{
    num::NonZeroU32,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use indicatif::{HumanBytes, HumanCount};
use storage::{Existing, Geometry, ResidencyMap, SealedFile, residency_map};

use crate::{
    args::Outcome,
    error::{Error, Result},
    interrupt::Interrupt,
    output, progress,
    report::print,
};

mod image;
mod text;

/// The cells of a picture: 128 in a row, of which a screen shows as many rows.
const IMAGE_CELLS: NonZeroU32 = NonZeroU32::new(128 * 128).expect("not zero");

/// Show which parts of a file are in memory, which are not on the disk yet, and which are damaged.
///
/// Any file will do. Looking brings nothing into memory and takes no lock, so it works on a file
/// that is in use. With --verify, the pages of a sealed page file are also checked against their
/// checksums, after the look at what is in memory.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::args::EXIT_CODES)]
pub(crate) struct Args {
    /// The file to look at
    file: PathBuf,
    /// Check all pages of a sealed page file, and mark those that are damaged
    #[arg(long)]
    verify: bool,
    /// Draw the picture into this SVG file too; its cells tell their bytes when pointed at
    #[arg(long, value_name = "OUT")]
    svg: Option<PathBuf>,
    /// Draw the picture into this PNG file too
    #[arg(long, value_name = "OUT")]
    png: Option<PathBuf>,
    /// Replace OUT where there is such a file already
    #[arg(long)]
    force: bool,
}

impl Args {
    /// Looks, and draws.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let existing = if self.force { Existing::Replace } else { Existing::Refuse };
        for path in self.svg.iter().chain(&self.png) {
            output::check(path, existing)?;
        }
        // Both looks come before the pages are read to be verified.
        let on_screen = residency_map(&self.file, text::cells())?;
        let in_image = residency_map(&self.file, IMAGE_CELLS)?;
        let verified = if self.verify { Some(verify(&self.file)?) } else { None };
        let damaged = verified.as_deref();
        print(format_args!("{}", text::Picture::new(&self.file, &Heat::new(&on_screen, damaged))))?;
        let heat = Heat::new(&in_image, damaged);
        if let Some(path) = &self.svg {
            output::make_file(path, existing, |file| image::svg(&self.file, &heat, path, file))?;
        }
        if let Some(path) = &self.png {
            output::make_file(path, existing, |file| image::png(&heat, path, file))?;
        }
        let is_damaged = damaged.is_some_and(|pages| !pages.is_empty());
        Ok(if is_damaged { Outcome::Damaged } else { Outcome::Done })
    }
}

/// The first bytes, in the file, of all its damaged pages.
fn verify(path: &Path) -> Result<Vec<u64>> {
    let interrupt = Interrupt::listen()?;
    let file = SealedFile::open(path)?;
    let page_size = file.page_size();
    let bar = progress::bytes("verifying", file.page_count().bytes(page_size));
    let report = file.verify(|progress| {
        bar.set_position(progress.pages_done.bytes(page_size).unwrap_or(u64::MAX));
        match interrupt.check() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    bar.finish_and_clear();
    if !report.is_complete() {
        return Err(Error::Interrupted);
    }
    let data_start = Geometry::data_start(page_size);
    let pages = report.bad_pages.iter();
    Ok(pages.map(|bad| data_start + bad.page.get() * page_size.get()).collect())
}

/// One part of a file, as it is drawn.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Cell {
    /// Some page of it does not match its checksum.
    Damaged,
    /// Some of it is not on the disk yet.
    Dirty,
    /// The share of it that is in memory, from 0 to 1.
    InMemory(f64),
}

/// A file, part by part.
struct Heat<'a> {
    map: &'a ResidencyMap,
    cells: Vec<Cell>,
    /// How many pages were found damaged; `None` where nobody looked.
    damaged_pages: Option<u64>,
}

impl<'a> Heat<'a> {
    /// Puts together what is known. `damaged` has the first bytes of damaged pages.
    fn new(map: &'a ResidencyMap, damaged: Option<&[u64]>) -> Self {
        let starts = (0..map.parts.len() as u64).map(|part| part * map.part_len);
        let cells = starts.zip(&map.parts).map(|(start, part)| {
            let bytes = start..start + map.part_len;
            if damaged.is_some_and(|pages| pages.iter().any(|page| bytes.contains(page))) {
                Cell::Damaged
            } else if part.dirty_bytes > 0 {
                Cell::Dirty
            } else {
                // The last part may reach past the end; the page cache counts whole pages.
                let len = map.part_len.min(map.file_len - start);
                Cell::InMemory((part.resident_bytes as f64 / len as f64).min(1.0))
            }
        });
        let cells = cells.collect();
        Self { map, cells, damaged_pages: damaged.map(|pages| pages.len() as u64) }
    }

    /// What all of it comes to, in a sentence.
    fn summary(&self) -> String {
        let sum = |bytes: fn(&storage::Residency) -> u64| self.map.parts.iter().map(bytes).sum();
        let resident: u64 = sum(|part| part.resident_bytes);
        let dirty: u64 = sum(|part| part.dirty_bytes);
        let percent = match self.map.file_len {
            0 => 0.0,
            len => (resident as f64 / len as f64 * 100.0).min(100.0),
        };
        let damage = match self.damaged_pages {
            None => String::new(),
            Some(0) => "; all pages match their checksums".to_owned(),
            Some(1) => "; 1 page is DAMAGED".to_owned(),
            Some(count) => format!("; {} pages are DAMAGED", HumanCount(count)),
        };
        let (resident, dirty) = (HumanBytes(resident), HumanBytes(dirty));
        format!("in memory {resident} ({percent:.0} %), not on the disk yet {dirty}{damage}")
    }
}
