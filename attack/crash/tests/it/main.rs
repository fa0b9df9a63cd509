//! The explorer of crash states, for as long as every `cargo test` has the time.

mod crash;
