//! Pages that never change again: written once, sealed, and lent without a latch.
//!
//! A sealed file gets its name when it is whole and durable, or never. A page is lent only after its checksum was found
//! right. A page that was evicted is verified again before it is lent again.

pub(crate) mod file;
#[cfg(all(test, loom))]
mod model;
pub(crate) mod options;
pub(crate) mod report;
#[expect(unsafe_code, reason = "vouches that nobody writes to a sealed file")]
pub(crate) mod shared;
pub(crate) mod unsealed;
pub(crate) mod verified;
pub(crate) mod verify;
pub(crate) mod writer;
