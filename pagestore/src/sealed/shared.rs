//! What the handles of a sealed file share: the mapping, which pages were found right, and how pages come into
//! memory and go.

pub(super) mod memory;
pub(super) mod verifying;

use std::{
    ops::{Range, RangeBounds},
    sync::{Arc, Weak, atomic::AtomicU64},
};

use layout::{
    FormatError, Geometry, PageChecksum, PageCount, PageHasher, PageId, PageRange, PageSize,
    SEAL_BLOCK_LEN_BYTES, SealRecord, Superblock,
};

use crate::{
    error::{Error, FaultCause, PoisonCause, Result},
    file::{access::Access, claim::Claim, disk, header},
    map::{mapping::Mapping, place, poison},
    residency::{
        advised::Advised,
        budget::{Held, Member},
        read_ahead::ReadAhead,
        stream::Stream,
    },
    sealed::{options::SealedFileOptions, verified::Verified},
    tables::{bits::word_count, zeroed::Zeroed},
};

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
    /// [`TABLE_PART_BYTES`](memory::TABLE_PART_BYTES).
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
        place::check_page_size(page_size)?;
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
        let asked = Zeroed::new(word_count(memory::table_parts(page_count)))?;
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
    fn trailer(&self) -> &[u8] {
        let data_len = index(self.superblock.geometry().data_len());
        let len = self.mapping.len_bytes() - data_len;
        // SAFETY: as in `bytes`; these bytes end where the mapping does.
        unsafe { self.mapping.bytes(data_len, len) }
    }

    /// The checksum table and the zeros behind it.
    pub(super) fn table(&self) -> (&[u8], &[u8]) {
        let geometry = self.superblock.geometry();
        let len = index(geometry.seal_start() - geometry.data_end());
        let table = &self.trailer()[..len];
        table.split_at(index(geometry.table_len()))
    }

    /// Fails where a page could not be reached.
    #[inline]
    pub(super) fn check(&self) -> Result<()> {
        poison::check(&self.mapping, self.page_size)
    }

    /// Fails where a page could not be reached, or written before it left, or somebody cut the file short.
    pub(super) fn still_valid(&self) -> Result<()> {
        if self.claim().lost().is_some() {
            self.mapping.note_fault(0);
        }
        self.check()?;
        self.check_len()
    }

    /// Fails where somebody cut the file short.
    fn check_len(&self) -> Result<()> {
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

    /// Has pages verified again before they are borrowed next.
    pub(super) fn forget_verified(&self, pages: PageRange) {
        self.verified.remove(pages, self.mapping.watch());
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

    /// The mapping, and where in the file it begins.
    pub(super) fn mapped(&self) -> (&Mapping, u64) {
        (&self.mapping, Geometry::data_start(self.page_size))
    }

    /// Pages by their numbers.
    #[inline]
    pub(super) fn resolve(&self, range: impl RangeBounds<PageId>) -> Result<PageRange> {
        PageRange::resolve(range, self.page_count).map_err(Error::no_pages(self.mapping.path()))
    }
}

/// A length or index inside what is mapped.
#[inline]
pub(super) fn index(number: u64) -> usize {
    usize::try_from(number).expect("what is mapped fits a usize")
}
