//! How page files that change in place are made and opened.

use layout::{Metadata, PageSize};

use crate::{
    file::access::Access,
    map::{fault::Guard, mapping::Reserve},
    mutable::populate::Populate,
    residency::budget::ResidencyBudget,
};

/// How to make or open a [`PageFile`](crate::PageFile).
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

    /// Your own bytes in the header of a file that is created, up to 1 KiB: which schema its pages have, say. A
    /// file that is opened has its own; [`PageFile::set_metadata`](crate::PageFile::set_metadata) changes them.
    ///
    /// Default: none.
    pub const fn metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// How many bytes of address space to reserve for the pages. While it is open, the file can grow to that
    /// size for certain, and no further. Reserving takes no memory, but it counts against `ulimit -v`; for
    /// anonymous memory also against the system's commit limit, where `vm.overcommit_memory` is 2.
    ///
    /// Default: none. The reservation then grows in place with the file, since no page ever moves. Files are
    /// mapped far apart for that: the first has some 50 TiB behind it, each of 10,000 has 3 GiB. Where other
    /// memory is in the way all the same, [`grow`](crate::PageFile::grow) fails and says so. Set this for a
    /// file that must be able to become large.
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
    /// Default: [`Access::Random`], so that flushing scattered pages writes about as many bytes as were
    /// changed. The kernel caches what came in by large writes or by read-ahead in large folios, and writes a
    /// whole folio when one page of it was stored to. So with this pattern nothing is read ahead, and opening a
    /// file syncs its dirty pages and splits the large folios in memory, about a third of a second for each
    /// GiB. Use [`Access::Normal`] or [`Access::Sequential`] for a file that is mostly read, or rewritten from
    /// end to end.
    pub const fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// When pages are brought into memory. Default: [`Populate::BeforeBorrow`].
    pub const fn populate(mut self, populate: Populate) -> Self {
        self.populate = populate;
        self
    }

    /// Whether page faults that cannot be served are caught. Default: [`Guard::Installed`].
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
}

impl Default for PageFileOptions {
    fn default() -> Self {
        Self::new()
    }
}
