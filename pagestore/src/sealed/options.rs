//! How sealed files are opened.

use crate::{
    file::{access::Access, lease::Writers},
    map::fault::Guard,
    residency::budget::ResidencyBudget,
};

/// How to open a [`SealedFile`](crate::SealedFile).
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

    /// Whether page faults that cannot be served are caught. Default: [`Guard::Installed`].
    pub const fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// What happens to a program that asks to write to the file while it is open here. Default:
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
}
