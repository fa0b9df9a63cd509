//! Goes through what was recorded, and at each moment lets the machine crash.

use std::{fmt, rc::Rc};

use crate::{
    check::{Again, Expected, Look, Opened, check},
    choose::{Pick, Picks, simplify},
    disk::{Disk, SECTOR, Version, Window},
    model::Model,
    random::Random,
    record::{Event, Note, Operation},
    seen::{Seen, Shown},
    stage::Stage,
    workload::Recorded,
};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// The most new states at each moment and length; where there are no more, it is all of them.
    pub states_a_moment: u64,
    /// The most new states of one workload, those within recoveries included.
    pub states_max: u64,
    /// How often a recovery is itself broken off, one inside the other.
    pub crashes_in_recovery: u32,
    /// One state in so many has its recovery broken off; half of these are opened again after the commit
    /// that follows on it.
    pub one_in: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { states_a_moment: 64, states_max: 10_000, crashes_in_recovery: 2, one_in: 16 }
    }
}

/// What was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// States that were opened: none is equal to another in all bytes and the length.
    pub distinct: u64,
    /// Those of them that lie inside a recovery, or the commit that follows on one.
    pub within_recovery: u64,
    /// How often a state that was opened before was judged again, by what it showed, since more is known to
    /// be there: a commit has returned, or an opening has.
    pub judged_again: u64,
    /// Moments at which the machine crashed.
    pub moments: u64,
}

/// A state that shows what must not be.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// What is wrong.
    what: String,
    /// The crashes that led there, the first one first.
    crashes: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        self.crashes.iter().try_for_each(|crash| write!(f, "\n  {crash}"))
    }
}

/// Explores workloads one after the other; what was seen is not opened again.
pub(crate) struct Explorer {
    stage: Stage,
    seen: Seen,
    seed: u64,
    effort: Effort,
    pub(crate) count: Count,
    /// The count of distinct states at which the workload under way has had its share.
    until: u64,
    is_over: Box<dyn Fn() -> bool>,
}

/// Whether more is known of the states at a moment than at the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    More,
    AsBefore,
}

pub(crate) type Sectors = Vec<(u64, Rc<Version>)>;

/// One state in so many has the stage looked at, whether it is what the explorer believes.
const STAGE_CHECKED_ONE_IN: u64 = 4096;

/// The most new states of one recovery that is broken off.
const STATES_IN_RECOVERY: u64 = 64;

impl Explorer {
    /// `is_over` is asked at each moment whether that is enough.
    pub(crate) fn new(seed: u64, is_over: Box<dyn Fn() -> bool>) -> Self {
        let (stage, seen, count) = (Stage::new(), Seen::default(), Count::default());
        Self { stage, seen, seed, effort: Effort::default(), count, until: 0, is_over }
    }

    pub(crate) fn is_over(&self) -> bool {
        (self.is_over)()
    }

    /// The hashes of all states that were opened, in order.
    pub(crate) fn into_hashes(self) -> Vec<u64> {
        self.seen.into_hashes()
    }

    /// Explores what a workload left.
    pub(crate) fn explore(&mut self, recorded: Recorded, effort: Effort) -> Result<(), Violation> {
        self.effort = effort;
        let Recorded { mut disk, events, model } = recorded;
        self.until = self.count.distinct + self.effort.states_max;
        self.stage.put(&disk);
        let expected = Expected { least: 0, most: 0 };
        self.moments(&mut disk, &events, (&model, None), expected, 0)
    }

