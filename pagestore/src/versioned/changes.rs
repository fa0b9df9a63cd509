//! How a transaction reads pages, and copies those that it is going to change.

use layout::PageRange;

use super::{core::Core, open::Open};
use crate::error::{Error, Result};

impl Open {
    /// Borrows pages to read; verifies those that are not known to be right.
    pub(super) fn read(&self, core: &Core, range: PageRange) -> Result<&[u8]> {
        let missing_count = self.sheet.missing_count(range);
        // What this transaction has written to is its own, and was found right before.
        if missing_count == 0 {
            self.sheet.pages.map.check()?;
            return Ok(self.sheet.pages.bytes(range));
        }
        // Pages that are on their way into the file are in the view of their commit.
        if let Some(base) = self.base.as_ref().filter(|base| meets(base.own(), range)) {
            let is_in_base = range.end().get() <= base.version().page_count.get();
            if is_in_base && missing_count == range.count().get() {
                base.mapped().pages.verify(range, self.version(), base.own())?;
                return Ok(base.mapped().pages.bytes(range));
            }
            // Some of each.
            core.applier.wait();
            core.check()?;
        }
        self.sheet.pages.verify(range, self.version(), &self.sheet.copied_runs(range))?;
        Ok(self.sheet.pages.bytes(range))
    }

    /// Makes copies of pages, after they were found right.
    pub(super) fn copy(&mut self, core: &Core, range: PageRange) -> Result<()> {
        if let Some(savepoint) = &mut self.savepoint {
            savepoint.save(&mut self.sheet, range);
        }
        if self.sheet.copies().data.contains_all(range) {
            return Ok(());
        }
        let new = self.sheet.copies().data.missing_runs(range);
        // Copied first, and then verified where it is: a page that was read here before is mapped, and the
        // kernel has every processor forget it before it maps the copy, which takes as long as the copy.
        let copied = self.make_copies(core, range);
        let right = copied.and_then(|()| {
            new.iter().try_for_each(|&run| self.take_over(run))?;
            let on_their_way = self.base.as_ref().map_or(&[][..], |base| base.own());
            let pages = &self.sheet.pages;
            new.iter().try_for_each(|&run| pages.verify(run, self.version(), on_their_way))
        });
        if right.is_err() {
            // Nothing may be committed that was not found right.
            for run in new {
                self.drop_copies_of(core, run)?;
            }
        }
        right
    }

    /// Fills copies of pages that are on their way into the file with what they are there.
    fn take_over(&mut self, range: PageRange) -> Result<()> {
        let Some(base) = self.base.as_ref().filter(|base| meets(base.own(), range)) else {
            return Ok(());
        };
        for &run in from(base.own(), range) {
            let (start, end) = (run.start().max(range.start()), run.end().min(range.end()));
            if start >= end {
                break;
            }
            let both = base.mapped().pages.map.resolve(start..end, base.version().page_count)?;
            let [bytes] = self.sheet.pages.disjoint_mut([both]).ok_or(Error::Overlap)?;
            bytes.copy_from_slice(base.mapped().pages.bytes(both));
        }
        Ok(())
    }

    /// Makes copies of pages that nobody reads, of which neither bytes nor stamps need be right.
    pub(super) fn copy_unread(&mut self, core: &Core, range: PageRange) -> Result<()> {
        self.make_copies(core, range)
    }

    fn make_copies(&mut self, core: &Core, range: PageRange) -> Result<()> {
        self.sheet.copy(range, |bytes| match core.views.take_kept(bytes) {
            // The copies of a commit on its way into the file are given back when it is there.
            Err(_) if !core.applier.is_idle() => {
                core.applier.wait();
                core.views.take_kept(bytes)
            }
            taken => taken,
        })
    }

    /// Gives up the copies of pages.
    pub(super) fn drop_copies_of(&mut self, core: &Core, range: PageRange) -> Result<()> {
        let dropped = self.sheet.drop_copies_of(range);
        dropped.map_err(Error::io("give back pages of", core.backing.path()))
    }
}

/// Those of some runs, in ascending order, that do not end before a range begins.
fn from(runs: &[PageRange], range: PageRange) -> &[PageRange] {
    &runs[runs.partition_point(|run| run.end() <= range.start())..]
}

/// Whether a range has pages of these runs.
fn meets(runs: &[PageRange], range: PageRange) -> bool {
    from(runs, range).first().is_some_and(|run| run.start() < range.end())
}
