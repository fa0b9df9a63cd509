//! Damage to a file that nobody writes to: a bit, a page, the end. It is found, or harmless; never is a page
//! or a commit wrong.
//!
//! Each case is a state of one small file: as the death of its process leaves it, so that the log is needed,
//! and as it is after it was closed. A verification must not overlook what an opening or a reader finds.

use std::{
    ops::{ControlFlow, Range},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    rc::Rc,
    sync::Arc,
};

use layout::{LogHalf, PageId, VersionedGeometry};
use pagestore::{Checkpoints, Error, PageSize, VersionedFile};

use crate::{
    check::{options, tell_error},
    disk::{Disk, SECTOR, Version, index},
    model::Content,
    record::Tape,
    stage::Stage,
    workload::{
        self, LOG_BYTES,
        Step::{self, Commit, Grow, Reopen, Write},
    },
};

/// What damage came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Damaged {
    /// Cases that were told by an error.
    pub found: u64,
    /// Cases that changed nothing that anybody sees.
    pub harmless: u64,
}

/// Of how many cases one is tried, and which: that of a number, counted around.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) number: u64,
    pub(crate) of: u64,
}

const PAGES: u64 = 6;

#[rustfmt::skip]
const STEPS: &[Step] = &[
    Grow(PAGES), Write(0), Write(1), Write(2), Write(3), Write(4), Commit,
    Write(2), Write(0), Commit, Write(3), Write(0), Commit, Write(4), Write(0), Commit, Write(1), Commit, Reopen,
];

/// One way to damage a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// A bit is another.
    Flip { place: u64, bit: u8 },
    /// The file ends here.
    Cut(u64),
    /// A page has nothing but zeros.
    Zero(PageId),
    /// A page has another's bytes.
    Misplaced(PageId, PageId),
    /// A page has the bytes that it had after a commit: a write was lost.
    Older(PageId, u64),
}

/// Damages both files in all ways, or a share of them; ends at the first that is neither found nor harmless.
pub(crate) fn explore(share: Share, is_over: &dyn Fn() -> bool) -> (Damaged, Option<String>) {
    let mut damaged = Damaged::default();
    for (steps, name) in [(&STEPS[..STEPS.len() - 1], "open"), (STEPS, "closed")] {
        let outcome =
            File::new(steps).and_then(|mut file| file.explore(share, &mut damaged, is_over));
        if let Err(what) = outcome {
            return (damaged, Some(format!("the {name} file: {what}")));
        }
    }
    (damaged, None)
}

struct File {
    disk: Disk,
    stage: Stage,
    geometry: VersionedGeometry,
    /// What each commit left.
    model: crate::model::Model,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    Found,
    Nothing,
}

impl File {
    fn new(steps: &[Step]) -> Result<Self, String> {
        let recorded = workload::run(steps, Checkpoints::WhenFull)?;
        let mut disk = recorded.disk;
        recorded.events.iter().for_each(|event| disk.play(event));
        disk.settle_all();
        let mut stage = Stage::new();
        stage.put(&disk);
        let geometry = VersionedGeometry::new(PageSize::DEFAULT, LOG_BYTES);
        let geometry = geometry.map_err(|error| error.to_string())?;
        Ok(Self { disk, stage, geometry, model: recorded.model })
    }

    fn explore(
        &mut self,
        share: Share,
        damaged: &mut Damaged,
        is_over: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let at = |page: u64| self.geometry.page_offset(PageId::new(page));
        let table = self.geometry.stamp_offset(PageId::new(0));
        let ranges: [Range<u64>; 4] = [
            0..VersionedGeometry::MARK_START + SECTOR as u64,
            self.geometry.half_start(LogHalf::First)..self.geometry.groups_start(),
            table..table + PAGES * 16,
            at(0)..at(PAGES),
        ];
        let places = ranges.into_iter().flatten();
        let flips = places.flat_map(|place| (0..8).map(move |bit| Damage::Flip { place, bit }));
        let cuts = (0..self.disk.len).map(Damage::Cut);
        let sampled = (0_u64..).zip(flips.chain(cuts));
        let sampled = sampled.filter(|(number, _)| number % share.of == share.number);
        let pages = || (0..PAGES).map(PageId::new);
        let whole = pages().flat_map(|page| {
            let others = pages().filter(move |&other| other != page);
            let misplaced = others.map(move |other| Damage::Misplaced(page, other));
            let older = (1..self.model.last()).map(move |commit| Damage::Older(page, commit));
            misplaced.chain(older).chain([Damage::Zero(page)])
        });
        let cases: Vec<Damage> = sampled.map(|(_, damage)| damage).chain(whole).collect();
        for (number, damage) in cases.into_iter().enumerate() {
            if number % 64 == 0 && is_over() {
                break;
            }
            match self.case(damage).map_err(|what| format!("{damage:?}: {what}"))? {
                Some(Seen::Found) => damaged.found += 1,
                Some(Seen::Nothing) => damaged.harmless += 1,
                None => {}
            }
        }
        Ok(())
    }

