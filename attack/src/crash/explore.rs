//! Goes through what was recorded, and at each moment lets the machine crash.

use std::{collections::HashMap, fmt, rc::Rc};

use super::{
    check::{Again, Expected, Look, Model, Opened, check},
    choose::{Picks, picks},
    disk::{Disk, SECTOR, Version, Window},
    random::Random,
    record::Event,
    stage::Stage,
    workload::Recorded,
};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// The most states at each moment and length; where there are no more, it is all of them.
    pub states_a_moment: u64,
    /// The most states of one workload, those within recoveries included.
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
    /// States that were judged.
    pub states: u64,
    /// Those of them that no other is equal to, in any byte or the length.
    pub distinct: u64,
    /// Those that lie inside a recovery, or the commit that follows on one.
    pub within_recovery: u64,
    /// Moments at which the machine crashed.
    pub moments: u64,
}

/// A state that shows what must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What is wrong.
    pub what: String,
    /// The crashes that led there, the first one first.
    pub crashes: Vec<String>,
    /// After how many states it was found.
    pub states: u64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        for crash in &self.crashes {
            writeln!(f, "  {crash}")?;
        }
        write!(f, "found after {} states", self.states)
    }
}

/// Explores workloads one after the other; what was seen is not opened again.
pub(super) struct Explorer {
    stage: Stage,
    /// What each state showed, by its hash.
    seen: HashMap<u128, u64>,
    random: Random,
    effort: Effort,
    pub(super) count: Count,
    /// The count of states at which the workload under way has had its share.
    until: u64,
}

type Sectors = Vec<(u64, Rc<Version>)>;

impl Explorer {
    pub(super) fn new(seed: u64) -> Self {
        let (count, random, effort) = (Count::default(), Random::new(seed), Effort::default());
        Self { stage: Stage::new(), seen: HashMap::new(), random, effort, count, until: 0 }
    }

    /// Explores what a workload left.
    pub(super) fn explore(&mut self, recorded: Recorded, effort: Effort) -> Result<(), Violation> {
        self.effort = effort;
        let Recorded { mut disk, events, model } = recorded;
        self.until = self.count.states + self.effort.states_max;
        self.stage.put(&disk);
        let expected = Expected { least: 0, most: 0 };
        self.moments(&mut disk, &events, &model, expected, 0)
    }

