//! What the handles of a sealed file share: the mapping, which pages were found right, and how pages come into
//! memory and go.

use std::{
    fs::File,
    ops::{Range, RangeBounds},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use layout::{
    FormatError, Geometry, PageChecksum, PageCount, PageHasher, PageId, PageRange, PageSize,
    SEAL_BLOCK_LEN_BYTES, SealRecord, Superblock,
};

use crate::{
    Access, Error, FaultCause, PageFileOptions, PoisonCause, Result, SealedFileOptions,
    file::{claim::Claim, disk, header},
    map::{mapping::Mapping, place, poison},
    residency::{
        advised::Advised,
        budget::{Budgeted, Charged, Held, Left, Member, Pass},
        cache, folios,
        read_ahead::ReadAhead,
        stream::{self, Stream},
    },
    sealed::verified::Verified,
    tables::{
        bits::{Word, locate, word_count, words_of},
        zeroed::Zeroed,
    },
};

/// How much is brought into memory by one system call, ahead of its checksums. Measured over a
/// file in the page cache: 12.0 GB/s with it, 9.3 GB/s by page faults.
const POPULATE_WINDOW_BYTES: u64 = 2 << 20;

/// How much of the checksum table is brought in together. It comes while the disk is asked for a page
/// anyway; each 4 KiB by a page fault of its own would make the reader wait twice for one page in four of a
/// large file that is read at random.
const TABLE_PART_BYTES: u64 = 64 << 10;

/// The pages that a part of the table is about.
const TABLE_PART_PAGES: u64 = TABLE_PART_BYTES / PageChecksum::LEN_BYTES as u64;

fn table_parts(page_count: PageCount) -> PageCount {
    PageCount::new(page_count.get().div_ceil(TABLE_PART_PAGES))
}

/// The mapping and what is known of it.
///
/// Invariant: the mapping covers the file from page 0 to the file's end, and the claim in it keeps
/// everybody from writing to the file.
pub(super) struct Shared {
    pub(super) mapping: Mapping,
    pub(super) page_size: PageSize,
    pub(super) page_count: PageCount,
    pub(super) superblock: Superblock,
    pub(super) seal: SealRecord,
    hasher: PageHasher,
    /// The pages whose checksums were found right. Under a budget, such a page is charged too,
    /// unless it is being evicted.
    pub(super) verified: Verified,
    /// Which parts of the checksum table the kernel was asked for, where no budget counts them: one bit for
    /// [`TABLE_PART_BYTES`].
    asked: Zeroed<AtomicU64>,
    /// The bytes of a page, where the mapping is indexed.
    page_len: usize,
    /// What brings pages in under a budget. Behind the mapping: pages that are mapped cannot be
    /// given back.
    pub(super) budgeted: Option<ReadAhead>,
    /// What the kernel was told about how pages are read, where no budget reads ahead.
    pub(super) advised: Advised,
    /// How far the kernel has read ahead, where no budget does.
    stream: Stream,
}

impl Shared {
    /// `writer` gives the membership in the budget of who wrote the file just now. It is asked when the
    /// file is mapped.
    pub(super) fn map(
        options: &SealedFileOptions,
        claim: &Arc<Claim>,
        writer: impl FnOnce() -> Option<Member>,
    ) -> Result<Held<Self>> {
        let path = claim.path();
        let header = header::read(claim.file(), path)?;
        let superblock = *header.superblock();
        if superblock.versioned().is_some() {
            return Err(Error::Versioned { path: path.into() });
        }
        if !superblock.is_sealed() {
            return Err(Error::NotSealed { path: path.into() });
        }
        let (page_size, page_count) = (superblock.page_size(), superblock.page_count());
        PageFileOptions::check_page_size(page_size)?;
        let geometry = *superblock.geometry();
        let (found, expected) = (claim.len_bytes()?, geometry.file_len_sealed());
        if found != expected {
            return Err(Error::format(path)(FormatError::Length { found, expected }));
        }
        let block =
            header::read_at(claim.file(), path, geometry.seal_start(), SEAL_BLOCK_LEN_BYTES)?;
        let seal = SealRecord::parse(&block, &superblock).map_err(Error::format(path))?;
        let data_start = Geometry::data_start(page_size);
        let mapped_len = expected - data_start;
        let mapping = Mapping::read_only(Arc::clone(claim), options.guard, data_start, mapped_len)?;
        let join = |shared: &Weak<Self>| {
            let budget = options.budget.as_ref()?;
            let member = match writer() {
                None => budget.join(claim, shared.clone()),
                Some(writer) => writer.passed_to(claim, shared.clone()),
            };
            Some(ReadAhead::new(member, options.access, budget.window_bytes()))
        };
        let verified = Verified::none_of(page_count, options.budget.is_some())?;
        let asked = Zeroed::new(word_count(table_parts(page_count)))?;
        let shared = Arc::new_cyclic(|shared| Self {
            mapping,
            page_size,
            page_count,
            superblock,
            seal,
            hasher: PageHasher::new(superblock.file_uuid()),
            verified,
            asked,
            page_len: index(page_size.get()),
            budgeted: join(shared),
            advised: Advised::new(options.access),
            stream: Stream::new(),
        });
        let shared = Held::new(shared, |shared| Some(shared.budgeted.as_ref()?.member()));
        // Under a budget, nothing is read ahead but by ourselves.
        let access = options.budget.as_ref().map_or(options.access, |_| Access::Random);
        if access != Access::Normal {
            shared.advise_kernel(access);
        }
        if let Some(budgeted) = &shared.budgeted {
            budgeted.member().settle_in(shared.claim().file())?;
        }
        Ok(shared)
    }

    fn advise_kernel(&self, access: Access) {
        self.mapping.advise(access);
        disk::advise(self.claim(), access);
    }

    pub(super) fn claim(&self) -> &Claim {
        self.mapping.claim().expect("a sealed file's mapping is of a file")
    }

    /// The bytes of pages that the file has.
    #[inline]
    pub(super) fn bytes(&self, range: PageRange) -> &[u8] {
        let (offset, len) = place::place(range, self.page_size);
        // SAFETY: the mapping covers all pages of the file and `range` was resolved against them, so
        // the bytes lie inside it; and it ends where the file did when it was opened, so they are
        // usable. Nobody writes to them: the file is sealed, which this crate never writes to, and
        // the claim in the mapping vouches for everyone else.
        unsafe { self.mapping.bytes(offset, len) }
    }

    /// The bytes of a page that the file has: [`bytes`](Self::bytes) in fewer instructions.
    #[inline]
    pub(super) fn bytes_of(&self, page: PageId) -> &[u8] {
        let (offset, len) = (index(page.get()) * self.page_len, self.page_len);
        // SAFETY: as in `bytes`: the caller knows that the file has the page, since its bit is set or it is one of
        // the free ones, of which `Verified` never makes more than the file has.
        unsafe { self.mapping.bytes(offset, len) }
    }

    /// The bytes behind the pages: the checksum table and the seal record.
    pub(super) fn trailer(&self) -> &[u8] {
        let data_len = index(self.superblock.geometry().data_len());
        let len = self.mapping.len_bytes() - data_len;
        // SAFETY: as in `bytes`; these bytes end where the mapping does.
        unsafe { self.mapping.bytes(data_len, len) }
    }

    /// Fails where a page could not be reached.
    #[inline]
    pub(super) fn check(&self) -> Result<()> {
        poison::check(&self.mapping, self.page_size)
    }

    /// Fails where somebody cut the file short.
    pub(super) fn check_len(&self) -> Result<()> {
        let file_len = self.claim().len_bytes()?;
        if file_len >= self.superblock.geometry().file_len_sealed() {
            return Ok(());
        }
        let path = self.claim().path().into();
        let pages = poison::lost(self.page_size, self.page_count, file_len);
        self.mapping.note_fault(place::place(pages, self.page_size).0);
        let cause = PoisonCause::Fault(FaultCause::CutShort { file_len });
        Err(Error::Poisoned { path, pages, cause })
    }

    /// The bytes of the file that pages lie in.
    #[inline]
    pub(super) fn span(&self, range: PageRange) -> Range<u64> {
        place::span(range, self.page_size)
    }

    /// The bytes of the file that the checksums of pages lie in.
    fn checksums_of(&self, range: PageRange) -> Range<u64> {
        const LEN: u64 = PageChecksum::LEN_BYTES as u64;
        let start = self.superblock.geometry().data_end();
        start + range.start().get() * LEN..start + range.end().get() * LEN
    }

    /// A page that lies under a budget, was not verified yet, is not there, or cannot be reached.
    pub(super) fn page_with_care(&self, page: PageId) -> Result<&[u8]> {
        let range = PageRange::single(page, self.page_count);
        let range = range.map_err(Error::no_pages(self.mapping.path()))?;
        self.check()?;
        match &self.budgeted {
            Some(budgeted) if self.verified.has(page) => {
                budgeted.member().reference(self.span(range));
            }
            _ => self.verify_page(page)?,
        }
        Ok(self.bytes(range))
    }

    /// Verifies the pages of `range` that were not verified yet.
    pub(super) fn verify_pages(&self, range: PageRange) -> Result<()> {
        self.check()?;
        match &self.budgeted {
            None => self.verify_words(range, Bringing::Populates),
            Some(budgeted) => self.verify_budgeted(budgeted, range, Behind::ReadAhead),
        }
    }

    fn verify_budgeted(
        &self,
        budgeted: &ReadAhead,
        range: PageRange,
        behind: Behind,
    ) -> Result<()> {
        self.windows(range, budgeted.window_bytes()).try_for_each(|window| {
            if self.verified.has_all(window) {
                budgeted.member().reference(self.span(window));
                return Ok(());
            }
            let _charged = self.charge(budgeted, window, behind)?;
            self.verify_words(window, Bringing::Done)
        })
    }

    /// Charges pages and what of the checksum table is about them, and brings the pages in.
    ///
    /// They cannot be evicted as long as what is returned lives.
    pub(super) fn charge<'shared>(
        &self,
        budgeted: &'shared ReadAhead,
        window: PageRange,
        behind: Behind,
    ) -> Result<Charged<'shared>> {
        let table = self.checksums_of(window);
        // One after the other, since nothing is to be held while room is waited for.
        if budgeted.member().is_charged(table.clone()) {
            budgeted.member().reference(table);
        } else {
            drop(budgeted.member().charge(table)?);
        }
        let (span, data_end) = (self.span(window), self.superblock.geometry().data_end());
        let end = match (behind, budgeted.block_end(span.start)) {
            (Behind::Nothing, _) => span.end,
            // What is read ahead page by page must not be in the way of the next block.
            (Behind::ReadAhead, Some(block_end)) => {
                let in_order = |block: &Range<u64>| budgeted.block_end(block.start).is_some();
                self.load_blocks(budgeted, &span, in_order)?;
                data_end.min(block_end.max(span.end))
            }
            (Behind::ReadAhead, None) => data_end,
        };
        let charged = budgeted.bring_in(self.claim(), span, end)?;
        if window.count() > PageCount::new(1) {
            self.populate_now(window)?;
        }
        Ok(charged)
    }

    /// Brings in the whole blocks that bytes lie in, those that are wanted, each as one folio, if a page of them is
    /// not charged yet.
    fn load_blocks(
        &self,
        budgeted: &ReadAhead,
        span: &Range<u64>,
        is_wanted: impl Fn(&Range<u64>) -> bool,
    ) -> Result<()> {
        let data = self.mapped().1..self.superblock.geometry().data_end();
        for block in budgeted.blocks(span, data).filter(is_wanted) {
            let member = budgeted.member();
            if member.is_charged(block.clone()) {
                continue;
            }
            let charged = member.charge_block(block.clone())?;
            let place = self.mapping.place_of(self.mapped().1, block.clone());
            if let Some((offset, len)) = place.filter(|_| charged.is_new()) {
                let pages = place::pages_in(self.page_size, self.page_count, &block);
                self.mapping.populate_huge_once(offset, len).map_err(|source| {
                    poison::unreachable(&self.mapping, self.page_size, pages, source)
                })?;
            }
        }
        Ok(())
    }

    /// Reads pages into memory, in large folios where the kernel makes them; under a budget, and nothing behind
    /// them, it verifies them too.
    pub(super) fn load(&self, range: PageRange) -> Result<()> {
        self.check()?;
        match &self.budgeted {
            Some(budgeted) => {
                self.load_blocks(budgeted, &self.span(range), |_| true)?;
                self.verify_budgeted(budgeted, range, Behind::Nothing)
            }
            None => {
                let (offset, len) = place::place(range, self.page_size);
                self.mapping.populate_huge(offset, len).map_err(|source| {
                    poison::unreachable(&self.mapping, self.page_size, range, source)
                })
            }
        }
    }

    /// Adjacent pages in pieces of about so many bytes.
    pub(super) fn windows(
        &self,
        range: PageRange,
        bytes: u64,
    ) -> impl Iterator<Item = PageRange> + use<> {
        place::windows(range, self.page_size, bytes)
    }

    /// Writes what is dirty in a range of the file to the disk, so that it can leave memory: of a
    /// temporary file nothing was made durable. Says how many bytes that were.
    fn write_dirty(&self, span: Range<u64>) -> Result<u64> {
        let dirty_bytes = cache::of_range(self.claim().file(), span.clone())
            .map_or(0, |residency| residency.dirty_bytes);
        if dirty_bytes > 0 {
            let written = disk::write_back(self.claim().file(), span.start, span.end - span.start);
            written.map_err(Error::io("write to the disk", self.claim().path()))?;
        }
        Ok(dirty_bytes)
    }

    /// Gives the pages of a range of the file back to the kernel.
    pub(super) fn drop_pages(&self, span: Range<u64>) {
        folios::drop_pages(self.mapped(), span);
    }

    /// The mapping, and where in the file it begins.
    pub(super) fn mapped(&self) -> (&Mapping, u64) {
        (&self.mapping, Geometry::data_start(self.page_size))
    }

    /// Verifies the pages of `range` that were not verified yet.
    pub(super) fn verify_words(&self, range: PageRange, bringing: Bringing) -> Result<()> {
        let mut present_end = range.start();
        for word in words_of(range) {
            let missing = Word { bits: self.verified.missing(word), ..word };
            if missing.bits == 0 {
                continue;
            }
            // Noted once a word: a locked instruction after each page would keep the processor
            // from fetching the next one meanwhile.
            let mut verified = Word { bits: 0, ..word };
            let outcome: Result<()> = missing.pages().try_for_each(|page| {
                if bringing == Bringing::Populates && page >= present_end {
                    present_end = self.populate_window(page, range.end())?;
                }
                self.check_page(page)?;
                verified.bits |= 1 << locate(page.get()).1;
                Ok(())
            });
            self.verified.add(verified, self.mapping.watch());
            outcome?;
        }
        Ok(())
    }

    /// Pages by their numbers.
    #[inline]
    pub(super) fn resolve(&self, range: impl RangeBounds<PageId>) -> Result<PageRange> {
        PageRange::resolve(range, self.page_count).map_err(Error::no_pages(self.mapping.path()))
    }

    /// Brings the pages of the window from `first` on into memory, up to `end`; returns where the
    /// window ends. A single page is left to its page fault.
    fn populate_window(&self, first: PageId, end: PageId) -> Result<PageId> {
        let window_pages = self.page_size.pages_for(POPULATE_WINDOW_BYTES);
        let window_end = first.checked_add(window_pages).map_or(end, |window| window.min(end));
        let window = self.resolve(first..window_end)?;
        if window.count() > PageCount::new(1) {
            self.populate(window)?;
        }
        Ok(window_end)
    }

    /// Verifies one page and notes it.
    #[cold]
    pub(super) fn verify_page(&self, page: PageId) -> Result<()> {
        let _charged = match &self.budgeted {
            Some(budgeted) => {
                Some(self.charge(budgeted, PageRange::from(page), Behind::ReadAhead)?)
            }
            None => {
                self.begin_checksums(PageRange::from(page), 0)?;
                // What is one page to the kernel too is left to its page fault.
                if self.page_size.get() > rustix::param::page_size() as u64 {
                    self.populate_now(PageRange::from(page))?;
                }
                None
            }
        };
        self.check_page(page)?;
        words_of(PageRange::from(page))
            .for_each(|word| self.verified.add(word, self.mapping.watch()));
        Ok(())
    }

    /// Has pages verified again before they are borrowed next.
    pub(super) fn forget_verified(&self, pages: PageRange) {
        self.verified.remove(pages, self.mapping.watch());
    }

    /// Computes a page's checksum and compares it with the table's.
    fn check_page(&self, page: PageId) -> Result<()> {
        let found = self.hasher.checksum(page, self.bytes(PageRange::from(page)));
        let expected = self.expected_checksum(page);
        // Every byte was touched by now. Where one could not be reached, zeros were summed.
        self.check()?;
        if found == expected {
            return Ok(());
        }
        let path = self.claim().path().into();
        Err(Error::Checksum { path, page, found, expected })
    }

    /// What the checksum table says of a page.
    fn expected_checksum(&self, page: PageId) -> PageChecksum {
        const LEN: usize = PageChecksum::LEN_BYTES;
        let entry = index(page.get()) * LEN;
        let bytes = self.trailer()[entry..entry + LEN].try_into();
        let bytes = bytes.expect("the slice has that length");
        PageChecksum::from_le_bytes(bytes)
    }

    /// Brings pages in, under a budget window by window.
    pub(super) fn populate(&self, range: PageRange) -> Result<()> {
        match &self.budgeted {
            None => self.populate_now(range),
            Some(budgeted) => self
                .windows(range, budgeted.window_bytes())
                .try_for_each(|window| self.charge(budgeted, window, Behind::ReadAhead).map(drop)),
        }
    }

    /// Brings pages in, and has the kernel go on with those behind them where they are read in order.
    fn populate_now(&self, range: PageRange) -> Result<()> {
        if self.budgeted.is_some() {
            return self.wait_for(range);
        }
        let (span, file) = (self.span(range), self.claim().file());
        self.begin_checksums(range, stream::AHEAD_BYTES_MAX)?;
        if self.advised.at(span.start).0 == Access::Random {
            // The kernel would read them one after the other, each when it is asked for.
            disk::will_need(file, span.start, span.end - span.start);
            return self.wait_for(range);
        }
        self.wait_for(range)?;
        self.stream.has_read(file, span, self.superblock.geometry().data_end());
        Ok(())
    }

    /// Has the kernel begin to read the checksums of pages and of those that may be read ahead, once. Later, they
    /// would wait for the disk behind those pages.
    fn begin_checksums(&self, range: PageRange, ahead_bytes: u64) -> Result<()> {
        let ahead = self.page_size.pages_for(ahead_bytes);
        let last = PageId::new(self.page_count.get());
        let end = range.end().checked_add(ahead).map_or(last, |end| end.min(last));
        for part in range.start().get() / TABLE_PART_PAGES..end.get().div_ceil(TABLE_PART_PAGES) {
            let (word, bit) = locate(part);
            let asked = &self.asked[word];
            // Relaxed: who sees the bit does without the call, and nothing else.
            if asked.load(Ordering::Relaxed) & (1 << bit) != 0 {
                continue;
            }
            asked.fetch_or(1 << bit, Ordering::Relaxed);
            let start = PageId::new(part * TABLE_PART_PAGES);
            let end = PageId::new((part + 1) * TABLE_PART_PAGES).min(last);
            let span = self.checksums_of(self.resolve(start..end)?);
            disk::will_need(self.claim().file(), span.start, span.end - span.start);
        }
        Ok(())
    }

    /// Notes that the checksum table leaves memory.
    pub(super) fn forget_checksums(&self) {
        self.asked.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Has pages in memory and mapped when it returns.
    fn wait_for(&self, range: PageRange) -> Result<()> {
        let (offset, len) = place::place(range, self.page_size);
        let populated = self.mapping.populate_read(offset, len);
        populated
            .map_err(|source| poison::unreachable(&self.mapping, self.page_size, range, source))
    }
}

impl Budgeted for Shared {
    fn file(&self) -> &File {
        self.claim().file()
    }

    fn mincore_bytes(&self, span: Range<u64>) -> Option<u64> {
        cache::by_mincore(self.mapped(), span)
    }

    fn evict(&self, pass: &Pass<'_>, span: Range<u64>) -> Result<Left> {
        let pages = place::pages_in(self.page_size, self.page_count, &span);
        // Before the drop: nobody verifies a page of the extent meanwhile, and whoever borrows one
        // from now on charges it first.
        self.forget_verified(pages);
        pass.note_written_back(self.write_dirty(span.clone())?);
        self.drop_pages(span.clone());
        Ok(Left::look_mapped(self, span.start.max(self.mapped().1)..span.end))
    }
}

/// What is done about the pages behind those that are brought in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    Nothing,
    /// They are read too, where the file is read in order.
    ReadAhead,
}

/// Who brings in the pages that are to be verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bringing {
    Populates,
    Done,
}

/// A length or index inside what is mapped.
#[inline]
pub(super) fn index(number: u64) -> usize {
    usize::try_from(number).expect("what is mapped fits a usize")
}