    /// Lets the machine crash at each moment. Once the file was opened, another model may hold.
    fn moments(
        &mut self,
        disk: &mut Disk,
        events: &[Event],
        (mut model, opened): (&Model, Option<&Model>),
        mut expected: Expected,
        depth: u32,
    ) -> Result<(), Violation> {
        let mut left = events.iter().filter(|event| may_bring_states(event)).count() as u64;
        for (place, event) in events.iter().enumerate() {
            disk.play(event);
            if !may_bring_states(event) {
                continue;
            }
            if self.is_over() {
                break;
            }
            left -= 1;
            if let Event::Note(note) = event {
                let before = expected;
                expected.hear(*note);
                if let (Note::Opened(_), Some(opened)) = (note, opened) {
                    model = opened;
                }
                // Nothing new is on the disk, and what was right there still is.
                if before.least >= expected.least && before.most <= expected.most {
                    continue;
                }
            }
            // What is left is shared out among the moments that are left, recoveries included, so that the
            // last ones get theirs.
            let until = self.until;
            let share = (2 * until.saturating_sub(self.count.distinct) / (left + 1)).max(4);
            self.until = until.min(self.count.distinct + share);
            self.count.moments += 1;
            let at = || format!("at event {place} ({})", tell(event));
            let known = match event {
                Event::Note(_) => Known::More,
                Event::Begin { .. } | Event::End { .. } => Known::AsBefore,
            };
            let outcome = self.moment(disk, model, expected, (depth, share / 2), known);
            self.until = until;
            outcome.map_err(|mut violation| {
                violation.crashes.insert(0, at());
                violation
            })?;
        }
        Ok(())
    }

    fn moment(
        &mut self,
        disk: &mut Disk,
        model: &Model,
        expected: Expected,
        (depth, share): (u32, u64),
        known: Known,
    ) -> Result<(), Violation> {
        let windows = disk.windows();
        let max = self.effort.states_a_moment.min(share / windows.len() as u64).max(2);
        for window in windows {
            // From the window alone: what was opened is judged again where more is known of it.
            let random = Random::new(self.seed ^ window.hash);
            let distinct = self.count.distinct;
            for (number, pick) in Picks::new(&window, max, random).enumerate() {
                // The first two, nothing and everything, are always tried.
                let has_room = self.count.distinct < self.until.min(distinct + max);
                if number >= 2 && !(has_room && (number as u64) < 2 * max) {
                    break;
                }
                let before = self.count.distinct;
                self.state(disk, &window, &pick, model, expected, depth).map_err(|what| {
                    self.shrink(disk, &window, pick, model, expected).unwrap_or(what)
                })?;
                if self.count.distinct == before && known == Known::More {
                    self.count.judged_again += 1;
                }
            }
        }
        Ok(())
    }

    /// Judges one state.
    fn state(
        &mut self,
        disk: &mut Disk,
        window: &Window,
        pick: &Pick,
        model: &Model,
        expected: Expected,
        depth: u32,
    ) -> Result<(), Violation> {
        let hash = hash(disk, window, pick);
        if let Some(shown) = self.seen.get(hash) {
            return judge(shown, model, expected).map_err(violation);
        }
        self.count.distinct += 1;
        self.count.within_recovery += u64::from(depth > 0);
        let mut random = Random::new(hash ^ self.seed);
        let chosen = random.below(self.effort.one_in) == 0;
        let how = match random.below(4) {
            0 if chosen => Look::Again(Again::Killed),
            1 if chosen => Look::Again(Again::Closed),
            2 if random.below(2) == 0 => Look::Thorough,
            _ => Look::Quick,
        };
        let sectors = sectors(window, pick);
        let (opened, events) = self.open(disk, window, &sectors, model, expected, how);
        let Opened { commit, events: count, next } = opened.map_err(violation)?;
        self.seen.insert(hash, shown(model, commit));
        if chosen && depth < self.effort.crashes_in_recovery {
            let mut inner = disk.after(window.len, &sectors);
            // Before the opening has returned, nobody knows what it was to show: what was under way at the first
            // crash may still be found whole.
            let after = model.from(commit, next);
            let models = (model, Some(&after));
            let until = self.until;
            self.until = until.min(self.count.distinct + STATES_IN_RECOVERY);
            let outcome = self.moments(&mut inner, &events[..count], models, expected, depth + 1);
            self.until = until;
            // The stage has the inner disk's image there.
            self.stage.touch(inner.changed().iter().copied());
            self.stage.touch(sectors.iter().map(|(sector, _)| *sector));
            outcome?;
        }
        Ok(())
    }

    fn open(
        &mut self,
        disk: &mut Disk,
        window: &Window,
        sectors: &Sectors,
        model: &Model,
        expected: Expected,
        how: Look,
    ) -> (Result<Opened, String>, Vec<Event>) {
        self.stage.touch(disk.newly_changed().iter().copied());
        self.stage.set(disk, window.len, sectors);
        if self.count.distinct.is_multiple_of(STAGE_CHECKED_ONE_IN) {
            self.stage.check(disk, window.len, sectors);
        }
        let (opened, events) = check(self.stage.path(), model, expected, how);
        self.stage.touch_written(&events);
        (opened, events)
    }

