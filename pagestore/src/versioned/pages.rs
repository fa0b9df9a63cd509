//! Pages as a private mapping shows them, verified when they are first read.

use layout::{
    CommitId, FormatError, PageCount, PageHasher, PageId, PageRange, PageStamp, VersionedGeometry,
};

use super::{checked::Checked, map::PrivateMap};
use crate::{
    error::{Error, Result},
    map::place,
    tables::bits::words_of,
};

/// How much is brought into memory by one system call, ahead of its checksums.
const POPULATE_WINDOW_BYTES: u64 = 2 << 20;

/// A private mapping, and which of its pages were found right.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) map: PrivateMap,
    pub(super) checked: Checked,
    pub(super) hasher: PageHasher,
}

/// What a mapping is to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) commit: CommitId,
    pub(super) page_count: PageCount,
}

impl Pages {
    pub(super) fn new(map: PrivateMap, hasher: PageHasher) -> Self {
        let mut pages = Self { map, checked: Checked::none_of(PageCount::ZERO), hasher };
        pages.fit_checked(PageCount::ZERO);
        pages
    }

    /// Maps the groups that so many pages lie in.
    pub(super) fn make_room_for(&mut self, page_count: PageCount) -> Result<()> {
        self.map.make_room_for(page_count)?;
        self.fit_checked(page_count);
        Ok(())
    }

    pub(super) fn fit_checked(&mut self, page_count: PageCount) {
        let groups = VersionedGeometry::group_count(page_count);
        self.checked.make_room_for(VersionedGeometry::pages_of_groups(groups));
    }

    /// Verifies the pages of `range`, which lies within `version`, that were not verified yet.
    pub(super) fn verify(&self, range: PageRange, version: Version) -> Result<()> {
        self.map.check()?;
        let page_size = self.map.geometry().page_size();
        for window in place::windows(range, page_size, POPULATE_WINDOW_BYTES) {
            if words_of(window).all(|word| self.checked.missing(word) == 0) {
                continue;
            }
            if window.count() > PageCount::new(1) {
                let brought = self.map.populate_read(self.map.place(window));
                brought.map_err(|source| self.map.unreachable(window, source))?;
            }
            for mut word in words_of(window) {
                word.bits = self.checked.missing(word);
                for page in word.pages() {
                    self.verify_page(page, version.commit)?;
                }
                self.map.check()?;
                if word.bits != 0 {
                    self.checked.add(word, self.map.watch(), version.page_count);
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
