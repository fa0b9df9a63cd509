//! How page files are made and opened.

use std::{path::Path, time::Duration};

use layout::{Metadata, PageSize};

use crate::{
    Access, Error, Guard, PageFile, ResidencyBudget, Result, SealedFile, Writers,
    claim::{Claim, Purpose, Trust},
    mapping::Reserve,
};

/// How long `open` waits for somebody to close a sealed file that is open for writing.
const LEASE_PATIENCE: Duration = Duration::from_millis(100);

/// When the pages of a file are brought into memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Populate {
    /// Before a page is borrowed for the first time (`MADV_POPULATE_READ`, or `_WRITE` for
    /// [`page_mut`](PageFile::page_mut)): a page that the file does not have any more, or that the
    /// disk cannot read, is [`Error::Fault`] there, and nothing is poisoned. It costs one system
    /// call the first time in the place of one page fault, for a range of pages in the place of one
    /// fault each; later borrows look at one bit.
    #[default]
    BeforeBorrow,
    /// When it is touched. What cannot be brought in then is caught by the [`Guard`] and poisons
    /// the file.
    OnTouch,
}

/// How to make or open a [`PageFile`].
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{PageFile, PageSize};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("pages");
/// let file = PageFile::options().page_size(PageSize::new(64 * 1024)?).create(&path)?;
/// assert_eq!(file.page_size().get(), 65_536);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct PageFileOptions {
    pub(crate) page_size: PageSize,
    address_space_bytes: Option<u64>,
    pub(crate) access: Access,
    pub(crate) populate: Populate,
    pub(crate) guard: Guard,
    pub(crate) metadata: Metadata,
    pub(crate) budget: Option<ResidencyBudget>,
}

impl PageFileOptions {
    /// The default options: pages of 4 KiB, as much address space as is needed, [`Access::Random`],
    /// [`Populate::BeforeBorrow`], [`Guard::Installed`].
    pub const fn new() -> Self {
        Self {
            page_size: PageSize::DEFAULT,
            address_space_bytes: None,
            access: Access::Random,
            populate: Populate::BeforeBorrow,
            guard: Guard::Installed,
            metadata: Metadata::EMPTY,
            budget: None,
        }
    }

    /// The size of a page in a file that is created. A file that is opened has its own.
    ///
    /// Default: 4 KiB.
    pub const fn page_size(mut self, page_size: PageSize) -> Self {
        self.page_size = page_size;
        self
    }

    /// Bytes of the user's own in the header of a file that is created, up to 1 KiB: what its pages are, which
    /// schema. A file that is opened has its own; [`PageFile::set_metadata`] changes them.
    ///
    /// Default: none.
    pub const fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// How many bytes of address space to reserve for the pages: the most that the file can grow to
    /// while it is open, and sure to be there. Reserving costs no memory, but it counts against
    /// `ulimit -v`, and anonymous memory of `vm.overcommit_memory` 2 against what the system promises.
    ///
    /// Default: none. What is reserved then follows the file, and becomes longer where it lies, since no
    /// page ever moves: files lie far apart from one another, the first with some 50 TiB behind it, each
    /// of 10,000 with 3 GiB. Where other memory lies behind a file nonetheless, [`grow`](PageFile::grow)
    /// fails and says so. A file that has to be able to become large asks for it here.
    pub const fn address_space_bytes(mut self, bytes: u64) -> Self {
        self.address_space_bytes = Some(bytes);
        self
    }

    /// What to reserve for a file that has so many bytes of pages.
    pub(crate) fn reserve(&self, data_bytes: u64) -> Reserve {
        self.address_space_bytes.map_or(Reserve::Growing(data_bytes), Reserve::Exactly)
    }

    /// How the pages are going to be used.
    ///
    /// Default: [`Access::Random`], so that flushing scattered pages writes about as many bytes as
    /// were changed. The kernel keeps what came in by large writes or by read-ahead in large
    /// folios, and a store to one page of such a folio has all of it written. So with this pattern
    /// nothing is read ahead, and opening a file makes durable what is dirty of it and splits the
    /// large folios that are in memory, which takes about a third of a second for each GiB in
    /// memory. A file that is mostly read, or rewritten from end to end, is better off with
    /// [`Access::Normal`] or [`Access::Sequential`].
    pub const fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// When pages are brought into memory. Default: [`Populate::BeforeBorrow`].
    pub const fn populate(mut self, populate: Populate) -> Self {
        self.populate = populate;
        self
    }