    /// Tries one; `None` where the bytes are as they were.
    fn case(&mut self, damage: Damage) -> Result<Option<Seen>, String> {
        let mut len = self.disk.len;
        let page_sectors = |page: PageId| {
            let start = self.geometry.page_offset(page) / SECTOR as u64;
            start..start + 4096 / SECTOR as u64
        };
        let put = |page: PageId, bytes: &[u8]| {
            let sectors = page_sectors(page).zip(bytes.chunks(SECTOR));
            sectors.map(|(sector, bytes)| (sector, version(bytes))).collect::<Vec<_>>()
        };
        let content = &self.last_content()?;
        let bytes = |page: PageId| &content[index(page.get())].bytes;
        let mut sectors = match damage {
            Damage::Cut(new) => {
                len = new;
                Vec::new()
            }
            Damage::Flip { place, bit } => {
                let sector = place / SECTOR as u64;
                let mut bytes = self.disk.sector(sector).to_vec();
                bytes[index(place % SECTOR as u64)] ^= 1 << bit;
                vec![(sector, version(&bytes))]
            }
            Damage::Zero(page) => put(page, &[0; 4096]),
            Damage::Misplaced(page, other) => put(page, bytes(other)),
            Damage::Older(page, commit) => {
                let older = self.model.get(commit).ok_or("there is no such commit")?;
                put(page, &older.content[index(page.get())].bytes)
            }
        };
        sectors.retain(|(sector, version)| version.bytes[..] != *self.disk.sector(*sector));
        if sectors.is_empty() && len == self.disk.len {
            return Ok(None);
        }
        let content = content.clone();
        self.stage.set(&self.disk, len, &sectors);
        let tape = Arc::new(Tape::default());
        let seen = catch_unwind(AssertUnwindSafe(|| {
            look(self.stage.path(), &tape, self.model.last(), &content)
        }));
        self.stage.touch_written(&tape.take());
        seen.unwrap_or_else(|_| Err("a panic".into())).map(Some)
    }

    fn last_content(&self) -> Result<Content, String> {
        Ok(self.model.last_content().clone())
    }
}

fn version(bytes: &[u8]) -> Rc<Version> {
    let mut sector = [0; SECTOR];
    sector.copy_from_slice(bytes);
    Rc::new(Version::new(sector))
}

/// Verifies a file, opens it and reads it.
fn look(path: &Path, tape: &Arc<Tape>, commit: u64, content: &Content) -> Result<Seen, String> {
    // Before it is opened, since that may recover it.
    let verified = VersionedFile::verify(path, |_| ControlFlow::Continue(()));
    let verified = match verified {
        Ok(report) if report.is_ok() => Seen::Nothing,
        _ => Seen::Found,
    };
    let read = read(path, tape, commit, content)?;
    if read == Seen::Found && verified == Seen::Nothing {
        return Err("a verification overlooked it".into());
    }
    Ok(read)
}

fn read(path: &Path, tape: &Arc<Tape>, commit: u64, content: &Content) -> Result<Seen, String> {
    let file = match options(tape).open(path) {
        Ok(file) => file,
        Err(error) => return found(error),
    };
    let read = (|| {
        let shown = file.commit_id().get();
        if shown != commit {
            return Err(format!("it shows commit {shown}, not {commit}"));
        }
        let snapshot = file.snapshot().map_err(tell_error)?;
        let count = snapshot.page_count().get();
        if count != content.len() as u64 {
            return Err(format!("it has {count} pages, not {}", content.len()));
        }
        let mut seen = Seen::Nothing;
        for (number, expected) in (0_u64..).zip(content) {
            match snapshot.page(PageId::new(number)) {
                Ok(page) if *page == *expected.bytes => {}
                Ok(_) => return Err(format!("page {number} is wrong")),
                Err(error) => seen = found(error)?,
            }
        }
        Ok(seen)
    })();
    tape.switch_off();
    drop(file);
    read
}

/// Damage is told by errors that say so.
fn found(error: Error) -> Result<Seen, String> {
    match error {
        Error::Format { .. } | Error::Checksum { .. } => Ok(Seen::Found),
        error => Err(tell_error(error)),
    }
}
