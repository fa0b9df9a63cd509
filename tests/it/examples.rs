//! Every example runs to its end and prints what it should.
//!
//! Method: `cargo test` builds the examples; each runs as a process of its own, within a time limit.

mod running;

#[test]
fn no_example_is_left_out() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let run = [
        "anonymous",
        "mutable_file",
        "sealed_file",
        "sorted_run",
        "spill",
        "tar_backend",
        "transactions",
    ];
    running::all_are_run(folder, &run);
}

/// Checks that an example runs to its end, and that its output has all of `expected`.
#[track_caller]
fn prints(name: &str, expected: &[&str]) {
    let Some(printed) = running::run(name, &[]) else { return };
    for words in expected {
        assert!(printed.contains(words), "{words:?} is missing in what {name} prints: {printed}");
    }
}

#[test]
fn anonymous() {
    prints("anonymous", &["1016 pages were dirty"]);
}

#[test]
fn mutable_file() {
    prints("mutable_file", &["bytes durable in", "sum of all counters: 523776"]);
}

#[test]
fn sealed_file() {
    prints("sealed_file", &["id 77777 costs 19444.25", "bytes are still readable"]);
}

#[test]
fn sorted_run() {
    let customer = "customer 777777: order 2 x 1";
    prints("sorted_run", &["1666666 orders of 1000000 customers", customer]);
}

#[test]
fn spill() {
    prints("spill", &["16777216 records in order"]);
}

#[test]
fn tar_backend() {
    prints("tar_backend", &["data/numbers  \"1 2 3 4 5\"", "cannot write to \"new\""]);
}

#[test]
fn transactions() {
    let words = ["2 pages durable by commit 1", "account 0: 100 then, 50 now; the bank has 102400"];
    prints("transactions", &words);
}
