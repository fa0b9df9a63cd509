//! When pages come into memory.

/// When the pages of a file are brought into memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Populate {
    /// Before a page is first borrowed (`MADV_POPULATE_READ`, or `_WRITE` for
    /// [`page_mut`](crate::PageFile::page_mut)). A page that the file no longer has, or that the disk cannot
    /// read, is then [`Error::Fault`](crate::Error::Fault), and the file is not poisoned. A first borrow makes
    /// one system call, for one page or a range, instead of a page fault for each page. Later borrows look at
    /// one bit.
    ///
    /// [`page_mut`](crate::PageFile::page_mut) also makes sure that the disk has room for a store: once, for a
    /// page that was only read or is a hole; after each flush on XFS, whose files can share blocks; and each
    /// time on filesystems that write to a new place (btrfs, ZFS) or are unknown, which takes about a
    /// microsecond.
    #[default]
    BeforeBorrow,
    /// When it is first touched. The [`Guard`](crate::Guard) catches a page that cannot be brought in then, and
    /// the file is poisoned.
    OnTouch,
}
