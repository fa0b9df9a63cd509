//! What a raw file, its views and its budget share: the file, the mapping that it is read through
//! now, and what is charged.

use std::{
    fs::File,
    io,
    ops::Range,
    sync::{Arc, OnceLock, Weak},
};

use crate::{
    error::{Error, RawPoisonCause, Result},
    file::{access::Access, claim::Claim, disk},
    map::mapping::Mapping,
    raw::{options::RawFileOptions, poison, span::Span, window::Window},
    residency::{
        advised::Advised,
        budget::{Budgeted, Charged, EXTENT_PAGES, Held, Left, Pass},
        cache, folios,
        read_ahead::{self, Part, ReadAhead},
    },
    sync::Mutex,
};

/// The most that a file may have under a budget: there is a table of its extents, which takes addresses for
/// 24 bytes for each 256 KiB up to the last one that was touched (and memory for those that were), and a
/// sparse file can be of any length.
const BUDGETED_LEN_MAX_BYTES: u64 = 1 << 44;

/// Dropped after all mappings of the file: pages that are mapped cannot be given back.
pub(super) struct Backing {
    claim: Arc<Claim>,
    /// The window that the file is read through. Whoever makes another one the present one copies
    /// under this lock what is known of pages, and whoever evicts forgets it under this lock: so
    /// nothing that was forgotten comes back.
    window: Mutex<Weak<Window>>,
    /// Held by whoever has the kernel write, until a failure is noted. The kernel tells each failure
    /// once, and whoever comes next must not take the silence for success.
    told: Mutex<()>,
    poison: OnceLock<RawPoisonCause>,
    /// What the kernel is told of how the file is read.
    advised: Advised,
    budgeted: Option<ReadAhead>,
}

impl Backing {
    pub(super) fn new(claim: &Arc<Claim>, options: &RawFileOptions) -> Result<Held<Self>> {
        // Under a budget, nothing is read ahead but by ourselves.
        let access = options.budget.as_ref().map_or(options.access, |_| Access::Random);
        let backing = Arc::new_cyclic(|backing: &Weak<Self>| Self {
            claim: Arc::clone(claim),
            window: Mutex::new(Weak::new()),
            told: Mutex::new(()),
            poison: OnceLock::new(),
            advised: Advised::new(access),
            budgeted: options.budget.as_ref().map(|budget| {
                let member = budget.join(claim, backing.clone());
                ReadAhead::new(member, options.access, budget.window_bytes())
            }),
        });
        let backing = Held::new(backing, |backing| Some(backing.budgeted.as_ref()?.member()));
        if access != Access::Normal {
            disk::advise(claim, access);
        }
        if let Some(budgeted) = &backing.budgeted {
            budgeted.member().settle_in(claim.file())?;
        }
        Ok(backing)
    }

    pub(super) fn claim(&self) -> &Arc<Claim> {
        &self.claim
    }

    pub(super) fn poison(&self) -> &OnceLock<RawPoisonCause> {
        &self.poison
    }

    /// What brings pages in under a budget, where there is one.
    pub(super) fn budgeted(&self) -> Option<&ReadAhead> {
        self.budgeted.as_ref()
    }

    /// Tells the kernel how a new mapping of the file, from its first byte on, is going to be used.
    pub(super) fn advise_all(&self, mapping: &Mapping) {
        let (elsewhere, parts) = self.advised.parts();
        let advise = |part, access| read_ahead::advise(None, (mapping, 0), part, access);
        if elsewhere != Access::Normal {
            advise(Part::Whole, elsewhere);
        }
        parts.into_iter().for_each(|(span, access)| advise(Part::Span(span), access));
    }

