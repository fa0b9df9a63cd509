//! Every example runs to its end and prints what it should.
//!
//! Method: `cargo test` builds the examples; each runs as a process of its own, within a time limit.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod running;

/// Each example, and what stands in its output.
const EXAMPLES: [(&str, &[&str]); 6] = [
    ("anonymous", &["1016 pages were dirty"]),
    ("mutable_file", &["bytes durable in", "sum of all counters: 523776"]),
    ("sealed_file", &["id 77777 costs 19444.25", "bytes are still readable"]),
    ("sorted_run", &["1666666 orders of 1000000 customers", "customer 777777: order 2 x 1"]),
    ("spill", &["16777216 records in order"]),
    ("tar_backend", &["data/numbers  \"1 2 3 4 5\"", "cannot write to \"new\""]),
];

#[test]
fn no_example_is_left_out() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    running::all_are_run(folder, &EXAMPLES.map(|(name, _)| name));
}

#[test]
fn every_example_runs_to_its_end() {
    for (name, expected) in EXAMPLES {
        let Some(printed) = running::run(name, &[]) else { continue };
        for words in expected {
            assert!(
                printed.contains(words),
                "{words:?} is missing in what {name} prints: {printed}"
            );
        }
    }
}
