//! The comparison itself: nobody is left out without a word, and the documents say what was measured.
//!
//! Method: the program runs once with everybody, on data so small that it takes seconds, and its JSON is
//! searched for each pair of rival and work. Whether the answers are right is checked by the
//! program, which fails where one is not. Nothing here looks at a time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, path::Path, process::Command};

use serde_json::Value;

const WORKS: usize = 18;

fn compare(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_compare")).args(arguments).output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(told).unwrap())
}

fn measured(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

#[test]
fn what_cannot_be_measured_is_refused() {
    for (arguments, word) in [
        (["--size", "0"], "1..=65536"),
        (["--size", "65537"], "1..=65536"),
        (["--rounds", "0"], "1..=1000"),
        (["--rival", "nobody"], "there is no rival"),
    ] {
        let (is_ok, told) = compare(&arguments);
        assert!(!is_ok && told.contains(word) && !told.contains("panicked"), "{told}");
    }
}

#[test]
fn every_rival_does_every_work_or_says_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.json");
    let (is_ok, told) =
        compare(&["--size", "2", "--rounds", "1", "--into", path.to_str().unwrap()]);
    assert!(is_ok, "{told}");
    let results = measured(&path);
    let rivals = list(&results, "rivals");
    assert_eq!(rivals.len(), 13);
    let mut measured_count = 0;
    for rival in rivals {
        let name = text(rival, "name");
        let mut works = BTreeSet::new();
        for series in list(&results, "series").iter().filter(|one| text(one, "rival") == name) {
            assert!(series["ns"][0].as_f64().unwrap() > 0.0, "{series}");
            works.insert(text(series, "work"));
            measured_count += 1;
        }
        for unfit in list(rival, "unfit") {
            assert!(works.insert(text(unfit, "work")), "{name} does what does not fit it: {unfit}");
            assert!(told.contains(text(unfit, "why")), "{unfit} was not told");
        }
        for missed in list(&results, "unmeasured") {
            if text(missed, "rival") == name {
                assert!(works.insert(text(missed, "work")), "{missed} was measured after all");
                assert!(told.contains(text(missed, "why")), "{missed} was not told");
                eprintln!("NOT MEASURED HERE: {missed}");
            }
        }
        assert_eq!(works.len(), WORKS, "{name} is told of in {works:?} only");
    }
    assert!(measured_count > 100, "only {measured_count} were measured");
}

#[test]
fn further_rounds_are_added_to_earlier_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.json");
    let run = |more: &[&str]| {
        let common = ["--work", "load", "--rival", "pread", "--size", "1", "--rounds", "1"];
        let into = ["--into", path.to_str().unwrap()];
        let (is_ok, told) = compare(&[&common[..], &into, more].concat());
        assert!(is_ok, "{told}");
    };
    run(&[]);
    run(&["--add", "--first-round", "1"]);
    let results = measured(&path);
    for series in list(&results, "series") {
        assert_eq!(series["ns"].as_array().unwrap().len(), 2, "{series}");
    }
    assert!(!list(&results, "series").is_empty());
}

/// A run takes many minutes: it must not find out at its end that its results have no place.
#[test]
fn results_have_a_place_before_anybody_is_measured() {
    let quick = ["--work", "load", "--rival", "pread", "--size", "1", "--rounds", "1"];
    let (is_ok, told) = compare(&quick);
    assert!(is_ok, "{told}");
    let place = told.lines().find_map(|line| line.strip_prefix("results: ")).unwrap();
    let place = Path::new(place.strip_suffix(", plots beside it").unwrap());
    assert!(!list(&measured(place), "series").is_empty());

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let beneath = file.join("results.json");
    let (is_ok, told) = compare(&["--into", beneath.to_str().unwrap()]);
    assert!(!is_ok && told.contains("results cannot go to"), "{told}");
}

/// The tables in README.md and docs/performance.md say what docs/comparison.json does.
#[test]
fn documents_say_what_was_measured() {
    let (is_ok, told) = compare(&["check"]);
    assert!(is_ok, "{told}");
}
