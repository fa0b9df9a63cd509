//! Tables with an entry or a bit for each page.
//!
//! An entry is found without a lock, and never moves. What was never stored to reads as zero, and takes no memory.

pub(crate) mod bits;
pub(crate) mod segments;
pub(crate) mod zeroed;
