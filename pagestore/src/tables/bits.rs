//! One bit a page, 64 pages a word: the arithmetic that all bitmaps of pages share.

use layout::{PageCount, PageId, PageRange};

/// Pages of a word.
pub(crate) const BITS: usize = u64::BITS as usize;

/// Some pages of one word of a bitmap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Word {
    /// The first page of the word is `index * 64`.
    pub(crate) index: usize,
    /// Bit `i` stands for page `index * 64 + i`.
    pub(crate) bits: u64,
}

impl Word {
    /// The pages whose bits are set, in ascending order.
    pub(crate) fn pages(self) -> impl Iterator<Item = PageId> {
        let first = (self.index * BITS) as u64;
        bits_of(self.bits).map(move |bit| PageId::new(first + u64::from(bit)))
    }
}

/// The words that the pages of `range` lie in, each with the bits that stand for them.
#[inline]
pub(crate) fn words_of(range: PageRange) -> impl Iterator<Item = Word> {
    let (mut page, end) = (range.start().get(), range.end().get());
    std::iter::from_fn(move || {
        let left = end.checked_sub(page).filter(|&left| left > 0)?;
        let (index, bit) = locate(page);
        let count = left.min((BITS - bit) as u64);
        page += count;
        // `count` is from 1 to 64 and `bit` from 0 to 63, so neither shift overflows.
        Some(Word { index, bits: (u64::MAX >> (BITS as u64 - count)) << bit })
    })
}

/// The bits of a word whose pages lie in some of these runs, which are in ascending order.
pub(crate) fn bits_of_runs(runs: &[PageRange], index: usize) -> u64 {
    let first = (index * BITS) as u64;
    let end = first + BITS as u64;
    let from = runs.partition_point(|run| run.end().get() <= first);
    let meeting = runs[from..].iter().take_while(|run| run.start().get() < end);
    meeting.fold(0, |bits, run| {
        let (start, end) = (run.start().get().max(first), run.end().get().min(end));
        // From 1 to 64 of them, so neither shift overflows.
        bits | (u64::MAX >> (BITS as u64 - (end - start))) << (start - first)
    })
}

/// The word in which a page's bit lies, and the bit.
#[inline]
pub(crate) fn locate(page: u64) -> (usize, usize) {
    let page = usize::try_from(page).expect("pages are mapped, so their numbers fit a usize");
    (page / BITS, page % BITS)
}

/// The words that hold the bits of `page_count` pages.
#[inline]
pub(crate) fn word_count(page_count: PageCount) -> usize {
    page_count.get().checked_sub(1).map_or(0, |last| locate(last).0 + 1)
}

/// The places of the bits set in `word`, in ascending order.
pub(crate) fn bits_of(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(bit)
    })
}

/// Pages noted in words, in ascending order.
#[derive(Clone, Copy)]
pub(crate) struct Pages<'words>(pub(crate) &'words [Word]);

impl Pages<'_> {
    /// From the first page to the last, with whatever lies between.
    pub(crate) fn hull(self) -> PageRange {
        let first = self.0.first().and_then(|word| word.pages().next());
        let last = self.0.last().and_then(|word| word.pages().last());
        match (first, last) {
            (Some(first), Some(last)) => PageRange::from(first).hull(PageRange::from(last)),
            _ => PageRange::EMPTY,
        }
    }

    /// How many pages.
    pub(crate) fn count(self) -> u64 {
        self.0.iter().map(|word| u64::from(word.bits.count_ones())).sum()
    }

    /// The runs of adjacent pages, in ascending order.
    pub(crate) fn runs(self) -> impl Iterator<Item = PageRange> {
        let mut pages = self.0.iter().flat_map(|word| word.pages()).peekable();
        std::iter::from_fn(move || {
            let mut run = PageRange::from(pages.next()?);
            while pages.next_if_eq(&run.end()).is_some() {
                run = run.with_next();
            }
            Some(run)
        })
    }

    /// How many runs of adjacent pages.
    pub(crate) fn run_count(self) -> u64 {
        let mut previous: Option<Word> = None;
        let mut runs = 0;
        for &word in self.0 {
            let starts = word.bits & !(word.bits << 1);
            let continues = word.bits & 1 == 1
                && previous.is_some_and(|p| p.index + 1 == word.index && p.bits >> 63 == 1);
            runs += u64::from(starts.count_ones()) - u64::from(continues);
            previous = Some(word);
        }
        runs
    }
}
