//! The bytes that every rival stores, and what reading them must add up to.

use bytemuck::{Pod, Zeroable};

/// The unit of the data: a block is one page or sixteen.
pub(crate) const PAGE_BYTES: usize = 4096;
/// What is handed over at a time when data is loaded.
pub(crate) const PIECE_BYTES: usize = 1 << 20;
const PIECE_PAGES: usize = PIECE_BYTES / PAGE_BYTES;
const PAGE_WORDS: usize = PAGE_BYTES / 8;

/// A page of the data.
pub(crate) type Page = [u8; PAGE_BYTES];

/// A page that stands where one begins, to read into: how long read(2) takes depends on where in a page its
/// buffer begins, so luck would decide (`docs/facts.md`).
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(4096))]
pub(crate) struct AlignedPage(Page);

/// A buffer of whole pages: its bytes are `bytemuck::cast_slice_mut` of it.
pub(crate) fn buffer(len_bytes: usize) -> Vec<AlignedPage> {
    vec![AlignedPage::zeroed(); len_bytes.div_ceil(PAGE_BYTES)]
}

/// How much is stored, and in blocks of what size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// All blocks together; a multiple of [`PIECE_BYTES`] unless it is a single page.
    pub(crate) len_bytes: u64,
    pub(crate) block_bytes: usize,
    /// What a rival with a cache of its own may take for it.
    pub(crate) cache_bytes: u64,
}

impl Shape {
    /// Data that fits into a rival's cache, with room.
    pub(crate) fn cached(len_bytes: u64, block_bytes: usize) -> Self {
        Self { len_bytes, block_bytes, cache_bytes: len_bytes / 2 * 5 + (64 << 20) }
    }

    /// A single page.
    pub(crate) fn single_page() -> Self {
        Self::cached(PAGE_BYTES as u64, PAGE_BYTES)
    }

    pub(crate) fn block_count(&self) -> u64 {
        self.len_bytes / self.block_bytes as u64
    }

    pub(crate) fn page_count(&self) -> u64 {
        self.len_bytes / PAGE_BYTES as u64
    }

    /// All blocks, in order.
    pub(crate) fn in_order(&self) -> Vec<u64> {
        (0..self.block_count()).collect()
    }

    /// `count` blocks, each at most once, shuffled by `seed`.
    pub(crate) fn shuffled(&self, count: u64, seed: u64) -> Vec<u64> {
        let mut blocks = self.in_order();
        let count = usize::try_from(count.min(self.block_count())).expect("blocks in memory");
        for index in 0..count {
            let left = (blocks.len() - index) as u64;
            let skip = scramble(seed << 32 | index as u64) % left;
            blocks.swap(index, index + usize::try_from(skip).expect("below the count"));
        }
        blocks.truncate(count);
        blocks
    }
}

/// The data, a piece at a time: noise, the first word of each page telling its number.
pub(crate) struct Pieces {
    buffer: Vec<u64>,
    shape: Shape,
}

impl Pieces {
    pub(crate) fn of(shape: Shape) -> Self {
        let len = PIECE_BYTES.min(usize::try_from(shape.len_bytes).unwrap_or(PIECE_BYTES));
        Self { buffer: (0..len as u64 / 8).map(noise).collect(), shape }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.shape.len_bytes / self.len_bytes()
    }

    /// How long each is.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.buffer.len() as u64 * 8
    }

    /// The piece `number`.
    pub(crate) fn get(&mut self, number: u64) -> &[u8] {
        let first = number * (self.len_bytes() / PAGE_BYTES as u64);
        for (page, words) in (first..).zip(self.buffer.chunks_exact_mut(PAGE_WORDS)) {
            words[0] = scramble(page);
        }
        bytemuck::cast_slice(&self.buffer)
    }

    /// Hands over every block with its number.
    pub(crate) fn each_block<E>(
        shape: Shape,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut pieces = Self::of(shape);
        let mut block = 0;
        for number in 0..pieces.count() {
            for bytes in pieces.get(number).chunks_exact(shape.block_bytes) {
                take(block, bytes)?;
                block += 1;
            }
        }
        Ok(())
    }
}

