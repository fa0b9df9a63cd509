//! Checking a whole sealed file.

use std::time::{Duration, Instant};

use layout::{
    FormatError, Header, PageChecksum, PageCount, PageId, PageRange, SEAL_BLOCK_LEN_BYTES,
    SealRecord, TableHasher,
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

/// What [`SealedFile::verify`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Pages checked: all of the file.
    pub pages: PageCount,
    /// Pages that do not match their checksums. Where the table itself is damaged too, it may be
    /// the page's entry that is wrong and not the page.
    pub bad_pages: Vec<BadPage>,
    /// Damage outside the pages: in the header, the checksum table or the seal record.
    pub damage: Vec<FormatError>,
    /// How long it took.
    pub elapsed: Duration,
}

impl VerifyReport {
    /// Whether every byte of the file is as it was written.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.bad_pages.is_empty() && self.damage.is_empty()
    }
}

pub(crate) fn verify(
    file: &SealedFile,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<VerifyReport> {
    let started = Instant::now();
    let damage = check_records(file)?;
    let page_count = file.page_count();
    let window_pages = file.page_size().pages_for(WINDOW_BYTES).get();
    let mut bad_pages = Vec::new();
    let mut start = 0;
    // At least once, so that the end is reported of a file without pages too.
    loop {
        let end = page_count.get().min(start + window_pages);
        let window = PageRange::resolve(PageId::new(start)..PageId::new(end), page_count)?;
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
        progress(VerifyProgress { pages_done: PageCount::new(end), page_count });
        if end == page_count.get() {
            break;
        }
        start = end;
    }
    Ok(VerifyReport { pages: page_count, bad_pages, damage, elapsed: started.elapsed() })
}

/// Checks everything that is not a page.
fn check_records(file: &SealedFile) -> Result<Vec<FormatError>> {
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
    let header = file.read_at(0, layout::Geometry::data_start(file.page_size()))?;
    let seal_block = file.read_at(geometry.seal_start(), SEAL_BLOCK_LEN_BYTES)?;
    // The table was read through the mapping.
    file.still_valid()?;
    Ok([
        Header::check_sealed(&header),
        table_checked,
        geometry.check_table_padding(padding),
        SealRecord::check_block(&seal_block, file.superblock()),
    ]
    .into_iter()
    .filter_map(std::result::Result::err)
    .collect())
}