    /// Notes how a part of the file is going to be read, and tells who reads ahead; the kernel, where
    /// the file is mapped now, of that mapping.
    pub(super) fn advise(&self, part: Part, access: Access) {
        if let (None, Part::Span(span)) = (&self.budgeted, &part) {
            self.advised.set_part(span.clone(), access);
        } else if self.budgeted.is_none() {
            self.advised.set(access);
            disk::advise(&self.claim, access);
        }
        // A mapping that is just being made learns it from what was noted.
        let window = self.window.lock().upgrade();
        match (&self.budgeted, window) {
            (None, None) => {}
            (None, Some(window)) => read_ahead::advise(None, window.mapped(), part, access),
            (Some(budgeted), _) => budgeted.advise(part, access),
        }
    }

    /// Makes `window` the one that the file is read through, and lets it know what `before` knows.
    pub(super) fn read_through(&self, window: &Arc<Window>, before: Option<&Window>) {
        let mut present = self.window.lock();
        if let Some(before) = before {
            window.know_from(before);
        }
        *present = Arc::downgrade(window);
    }

    /// A span in pieces that can be charged one after the other; without a budget in one.
    pub(super) fn pieces(&self, span: Span) -> impl Iterator<Item = Span> + use<> {
        let step = self.budgeted.as_ref().map(ReadAhead::window_bytes);
        span.pieces(step.unwrap_or(u64::MAX))
    }

    /// Notes that pages are about to be read on the fast path. It comes before the look at what is
    /// noted of them, so that the clock passes them by in between.
    #[inline]
    pub(super) fn reference(&self, span: Span) {
        if let Some(budgeted) = &self.budgeted
            && !span.is_empty()
        {
            budgeted.member().reference(span.start..span.end);
        }
    }

    /// Charges the pages of a [piece](Self::pieces) and has the kernel begin to read them, and what
    /// is likely to be read next of a file of `file_len` bytes.
    ///
    /// They cannot be evicted as long as what is returned lives; `None` where there is no budget.
    pub(super) fn charge(&self, span: Span, file_len: u64) -> Result<Option<Charged<'_>>> {
        let Some(budgeted) = &self.budgeted else { return Ok(None) };
        let pages = self.chargeable(span)?;
        budgeted.bring_in(&self.claim, pages, file_len).map(Some)
    }

    /// Brings the pages of a span, which the file has, into memory through a window: from the disk, if
    /// need be. They were [charged](Self::charge) before.
    ///
    /// Where they are not read in order, nothing else is read. By itself, the kernel reads around a page
    /// that a mapping is touched at, as much as it reads ahead of who reads in order; and where that was of
    /// no use a hundred times, it reads page by page.
    ///
    /// # Errors
    /// `EFAULT` where the file does not have them any more or the disk cannot read them.
    pub(super) fn bring_in(&self, window: &Window, span: Span) -> io::Result<()> {
        let access = self.advised.at(span.start).0;
        if self.budgeted.is_none() && access != Access::Sequential {
            if access == Access::Normal && window.follows(span) {
                // As a read by system call does: the kernel sees what was read before this, and goes on
                // from here in larger and larger steps. Where it refuses, less is read ahead.
                let _hint = disk::touch(self.claim.file(), span.start);
            }
            read_ahead::start_reading(self.claim.file(), span.start..span.end);
        }
        window.bring_in(span)
    }

    /// The same as [`charge`](Self::charge) for pages that are about to be written.
    pub(super) fn charge_to_write(&self, span: Span) -> Result<Option<Charged<'_>>> {
        let Some(budgeted) = &self.budgeted else { return Ok(None) };
        budgeted.member().charge(self.chargeable(span)?).map(Some)
    }

    /// Charges pages that the page cache has, if it takes no waiting; the outer `None` is that it
    /// would.
    pub(super) fn try_charge(&self, span: Span) -> Option<Option<Charged<'_>>> {
        let Some(budgeted) = &self.budgeted else { return Some(None) };
        budgeted.member().try_charge(self.chargeable(span).ok()?).map(Some)
    }

    /// Gives back what is charged for a range of the file that was cut off, as far as it is of whole
    /// extents; the clock finds the rest.
    pub(super) fn give_back(&self, cut: Range<u64>) -> Result<()> {
        let start = cut.start.next_multiple_of(EXTENT_PAGES * rustix::param::page_size() as u64);
        match &self.budgeted {
            Some(budgeted) if start < cut.end => budgeted.member().evict(start..cut.end),
            _ => Ok(()),
        }
    }

    /// The bytes of whole pages that a span lies in.
    fn chargeable(&self, span: Span) -> Result<Range<u64>> {
        if span.end > BUDGETED_LEN_MAX_BYTES {
            let reason = format!(
                "under a budget a file may have {BUDGETED_LEN_MAX_BYTES} bytes; open it without one"
            );
            let source = io::Error::new(io::ErrorKind::FileTooLarge, reason);
            return Err(Error::io("charge to the budget pages of", self.claim.path())(source));
        }
        let page_bytes = rustix::param::page_size() as u64;
        Ok(span.start - span.start % page_bytes..span.end.next_multiple_of(page_bytes))
    }

    /// Has the kernel write by `write`; where that fails, the file is poisoned before anybody else
    /// asks.
    pub(super) fn write_back(&self, write: impl FnOnce(&File) -> io::Result<()>) -> Result<()> {
        let _told = self.told.lock();
        if let Some(cause) = self.poison.get() {
            return Err(poison::poisoned(&self.claim, cause.clone()));
        }
        write(self.claim.file()).map_err(|source| {
            // The first cause stays.
            let _earlier = self.poison.set(RawPoisonCause::Sync(source.to_string()));
            Error::SyncFailed { path: self.claim.path().into(), source }
        })
    }

    /// Writes what is dirty in a range of the file to the disk, so that it can leave memory. Says how
    /// many bytes that were.
    fn write_dirty(&self, span: &Range<u64>) -> Result<u64> {
        let len = span.end - span.start;
        let dirty_bytes = cache::of_range(self.claim.file(), span.clone())
            .map_or(len, |residency| residency.dirty_bytes);
        if dirty_bytes > 0 {
            self.write_back(|file| disk::write_back(file, span.start, len))?;
        }
        Ok(dirty_bytes)
    }
}

