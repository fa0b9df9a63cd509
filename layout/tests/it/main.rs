//! Tests of the format, through the public interface, in one program: building one costs more than
//! running it.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod columns;
mod dump;
mod forge;
mod format_doc;
mod header;
mod hostile;
mod items;
mod manifest;
mod messages;
mod numbers;
mod seal;
mod versioned;
mod versioned_doc;
