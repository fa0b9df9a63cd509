//! A process that is killed at any moment goes on from its last checkpoint as if nothing had been.

use std::{path::Path, thread, time::Duration};

use feldera_types::config::StorageCompression;
use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use super::On;
use crate::{
    process::{self, Process},
    workload::{Digest, Operators, Running, Step, Use},
};

const RECORDS: u64 = 5_000;
/// The transactions of a life that is not ended before.
const STEPS: u64 = 24;
const STEPS_PER_CHECKPOINT: u64 = 2;
const KILLS: usize = 4;

const WITH: Use = Use { workers: 2, cache_mib: Some(16), compression: StorageCompression::Snappy };

/// A checkpoint, and what had come out of the circuit by then.
#[derive(Clone, Copy, Debug)]
struct Saved {
    uuid: Uuid,
    steps_done: u64,
    digest: Digest,
}

impl Saved {
    fn tell(&self) {
        let Digest { weight, sum } = self.digest;
        process::tell(&format!("{} {} {weight} {sum}", self.uuid, self.steps_done));
    }

    fn parse(line: &str) -> Self {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        Self {
            uuid: word().parse().unwrap(),
            steps_done: word().parse().unwrap(),
            digest: Digest { weight: word().parse().unwrap(), sum: word().parse().unwrap() },
        }
    }
}

/// Runs from a checkpoint, or from the start, to the end; says what came out in all.
fn live(on: On, folder: &Path, from: Option<Saved>, save: impl Fn(Saved)) -> Digest {
    let storage = on.storage(folder).with_init_checkpoint(from.map(|saved| saved.uuid));
    let mut running = Running::start(WITH.config(storage), Operators::Four);
    let mut digest = from.map_or(Digest::default(), |saved| saved.digest);
    for number in from.map_or(0, |saved| saved.steps_done)..STEPS {
        digest += running.step(Step::whole(number, RECORDS));
        if (number + 1) % STEPS_PER_CHECKPOINT == 0 {
            let uuid = running.circuit.checkpoint().run().unwrap().uuid;
            save(Saved { uuid, steps_done: number + 1, digest });
        }
    }
    running.stop();
    digest
}

#[test]
fn a_circuit_that_is_killed_goes_on_from_its_checkpoint() {
    let test = "circuits::killed::a_circuit_that_is_killed_goes_on_from_its_checkpoint";
    if let Some(passed) = process::passed() {
        let (folder, from) = passed.split_once('\n').unwrap();
        let from = (!from.is_empty()).then(|| Saved::parse(from));
        live(On::Ours, Path::new(folder), from, |saved| saved.tell());
        return;
    }
    let seed = rand::random();
    println!("seed {seed}");
    let random = &mut StdRng::seed_from_u64(seed);
    let elsewhere = tempfile::tempdir().unwrap();
    let expected = live(On::BuiltIn, elsewhere.path(), None, |_| {});

    let folder = tempfile::tempdir().unwrap();
    let mut saved: Option<Saved> = None;
    for _ in 0..KILLS {
        let from = saved.map_or(String::new(), |Saved { uuid, steps_done, digest }| {
            format!("{uuid} {steps_done} {} {}", digest.weight, digest.sum)
        });
        let passed = format!("{}\n{from}", folder.path().display());
        let mut process = Process::start(test, &passed);
        let Some(first) = process.hear() else { break };
        // Into whatever it is doing then: a transaction, a merge, the next checkpoint.
        thread::sleep(Duration::from_micros(random.gen_range(0..150_000)));
        let later = process.kill();
        saved = Some(Saved::parse(later.last().unwrap_or(&first)));
    }
    let saved = saved.unwrap();
    assert!(saved.steps_done > 0);
    // What the killed ones left is enough for either backend.
    let copy = tempfile::tempdir().unwrap();
    copy_tree(folder.path(), copy.path());
    assert_eq!(live(On::BuiltIn, copy.path(), Some(saved), |_| {}), expected);
    assert_eq!(live(On::Ours, folder.path(), Some(saved), |_| {}), expected);
}

#[test]
fn our_backend_goes_on_from_a_checkpoint_of_the_built_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let all = std::cell::RefCell::new(Vec::new());
    let expected = live(On::BuiltIn, folder.path(), None, |saved| all.borrow_mut().push(saved));
    let middle = all.borrow()[5];
    assert_eq!(live(On::Ours, folder.path(), Some(middle), |_| {}), expected);
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
