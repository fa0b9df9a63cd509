//! How new files are written.

use layout::{Metadata, PageSize};

use crate::{
    file::{lease::Writers, pending::Existing},
    map::fault::Guard,
    residency::budget::ResidencyBudget,
    sealed::options::SealedFileOptions,
};

/// How much is written to the file by one system call, up to a multiple of it in the file. Measured for a
/// new file of 1 GiB: chunks of 1 MiB are as fast as any, and writing beats storing into a mapping about
/// two to one, since each page of a shared mapping costs a fault and is filled with zeros first.
const CHUNK_BYTES: u64 = 1 << 20;

/// The same for huge pages: what is written by one call from one multiple of 2 MiB in the file to the next is
/// one folio of the page cache, which one entry of the page table maps (`docs/facts.md`, *Large folios*).
const HUGE_CHUNK_BYTES: u64 = 2 << 20;

/// The same under a budget, which counts the buffer: at most what is evicted at once, and a small part.
const BUDGET_CHUNK_BYTES_MAX: u64 = 256 << 10;
const BUDGET_CHUNK_PART: u64 = 64;

/// How much is written before the kernel is told to begin writing it to the disk. Measured for a
/// new file of 1 GiB that is made durable: 1.4 times as fast as leaving all of it to the end.
const WRITE_BACK_BYTES: u64 = 8 << 20;

/// How to make a [`PageWriter`](crate::PageWriter).
///
/// ```
/// # extern crate pagestore as storage;
/// use storage::{Existing, PageWriter};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("batch");
/// let writer = PageWriter::options().existing(Existing::Replace).create(&path)?;
/// writer.seal()?;
/// # Ok::<(), pagestore::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct PageWriterOptions {
    pub(super) page_size: PageSize,
    pub(super) existing: Existing,
    pub(super) huge_pages: bool,
    pub(super) guard: Guard,
    pub(super) writers: Writers,
    pub(super) metadata: Metadata,
    pub(super) budget: Option<ResidencyBudget>,
}

impl PageWriterOptions {
    /// The default options: pages of 4 KiB, no file replaced, no huge pages,
    /// [`Guard::Installed`], [`Writers::HeldUp`].
    pub const fn new() -> Self {
        Self {
            page_size: PageSize::DEFAULT,
            existing: Existing::Refuse,
            huge_pages: false,
            guard: Guard::Installed,
            writers: Writers::HeldUp,
            metadata: Metadata::EMPTY,
            budget: None,
        }
    }

    /// The size of a page. Default: 4 KiB.
    pub const fn page_size(mut self, page_size: PageSize) -> Self {
        self.page_size = page_size;
        self
    }

    /// What to do where the name is taken. Default: [`Existing::Refuse`].
    pub const fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// Whether to write the file so that the page cache keeps it in huge pages (2 MiB) while it is in memory:
    /// for files of many megabytes that are read at random.
    ///
    /// The processor then translates an address from its cache, where small pages need a walk through a page
    /// table that does not fit it. Random pages of a file of 512 MiB in memory were read up to 1.5 times as
    /// fast; only the first word of pages of a file of 2 GiB, 1.8 times. Reading in order is as fast as
    /// without. Writing is too, unless the system first has to get free blocks of 2 MiB from elsewhere (2 to 5
    /// times as slow in a virtual machine whose host takes free memory back). This does nothing under a
    /// [`budget`](Self::budget), and on a filesystem without large folios (ext4 has them from Linux 6.16 on,
    /// XFS from 5.18 on). `docs/facts.md` says how it was measured.
    ///
    /// Default: no.
    pub const fn huge_pages(mut self, are_wanted: bool) -> Self {
        self.huge_pages = are_wanted;
        self
    }

    /// Whether page faults in the sealed file that cannot be served are caught. Default: [`Guard::Installed`].
    pub const fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// What happens to a program that asks to write to the sealed file while it is open here. Default:
    /// [`Writers::HeldUp`].
    pub const fn writers(mut self, writers: Writers) -> Self {
        self.writers = writers;
        self
    }

    /// Your own bytes in the header of the file, up to 1 KiB; see
    /// [`SealedFile::metadata`](crate::SealedFile::metadata). Those that are known only at the end go to
    /// [`PageWriter::set_metadata`](crate::PageWriter::set_metadata).
    ///
    /// Default: none.
    pub const fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// The budget that counts the file's bytes in memory, while it is written and afterwards. If others need
    /// the room, written bytes go to the disk and leave memory.
    ///
    /// Default: none.
    pub fn budget(mut self, budget: &ResidencyBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// How much is written before the kernel is told to begin writing it to the disk.
    pub(super) fn start_bytes(&self) -> u64 {
        let window = self.budget.as_ref().map_or(u64::MAX, ResidencyBudget::window_bytes);
        WRITE_BACK_BYTES.min(window)
    }

    /// How much is written to the file by one system call, and at least a page. The buffer takes as much.
    pub(super) fn chunk_bytes(&self) -> u64 {
        let chunk_bytes = match &self.budget {
            Some(budget) => (budget.limit_bytes() / BUDGET_CHUNK_PART).min(BUDGET_CHUNK_BYTES_MAX),
            None if self.huge_pages => HUGE_CHUNK_BYTES,
            None => CHUNK_BYTES,
        };
        chunk_bytes.max(self.page_size.get())
    }

    /// How the file is opened when it is sealed.
    pub(super) fn sealed_options(&self) -> SealedFileOptions {
        let options = SealedFileOptions::new().guard(self.guard).writers(self.writers);
        match &self.budget {
            None => options,
            Some(budget) => options.budget(budget),
        }
    }
}

impl Default for PageWriterOptions {
    fn default() -> Self {
        Self::new()
    }
}
