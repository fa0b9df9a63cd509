//! Pages that change in place.
//!
//! A page is borrowed under its latch, and no page ever moves. A page is marked dirty before the first store to it. A
//! flush that succeeds has made every marked page durable; one that fails poisons the file for good.

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
