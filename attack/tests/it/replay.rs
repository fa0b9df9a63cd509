//! What fuzzers found worth keeping, run again: a crash that was found once cannot come back.
//!
//! Purpose: the inputs in `fuzz/seeds` reach what the fuzzers reached, and those in
//! `fuzz/regressions` are crashes of the past; `docs/attack.md` tells of each. Method: each file is
//! handed to its target, as the fuzzer does it. A panic names the file in front of it.

use std::{collections::BTreeSet, fs, panic::catch_unwind, path::Path};

use attack::{TARGETS, Target};

/// The folders of inputs, beneath that of the fuzzers.
const KINDS: [&str; 2] = ["seeds", "regressions"];

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"))
}

/// Runs all inputs of a target; says how many there were.
fn replay(&(name, run): &Target) -> usize {
    let mut count = 0;
    for kind in KINDS {
        let Ok(entries) = fs::read_dir(folder().join(kind).join(name)) else { continue };
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let input = fs::read(&path).unwrap();
            let outcome = catch_unwind(|| run(&input));
            assert!(outcome.is_ok(), "{} breaks a promise", path.display());
            count += 1;
        }
    }
    count
}

macro_rules! replays {
    ($($name:ident)+) => {
        /// The targets that have a test below.
        const TESTED: &[&str] = &[$(stringify!($name)),+];

        $(
            #[test]
            fn $name() {
                let target = TARGETS.iter().find(|(name, _)| *name == stringify!($name)).unwrap();
                let count = replay(target);
                assert!(count > 0, "there are no inputs for {}", target.0);
                println!("{count} inputs");
            }
        )+
    };
}

// One test each, so that they run beside each other.
replays! {
    backends checksums columns_directory compressed config file_buffer header log open_file
    page_file paths runs seal sealed spill transactions
}

/// A target without a fuzzer, a test or inputs would be forgotten in silence.
#[test]
fn every_target_has_a_fuzzer_and_a_test_and_no_input_is_left_over() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names = |path: &Path| -> BTreeSet<String> {
        let name =
            |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
        fs::read_dir(path).unwrap().map(|entry| name(entry.unwrap())).collect()
    };
    assert_eq!(TESTED.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>(), targets);
    assert_eq!(names(&folder().join("targets")), targets);
    assert_eq!(names(&folder().join("seeds")), targets);
    assert!(names(&folder().join("regressions")).is_subset(&targets));
}
