//! The files that are measured, and the orders in which their pages are visited.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use storage::{PageCount, PageFile, PageId, PageSize, PageWriter, SealedFile};

use crate::Result;

pub(crate) const PAGE_BYTES: usize = 4096;
/// Where page 0 lies in a file of 4 KiB pages (docs/format.md): behind two slots of 4 KiB.
pub(crate) const DATA_START: usize = 8192;
/// What is appended or written at a time.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
pub(crate) const PIECE_PAGES: usize = PIECE_BYTES / PAGE_BYTES;

/// The bytes of every file here: pieces of noise, the first word of each page telling its number.
pub(crate) struct Pieces {
    buffer: Vec<u64>,
}

impl Pieces {
    pub(crate) fn new() -> Self {
        Self { buffer: (0..PIECE_BYTES as u64 / 8).map(scramble).collect() }
    }

    /// The piece `number`.
    pub(crate) fn get(&mut self, number: usize) -> &[u8] {
        for page in 0..PIECE_PAGES {
            self.buffer[page * (PAGE_BYTES / 8)] = scramble((number * PIECE_PAGES + page) as u64);
        }
        bytemuck::cast_slice(&self.buffer)
    }
}

/// splitmix64: turns a counter into noise.
pub(crate) fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Pages of a file, each at most once.
///
/// Invariant: every page is below `page_count`. The raw rival skips its bounds checks by it.
pub(crate) struct PageOrder {
    pages: Vec<PageId>,
    page_count: usize,
}

impl PageOrder {
    /// `count` pages of a file of `page_count`, shuffled by `seed`.
    pub(crate) fn shuffled(page_count: usize, count: usize, seed: u64) -> Self {
        let mut pages: Vec<PageId> = (0..page_count as u64).map(PageId::new).collect();
        for index in 0..count.min(page_count) {
            let left = (page_count - index) as u64;
            let skip = scramble(seed << 32 | index as u64) % left;
            let other = index + usize::try_from(skip).expect("below the page count");
            pages.swap(index, other);
        }
        pages.truncate(count);
        Self { pages, page_count }
    }

    /// The pages, in the order of the visit.
    pub(crate) fn pages(&self) -> &[PageId] {
        &self.pages
    }

    /// All pages are below this.
    pub(crate) fn page_count(&self) -> usize {
        self.page_count
    }
}

/// Where a page begins in the file.
pub(crate) fn file_offset(page: PageId) -> u64 {
    DATA_START as u64 + page.get() * PAGE_BYTES as u64
}

/// Makes a sealed file.
pub(crate) fn make_sealed(path: &Path, piece_count: usize) -> Result<SealedFile> {
    let mut writer = PageWriter::create(path)?;
    let mut pieces = Pieces::new();
    for number in 0..piece_count {
        writer.append(pieces.get(number))?;
    }
    Ok(writer.seal()?)
}

/// Makes a mutable file through our own guards; it is durable and hot when this returns.
pub(crate) fn make_mutable(path: &Path, piece_count: usize) -> Result<PageFile> {
    let file = PageFile::options().page_size(PageSize::new(PAGE_BYTES as u64)?).create(path)?;
    file.grow(PageCount::new((piece_count * PIECE_PAGES) as u64))?;
    let mut pieces = Pieces::new();
    for number in 0..piece_count {
        let first = (number * PIECE_PAGES) as u64;
        let range = PageId::new(first)..PageId::new(first + PIECE_PAGES as u64);
        file.pages_mut(range)?.copy_from_slice(pieces.get(number));
    }
    file.flush()?;
    Ok(file)
}

/// Makes a mutable file as another program would: by write(2) of 1 MiB at a time, which leaves the
/// page cache full of large folios. Not `std::io::copy`, which lets the kernel copy.
pub(crate) fn make_by_big_writes(path: &Path, model: &Path) -> Result<File> {
    let mut model = File::open(model)?;
    let mut file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match model.read(&mut buffer)? {
            0 => break,
            len => file.write_all(&buffer[..len])?,
        }
    }
    file.sync_all()?;
    Ok(file)
}

/// The sum of all words, the answer of every sequential run.
#[inline(never)]
pub(crate) fn sum_words(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, &word| sum.wrapping_add(word))
}

/// The first word of a page.
#[inline(always)]
pub(crate) fn first_word(page: &[u8]) -> u64 {
    u64::from_le_bytes(*page.first_chunk().expect("a page is longer than a word"))
}

/// The sum of the words of a file from `offset` on, read with plain system calls. For checks.
pub(crate) fn sum_of_file(path: &Path, offset: usize, len: usize) -> Result<u64> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let mut buffer = vec![0_u64; PIECE_BYTES / 8];
    let mut sum = 0_u64;
    for start in (0..len).step_by(PIECE_BYTES) {
        file.read_exact_at(bytemuck::cast_slice_mut(&mut buffer), (offset + start) as u64)?;
        sum = sum.wrapping_add(sum_words(&buffer));
    }
    Ok(sum)
}