    /// Lets the machine crash at each moment.
    fn moments(
        &mut self,
        disk: &mut Disk,
        events: &[Event],
        model: &Model,
        mut expected: Expected,
        depth: u32,
    ) -> Result<(), Violation> {
        let moments = events.iter().filter(|event| !matches!(event, Event::End { .. })).count();
        let mut left = moments as u64;
        for (place, event) in events.iter().enumerate() {
            disk.play(event);
            match event {
                Event::End { .. } => continue,
                Event::Note(note) => expected.hear(*note),
                Event::Begin { .. } => {}
            }
            // What is left is shared out among the moments that are left, recoveries included, so that the
            // last ones get theirs.
            let until = self.until;
            let share = (2 * until.saturating_sub(self.count.states) / left.max(1)).max(4);
            left = left.saturating_sub(1);
            self.until = until.min(self.count.states + share);
            self.count.moments += 1;
            let at = || format!("at event {place} ({})", tell(event));
            let outcome = self.moment(disk, model, expected, (depth, share / 2));
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
    ) -> Result<(), Violation> {
        let windows = disk.windows();
        let max = self.effort.states_a_moment.min(share / windows.len() as u64).max(2);
        for window in windows {
            // The first two, nothing and everything, are always tried.
            for (number, pick) in picks(&window, max, &mut self.random).into_iter().enumerate() {
                if number >= 2 && self.count.states >= self.until {
                    break;
                }
                self.state(disk, &window, &pick, model, expected, depth).map_err(|what| {
                    self.shrink(disk, &window, pick, model, expected).unwrap_or(what)
                })?;
            }
        }
        Ok(())
    }

    /// Judges one state.
    fn state(
        &mut self,
        disk: &mut Disk,
        window: &Window,
        pick: &Picks,
        model: &Model,
        expected: Expected,
        depth: u32,
    ) -> Result<(), Violation> {
        let (sectors, hash) = state(disk, window, pick);
        self.count.states += 1;
        self.count.within_recovery += u64::from(depth > 0);
        if let Some(&commit) = self.seen.get(&hash) {
            return if expected.has(commit) {
                Ok(())
            } else {
                let Expected { least, most } = expected;
                let what = format!("it shows commit {commit}; there must be {least} to {most}");
                Err(self.violation(what))
            };
        }
        self.count.distinct += 1;
        let chosen = self.random.below(self.effort.one_in) == 0;
        let how = match self.random.below(4) {
            0 if chosen => Look::Again(Again::Killed),
            1 if chosen => Look::Again(Again::Closed),
            0 => Look::Thorough,
            _ => Look::Quick,
        };
        let (opened, events) = self.open(disk, window, &sectors, model, expected, how);
        let opened = opened.map_err(|what| self.violation(what))?;
        let Opened { commit, events: count, next } = opened;
        self.seen.insert(hash, commit);
        if chosen && depth < self.effort.crashes_in_recovery {
            let mut inner = disk.after(window.len, &sectors);
            let mut model = model.clone();
            model.commits.truncate(super::disk::index(commit) + 1);
            model.commits.push(next);
            // Before the recovery has returned, it may show what this state might have.
            let most = expected.most.min(commit);
            let expected = Expected { least: expected.least, most };
            let until = self.until;
            self.until = until.min(self.count.states + 64);
            let outcome = self.moments(&mut inner, &events[..count], &model, expected, depth + 1);
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
        let (opened, events) = check(self.stage.path(), model, expected, how);
        self.stage.touch_written(&events);
        (opened, events)
    }

    fn violation(&self, what: String) -> Violation {
        Violation { what, crashes: Vec::new(), states: self.count.states }
    }

    /// Finds a simpler state that shows something wrong: one in which fewer sectors are otherwise than if
    /// nothing had reached the disk, or than if all had.
    fn shrink(
        &mut self,
        disk: &mut Disk,
        window: &Window,
        mut pick: Picks,
        model: &Model,
        expected: Expected,
    ) -> Option<Violation> {
        let states = self.count.states;
        let (sectors, _) = state(disk, window, &pick);
        self.stage.set(disk, window.len, &sectors);
        self.stage.check(disk, window.len, &sectors);
        let mut wrong = |explorer: &mut Self, pick: &Picks| {
            let (sectors, _) = state(disk, window, pick);
            explorer
                .open(disk, window, &sectors, model, expected, Look::Again(Again::Killed))
                .0
                .err()
        };
        let mut what = wrong(self, &pick)?;
        let last: Picks = window.choices.iter().map(last_version).collect();
        let is_near = |pick: &Picks| {
            pick.iter().zip(&last).filter(|(one, last)| one == last).count() * 2 > pick.len()
        };
        let goal = if is_near(&pick) { last } else { vec![0; pick.len()] };
        let mut step = pick.len().next_power_of_two();
        while step > 0 {
            for start in (0..pick.len()).step_by(step) {
                let end = (start + step).min(pick.len());
                if pick[start..end] == goal[start..end] {
                    continue;
                }
                let mut simpler = pick.clone();
                simpler[start..end].copy_from_slice(&goal[start..end]);
                if let Some(still) = wrong(self, &simpler) {
                    (what, pick) = (still, simpler);
                }
            }
            step /= 2;
        }
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
        Some(Violation { what, crashes: vec![crash], states })
    }
}

/// The sectors in which a state differs from the disk's image, and its hash.
fn state(disk: &Disk, window: &Window, pick: &Picks) -> (Sectors, u128) {
    let mut sectors = Sectors::new();
    let mut hash = window.hash;
    for (choice, &pick) in window.choices.iter().zip(pick) {
        let version = choice.versions[usize::from(pick)].as_ref();
        if pick != 0 {
            let first = disk.hash_of(choice.sector, choice.versions[0].as_ref());
            hash ^= first ^ disk.hash_of(choice.sector, version);
        }
        sectors.extend(version.map(|version| (choice.sector, Rc::clone(version))));
    }
    (sectors, hash)
}

fn last_version(choice: &super::disk::Choice) -> u8 {
    u8::try_from(choice.versions.len() - 1).unwrap_or(u8::MAX)
}

fn tell(event: &Event) -> String {
    use super::record::Operation;
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
