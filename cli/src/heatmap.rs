//! `storage heatmap`: which parts of a file are in memory, as a picture.

use std::{
    num::NonZeroU32,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use storage::{Existing, Geometry, SealedFile, inspect, residency_map};

use crate::{
    error::{Error, Result},
    exit::Outcome,
    interrupt::Interrupt,
    output::Target,
    progress,
    streams::print,
    verify_versioned,
};

mod heat;
mod image;
mod text;

use heat::Heat;

/// The cells of a picture: 128 in a row, of which a screen shows as many rows.
const IMAGE_CELLS: NonZeroU32 = NonZeroU32::new(128 * 128).expect("not zero");

/// Show which parts of a file are in memory, which are not on the disk yet, and which are damaged.
///
/// Any file will do. Looking brings nothing into memory and takes no lock, so it works on a file
/// that is in use. With --verify, the pages of a sealed or versioned file are also checked against their
/// checksums, after the look at what is in memory.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::exit::EXIT_CODES)]
pub(crate) struct Args {
    /// The file to look at
    file: PathBuf,
    /// Check all pages of a sealed or versioned page file, and mark those that are damaged
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
        let open = |path: &PathBuf| Target::file(path, existing);
        let svg = self.svg.as_ref().map(open).transpose()?;
        let png = self.png.as_ref().map(open).transpose()?;
        // Both looks come before the pages are read to be verified.
        let on_screen = residency_map(&self.file, text::cells())?;
        let in_image = residency_map(&self.file, IMAGE_CELLS)?;
        let verified = if self.verify { Some(verify(&self.file)?) } else { None };
        let damaged = verified.as_deref();
        print(format_args!("{}", text::Picture::new(&self.file, &Heat::new(&on_screen, damaged))))?;
        let heat = Heat::new(&in_image, damaged);
        if let Some(svg) = svg {
            svg.fill(|file| image::svg(&self.file, &heat, file))?;
        }
        if let Some(png) = png {
            png.fill(|file| image::png(&heat, file))?;
        }
        let is_damaged = damaged.is_some_and(|pages| !pages.is_empty());
        Ok(if is_damaged { Outcome::Damaged } else { Outcome::Done })
    }
}

/// The first bytes, in the file, of all its damaged pages.
fn verify(path: &Path) -> Result<Vec<u64>> {
    let interrupt = Interrupt::listen()?;
    if inspect(path).is_ok_and(|found| found.superblock.versioned().is_some()) {
        let report = verify_versioned::check(path, &interrupt)?;
        if let Some(damage) = report.damage.first().filter(|_| !report.is_complete()) {
            return Err(Error::NoPages { path: path.into(), damage: *damage });
        }
        return Ok(report.bad_pages.iter().map(|bad| bad.offset).collect());
    }
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
