//! The file itself: who may have it open, how it gets its name, and its blocks on the disk.
//!
//! Those above get a [`Claim`](claim::Claim): an open regular file under our lock, with the evidence that nobody else
//! writes to it. A new file gets its name only when it is whole and durable. Bytes get their place on the disk before
//! anything is stored to them, or that is an error.

pub(crate) mod access;
pub(crate) mod claim;
pub(crate) mod disk;
pub(crate) mod durable;
pub(crate) mod evidence;
pub(crate) mod filesystem;
pub(crate) mod header;
pub(crate) mod lease;
pub(crate) mod new_file;
pub(crate) mod pending;
pub(crate) mod progress;
pub(crate) mod purpose;
pub(crate) mod rewriting;
pub(crate) mod seal;
