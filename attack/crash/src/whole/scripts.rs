//! Which calls a workload makes.

use pagestore::Existing::{self, Refuse, Replace};

use super::{
    calls::{Call, Calls, NAMES, Name, What},
    source::STATES,
};
use crate::random::Random;

/// How many scripts there are.
pub(crate) const SCRIPTS: usize = 9;

fn call(name: Name, existing: Existing, what: What) -> Call {
    Call { name, existing, what }
}

fn backup(name: Name, state: usize, since: Option<Name>) -> Call {
    call(name, Refuse, What::Backup { state, since })
}

/// A script for each kind of call, of which the first so many were made before.
pub(crate) fn script(number: usize) -> Calls {
    use What::{
        Backup, Bytes, Commit, Copy, Create, PageFile, Remove, Rescue, Restore, Seal, SealAndClose,
        SealRaw,
    };
    let (before, calls) = match number {
        0 => (
            0,
            vec![
                call(0, Refuse, Seal(100)),
                call(0, Replace, Seal(5000)),
                call(1, Refuse, SealAndClose(0)),
                call(1, Replace, SealAndClose(9000)),
            ],
        ),
        1 => (
            1,
            vec![
                call(0, Refuse, Seal(70_000)),
                call(0, Replace, SealAndClose(120_000)),
                call(0, Refuse, Remove),
                call(0, Refuse, Seal(40_000)),
            ],
        ),
        2 => (
            1,
            vec![
                call(0, Refuse, Bytes(700)),
                call(0, Replace, Bytes(20_000)),
                call(1, Refuse, Bytes(1)),
                call(0, Refuse, Remove),
                call(0, Refuse, Bytes(3000)),
            ],
        ),
        3 => (
            0,
            vec![
                call(0, Refuse, Create),
                call(0, Replace, Commit),
                call(1, Refuse, PageFile),
                call(0, Refuse, Remove),
                call(0, Refuse, Create),
            ],
        ),
        4 => (
            0,
            vec![
                call(0, Refuse, Copy(0)),
                call(0, Replace, Copy(3)),
                call(1, Refuse, Rescue),
                call(0, Replace, Commit),
            ],
        ),
        5 => (
            0,
            vec![
                backup(0, 0, None),
                backup(1, 1, Some(0)),
                backup(2, 3, Some(1)),
                backup(3, 4, Some(2)),
            ],
        ),
        6 => (
            3,
            vec![
                backup(0, 0, None),
                backup(1, 2, Some(0)),
                backup(2, 4, Some(1)),
                call(3, Refuse, Restore(vec![0])),
                call(3, Replace, Restore(vec![0, 1])),
                call(4, Refuse, Restore(vec![0, 1, 2])),
                call(4, Replace, Commit),
            ],
        ),
        7 => (
            0,
            vec![
                call(0, Refuse, SealRaw(300)),
                call(1, Refuse, SealRaw(30_000)),
                call(0, Refuse, Remove),
                call(0, Refuse, SealRaw(6000)),
            ],
        ),
        _ => (
            1,
            vec![
                backup(0, 0, None),
                call(0, Replace, Backup { state: 2, since: None }),
                backup(1, 4, Some(0)),
                call(2, Refuse, Restore(vec![0, 1])),
            ],
        ),
    };
    Calls { calls, before, seed: number as u64 }
}

/// Calls by chance: one to six of them, on all names.
pub(crate) fn random(seed: u64) -> Calls {
    let mut random = Random::new(seed ^ 0x77);
    let mut calls: Vec<Call> = Vec::new();
    // A chain of backups has the first names; how many, and the state of the last one.
    let (mut chain, mut state) = (0, 0);
    let mut below = |limit: usize| crate::disk::index(random.below(limit as u64));
    let count = 1 + below(6);
    let mut before = 0;
    while calls.len() < count {
        if calls.len() <= count / 2 && below(3) == 0 {
            before = calls.len();
        }
        if below(3) == 0 && chain < 3 && state < STATES {
            let since = (chain > 0).then(|| chain - 1);
            calls.push(backup(chain, state, since));
            (chain, state) = (chain + 1, state + 1 + below(2));
            continue;
        }
        let name = 3 + below(NAMES.len() - 3);
        let last = calls.iter().rfind(|call| call.name == name).map(|call| &call.what);
        let is_there = last.is_some_and(|last| !matches!(last, What::Remove));
        let is_versioned = matches!(
            last,
            Some(What::Create | What::Copy(_) | What::Rescue | What::Restore(_) | What::Commit)
        );
        let len = match below(4) {
            0 => below(600),
            1 | 2 => below(20_000),
            _ => below(150_000),
        };
        let what = match below(9) {
            0 => What::Seal(len),
            1 => What::SealAndClose(len),
            2 => What::Bytes(len),
            3 | 4 if is_versioned => What::Commit,
            3 if chain > 0 => What::Restore((0..chain).collect()),
            4 => What::Copy(below(STATES)),
            5 if chain > 0 => What::Restore((0..=below(chain)).collect()),
            6 if is_there => What::Remove,
            6 if !is_there => What::Rescue,
            7 if !is_there => What::Create,
            8 if !is_there && below(2) == 0 => What::PageFile,
            8 if !is_there => What::SealRaw(len),
            _ => What::Copy(below(STATES)),
        };
        let is_change = matches!(what, What::Commit | What::Remove);
        let existing = if is_there && !is_change { Replace } else { Refuse };
        calls.push(call(name, existing, what));
    }
    before = before.min(calls.len() - 1);
    Calls { calls, before, seed }
}
