//! What the kernel says of the files of a budget, and what follows from it.

use std::ops::Range;

use super::{
    budgeted::{Budgeted, residency_of},
    clock::{Clock, Room, is_poison},
    core::Core,
};
use crate::error::Result;

/// All bytes of a file.
const EVERYTHING: Range<u64> = 0..i64::MAX as u64;

/// What the kernel holds of all files of a budget.
#[derive(Clone, Copy, Default)]
pub(super) struct Truth {
    pub(super) resident_bytes: u64,
    pub(super) dirty_bytes: u64,
    /// The bytes among them that are kept there by others.
    pub(super) theirs_bytes: u64,
}

/// What becomes of pages that did not leave when they were evicted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Theirs {
    /// They are left to who keeps them, and tried again more and more seldom.
    Left,
    /// They are tried again now.
    TriedAgain,
}

/// Takes [room](Clock::room) for `bytes`, and asks the kernel where much was charged since it was last asked.
pub(super) fn room(clock: &Clock, bytes: u64) -> Result<Room<'_>> {
    let room = clock.room(bytes)?;
    if clock.is_truth_due(bytes) {
        enforce(clock, Theirs::Left)?;
    }
    Ok(room)
}

/// Asks the kernel, and evicts what is in memory without having been charged, where all of it
/// together is more than the limit.
pub(super) fn enforce(clock: &Clock, theirs: Theirs) -> Result<()> {
    let members = clock.members();
    for core in members.iter().filter(|core| !core.is_memory()) {
        if core.theirs().is_due() || theirs == Theirs::TriedAgain {
            core.forget_theirs();
        }
    }
    let truth = look(clock);
    let ours = truth.resident_bytes - truth.theirs_bytes;
    if ours + clock.reserved_bytes() <= clock.limit_bytes() {
        return Ok(());
    }
    for core in members.iter().filter(|core| !core.is_memory()) {
        let Some(owner) = core.owner() else { continue };
        let residency = residency_of(&*owner, EVERYTHING).unwrap_or_default();
        if residency.resident_bytes > core.charged_bytes() + core.theirs().bytes() {
            evict_uncharged(clock, core, &*owner)?;
        }
    }
    Ok(())
}

/// Evicts the extents of a file of which more is in memory than was charged.
fn evict_uncharged(clock: &Clock, core: &Core, owner: &dyn Budgeted) -> Result<()> {
    let Ok(stat) = rustix::fs::fstat(owner.file()) else { return Ok(()) };
    let len = u64::try_from(stat.st_size).unwrap_or(0);
    evict_uncharged_of(clock, core, owner, 0..core.extents_of(len))
}

/// The same for some of its extents. Looks at halves, so that what is not in memory costs little,
/// however large the file is.
fn evict_uncharged_of(
    clock: &Clock,
    core: &Core,
    owner: &dyn Budgeted,
    extents: Range<usize>,
) -> Result<()> {
    let Some(last) = extents.end.checked_sub(1) else { return Ok(()) };
    let span = core.span_of(extents.start).start..core.span_of(last).end;
    let resident_bytes = residency_of(owner, span).unwrap_or_default().resident_bytes;
    if resident_bytes == 0 {
        return Ok(());
    }
    if extents.start < last {
        let middle = extents.start.midpoint(extents.end);
        evict_uncharged_of(clock, core, owner, extents.start..middle)?;
        return evict_uncharged_of(clock, core, owner, middle..extents.end);
    }
    core.grow_to(last + 1)?;
    if resident_bytes > core.extent(last).known_count() * core.page_bytes() {
        match core.try_evict(last, clock.counts()) {
            Err(error) if is_poison(&error) => {}
            evicted => clock.give_back(evicted?),
        }
    }
    Ok(())
}

/// Asks the kernel.
pub(super) fn look(clock: &Clock) -> Truth {
    let mut truth = Truth::default();
    for core in clock.members() {
        let Some(owner) = core.owner() else { continue };
        let residency = residency_of(&*owner, EVERYTHING).unwrap_or_default();
        truth.resident_bytes += residency.resident_bytes;
        truth.dirty_bytes += residency.dirty_bytes;
        let uncharged = residency.resident_bytes.saturating_sub(core.charged_bytes());
        truth.theirs_bytes += core.theirs().at_most(uncharged);
    }
    truth
}
