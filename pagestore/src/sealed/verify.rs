//! Checking a whole sealed file.

use std::{ops::ControlFlow, time::Instant};

use layout::{
    FormatError, Geometry, Header, Metadata, PageCount, PageId, PageRange, SEAL_BLOCK_LEN_BYTES,
    SealRecord, Slot, Superblock, TableHasher,
};

use crate::{
    error::{Error, Result},
    file::{header, progress::VerifyProgress},
    sealed::{
        report::{BadPage, Damage, FilePart, VerifyReport},
        shared::Shared,
    },
};

/// Bytes that are brought into memory at once, ahead of their checksums, and between two reports of
/// progress.
const WINDOW_BYTES: u64 = 4 << 20;

/// Checks every byte of a sealed file. `progress` is called after each window and at the end.
pub(super) fn verify(
    shared: &Shared,
    progress: &mut dyn FnMut(VerifyProgress) -> ControlFlow<()>,
) -> Result<VerifyReport> {
    let started = Instant::now();
    let damage = check_records(shared)?;
    let page_count = shared.page_count;
    let window_pages = shared.page_size.pages_for(WINDOW_BYTES).get();
    let mut bad_pages = Vec::new();
    let mut start = 0;
    // At least once, so that the end is reported of a file without pages too.
    let pages = loop {
        let end = page_count.get().min(start + window_pages);
        let window = shared.resolve(PageId::new(start)..PageId::new(end))?;
        shared.populate(window)?;
        for page in window.iter() {
            // Whatever is remembered of it.
            shared.forget_verified(PageRange::from(page));
            match shared.verify_page(page) {
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
fn check_records(shared: &Shared) -> Result<Vec<Damage>> {
    let geometry = shared.superblock.geometry();
    let (table, padding) = shared.table();
    let mut hasher = TableHasher::new();
    hasher.update(table);
    let (found, expected) = (hasher.finish(), shared.seal.table_crc32c());
    let table_checked = if found == expected {
        Ok(())
    } else {
        Err(FormatError::RecordChecksum { part: "the checksum table", found, expected })
    };
    let (file, path) = (shared.claim().file(), shared.claim().path());
    let mut header = header::read_at(file, path, 0, Geometry::data_start(shared.page_size))?;
    let seal_block = header::read_at(file, path, geometry.seal_start(), SEAL_BLOCK_LEN_BYTES)?;
    // The table was read through the mapping.
    shared.still_valid()?;
    let slot_damage = check_slots(&mut header);
    let rest = [
        (FilePart::Header, Header::check_sealed(&header)),
        (FilePart::Table, table_checked),
        (FilePart::TablePadding, geometry.check_table_padding(padding)),
        (FilePart::Seal, SealRecord::check_block(&seal_block, &shared.superblock)),
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
