//! Pages that change in place.
//!
//! A page is borrowed under its latch, and never moves. What was stored to is marked dirty before it can be seen as
//! clean. What a flush promised is on the disk, and a flush that failed is never taken for one that did not.

pub(crate) mod dirty;
pub(crate) mod flush;
#[expect(unsafe_code, reason = "guards turn latched memory into slices")]
pub(crate) mod guard;
#[expect(unsafe_code, reason = "pairs latches with the memory they protect")]
pub(crate) mod latched;
#[cfg(all(test, loom))]
pub(crate) mod model;
pub(crate) mod options;
#[expect(unsafe_code, reason = "vouches for the mappings it makes")]
pub(crate) mod page_file;
pub(crate) mod populate;
pub(crate) mod presence;
pub(crate) mod self_wait;
#[expect(unsafe_code, reason = "gives latches back by their tokens")]
pub(crate) mod states;
pub(crate) mod write_back;
