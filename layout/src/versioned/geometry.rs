//! Where each part of a versioned file lies.

use crate::{FormatError, PageCount, PageId, PageSize, PageStamp};

/// One of the two halves of the log. Commits fill one after the other; one that is full is used
/// again when everything in it is durable in the pages themselves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LogHalf {
    /// The one that lies first in the file.
    First,
    /// The one behind it.
    Second,
}

impl LogHalf {
    /// Both, in the order in which they lie in the file.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// The one that is used after this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// Adjacent pages, with their stamps before them. Each group has twice as many pages as the one before
/// it, so a file of any size has few of them, and none ever moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group {
    /// The number of the group's first page.
    pub first: PageId,
    /// How many pages the group has room for.
    pub page_count: PageCount,
    /// Where in the file its table of stamps begins.
    pub table_start: u64,
    /// Where in the file its pages begin.
    pub data_start: u64,
}

/// The places of the parts of one versioned file, as byte offsets from its beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionedGeometry {
    page_size: PageSize,
    log_len: u64,
}

impl VersionedGeometry {
    /// Where the block of the mark begins.
    pub const MARK_START: u64 = 8192;
    /// Where the log begins.
    pub const LOG_START: u64 = 65_536;
    /// A log's length is a multiple of this.
    pub const LOG_LEN_UNIT: u64 = 131_072;
    /// The shortest log.
    pub const LOG_LEN_MIN: u64 = Self::LOG_LEN_UNIT;
    /// The longest log. (1 TiB: what stands in a header is bounded.)
    pub const LOG_LEN_MAX: u64 = 1 << 40;
    /// The pages of group 0. Its table is a whole number of pages of every machine (64 KiB at most).
    pub const GROUP_PAGES: u64 = 16_384;

    /// The places in a file of such pages and with a log of `log_len` bytes.
    ///
    /// # Errors
    /// [`FormatError::Versioned`] where there can be no such log.
    pub const fn new(page_size: PageSize, log_len: u64) -> Result<Self, FormatError> {
        if !log_len.is_multiple_of(Self::LOG_LEN_UNIT)
            || log_len < Self::LOG_LEN_MIN
            || log_len > Self::LOG_LEN_MAX
        {
            let allowed = "a multiple of 131072, from 131072 to 2^40";
            return Err(FormatError::Versioned {
                field: "length of the log",
                found: log_len,
                allowed,
            });
        }
        Ok(Self { page_size, log_len })
    }

    /// The page size.
    #[must_use]
    pub const fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// The length of both halves of the log together.
    #[must_use]
    pub const fn log_len(&self) -> u64 {
        self.log_len
    }

    /// The length of one half of the log: the longest record of a commit.
    #[must_use]
    pub const fn half_len(&self) -> u64 {
        self.log_len / 2
    }

    /// Where a half of the log begins.
    #[must_use]
    pub const fn half_start(&self, half: LogHalf) -> u64 {
        match half {
            LogHalf::First => Self::LOG_START,
            LogHalf::Second => Self::LOG_START + self.half_len(),
        }
    }

    /// Where group 0 begins: the length of a file without pages.
    #[must_use]
    pub const fn groups_start(&self) -> u64 {
        Self::LOG_START + self.log_len
    }

    /// Where the pages end: the least length of a file that has so many.
    ///
    /// # Errors
    /// [`FormatError::TooLarge`] where the file would pass 2^63 bytes.
    pub fn file_len(&self, page_count: PageCount) -> Result<u64, FormatError> {
        let too_large =
            FormatError::TooLarge { page_count: page_count.get(), page_size: self.page_size.get() };
        self.checked_len(page_count).ok_or(too_large)
    }

    fn checked_len(&self, page_count: PageCount) -> Option<u64> {
        let Some(last) = page_count.get().checked_sub(1) else { return Some(self.groups_start()) };
        let index = group_index(last);
        // The whole group must fit, so that no sum below overflows, whatever page is asked for.
        let units = 2_u64.checked_shl(index)?.checked_sub(1)?;
        let end = self.groups_start().checked_add(units.checked_mul(self.unit_len())?)?;
        i64::try_from(end).ok()?;
        Some(self.page_offset(PageId::new(last)) + self.page_size.get())
    }

    /// The bytes of group 0, its table and its pages.
    const fn unit_len(&self) -> u64 {
        Self::GROUP_PAGES * (PageStamp::LEN_BYTES as u64 + self.page_size.get())
    }

    /// How many groups so many pages lie in.
    #[must_use]
    pub const fn group_count(page_count: PageCount) -> u32 {
        match page_count.get().checked_sub(1) {
            None => 0,
            Some(last) => group_index(last) + 1,
        }
    }

    /// How many pages so many groups have room for.
    #[must_use]
    pub const fn pages_of_groups(group_count: u32) -> PageCount {
        PageCount::new(((1 << group_count) - 1) * Self::GROUP_PAGES)
    }

    /// The group with a number; the file must be able to have it.
    #[must_use]
    pub const fn group(&self, index: u32) -> Group {
        let first = Self::pages_of_groups(index).get();
        let page_count = Self::GROUP_PAGES << index;
        let table_start = self.groups_start() + ((1 << index) - 1) * self.unit_len();
        Group {
            first: PageId::new(first),
            page_count: PageCount::new(page_count),
            table_start,
            data_start: table_start + page_count * PageStamp::LEN_BYTES as u64,
        }
    }

    /// The group that a page lies in.
    #[must_use]
    pub const fn group_of(&self, page: PageId) -> Group {
        self.group(group_index(page.get()))
    }

    /// Where a page begins.
    #[must_use]
    pub const fn page_offset(&self, page: PageId) -> u64 {
        let group = self.group_of(page);
        group.data_start + (page.get() - group.first.get()) * self.page_size.get()
    }

    /// Where the stamp of a page begins.
    #[must_use]
    pub const fn stamp_offset(&self, page: PageId) -> u64 {
        let group = self.group_of(page);
        group.table_start + (page.get() - group.first.get()) * PageStamp::LEN_BYTES as u64
    }
}

/// The number of the group that page `page` lies in.
const fn group_index(page: u64) -> u32 {
    (page / VersionedGeometry::GROUP_PAGES + 1).ilog2()
}
