//! Checking a whole sealed file.

use std::{
    fmt,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use layout::{
    FormatError, Header, Metadata, PageChecksum, PageCount, PageId, SEAL_BLOCK_LEN_BYTES,
    SealRecord, Slot, Superblock, TableHasher,
};

use crate::{Error, Result, SealedFile};

/// Bytes that are brought into memory at once, ahead of their checksums, and between two reports of
/// progress.
const WINDOW_BYTES: u64 = 4 << 20;

/// How far [`SealedFile::verify`] has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifyProgress {
    /// Pages checked so far.
    pub pages_done: PageCount,
    /// Pages of the file.
    pub page_count: PageCount,
}

/// A page whose bytes do not match its checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BadPage {
    /// The page.
    pub page: PageId,
    /// What its bytes give.
    pub found: PageChecksum,
    /// What the checksum table says.
    pub expected: PageChecksum,
}

/// A part of a sealed file that is not one of its pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FilePart {
    /// One of the two superblock slots.
    Slot(Slot),
    /// What else there is before the pages: the zeros behind the slots, or the header as a whole.
    Header,
    /// The checksum table.
    Table,
    /// The zeros between the checksum table and the seal record.
    TablePadding,
    /// The seal record and the zeros behind it.
    Seal,
}

/// Damage outside the pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Damage {
    /// Where it is.
    pub part: FilePart,
    /// What is wrong there.
    pub error: FormatError,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.part, &self.error) {
            // In a file that opened, this is one slot of two, so it is a page file.
            (FilePart::Slot(slot), FormatError::Magic { found, expected }) => {
                let number = match slot {
                    Slot::First => 0,
                    Slot::Second => 1,
                };
                write!(
                    f,
                    "superblock slot {number} is damaged: it begins with {found:02x?}, expected \
                     {expected:02x?}"
                )
            }
            (_, error) => error.fmt(f),
        }
    }
}

/// What [`SealedFile::verify`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Pages checked: all of the file, unless it was stopped.
    pub pages: PageCount,
    /// Pages of the file.
    pub page_count: PageCount,
    /// Pages that do not match their checksums. Where the table itself is damaged too, it may be
    /// the page's entry that is wrong and not the page.
    pub bad_pages: Vec<BadPage>,
    /// Damage outside the pages: in the header, the checksum table or the seal record.
    pub damage: Vec<Damage>,
    /// How long it took.
    pub elapsed: Duration,
}

impl VerifyReport {
    /// Whether every byte of the file is as it was written. `false` where the verification was
    /// stopped before all pages were checked.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.is_complete() && self.bad_pages.is_empty() && self.damage.is_empty()
    }

    /// Whether all pages were checked.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pages == self.page_count
    }
}

pub(crate) fn verify(
    file: &SealedFile,
    progress: &mut dyn FnMut(VerifyProgress) -> ControlFlow<()>,
) -> Result<VerifyReport> {
    let started = Instant::now();
    let damage = check_records(file)?;
    let page_count = file.page_count();
    let window_pages = file.page_size().pages_for(WINDOW_BYTES).get();
    let mut bad_pages = Vec::new();
    let mut start = 0;
    // At least once, so that the end is reported of a file without pages too.
    let pages = loop {
        let end = page_count.get().min(start + window_pages);
        let window = file.resolve(PageId::new(start)..PageId::new(end))?;
        file.populate(window)?;
        for page in window.iter() {
            match file.reverify_page(page) {
                Ok(()) => {}
                Err(Error::Checksum { page, found, expected, .. }) => {
                    bad_pages.push(BadPage { page, found, expected });
                }
                Err(other) => return Err(other),
            }
        }
        let pages_done = PageCount::new(end);
        let stopped = progress(VerifyProgress { pages_done, page_count }).is_break();
        if stopped || pages_done == page_count {
            break pages_done;
        }
        start = end;
    };
    Ok(VerifyReport { pages, page_count, bad_pages, damage, elapsed: started.elapsed() })
}

/// Checks everything that is not a page.
fn check_records(file: &SealedFile) -> Result<Vec<Damage>> {
    let geometry = file.superblock().geometry();
    let (table, padding) = file.table();
    let mut hasher = TableHasher::new();
    hasher.update(table);
    let (found, expected) = (hasher.finish(), file.seal().table_crc32c());
    let table_checked = if found == expected {
        Ok(())
    } else {
        Err(FormatError::RecordChecksum { part: "the checksum table", found, expected })
    };
    let mut header = file.read_at(0, layout::Geometry::data_start(file.page_size()))?;
    let seal_block = file.read_at(geometry.seal_start(), SEAL_BLOCK_LEN_BYTES)?;
    // The table was read through the mapping.
    file.still_valid()?;
    let slot_damage = check_slots(&mut header);
    let rest = [
        (FilePart::Header, Header::check_sealed(&header)),
        (FilePart::Table, table_checked),
        (FilePart::TablePadding, geometry.check_table_padding(padding)),
        (FilePart::Seal, SealRecord::check_block(&seal_block, file.superblock())),
    ];
    let rest = rest
        .into_iter()
        .filter_map(|(part, checked)| checked.err().map(|error| Damage { part, error }));
    Ok(slot_damage.into_iter().chain(rest).collect())
}

/// Tells which superblock slot is damaged, if one is, and puts the other in its place, so that what
/// lies around them can be checked too.
fn check_slots(header: &mut [u8]) -> Option<Damage> {
    const RECORD_LEN: usize = Superblock::LEN_BYTES + Metadata::LEN_MAX;
    // Where neither is intact any more, the check of the whole header says so.
    let parsed = Header::parse(header).ok()?;
    let error = parsed.other_slot_error()?;
    let second = usize::try_from(Slot::Second.offset_bytes()).expect("a header is small");
    match parsed.slot() {
        Slot::First => header.copy_within(..RECORD_LEN, second),
        Slot::Second => header.copy_within(second..second + RECORD_LEN, 0),
    }
    Some(Damage { part: FilePart::Slot(parsed.slot().other()), error })
}
