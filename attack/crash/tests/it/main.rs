//! The explorer of crash states, for as long as every `cargo test` has the time.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod crash;
