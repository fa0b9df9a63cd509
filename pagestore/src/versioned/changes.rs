//! How a transaction reads pages, and copies those that it is going to change.

use layout::PageRange;

use super::{core::Core, open::Open, pages::Pages};
use crate::error::{Error, Result};

impl Open {
    /// The mapping that pages are read from. Pages that are on their way into the file are in the view of
    /// their commit; what this transaction has written to is in its own.
    pub(super) fn readable(&self, core: &Core, range: PageRange) -> Result<&Pages> {
        let Some(base) = self.base.as_ref().filter(|base| meets(base.own(), range)) else {
            return Ok(&self.sheet.pages);
        };
        let missing_count = self.sheet.missing_count(range);
        if missing_count == 0 {
            return Ok(&self.sheet.pages);
        }
        let is_in_base = range.end().get() <= base.version().page_count.get();
        if is_in_base && missing_count == range.count().get() {
            return Ok(&base.mapped().pages);
        }
        // Some of each.
        core.applier.wait();
        core.check()?;
        Ok(&self.sheet.pages)
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
            self.sheet.pages.verify(range, self.version())
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
            self.sheet.pages.note_checked(both, self.page_count);
        }
        Ok(())
    }

    /// Makes copies of pages that nobody reads, of which neither bytes nor stamps need be right.
    pub(super) fn copy_unread(&mut self, core: &Core, range: PageRange) -> Result<()> {
        self.make_copies(core, range)?;
        self.sheet.pages.note_checked(range, self.page_count);
        Ok(())
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
