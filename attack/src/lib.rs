//! What fuzzers do to the store.
//!
//! Each module has one function `run`, which takes the bytes that a fuzzer makes up, does with the
//! store what they say, and panics where a promise is broken. The fuzzer in `fuzz/` calls it a
//! million times with new bytes; `tests/replay.rs` calls it with those that are worth keeping, under
//! the plain `cargo test`. So a crash that was found once cannot come back unnoticed.
//!
//! Bytes are read as [`arbitrary`] reads them: as a structure, so that a changed byte is another
//! operation or another field and not just a broken file. [`TARGETS`] has them all; `docs/attack.md`
//! says what each one is after.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a broken promise is a panic: that is what a fuzzer looks for"
)]
#![forbid(unsafe_code)]

pub mod backends;
pub mod checksums;
pub mod columns_directory;
pub mod compressed;
pub mod config;
pub mod file_buffer;
mod forge;
pub mod header;
pub mod log;
#[path = "../../tests/conformance/model.rs"]
mod model;
pub mod open_file;
pub mod page_file;
pub mod paths;
pub mod runs;
pub mod seal;
pub mod sealed;
mod shelf;
pub mod spill;
mod steps;
pub mod transactions;

/// A target: its name, which is that of its fuzzer and of the folders of its inputs, and what runs
/// one input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 16] = [
    ("backends", backends::run),
    ("checksums", checksums::run),
    ("columns_directory", columns_directory::run),
    ("compressed", compressed::run),
    ("config", config::run),
    ("file_buffer", file_buffer::run),
    ("header", header::run),
    ("log", log::run),
    ("open_file", open_file::run),
    ("page_file", page_file::run),
    ("paths", paths::run),
    ("runs", runs::run),
    ("seal", seal::run),
    ("sealed", sealed::run),
    ("spill", spill::run),
    ("transactions", transactions::run),
];
