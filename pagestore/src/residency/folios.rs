//! Large folios of the page cache: split into single pages, and dropped in part.
//!
//! The kernel keeps what came in by large writes or by read-ahead in folios of up to 2 MiB, and
//! notes dirt for a whole folio: a one-byte store then has up to 512 pages written to the disk
//! (measured: 1,000 scattered stores wrote 69 to 190 times their pages). There is no call to split
//! a folio. But madvise(2) with `MADV_COLD` on *part* of one splits it, since only the part is to
//! be deactivated (`madvise_cold_or_pageout_pte_range` in the kernel's mm/madvise.c). It changes no
//! byte, and keeps the pages in memory.
//!
//! It is done for one page of every 16, so that every folio of at least 16 aligned pages is met.
//! Smaller folios stay, unless they are in the way of a drop, which the kernel makes of whole folios only
//! (`mapping_try_invalidate` in mm/truncate.c); measured after a file was written by 1 MiB writes, 1,000 scattered stores
//! then wrote 1.0 to 1.3 times their pages. Every 4th page would give 1.01 times, for 1.3 to 2
//! times the work. Folios that are dirty, or mapped by other processes too, stay as they are.

use std::ops::Range;

use crate::{
    file::disk::{self, Taken},
    kernel::{calls, hint::Hint},
    map::mapping::Mapping,
    residency::cache,
};

/// One page of so many is looked at.
const STRIDE_PAGES: usize = 16;

/// How much of the file is looked up in the page cache at a time.
const WINDOW_PAGES: usize = 16_384;

/// Splits the large folios in memory of the first `len` bytes of a mapping, which the file has. What
/// cannot be split stays: flushing scattered pages of it writes more.
/// `start` is the place in the file of the mapping's first byte.
pub(crate) fn split((mapping, start): (&Mapping, u64), len: usize) {
    split_range(mapping, start, 0..len);
}

/// Gives pages back to the kernel: those of `span`, a range of the mapped file, that are clean and that
/// no other program maps. `start` is the place in the file of the mapping's first byte.
///
/// What lies in folios that reach beyond the span is dropped too, after they were split.
pub(crate) fn drop_pages((mapping, start): (&Mapping, u64), span: Range<u64>) {
    let Some(claim) = mapping.claim() else { return };
    let place = mapping.place_of(start, span.clone());
    let drop_whole = || {
        let drop_cached = || disk::drop_cached(claim.file(), span.start, span.end - span.start);
        mapping.drop_span(start, span.clone());
        if let (Taken::No, Some((offset, len))) = (drop_cached(), place) {
            // It takes only pages that this mapping has.
            split_range(mapping, start, offset..offset + len);
            mapping.page_out(offset, len);
        }
    };
    drop_whole();
    // Where cachestat(2) is refused, mincore(2) says of every page that it is there, and splitting would
    // bring pages in.
    let left = cache::of_range(claim.file(), span.clone());
    if left.is_none_or(|left| left.resident_bytes == 0) {
        return;
    }
    if let Some((offset, len)) = place {
        split_range(mapping, start, offset..offset + len);
        drop_whole();
    }
}

/// Splits the large folios that lie in a range of a mapping, as far as the kernel helps. `start` is the
/// place in the file of the mapping's first byte.
///
/// Holes have none, and can be terabytes long.
fn split_range(mapping: &Mapping, start: u64, range: Range<usize>) {
    let Some(claim) = mapping.claim() else { return };
    let page_len = rustix::param::page_size();
    let span = start + range.start as u64..start + range.end as u64;
    for piece in disk::pieces_in(claim.file(), span) {
        // Where the filesystem does not say what there is, folios stay.
        let Ok(piece) = piece else { return };
        let place = |offset: u64| usize::try_from(offset - start).expect("it is mapped");
        let from = place(piece.start) / page_len * page_len;
        if split_piece(mapping, from..place(piece.end)) == Taken::No {
            return;
        }
    }
}

/// The same of a part that is no hole. Says whether the kernel helps.
fn split_piece(mapping: &Mapping, range: Range<usize>) -> Taken {
    let page_len = rustix::param::page_size();
    let mut resident = [0; WINDOW_PAGES];
    for window in range.clone().step_by(WINDOW_PAGES * page_len) {
        let window_len = (range.end - window).min(WINDOW_PAGES * page_len);
        let resident = &mut resident[..window_len.div_ceil(page_len)];
        if let Err(error) = calls::mincore(mapping.pointer(window, window_len), resident) {
            Hint::Mincore.note(&error);
            return Taken::No;
        }
        for (number, stride) in resident.chunks(STRIDE_PAGES).enumerate() {
            let Some(first) = stride.iter().position(|flags| flags & 1 == 1) else { continue };
            let offset = window + (number * STRIDE_PAGES + first) * page_len;
            // The advice is about page-table entries, so there must be one.
            // A page that cannot be read is told of when it is borrowed.
            let there = mapping.populate_read(offset, page_len).is_ok();
            if there && mapping.advise_cold(offset, page_len) == Taken::No {
                return Taken::No;
            }
        }
    }
    Taken::Yes
}
