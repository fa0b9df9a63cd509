//! Making and opening mutable page files.

use std::{
    fs::File,
    path::Path,
    sync::{Arc, Weak},
};

use layout::{Geometry, Header, PageCount, PageRange, Slot, Superblock};
use uuid::Uuid;

use super::{PageFile, Shared};
use crate::{
    error::{Error, Result},
    file::{
        access::Access,
        claim::{Claim, open_to_look},
        disk, durable, header,
        pending::{Existing, PendingFile},
        purpose::{Purpose, Trust},
    },
    map::{mapping::Mapping, place},
    mutable::{
        latched::LatchedPages,
        options::PageFileOptions,
        populate::Populate,
        write_back::{self, WriteBack},
    },
    residency::{budget::Held, folios, read_ahead::ReadAhead},
    sync::Mutex,
};

impl PageFileOptions {
    /// Makes a new file without pages, mode 0600, and opens it. It appears under its name only when
    /// its header is durable.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] where the name is taken; [`Error::Io`];
    /// [`Error::AddressSpace`]; [`Error::PageSizeUnsupported`].
    pub fn create(&self, path: impl AsRef<Path>) -> Result<PageFile> {
        PageFile::create_with(self, path.as_ref())
    }

    /// Opens a file that nobody but this user and root can write to, under an exclusive lock.
    ///
    /// # Errors
    /// * [`Error::Io`]: it is not there, or may not be opened.
    /// * [`Error::NotAFile`]: it is a folder, a symlink, a device...
    /// * [`Error::Locked`]: it is open elsewhere, in this process or in another.
    /// * [`Error::OthersCanWrite`]: its owner or mode lets others write to it.
    /// * [`Error::Format`]: it is not a page file, is damaged or cut short, or is of a version or
    ///   has features that this build does not know.
    /// * [`Error::Sealed`]: it is sealed.
    /// * [`Error::AddressSpace`], [`Error::AddressSpaceFull`], [`Error::PageSizeUnsupported`].
    pub fn open(&self, path: impl AsRef<Path>) -> Result<PageFile> {
        PageFile::open_with(self, path.as_ref(), Trust::Evidence)
    }

    /// Opens a file that other users could write to.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for [`Error::OthersCanWrite`].
    ///
    /// # Safety
    /// As long as the returned value and whatever was borrowed from it live, nobody else writes to
    /// the file or changes its length, by whatever path or descriptor: a `&[u8]` whose bytes change
    /// is undefined behaviour. The lock that is taken here keeps out only those who ask for it.
    #[expect(unsafe_code, reason = "the caller vouches for what owner and mode cannot show")]
    pub unsafe fn open_shared(&self, path: impl AsRef<Path>) -> Result<PageFile> {
        PageFile::open_with(self, path.as_ref(), Trust::Caller)
    }

    /// Makes pages of anonymous memory, with no file: the same interface, gone on drop.
    ///
    /// # Errors
    /// [`Error::AddressSpace`]; [`Error::PageSizeUnsupported`].
    pub fn anonymous(&self) -> Result<PageFile> {
        PageFile::anonymous_with(self)
    }
}

impl PageFile {
    fn create_with(options: &PageFileOptions, path: &Path) -> Result<Self> {
        place::check_page_size(options.page_size)?;
        let (mut pending, file) = PendingFile::create(path, Existing::Refuse)?;
        let claim = Claim::new(file, path, Purpose::Write, Trust::Evidence)?;
        let superblock = Superblock::new_mutable(Uuid::new_v4(), options.page_size)
            .with_metadata(options.metadata);
        disk::extend(&claim, 0, superblock.geometry().data_end())?;
        header::write(&claim, 0, &Header::encode([Some(&superblock), None]))?;
        durable::sync_file(claim.file()).map_err(Error::io("make durable", path))?;
        let made = Self::map(options, claim, superblock, Slot::First, PageCount::ZERO)?;
        pending.publish()?;
        Ok(made)
    }

