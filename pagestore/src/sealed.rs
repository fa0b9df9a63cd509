//! Pages that never change again: written once, sealed, and lent without a latch.
//!
//! A sealed file comes to its name whole, or not at all. A page is lent only after its checksum was found right. What
//! was verified and then left memory is verified again.

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