    /// Finds a simpler state that shows something wrong: one in which fewer sectors are otherwise than if
    /// nothing had reached the disk, or than if all had.
    fn shrink(
        &mut self,
        disk: &mut Disk,
        window: &Window,
        pick: Pick,
        model: &Model,
        expected: Expected,
    ) -> Option<Violation> {
        let tried = sectors(window, &pick);
        self.stage.set(disk, window.len, &tried);
        self.stage.check(disk, window.len, &tried);
        let mut wrong = |explorer: &mut Self, pick: &Pick| {
            let sectors = sectors(window, pick);
            explorer
                .open(disk, window, &sectors, model, expected, Look::Again(Again::Killed))
                .0
                .err()
        };
        let (what, pick, goal) = simplify(window, pick, |pick| wrong(self, pick))?;
        let base = if goal.iter().all(|&one| one == 0) { "nothing" } else { "everything" };
        let others: Vec<String> = window
            .choices
            .iter()
            .zip(pick.iter().zip(&goal))
            .filter(|(_, (one, goal))| one != goal)
            .map(|(choice, (one, _))| {
                format!("byte {} has version {one}", choice.sector * SECTOR as u64)
            })
            .collect();
        let len = window.len;
        let crash = format!("length {len}; {base} reached the disk, but {}", others.join(", "));
        Some(Violation { what, crashes: vec![crash] })
    }
}

fn violation(what: String) -> Violation {
    Violation { what, crashes: Vec::new() }
}

/// Whether an event may leave states that were not there before, or tell more of them.
fn may_bring_states(event: &Event) -> bool {
    match event {
        Event::Begin { operation: Operation::Sync, .. } | Event::End { .. } => false,
        Event::Begin { .. } | Event::Note(_) => true,
    }
}

fn shown(model: &Model, commit: u64) -> Shown {
    let digest = model.get(commit).map_or(0, |commit| commit.digest);
    Shown { commit: u32::try_from(commit).unwrap_or(u32::MAX), digest }
}

/// Judges what a state showed when it was opened before.
fn judge(shown: Shown, model: &Model, expected: Expected) -> Result<(), String> {
    let commit = u64::from(shown.commit);
    if !expected.has(commit) {
        let Expected { least, most } = expected;
        return Err(format!("it shows commit {commit}; there must be {least} to {most}"));
    }
    match model.get(commit) {
        Some(expected) if expected.digest == shown.digest => Ok(()),
        _ => Err(format!("it shows a commit {commit} with other pages")),
    }
}

/// The sectors in which a state differs from the disk's image.
pub(crate) fn sectors(window: &Window, pick: &Pick) -> Sectors {
    let picked = window.choices.iter().zip(pick);
    picked
        .filter_map(|(choice, &pick)| {
            let version = choice.versions[usize::from(pick)].as_ref()?;
            Some((choice.sector, Rc::clone(version)))
        })
        .collect()
}

/// The hash of a state.
pub(crate) fn hash(disk: &Disk, window: &Window, pick: &Pick) -> u64 {
    let mut hash = window.hash;
    for (choice, &pick) in window.choices.iter().zip(pick).filter(|(_, pick)| **pick != 0) {
        let hash_of =
            |version: usize| disk.hash_of(choice.sector, choice.versions[version].as_ref());
        hash ^= hash_of(0) ^ hash_of(pick.into());
    }
    hash
}

fn tell(event: &Event) -> String {
    match event {
        Event::Begin { operation, .. } => match operation {
            Operation::Write { offset, bytes, is_durable } => {
                let how = if *is_durable { "write durably" } else { "write" };
                format!("{how} {} bytes at {offset}", bytes.len())
            }
            Operation::Sync => "sync".into(),
            Operation::SetLen(len) => format!("length {len}"),
        },
        Event::End { .. } => "the call returned".into(),
        Event::Note(note) => format!("{note:?}"),
    }
}
