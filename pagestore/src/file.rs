//! The file itself: who may have it open, how it comes to its name, and its blocks on the disk.
//!
//! The wings above get a [`Claim`](claim::Claim): an open regular file under a lock, with the evidence that nobody else
//! writes to it. A new file has its name only when it is whole and durable. What the disk has no room for is an error
//! before anything can be stored to it.

pub(crate) mod access;
pub(crate) mod claim;
pub(crate) mod disk;
pub(crate) mod evidence;
pub(crate) mod header;
pub(crate) mod lease;
pub(crate) mod new_file;
pub(crate) mod pending;
pub(crate) mod purpose;
pub(crate) mod rewriting;
pub(crate) mod seal;