    /// Whether page faults that cannot be answered are caught. Default: [`Guard::Installed`].
    pub const fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// The budget that the pages in memory count against. A file under a budget brings pages in
    /// before they are borrowed, whatever [`populate`](Self::populate) says. Anonymous memory cannot
    /// be evicted and takes no part.
    ///
    /// Default: none.
    pub fn budget(mut self, budget: &ResidencyBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

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

    /// Checks what can be checked before anything is opened.
    pub(crate) fn check_page_size(page_size: PageSize) -> Result<()> {
        let os_page_size = rustix::param::page_size();
        if page_size.get_usize().is_multiple_of(os_page_size) {
            Ok(())
        } else {
            Err(Error::PageSizeUnsupported { page_size, os_page_size })
        }
    }
}

impl Default for PageFileOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// How to open a [`SealedFile`].
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{Access, PageWriter, SealedFile};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("batch");
/// # PageWriter::create(&path)?.seal()?;
/// let sealed = SealedFile::options().access(Access::Sequential).open(&path)?;
/// # Ok::<(), pagestore::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct SealedFileOptions {
    pub(crate) access: Access,
    pub(crate) guard: Guard,
    pub(crate) writers: Writers,
    pub(crate) budget: Option<ResidencyBudget>,
}

impl SealedFileOptions {
    /// The default options: [`Access::Normal`], [`Guard::Installed`], [`Writers::HeldUp`].
    pub const fn new() -> Self {
        let (guard, writers) = (Guard::Installed, Writers::HeldUp);
        Self { access: Access::Normal, guard, writers, budget: None }
    }

    /// How the pages are going to be read. Default: [`Access::Normal`].
    pub const fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Whether page faults that cannot be answered are caught. Default: [`Guard::Installed`].
    pub const fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// What becomes of a program that asks to write to the file while it is open here. Default:
    /// [`Writers::HeldUp`], for up to 45 s; [`Writers::LetIn`] where strangers must not wait.
    pub const fn writers(mut self, writers: Writers) -> Self {
        self.writers = writers;
        self
    }

    /// The budget that the pages in memory count against.
    ///
    /// Default: none.
    pub fn budget(mut self, budget: &ResidencyBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// Opens a sealed file that nobody but this user and root can write to ([`Evidence`](crate::Evidence)
    /// says what shows that), under a lock that it shares with other readers, and, where the filesystem
    /// has such a thing, under a lease, by which the kernel keeps writers out; see
    /// [`SealedFile::lease`] and [`writers`](Self::writers).
    ///
    /// # Errors
    /// * [`Error::Io`]: it is not there, or may not be opened.
    /// * [`Error::NotAFile`]: it is a folder, a symlink, a device...
    /// * [`Error::Locked`]: a writer has it open. Where the kernel keeps leases of the file (see
    ///   [`Lease`](crate::Lease)) that is anybody who has it open or mapped for writing, with or
    ///   without a lock, and who waits to open it so; after 0.1 s, in which they may close it.
    /// * [`Error::OthersCanWrite`]: its owner or mode lets others write to it, and nothing else shows that
    ///   they cannot.
    /// * [`Error::NotSealed`]: it is a mutable page file.
    /// * [`Error::Format`]: it is not a page file, is damaged, cut short or extended, or is of a
    ///   version or has features that this build does not know.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<SealedFile> {
        let mut claim = Claim::open(path.as_ref(), Purpose::Read, Trust::Evidence)?;
        claim.keep_out(self.writers, LEASE_PATIENCE)?;
        SealedFile::map(self, claim, || None)
    }

    /// Opens a sealed file that other users could write to, under the lock, without a lease.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for [`Error::OthersCanWrite`]; [`Error::Locked`] only where a
    /// writer holds the lock.
    ///
    /// # Safety
    /// As long as the returned value, its clones and whatever was borrowed from them live, nobody
    /// writes to the file or changes its length, by whatever path or descriptor: a `&[u8]` whose
    /// bytes change is undefined behaviour.
    #[expect(unsafe_code, reason = "the caller vouches for what owner and mode cannot show")]
    pub unsafe fn open_shared(&self, path: impl AsRef<Path>) -> Result<SealedFile> {
        SealedFile::map(self, Claim::open(path.as_ref(), Purpose::Read, Trust::Caller)?, || None)
    }
}
