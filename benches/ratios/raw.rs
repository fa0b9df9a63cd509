//! The rival that skips every check: memmap2 as it is used today.
//!
//! All `unsafe` of the benches is here. Callers stay safe because an order of pages proves that its
//! pages are in the file ([`PageOrder`]) and because the files lie in a private folder of this run.
#![expect(unsafe_code, reason = "the rival that this project exists to make unnecessary")]

use std::{fs::File, io};

use crc_fast::CrcAlgorithm;
use memmap2::{Advice, Mmap, MmapMut};
use storage::PageId;

use crate::data::{DATA_START, PAGE_BYTES, PageOrder, file_offset, first_word};

/// A file of pages without a header, mapped to read.
pub(crate) struct RawPages {
    map: Mmap,
}

impl RawPages {
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: nobody writes to the file as long as it is mapped here: it lies in this run's own
        // folder and is sealed.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self { map })
    }

    /// Has one fault bring in one page.
    pub(crate) fn advise_random(&self) -> io::Result<()> {
        self.map.advise(Advice::Random)
    }

    /// The sum of the first words of pages.
    pub(crate) fn sum_first_words(&self, pages: &[PageId]) -> u64 {
        pages.iter().fold(0, |sum: u64, page| {
            let start = usize::try_from(page.get()).expect("a mapped page") * PAGE_BYTES;
            sum.wrapping_add(first_word(&self.map[start..start + PAGE_BYTES]))
        })
    }
}

/// A page file, mapped to read.
pub(crate) struct RawMap {
    map: Mmap,
}

impl RawMap {
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: nobody writes to the file as long as it is mapped here: it lies in this run's own
        // folder, and the rows that use this map only read it.
        let map = unsafe { Mmap::map(file) }?;
        Ok(Self { map })
    }

    /// The pages, without the header before them.
    pub(crate) fn data(&self, len: usize) -> &[u8] {
        &self.map[DATA_START..DATA_START + len]
    }

    /// The sum of the first words of pages, without a bounds check.
    pub(crate) fn sum_first_words(&self, order: &PageOrder) -> u64 {
        self.fold(order, first_word)
    }

    /// The same, with a CRC32C of each page that is looked at.
    pub(crate) fn sum_checked(&self, order: &PageOrder) -> u64 {
        self.fold(order, |page| {
            std::hint::black_box(crc32c(page));
            first_word(page)
        })
    }

    #[inline(always)]
    fn fold(&self, order: &PageOrder, look: impl Fn(&[u8]) -> u64) -> u64 {
        assert!(self.map.len() >= DATA_START + order.page_count() * PAGE_BYTES);
        let mut sum = 0_u64;
        for &page in order.pages() {
            // On the 64-bit machines that these benches are for, nothing is cut off.
            let start = usize::try_from(file_offset(page)).expect("a mapped offset");
            // SAFETY: `page` is below `order.page_count()` (its invariant), and the map was just
            // found to hold that many pages behind the header, so the range lies inside it.
            let bytes = unsafe { self.map.get_unchecked(start..start + PAGE_BYTES) };
            sum = sum.wrapping_add(look(bytes));
        }
        sum
    }
}

/// Pages of a mapped file, wherever in it they lie.
///
/// Invariant: each place is that of a whole page within the map.
pub(crate) struct RawPlaces {
    map: Mmap,
    places: Vec<usize>,
}

impl RawPlaces {
    /// The pages of an order, at the offsets in the file that `offset` gives.
    pub(crate) fn new(
        file: &File,
        order: &PageOrder,
        offset: impl Fn(PageId) -> u64,
    ) -> io::Result<Self> {
        // SAFETY: nobody writes to the file as long as it is mapped here: it lies in this run's own
        // folder, and the row that uses this map commits nothing meanwhile.
        let map = unsafe { Mmap::map(file) }?;
        let place = |&page| usize::try_from(offset(page)).expect("a mapped offset");
        let places: Vec<_> = order.pages().iter().map(place).collect();
        assert!(places.iter().all(|place| place + PAGE_BYTES <= map.len()));
        Ok(Self { map, places })
    }

    /// The sum of the first words of the pages, without a bounds check.
    pub(crate) fn sum_first_words(&self) -> u64 {
        self.places.iter().fold(0, |sum: u64, &start| {
            // SAFETY: the page lies inside the map (the invariant).
            let bytes = unsafe { self.map.get_unchecked(start..start + PAGE_BYTES) };
            sum.wrapping_add(first_word(bytes))
        })
    }
}

/// CRC32C of a page, as whoever maps a file by hand would have to check it.
pub(crate) fn crc32c(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes)
}

/// A page file, mapped to write.
pub(crate) struct RawMapMut {
    map: MmapMut,
}

impl RawMapMut {
    /// Maps the file, advised like ours.
    pub(crate) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: nobody else uses the file as long as it is mapped here: it lies in this run's own
        // folder, and the row that uses this map made it for this map alone.
        let map = unsafe { MmapMut::map_mut(file) }?;
        map.advise(Advice::Random)?;
        Ok(Self { map })
    }

    /// Stores a whole page.
    pub(crate) fn store(&mut self, page: PageId, bytes: &[u8; PAGE_BYTES]) {
        let start = usize::try_from(file_offset(page)).expect("a mapped offset");
        self.map[start..start + PAGE_BYTES].copy_from_slice(bytes);
    }

    /// One msync for one page.
    pub(crate) fn flush_page(&self, page: PageId) -> io::Result<()> {
        let start = usize::try_from(file_offset(page)).expect("a mapped offset");
        self.map.flush_range(start, PAGE_BYTES)
    }

    /// One msync for the whole file.
    pub(crate) fn flush_all(&self) -> io::Result<()> {
        self.map.flush()
    }
}

/// Plain anonymous memory, which is also page-aligned: the best buffer for `pread`.
pub(crate) fn anonymous(len: usize) -> io::Result<MmapMut> {
    MmapMut::map_anon(len)
}
