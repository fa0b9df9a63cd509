//! Changes to pages that become visible, and durable, all at once or not at all.

use std::{fmt, ops::RangeBounds, sync::Arc};

use bytemuck::Pod;
use layout::{CommitId, PageCount, PageId, PageRange};

use super::{core::Core, open::Open, view::Mapped, writer::Writer};
use crate::{
    error::{Error, Result},
    typed,
};

/// Changes to a [`VersionedFile`](crate::VersionedFile) that nobody else sees before
/// [`commit`](Self::commit), and that are gone when this is dropped without it.
///
/// There is one at a time. It reads its own changes. Pages are borrowed from it as from a vector, with
/// no latch: the borrow checker sees to it that nobody else has them.
///
/// A page that was borrowed to be written is a copy in memory until the commit, one of the
/// [kept bytes](crate::VersionedFileOptions::kept_bytes_max); and it is written by the commit, changed or
/// not.
pub struct Transaction<'file> {
    pub(super) core: &'file Arc<Core>,
    /// `None` once it has ended.
    pub(super) open: Option<Open>,
}

const OPEN: &str = "a transaction is open until it is committed or dropped";

impl<'file> Transaction<'file> {
    /// Begins a transaction of who has the turn.
    pub(super) fn begin(core: &'file Arc<Core>, mut writer: Box<Writer>) -> Result<Self> {
        let base = writer.unapplied.take().filter(|_| !core.applier.is_idle());
        let begun = core.check().and_then(|()| core.views.for_writing());
        match begun {
            Ok(sheet) => {
                let page_count = writer.version.page_count;
                let open = Open { writer, sheet, base, page_count, savepoint: None };
                Ok(Self { core, open: Some(open) })
            }
            Err(error) => {
                writer.unapplied = base;
                core.turn.give(writer);
                Err(error)
            }
        }
    }

    fn open(&self) -> &Open {
        self.open.as_ref().expect(OPEN)
    }

    fn open_mut(&mut self) -> &mut Open {
        self.open.as_mut().expect(OPEN)
    }

    /// How many pages there are, with what this transaction grew and shrank.
    #[must_use]
    pub fn page_count(&self) -> PageCount {
        self.open().page_count
    }

    /// The commit that this transaction began after.
    #[must_use]
    pub fn base(&self) -> CommitId {
        self.open().writer.version.commit
    }

    /// How many pages a commit would write.
    #[must_use]
    pub fn changed_count(&self) -> PageCount {
        self.open().changed_count()
    }

    /// Borrows a page to read.
    ///
    /// # Errors
    /// [`Error::Range`] where there is no such page; [`Error::Checksum`] and [`Error::Format`] where it
    /// or its stamp is damaged; [`Error::Poisoned`] where a page could not be reached.
    pub fn page(&self, page: impl Into<PageId>) -> Result<&[u8]> {
        let page = page.into();
        self.pages(page..=page)
    }

    /// Borrows adjacent pages to read, as one slice.
    ///
    /// # Errors
    /// As [`page`](Self::page).
    pub fn pages(&self, range: impl RangeBounds<PageId>) -> Result<&[u8]> {
        let open = self.open();
        let range = open.sheet.pages.map.resolve(range, open.page_count)?;
        open.read(self.core, range)
    }

    /// Borrows adjacent pages to read, as items of plain data.
    ///
    /// # Errors
    /// As [`page`](Self::page); [`ViewError`](crate::ViewError) where they are no whole number of items.
    pub fn as_slice_of<T: Pod>(&self, range: impl RangeBounds<PageId>) -> Result<&[T]> {
        Ok(typed::as_slice_of(self.pages(range)?)?)
    }

    /// Borrows a page to write. It has the bytes that it had so far.
    ///
    /// # Errors
    /// As [`page`](Self::page); [`Error::KeptExceeded`] where there is no room for its copy;
    /// [`Error::Fault`] where its bytes cannot be read.
    pub fn page_mut(&mut self, page: impl Into<PageId>) -> Result<&mut [u8]> {
        let page = page.into();
        self.pages_mut(page..=page)
    }

    /// Borrows adjacent pages to write, as one slice.
    ///
    /// # Errors
    /// As [`page_mut`](Self::page_mut).
    pub fn pages_mut(&mut self, range: impl RangeBounds<PageId>) -> Result<&mut [u8]> {
        let [bytes] = self.disjoint_mut([range])?;
        Ok(bytes)
    }

