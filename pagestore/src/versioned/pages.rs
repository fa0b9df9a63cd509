//! Pages as a private mapping shows them, verified when they are first read.

use std::sync::Arc;

use layout::{CommitId, FormatError, PageCount, PageHasher, PageId, PageRange, PageStamp};

use super::{
    checked::{Checked, Doubtful},
    map::PrivateMap,
};
use crate::{
    error::{Error, Result},
    map::place,
    tables::bits::{Word, bits_of_runs, words_of},
};

/// How much is brought into memory by one system call, ahead of its checksums.
const POPULATE_WINDOW_BYTES: u64 = 2 << 20;

/// A private mapping, and which of its pages are known to be right.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) map: PrivateMap,
    pub(super) checked: Arc<Checked>,
    pub(super) doubtful: Doubtful,
    pub(super) hasher: PageHasher,
}

/// What a mapping is to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) commit: CommitId,
    pub(super) page_count: PageCount,
}

impl Pages {
    /// A mapping with room for so many pages.
    pub(super) fn new(
        map: PrivateMap,
        hasher: PageHasher,
        checked: &Arc<Checked>,
        page_count: PageCount,
    ) -> Result<Self> {
        checked.make_room_for(page_count)?;
        Ok(Self { map, checked: Arc::clone(checked), doubtful: Doubtful::none(), hasher })
    }

    /// Maps the groups that so many pages lie in.
    pub(super) fn make_room_for(&mut self, page_count: PageCount) -> Result<()> {
        self.map.make_room_for(page_count)?;
        self.checked.make_room_for(page_count)
    }

    /// Those of a word's pages that are not known to be right.
    #[inline]
    fn unknown(&self, word: Word) -> u64 {
        self.doubtful.unknown(&self.checked, word)
    }

    /// Whether a page is known to be right.
    #[inline]
    pub(super) fn is_right(&self, page: PageId) -> bool {
        words_of(PageRange::from(page)).all(|word| self.unknown(word) == 0)
    }

    /// Notes that pages are right that a commit is about to write into the file. Whoever has copies of what they
    /// were has them by now.
    pub(super) fn note_right(&self, runs: &[PageRange]) {
        runs.iter().flat_map(|&run| words_of(run)).for_each(|word| self.checked.add(word));
    }

    /// Says how many pages of a mapping that shows `page_count` can be read with no further look.
    pub(super) fn set_free(&self, page_count: PageCount) {
        let right = self.doubtful.prefix(&self.checked);
        self.map.watch().set_free_pages(right.min(page_count.get()));
    }

    /// Says so where these have become more.
    pub(super) fn note_free(&self, page_count: PageCount) {
        if self.map.free_pages() < self.checked.prefix().min(page_count.get()) {
            self.set_free(page_count);
        }
    }

    /// Verifies the pages of `range`, which lies within `version`, that are not known to be right. `own` are right
    /// in this mapping, whatever the file has.
    pub(super) fn verify(
        &self,
        range: PageRange,
        version: Version,
        own: &[PageRange],
    ) -> Result<()> {
        self.map.check()?;
        let unknown = |word: Word| self.unknown(word) & !bits_of_runs(own, word.index);
        let page_size = self.map.geometry().page_size();
        for window in place::windows(range, page_size, POPULATE_WINDOW_BYTES) {
            if words_of(window).all(|word| unknown(word) == 0) {
                continue;
            }
            if window.count() > PageCount::new(1) {
                let brought = self.map.populate_read(self.map.place(window));
                brought.map_err(|source| self.map.unreachable(window, source))?;
            }
            for mut word in words_of(window) {
                word.bits = unknown(word);
                for page in word.pages() {
                    self.verify_page(page, version.commit)?;
                }
                self.map.check()?;
                if word.bits != 0 {
                    self.checked.add(word);
                    self.doubtful.remove(word);
                }
            }
        }
        Ok(())
    }

    fn verify_page(&self, page: PageId, newest: CommitId) -> Result<()> {
        let stamp = self.stamp(page, newest)?;
        let bytes = self.bytes(PageRange::from(page));
        let right = match stamp {
            None => bytes.iter().all(|&byte| byte == 0),
            Some(stamp) => self.hasher.versioned(page, stamp.commit, bytes) == stamp.checksum,
        };
        if right {
            return Ok(());
        }
        // What could not be read looks damaged too; say what it is.
        self.map.check()?;
        let path = self.map.backing().path();
        Err(match stamp {
            None => Error::format(path)(FormatError::Unwritten { page }),
            Some(stamp) => Error::Checksum {
                path: path.into(),
                page,
                found: self.hasher.versioned(page, stamp.commit, bytes),
                expected: stamp.checksum,
            },
        })
    }

    /// What the table says of a page, in a mapping that shows commit `newest`.
    pub(super) fn stamp(&self, page: PageId, newest: CommitId) -> Result<Option<PageStamp>> {
        let bytes = self.stamp_bytes(PageRange::from(page));
        let mut stamp = [0; PageStamp::LEN_BYTES];
        stamp.copy_from_slice(bytes);
        let parsed = PageStamp::parse(stamp, page, &self.hasher).and_then(|stamp| match stamp {
            Some(PageStamp { commit, .. }) if commit > newest => {
                Err(FormatError::StampAhead { page, found: commit, newest })
            }
            stamp => Ok(stamp),
        });
        // A stamp that could not be read shows as zero.
        self.map.check()?;
        parsed.map_err(Error::format(self.map.backing().path()))
    }
}
