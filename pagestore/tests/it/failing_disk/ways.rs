//! Which operations fail in which way.

use std::sync::OnceLock;

use crate::report::seed;

/// The operations that are made to fail in one of so many ways: each in one of them, and which, is another one from
/// run to run (`PAGESTORE_TEST_SEED`); all of them in each, where `PAGESTORE_TEST_ALL_FAILURES` is set.
pub(crate) fn numbers(way: usize, ways: usize) -> impl Iterator<Item = u64> {
    static SEED: OnceLock<u64> = OnceLock::new();
    let ways = ways as u64;
    let (first, step) = match std::env::var_os("PAGESTORE_TEST_ALL_FAILURES") {
        Some(_) => (0, 1),
        None => ((way as u64 + SEED.get_or_init(seed)) % ways, ways),
    };
    (1 + first..).step_by(usize::try_from(step).expect("there are few ways"))
}
