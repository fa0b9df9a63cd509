//! Saying what a test counted or measured, past the capture of a test's output.

use std::io::{self, Write as _};

/// Says a line on the terminal.
pub(crate) fn say(line: &str) {
    // Where nobody listens, the assertions still hold.
    let _said = writeln!(io::stderr(), "{line}");
}

/// The seed of this run: `PAGESTORE_TEST_SEED` where that is set, else from the clock.
#[allow(dead_code, reason = "not every suite is random")]
pub(crate) fn seed() -> u64 {
    match std::env::var("PAGESTORE_TEST_SEED") {
        Ok(seed) => seed.parse().expect("PAGESTORE_TEST_SEED is a number"),
        Err(_) => std::time::UNIX_EPOCH.elapsed().map_or(1, |now| u64::from(now.subsec_nanos())),
    }
}

/// Random numbers that a seed determines (splitmix64).
#[allow(dead_code, reason = "not every suite is random")]
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

#[allow(dead_code, reason = "not every suite is random")]
impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `count` times.
    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// Another sequence that goes its own way.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
}