    /// Borrows adjacent pages to write, as items of plain data.
    ///
    /// # Errors
    /// As [`page_mut`](Self::page_mut); [`ViewError`](crate::ViewError) where they are no whole number of
    /// items.
    pub fn as_slice_of_mut<T: Pod>(&mut self, range: impl RangeBounds<PageId>) -> Result<&mut [T]> {
        Ok(typed::as_slice_of_mut(self.pages_mut(range)?)?)
    }

    /// Borrows several ranges of pages to write at once, for threads that fill them together.
    ///
    /// # Errors
    /// [`Error::Overlap`] where a page is in two of them; otherwise as [`page_mut`](Self::page_mut).
    ///
    /// ```
    /// # extern crate pagestore as storage;
    /// use storage::{PageCount, PageId, VersionedFile};
    ///
    /// let file = VersionedFile::in_memory()?;
    /// let mut transaction = file.begin()?;
    /// transaction.grow(PageCount::new(8))?;
    /// let middle = PageId::new(4);
    /// let [low, high] = transaction.disjoint_mut([PageId::new(0)..middle, middle..PageId::new(8)])?;
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| low.fill(1));
    ///     scope.spawn(|| high.fill(2));
    /// });
    /// transaction.commit()?;
    /// # Ok::<(), pagestore::Error>(())
    /// ```
    pub fn disjoint_mut<const N: usize>(
        &mut self,
        ranges: [impl RangeBounds<PageId>; N],
    ) -> Result<[&mut [u8]; N]> {
        let core = self.core;
        let open = self.open_mut();
        let mut resolved = [PageRange::EMPTY; N];
        for (resolved, range) in resolved.iter_mut().zip(ranges) {
            *resolved = open.sheet.pages.map.resolve(range, open.page_count)?;
        }
        for &range in &resolved {
            open.copy(core, range)?;
        }
        open.sheet.pages.disjoint_mut(resolved).ok_or(Error::Overlap)
    }

    /// Adds `count` pages of zeros at the end and returns them. Their place on the disk is reserved at
    /// once.
    ///
    /// # Errors
    /// [`Error::DiskFull`] and [`Error::Io`], with everything as before; [`Error::AddressSpace`];
    /// [`Error::Format`] where the file would pass 2^63 bytes.
    pub fn grow(&mut self, count: impl Into<PageCount>) -> Result<PageRange> {
        let count = count.into();
        let core = self.core;
        let open = self.open_mut();
        let old = open.page_count;
        let too_large = || layout::FormatError::TooLarge {
            page_count: old.get().saturating_add(count.get()),
            page_size: core.page_size().get(),
        };
        let new = old.checked_add(count).ok_or_else(too_large);
        let new = new.map_err(Error::format(core.backing.path()))?;
        core.reserve(&mut open.writer, new)?;
        open.sheet.pages.make_room_for(new)?;
        let added = open.sheet.pages.map.resolve(PageId::new(old.get()).., new)?;
        // A page that the file once had has its old bytes, in the file and in its stamp.
        let once = new.min(open.writer.page_count_max);
        if old < once {
            let again = open.sheet.pages.map.resolve(PageId::new(old.get()).., once)?;
            if let Some(savepoint) = &mut open.savepoint {
                savepoint.save(&mut open.sheet, again);
            }
            if let Err(error) = open.copy_unread(core, again) {
                open.drop_copies_of(core, again)?;
                return Err(error);
            }
            let [bytes] = open.sheet.pages.disjoint_mut([again]).ok_or(Error::Overlap)?;
            bytes.fill(0);
        }
        open.page_count = new;
        Ok(added)
    }

    /// Takes pages away at the end, until there are `page_count`. When the commit is done and no snapshot has the pages any more, their space is given back.
    ///
    /// # Errors
    /// [`Error::Range`] where there are fewer; [`Error::Io`].
    pub fn shrink_to(&mut self, page_count: impl Into<PageCount>) -> Result<()> {
        let page_count = page_count.into();
        let core = self.core;
        let open = self.open_mut();
        let gone =
            open.sheet.pages.map.resolve(PageId::new(page_count.get()).., open.page_count)?;
        if gone.is_empty() {
            return Ok(());
        }
        if let Some(savepoint) = &mut open.savepoint {
            savepoint.save_copied(&mut open.sheet, gone);
        }
        open.drop_copies_of(core, gone)?;
        open.page_count = page_count;
        Ok(())
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        let Some(Open { mut writer, mut sheet, base, .. }) = self.open.take() else {
            return;
        };
        // A mapping that cannot be cleaned is not used again.
        if sheet.clean() {
            self.core.views.give_back(sheet);
        }
        writer.unapplied = base;
        self.core.turn.give(writer);
    }
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("page_count", &self.open.as_ref().map(|open| open.page_count))
            .finish_non_exhaustive()
    }
}