    fn open_with(options: &PageFileOptions, path: &Path, trust: Trust) -> Result<Self> {
        // Asked before the claim, so that a sealed file is called so also while readers lock it, and
        // after it, when nobody else can change the answer.
        let mutable_header = |file: &File| match header::read(file, path)? {
            header if header.superblock().is_sealed() => Err(Error::Sealed { path: path.into() }),
            header if header.superblock().versioned().is_some() => {
                Err(Error::Versioned { path: path.into() })
            }
            header => Ok(header),
        };
        mutable_header(&open_to_look(path)?.0)?;
        let claim = Claim::open(path, Purpose::Write, trust)?;
        let header = mutable_header(claim.file())?;
        let superblock = *header.superblock();
        // The header counts the pages of the last flush. A file that has more grew since, and the
        // process then ended without one; a last piece of a page is what a grow left half done. It
        // is cut off, so that whatever stands in it does not show in a page that a grow adds.
        let file_len = claim.len_bytes()?;
        write_back::check_len(&superblock, file_len).map_err(Error::format(path))?;
        let page_size = superblock.page_size();
        let data_len = file_len - Geometry::data_start(page_size);
        let page_count = PageCount::new(data_len / page_size.get());
        let piece_len = data_len % page_size.get();
        if piece_len > 0 {
            disk::truncate(&claim, file_len - piece_len)?;
        }
        Self::map(options, claim, superblock, header.slot(), page_count)
    }

    fn anonymous_with(options: &PageFileOptions) -> Result<Self> {
        place::check_page_size(options.page_size)?;
        let mapping = Mapping::anonymous(options.reserve(0))?;
        let (page_size, page_count) = (options.page_size, PageCount::ZERO);
        // SAFETY: the mapping was just made, to read and write, and this is its one owner; it has
        // no page yet.
        let pages =
            unsafe { LatchedPages::new(mapping, Populate::OnTouch, page_size, page_count, None) };
        let (metadata, growing) = (Mutex::new(options.metadata), Mutex::new(()));
        let shared = Arc::new(Shared { pages, write_back: None, metadata, growing });
        Ok(Self { shared: Held::new(shared, Shared::member) })
    }

    fn map(
        options: &PageFileOptions,
        claim: Claim,
        superblock: Superblock,
        slot: Slot,
        page_count: PageCount,
    ) -> Result<Self> {
        let page_size = superblock.page_size();
        place::check_page_size(page_size)?;
        if options.access == Access::Random && page_count > PageCount::ZERO {
            // Only clean pages are split.
            durable::sync_data(claim.file()).map_err(Error::io("make durable", claim.path()))?;
        }
        // Under a budget, nothing is read ahead but by ourselves.
        let access = options.budget.as_ref().map_or(options.access, |_| Access::Random);
        disk::advise(&claim, access);
        let data_start = Geometry::data_start(page_size);
        let claim = Arc::new(claim);
        let data_bytes = page_count.bytes(page_size).unwrap_or(u64::MAX);
        let reserve = options.reserve(data_bytes);
        let mapping = Mapping::writable(Arc::clone(&claim), options.guard, data_start, reserve)?;
        mapping.advise(access);
        mapping.make_room(data_bytes)?;
        if options.access == Access::Random {
            let all =
                PageRange::resolve(.., page_count).map_err(Error::no_pages(mapping.path()))?;
            let (_, len) = place::place(all, page_size);
            folios::split((&mapping, data_start), len);
        }
        let join = |shared: &Weak<Shared>| {
            let budget = options.budget.as_ref()?;
            let member = budget.join(&claim, shared.clone());
            Some(ReadAhead::new(member, options.access, budget.window_bytes()))
        };
        let shared = Arc::new_cyclic(|shared| {
            let (populate, budgeted) = (options.populate, join(shared));
            // SAFETY: the mapping was just made, to read and write, and this is its one owner; it
            // begins where page 0 does. The file has `page_count` pages (its length was looked at
            // under the exclusive lock) and `make_room` found them inside the mapping.
            let pages =
                unsafe { LatchedPages::new(mapping, populate, page_size, page_count, budgeted) };
            let write_back = Some(WriteBack::new(superblock, slot));
            let metadata = Mutex::new(*superblock.metadata());
            Shared { pages, write_back, metadata, growing: Mutex::new(()) }
        });
        let shared = Held::new(shared, Shared::member);
        if let Some(budgeted) = shared.pages.budgeted() {
            budgeted.member().settle_in(claim.file())?;
        }
        Ok(Self { shared })
    }
}
