//! The numbers that name pages. All of them are `u64`, as on disk; none can silently overflow.
//!
//! `From` goes both ways, and arithmetic is between kinds that make sense together: a page and a count are a
//! page, two pages are a count apart. An operator panics where the result is no `u64`, in release builds too,
//! as an index does; the `checked_` form is for numbers that come from elsewhere.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Sub, SubAssign},
};

use crate::PageSizeError;

/// The size of a page: a power of two from 4 KiB to 2 MiB.
///
/// Stored as its logarithm, so that turning a page number into a byte offset is one shift.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PageSize {
    log2: u8,
}

impl PageSize {
    /// The smallest page, 4 KiB.
    pub const MIN: Self = Self { log2: 12 };
    /// The largest page, 2 MiB.
    pub const MAX: Self = Self { log2: 21 };
    /// The page size used when none is asked for, 4 KiB.
    pub const DEFAULT: Self = Self::MIN;

    /// Makes a page size of `bytes` bytes.
    ///
    /// # Errors
    /// [`PageSizeError`] unless `bytes` is a power of two from 4,096 to 2,097,152.
    ///
    /// ```
    /// # extern crate layout as storage;
    /// use storage::PageSize;
    /// assert_eq!(PageSize::new(65_536)?.get(), 65_536);
    /// assert!(PageSize::new(5_000).is_err());
    /// # Ok::<(), layout::PageSizeError>(())
    /// ```
    pub const fn new(bytes: u64) -> Result<Self, PageSizeError> {
        if !bytes.is_power_of_two() || bytes < Self::MIN.get() || bytes > Self::MAX.get() {
            return Err(PageSizeError { found: bytes });
        }
        // A power of two no larger than 2^21 has at most 21 trailing zeros.
        #[expect(clippy::cast_possible_truncation, reason = "at most 21")]
        Ok(Self { log2: bytes.trailing_zeros() as u8 })
    }

    /// The size in bytes.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u64 {
        1 << self.log2
    }

    /// The size in bytes, as the length of a slice.
    #[inline]
    #[must_use]
    pub const fn get_usize(self) -> usize {
        1 << self.log2
    }

    /// The base-2 logarithm of the size in bytes: from 12 to 21.
    #[inline]
    #[must_use]
    pub const fn log2(self) -> u32 {
        self.log2 as u32
    }

    /// How many pages hold `bytes` bytes; the last one may be partly filled.
    #[must_use]
    pub const fn pages_for(self, bytes: u64) -> PageCount {
        PageCount(bytes.div_ceil(self.get()))
    }

    /// The page in which the byte at `offset` lies.
    #[inline]
    #[must_use]
    pub const fn page_of(self, offset: ByteOffset) -> PageId {
        PageId(offset.0 >> self.log2)
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Debug for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PageSize({})", self.get())
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.log2 {
            20.. => write!(f, "{} MiB", self.get() >> 20),
            _ => write!(f, "{} KiB", self.get() >> 10),
        }
    }
}

/// The number of a page, counted from zero at the first data page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PageId(u64);

impl PageId {
    /// The page with this number. Whether a file has it is checked where the page is asked for.
    #[inline]
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The page's number.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The page `count` pages further on, or `None` past 2^64.
    #[must_use]
    pub const fn checked_add(self, count: PageCount) -> Option<Self> {
        match self.0.checked_add(count.0) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Where the page begins, counted from the first data byte, or `None` past 2^64.
    #[inline]
    #[must_use]
    pub const fn offset(self, page_size: PageSize) -> Option<ByteOffset> {
        match self.0.checked_mul(page_size.get()) {
            Some(bytes) => Some(ByteOffset(bytes)),
            None => None,
        }
    }
}

impl fmt::Display for PageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PageCount(u64);

impl PageCount {
    /// No page.
    pub const ZERO: Self = Self(0);

    /// This many pages. Whether they fit a file is checked where they are asked for.
    #[inline]
    #[must_use]
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// The count.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The bytes of this many pages, or `None` past 2^64.
    #[inline]
    #[must_use]
    pub const fn bytes(self, page_size: PageSize) -> Option<u64> {
        self.0.checked_mul(page_size.get())
    }

    /// The sum, or `None` past 2^64.
    #[must_use]
    pub const fn checked_add(self, more: Self) -> Option<Self> {
        match self.0.checked_add(more.0) {
            Some(count) => Some(Self(count)),
            None => None,
        }
    }
}

impl fmt::Display for PageCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number of bytes from where something begins; the function that takes it says from where.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ByteOffset(u64);

impl ByteOffset {
    /// The beginning.
    pub const ZERO: Self = Self(0);

    /// This many bytes from the beginning.
    #[inline]
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The offset `bytes` bytes further on, or `None` past 2^64.
    #[must_use]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl fmt::Display for ByteOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// From a plain number, and back.
macro_rules! from_and_into_u64 {
    ($($number:ident),*) => {$(
        impl From<u64> for $number {
            #[inline]
            fn from(number: u64) -> Self {
                Self(number)
            }
        }

        impl From<$number> for u64 {
            #[inline]
            fn from(number: $number) -> Self {
                number.0
            }
        }
    )*};
}

from_and_into_u64!(PageId, PageCount, ByteOffset);

/// An operator on the numbers inside, and its assigning form.
macro_rules! operator {
    ($left:ident $operator:ident $right:ident = $result:ident, $function:ident, $checked:ident) => {
        impl $operator<$right> for $left {
            type Output = $result;

            /// # Panics
            /// Where the result is no `u64`.
            #[inline]
            #[track_caller]
            fn $function(self, right: $right) -> $result {
                let result = u64::from(self).$checked(u64::from(right));
                $result(result.expect("the numbers of pages and bytes are from 0 to 2^64 - 1"))
            }
        }
    };
}

operator!(PageId Add PageCount = PageId, add, checked_add);
operator!(PageId Sub PageCount = PageId, sub, checked_sub);
operator!(PageId Sub PageId = PageCount, sub, checked_sub);
operator!(PageCount Add PageCount = PageCount, add, checked_add);
operator!(PageCount Sub PageCount = PageCount, sub, checked_sub);
operator!(ByteOffset Add u64 = ByteOffset, add, checked_add);
operator!(ByteOffset Sub u64 = ByteOffset, sub, checked_sub);

/// The assigning forms of operators.
macro_rules! assigning {
    ($($left:ident by $right:ident),*) => {$(
        impl AddAssign<$right> for $left {
            #[inline]
            #[track_caller]
            fn add_assign(&mut self, right: $right) {
                *self = *self + right;
            }
        }

        impl SubAssign<$right> for $left {
            #[inline]
            #[track_caller]
            fn sub_assign(&mut self, right: $right) {
                *self = *self - right;
            }
        }
    )*};
}

assigning!(PageId by PageCount, PageCount by PageCount, ByteOffset by u64);

impl Sum for PageCount {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::ZERO, Add::add)
    }
}
