//! When pages come into memory.

/// When the pages of a file are brought into memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Populate {
    /// Before a page is borrowed for the first time (`MADV_POPULATE_READ`, or `_WRITE` for
    /// [`page_mut`](crate::PageFile::page_mut)): a page that the file does not have any more, or that the
    /// disk cannot read, is [`Error::Fault`](crate::Error::Fault) there, and nothing is poisoned. It costs one system
    /// call the first time in the place of one page fault, for a range of pages in the place of one
    /// fault each; later borrows look at one bit.
    ///
    /// [`page_mut`](crate::PageFile::page_mut) also asks for the room that a store may need: of a page that was
    /// only read, or is a hole; on XFS, whose files can share blocks, after each flush; and on
    /// filesystems that write to a new place (btrfs, ZFS), or that are not known, each time, which is
    /// about a microsecond.
    #[default]
    BeforeBorrow,
    /// When it is touched. What cannot be brought in then is caught by the [`Guard`](crate::Guard) and poisons
    /// the file.
    OnTouch,
}
