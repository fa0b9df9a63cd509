//! Finding out what the kernel still has in memory, without waiting for what it has not.

use std::{io::IoSliceMut, sync::Arc};

use layout::{PageCount, PageId, PageRange};
use rustix::io::{ReadWriteFlags, preadv2};

use crate::{
    file::claim::Claim,
    kernel::{calls, hint::Hint},
    map::mapping::Mapping,
    raw::present::{LOOK_WORDS, Moment, Present},
    tables::bits::{BITS, Word, bits_of, words_of},
};

/// How many pages, at the most, are looked at and brought in on the caller's own thread where they
/// have not been touched yet: 128 KiB and the page that they begin in. The look (1.2 us) and the
/// page faults that follow cost less than passing the call to another thread does (8 us); for more
/// they would not.
const AT_ONCE_PAGES_MAX: usize = (128 << 10 >> 12) + 1;

/// How many pages are asked for one by one, at 1 us each.
const ONE_BY_ONE_PAGES_MAX: u64 = 8;

/// How many looks one call makes at pages that were brought in: 16 MiB, and a whole hop to another
/// thread does not take longer.
const LOOKS_MAX: usize = 8;

/// Where the kernel is asked whether it tells: so far behind the end of the file that no large folio
/// of the file reaches it.
const BEHIND_THE_END_BYTES: u64 = 2 << 20;

/// Which system call tells what the page cache has of a file.
pub(super) enum Look {
    /// mincore(2): cheap for many pages.
    Mincore,
    /// preadv2(2) of one byte a page with `RWF_NOWAIT`, for who neither owns the file nor may write
    /// to it. To them mincore says that everything is in memory.
    ReadNowait,
}

impl Look {
    /// Finds out what the kernel tells of a file of which `len` bytes are mapped.
    pub(super) fn at(claim: &Arc<Claim>, len: u64) -> Self {
        match mincore_tells(claim, len) {
            Some(true) => Self::Mincore,
            _ => Self::ReadNowait,
        }
    }

    /// Whether pages that were all brought in are still in memory, by a look that is recent; makes
    /// one where there is none.
    #[inline]
    pub(super) fn confirms(&self, mapping: &Mapping, present: &Present, pages: PageRange) -> bool {
        match self {
            Self::Mincore => {
                let now = Moment::now();
                let is_fresh = |word: Word| present.is_fresh(word.index, now);
                words_of(pages).all(is_fresh) || look_again(mapping, present, pages, now)
            }
            Self::ReadNowait => self.finds(mapping, pages),
        }
    }

    /// Whether pages are in memory now, if they are few.
    pub(super) fn finds(&self, mapping: &Mapping, pages: PageRange) -> bool {
        match self {
            Self::Mincore => {
                let mut vector = [0; AT_ONCE_PAGES_MAX];
                let vector = usize::try_from(pages.count().get())
                    .ok()
                    .and_then(|count| vector.get_mut(..count));
                vector.is_some_and(|vector| {
                    look(mapping, pages.start().get(), vector).is_some()
                        && vector.iter().all(|&page| is_in_memory(page))
                })
            }
            Self::ReadNowait => {
                pages.count() <= PageCount::new(ONE_BY_ONE_PAGES_MAX)
                    && mapping
                        .claim()
                        .is_some_and(|claim| pages.iter().all(|page| reads_at_once(claim, page)))
            }
        }
    }
}

/// Looks for pages that were brought in, and at those around them; says whether all are there.
#[cold]
fn look_again(mapping: &Mapping, present: &Present, pages: PageRange, now: Moment) -> bool {
    let mut vector = [0; LOOK_WORDS * BITS];
    let mut looks = 0;
    for word in words_of(pages) {
        if present.is_fresh(word.index, now) {
            continue;
        }
        looks += 1;
        let around = present.around(word.index);
        let count = usize::try_from(around.end - around.start).expect("at most 512 pages");
        let vector = &mut vector[..count];
        if looks > LOOKS_MAX || look(mapping, around.start, vector).is_none() {
            return false;
        }
        let end = PageCount::new(around.end);
        let range = PageRange::resolve(PageId::new(around.start)..PageId::new(around.end), end)
            .expect("it begins before it ends");
        let missing = words_of(range).map(|word| {
            let page = |bit: usize| word.index as u64 * BITS as u64 + bit as u64 - around.start;
            let bits = bits_of(word.bits)
                .filter(|&bit| {
                    let index = usize::try_from(page(bit as usize)).expect("at most 512 pages");
                    !is_in_memory(vector[index])
                })
                .fold(0, |bits, bit| bits | 1 << bit);
            Word { bits, ..word }
        });
        present.looked(missing, now);
    }
    present.has(pages)
}

/// Asks mincore(2); `None` where it is refused.
fn look(mapping: &Mapping, first_page: u64, vector: &mut [u8]) -> Option<()> {
    let page_size = rustix::param::page_size();
    let offset = usize::try_from(first_page).expect("what is mapped fits a usize") * page_size;
    let looked = calls::mincore(mapping.pointer(offset, vector.len() * page_size), vector);
    looked.inspect_err(|error| Hint::Mincore.note(error)).ok()
}

fn is_in_memory(page: u8) -> bool {
    page & 1 == 1
}

/// Whether mincore(2) tells the truth about a file to this thread. Behind the end of a file there
/// are no pages in memory; who is not to know what is there is told that all are.
fn mincore_tells(claim: &Arc<Claim>, len: u64) -> Option<bool> {
    let behind = len.checked_next_multiple_of(BEHIND_THE_END_BYTES)?;
    let behind = behind.checked_add(BEHIND_THE_END_BYTES)?;
    let page_size = rustix::param::page_size() as u64;
    let mapping = Mapping::untouched(Arc::clone(claim), behind, page_size).ok()?;
    let mut vector = [0];
    look(&mapping, 0, &mut vector)?;
    Some(!is_in_memory(vector[0]))
}

/// Whether a page's first byte can be read without waiting. The kernel begins to read it otherwise.
fn reads_at_once(claim: &Claim, page: PageId) -> bool {
    let offset = page.get() * rustix::param::page_size() as u64;
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    preadv2(claim.file(), &mut parts, offset, ReadWriteFlags::NOWAIT) == Ok(1)
}
