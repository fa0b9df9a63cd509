//! Every target with inputs by chance: state machines of the public interfaces, on stable.
//!
//! Purpose: what a fuzzer does for hours, for a second, wherever the tests run; a failure is shrunk.
//! Method: proptest makes bytes, which the targets read as sequences of operations with all their
//! arguments, and run against their models. Bytes are weighted towards small numbers, which are
//! what counts and choices are made of.

use attack::TARGETS;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![2 => any::<u8>(), 1 => 0..16_u8];
    prop_oneof![vec(byte.clone(), 0..60), vec(byte, 0..1500)]
}

fn random(name: &str, cases: u32) {
    let (_, run) = TARGETS.iter().find(|(target, _)| *target == name).expect("it is a target");
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&bytes(), |bytes| {
        run(&bytes);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

macro_rules! randoms {
    ($($name:ident: $cases:literal),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                random(stringify!($name), $cases);
            }
        )+
    };
}

randoms! {
    backends: 60,
    checksums: 2000,
    columns_directory: 2000,
    compressed: 1000,
    config: 1000,
    file_buffer: 1000,
    header: 2000,
    log: 300,
    open_file: 200,
    page_file: 200,
    paths: 2000,
    runs: 200,
    seal: 2000,
    sealed: 200,
    spill: 200,
    transactions: 100,
}