/// What reading the data must add up to.
pub(crate) struct Expected {
    /// The words of each page of a piece but the first.
    bases: Vec<u64>,
}

impl Expected {
    pub(crate) fn new() -> Self {
        let page = |page: usize| (page * PAGE_WORDS + 1..(page + 1) * PAGE_WORDS).map(|n| n as u64);
        let sum =
            |page_of| Iterator::fold(page(page_of), 0, |sum: u64, n| sum.wrapping_add(noise(n)));
        Self { bases: (0..PIECE_PAGES).map(sum).collect() }
    }

    /// The sum of all words of some blocks.
    pub(crate) fn words(&self, blocks: &[u64], block_bytes: usize) -> u64 {
        let pages = (block_bytes / PAGE_BYTES) as u64;
        let pages = blocks.iter().flat_map(|block| block * pages..(block + 1) * pages);
        pages.fold(0, |sum, page| {
            let base = self.bases[usize::try_from(page % PIECE_PAGES as u64).expect("small")];
            sum.wrapping_add(base).wrapping_add(scramble(page))
        })
    }

    /// The sum of the first words of some blocks.
    pub(crate) fn first_words(blocks: &[u64], block_bytes: usize) -> u64 {
        let pages = (block_bytes / PAGE_BYTES) as u64;
        blocks.iter().fold(0, |sum, block| sum.wrapping_add(scramble(block * pages)))
    }
}

/// What the `round`th update puts into a page.
pub(crate) fn changed(page: u64, round: u64) -> Page {
    bytemuck::cast([scramble(page << 16 | round); PAGE_WORDS])
}

/// A word that is not the first of its page; no page's first word is the same.
fn noise(number: u64) -> u64 {
    scramble(number | 1 << 63)
}

/// splitmix64: turns a counter into noise.
pub(crate) fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The first word of a block.
#[inline(always)]
pub(crate) fn first_word(block: &[u8]) -> u64 {
    u64::from_le_bytes(*block.first_chunk().expect("a block is longer than a word"))
}

/// The sum of all words of some bytes, wherever they lie in memory.
#[inline(always)]
pub(crate) fn sum_bytes(bytes: &[u8]) -> u64 {
    match bytemuck::try_cast_slice(bytes) {
        Ok(words) => sum_words(words),
        Err(_) => bytes
            .as_chunks()
            .0
            .iter()
            .fold(0, |sum: u64, &word| sum.wrapping_add(u64::from_le_bytes(word))),
    }
}

/// The sum of a column.
#[inline(never)]
pub(crate) fn sum_words(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, &word| sum.wrapping_add(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is expected is computed without the data; it must be what the data adds up to.
    #[test]
    fn the_data_adds_up_to_what_is_expected() {
        for block_bytes in [PAGE_BYTES, 16 * PAGE_BYTES] {
            let shape = Shape::cached(3 << 20, block_bytes);
            let blocks = shape.shuffled(20, 7);
            let (mut first, mut all) = (0_u64, 0_u64);
            let each = Pieces::each_block(shape, |number, block| {
                if blocks.contains(&number) {
                    first = first.wrapping_add(first_word(block));
                    all = all.wrapping_add(sum_bytes(block));
                }
                Ok::<(), ()>(())
            });
            assert_eq!(each, Ok(()));
            assert_eq!(first, Expected::first_words(&blocks, block_bytes));
            assert_eq!(all, Expected::new().words(&blocks, block_bytes));
        }
    }

    #[test]
    fn a_shuffled_order_has_each_block_at_most_once() {
        let shape = Shape::cached(1 << 20, PAGE_BYTES);
        let mut blocks = shape.shuffled(1000, 3);
        assert_ne!(blocks, shape.in_order());
        blocks.sort_unstable();
        assert_eq!(blocks, shape.in_order());
    }
}
