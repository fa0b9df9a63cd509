//! What a writer leaves in memory, under a budget: the bytes that were written to the file and are
//! not on the disk yet.

use std::{fs::File, ops::Range, sync::Arc};

use crate::{
    error::{Error, Result},
    file::{claim::Claim, disk, header},
    residency::{
        budget::{Budgeted, EXTENT_PAGES, Held, Left, Member, Pass, ResidencyBudget},
        cache,
    },
};

/// A writer's part of a budget. When others need the room, what was written goes to the disk and
/// leaves memory.
pub(crate) struct WriteBehind {
    // Before `member`: nobody begins to evict what is about to be given back.
    written: Held<Written>,
    member: Member,
    window_bytes: u64,
}

struct Written {
    claim: Arc<Claim>,
}

impl WriteBehind {
    pub(crate) fn new(budget: &ResidencyBudget, claim: &Arc<Claim>) -> Self {
        let written = Arc::new(Written { claim: Arc::clone(claim) });
        let weak = Arc::downgrade(&written);
        let member = budget.join_writer(claim.file(), weak);
        let written = Held::of_member(written, &member);
        Self { member, written, window_bytes: budget.window_bytes() }
    }

    pub(crate) fn budget(&self) -> ResidencyBudget {
        ResidencyBudget::of(&self.member)
    }

    /// The most to be written at a time.
    pub(crate) fn window_bytes(&self) -> u64 {
        self.window_bytes
    }

    /// Charges disk space that is about to be taken, where disk space is memory.
    pub(crate) fn charge_space(&self, span: Range<u64>) -> Result<()> {
        self.member.charge_space(span)
    }

    /// Writes to the file, at most a window, when there is room for it.
    ///
    /// Each extent is written by a call of its own: the kernel makes large folios of large writes,
    /// and does not drop a folio of which a part is to stay.
    pub(crate) fn write(&self, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
        let _charged = self.member.charge(offset..offset + bytes.len() as u64)?;
        let extent_bytes = EXTENT_PAGES * rustix::param::page_size() as u64;
        while !bytes.is_empty() {
            let to_border = extent_bytes - offset % extent_bytes;
            let len = usize::try_from(to_border).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(len);
            header::write(&self.written.claim, offset, now)?;
            offset += len as u64;
            bytes = later;
        }
        Ok(())
    }

    /// What the file that is made of it goes on with. The claim is not held any more.
    pub(crate) fn into_member(self) -> Member {
        self.member
    }
}

impl Budgeted for Written {
    fn file(&self) -> &File {
        self.claim.file()
    }

    fn mincore_bytes(&self, _span: Range<u64>) -> Option<u64> {
        None
    }

    fn evict(&self, pass: &Pass<'_>, span: Range<u64>) -> Result<Left> {
        let (file, len) = (self.claim.file(), span.end - span.start);
        let before = cache::of_range(file, span.clone());
        // The kernel tells of a failure once, and here it tells who needs the room.
        let written = self.claim.note_lost(|file| disk::write_back(file, span.start, len));
        written.map_err(Error::io("write to the disk", self.claim.path()))?;
        pass.note_written_back(before.map_or(0, |before| before.dirty_bytes));
        disk::drop_cached(file, span.start, len);
        Ok(Left::look(file, span))
    }
}
