//! Every example runs to its end and prints what it should.
//!
//! Method: `cargo test` builds the examples; each runs as a process of its own, within a time limit.

#[path = "../../../tests/it/examples/running.rs"]
mod running;

#[test]
fn no_example_is_left_out() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    running::all_are_run(folder, &["auctions", "backend", "join", "two_hosts"]);
}

#[test]
fn a_circuit_goes_on_after_a_restart() {
    let Some(printed) = running::run("backend", &[]) else { return };
    for words in ["run 0: 1000 auctions", "run 1: 1000 auctions"] {
        assert!(printed.contains(words), "{words:?} is missing in {printed}");
    }
}

#[test]
fn every_way_to_keep_a_join_gives_one_answer() {
    let Some(printed) = running::run("join", &["0.01"]) else { return };
    for words in ["join, 0.01 M records a side", "join + max", "read in place against in memory"] {
        assert!(printed.contains(words), "{words:?} is missing in {printed}");
    }
}

#[test]
fn every_way_to_keep_auctions_gives_one_answer() {
    let Some(printed) = running::run("auctions", &["0.06", "1"]) else { return };
    for words in
        ["join with a predicate on texts", "top 10 of each window", "maximum by a text key"]
    {
        assert!(printed.contains(words), "{words:?} is missing in {printed}");
    }
}

/// Two hosts that each wait for the other, or for a parent who waits for them, never end.
#[test]
fn two_hosts_find_what_one_finds() {
    let Some(printed) = running::run("two_hosts", &[]) else { return };
    let numbers: Vec<i64> = printed
        .split(|byte: char| !byte.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    let [0, first, 1, second, alone] = numbers[..] else { panic!("{printed}") };
    assert!(first > 0 && second > 0, "each host has its part: {printed}");
    assert_eq!(first + second, alone);
}
