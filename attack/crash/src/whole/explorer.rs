//! Goes through what was recorded, and at each moment lets the machine crash.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher},
    rc::Rc,
};

use super::{
    WholeFiles,
    expected::Expected,
    folder::{File, Folder, Scene},
    judge::{Judge, Look},
    mount::record,
    note::Note,
    recorder::Happening,
    source::mix,
    stage::Stage,
};
use crate::{
    choose::{Pick, Picks, simplify},
    random::Random,
    seen::AsItIs,
};

/// How much is tried.
#[derive(Clone, Copy, Debug)]
pub struct WholeEffort {
    /// The most new states at each moment; where there are no more, it is all of them.
    pub states_a_moment: u64,
    /// One state in so many has its files go on; in as many others, the call that was under way is made again.
    pub one_in: u64,
}

/// What was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WholeCount {
    /// States of folders that were looked at: none is equal to another in all names and bytes.
    pub distinct: u64,
    /// Those of them in which the call was made again.
    pub repeated: u64,
    /// Moments at which the machine crashed.
    pub moments: u64,
}

/// What an exploration came to.
#[derive(Debug, Default)]
pub(crate) struct WholeExplored {
    pub(crate) count: WholeCount,
    /// The hashes of all states, each once.
    pub(crate) hashes: Vec<u64>,
    /// The workload that showed something wrong, and what it showed.
    pub(crate) violation: Option<String>,
}

struct Explorer {
    stage: Stage,
    /// What each name showed, by the hashes of states.
    seen: HashMap<u64, Rc<[u64]>, BuildHasherDefault<AsItIs>>,
    seed: u64,
    effort: WholeEffort,
    count: WholeCount,
}

/// Explores workloads, one after the other, until one shows something wrong, or enough was done.
pub(crate) fn explore(
    workloads: impl IntoIterator<Item = (WholeFiles, WholeEffort)>,
    seed: u64,
    is_over: &dyn Fn() -> bool,
) -> WholeExplored {
    let mut explored = WholeExplored::default();
    for (workload, effort) in workloads {
        if is_over() {
            break;
        }
        // No state of one workload is one of another: each seals files under other uuids.
        let (stage, seen, count) = (Stage::new(), HashMap::default(), explored.count);
        let mut explorer = Explorer { stage, seen, seed, effort, count };
        let outcome = explorer.explore(workload, is_over);
        explored.count = explorer.count;
        explored.hashes.extend(explorer.seen.into_keys());
        if let Err(what) = outcome {
            let distinct = explored.count.distinct;
            let found = format!("found by state {distinct}, all of them distinct");
            explored.violation = Some(format!("{workload:?}, seed {seed}: {what}\n{found}"));
            break;
        }
    }
    explored
}

impl Explorer {
    fn explore(&mut self, workload: WholeFiles, is_over: &dyn Fn() -> bool) -> Result<(), String> {
        let judge = Judge::new(workload.calls()).map_err(|error| error.to_string())?;
        let tape = record(workload)?;
        let (mut folder, mut expected) = (Folder::default(), Expected::new());
        let mut has_begun = false;
        for (place, happening) in tape.iter().enumerate() {
            folder.play(happening);
            if let Happening::Note(note) = happening {
                expected.hear(*note, &judge.calls, &judge.contents);
                has_begun |= *note == Note::Start;
            }
            if !(has_begun && may_bring_states(happening)) {
                continue;
            }
            if is_over() {
                break;
            }
            self.count.moments += 1;
            self.moment(&mut folder, &judge, &expected, place as u64).map_err(|what| {
                let last = expected.last.map(|last| &judge.calls.calls[last]);
                format!("{what}\n  at event {place} ({}), {last:?}", tell(happening))
            })?;
        }
        Ok(())
    }

