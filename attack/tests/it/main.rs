//! Every target of the fuzzers on stable: with what fuzzers found, and with inputs by chance.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod random;
mod replay;