impl Backing {
    /// A mapping of a range of the file, as far as the file has it, to ask about its pages.
    fn map_for_now(&self, span: &Range<u64>) -> Option<Mapping> {
        let end = self.claim.len_bytes().ok()?.min(span.end);
        let len = end.checked_sub(span.start).filter(|&len| len > 0)?;
        let len = len.checked_next_multiple_of(rustix::param::page_size() as u64)?;
        Mapping::untouched(Arc::clone(&self.claim), span.start, len).ok()
    }
}

impl Budgeted for Backing {
    fn file(&self) -> &File {
        self.claim.file()
    }

    /// By a mapping for the moment: the window may reach less far than the file.
    fn mincore_bytes(&self, span: Range<u64>) -> Option<u64> {
        cache::by_mincore((&self.map_for_now(&span)?, span.start), span)
    }

    fn evict(&self, pass: &Pass<'_>, span: Range<u64>) -> Result<Left> {
        // Before the drop: nobody brings a page of the extent in meanwhile, and whoever reads one from
        // now on charges it first.
        if let Some(window) = self.window.lock().upgrade() {
            window.forget(Span { start: span.start, end: span.end });
        }
        pass.note_written_back(self.write_dirty(&span)?);
        let window = self.window.lock().upgrade();
        if let Some(window) = &window {
            window.drop_resident(span.clone());
        }
        // The window may reach less far than the file.
        match self.map_for_now(&span) {
            Some(mapping) => folios::drop_pages((&mapping, span.start), span.clone()),
            None => {
                disk::drop_cached(self.claim.file(), span.start, span.end - span.start);
            }
        }
        Ok(Left::look_mapped(self, span))
    }
}