    fn moment(
        &mut self,
        folder: &mut Folder,
        judge: &Judge,
        expected: &Expected,
        place: u64,
    ) -> Result<(), String> {
        let mut random = Random::new(mix(self.seed, place));
        let scenes = folder.scenes(&mut random);
        let max = (self.effort.states_a_moment / scenes.len() as u64).max(2);
        for scene in &scenes {
            let before = self.count.distinct;
            let picks = Picks::new(&scene.window, max, Random::new(random.next()));
            for (number, pick) in (0..).zip(picks) {
                // The first two, nothing and everything, are always tried.
                let has_room = self.count.distinct < before + max;
                if number >= 2 && !(has_room && number < 2 * max) {
                    break;
                }
                let look = match random.below(self.effort.one_in) {
                    0 => Look::GoesOn,
                    1 if judge.to_repeat(expected).is_some() => Look::Repeats,
                    _ => Look::Quick,
                };
                self.state(folder, scene, &pick, judge, expected, look).map_err(|what| {
                    self.shrink((folder, scene, pick), (judge, expected)).unwrap_or(what)
                })?;
            }
        }
        Ok(())
    }

    fn state(
        &mut self,
        folder: &Folder,
        scene: &Scene,
        pick: &Pick,
        judge: &Judge,
        expected: &Expected,
        look: Look,
    ) -> Result<(), String> {
        let files = folder.files(scene, pick);
        let hash = hash(&files);
        if let Some(shown) = self.seen.get(&hash) {
            return expected.judge(shown);
        }
        self.count.distinct += 1;
        self.count.repeated += u64::from(look == Look::Repeats);
        self.stage.set(&files);
        let shown = judge.judge(&mut self.stage, expected, look)?;
        self.seen.insert(hash, shown.into());
        Ok(())
    }

    /// Finds a simpler state that shows something wrong, with the same names and lengths: one in which fewer
    /// sectors are otherwise than if nothing had reached the disk, or than if all had.
    fn shrink(
        &mut self,
        (folder, scene, pick): (&Folder, &Scene, Pick),
        (judge, expected): (&Judge, &Expected),
    ) -> Option<String> {
        let looks = [Look::Quick, Look::GoesOn, Look::Repeats];
        let mut wrong = |pick: &Pick| {
            looks.iter().find_map(|look| {
                self.stage.set(&folder.files(scene, pick));
                judge.judge(&mut self.stage, expected, *look).err()
            })
        };
        let changes = folder.tell_changes(&scene.reached);
        let files = scene.tell_files();
        let (what, pick, goal) = simplify(&scene.window, pick, &mut wrong)?;
        let others: Vec<String> = (0..pick.len())
            .filter(|&at| pick[at] != goal[at])
            .map(|at| format!("{} has version {}", scene.tell_place(at), pick[at]))
            .collect();
        let base = if goal.iter().all(|&one| one == 0) { "nothing" } else { "everything" };
        let others = if others.is_empty() { "no sector".into() } else { others.join(", ") };
        Some(format!(
            "{what}\n  names: {changes}\n  {files}; {base} reached the disk, otherwise is {others}"
        ))
    }
}

/// Whether something may leave states that were not there before, or tell more of them.
fn may_bring_states(happening: &Happening) -> bool {
    match happening {
        Happening::Sync { .. } | Happening::SyncFolder | Happening::Note(Note::Begun(_)) => false,
        Happening::Write { .. }
        | Happening::SetLen { .. }
        | Happening::SetAttributes { .. }
        | Happening::Change(_)
        | Happening::Note(Note::Start | Note::Returned(_)) => true,
    }
}

fn hash(files: &[File<'_>]) -> u64 {
    let one = |file: &File<'_>| {
        let mut hasher = DefaultHasher::new();
        (file.name, file.hash).hash(&mut hasher);
        hasher.finish()
    };
    files.iter().fold(0, |hash, file| hash ^ one(file))
}

fn tell(happening: &Happening) -> String {
    match happening {
        Happening::Write { node, offset, bytes } => {
            format!("write {} bytes at {offset} of file {node}", bytes.len())
        }
        other => format!("{other:?}"),
    }
}
