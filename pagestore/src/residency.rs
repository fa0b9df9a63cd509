//! What of files is in memory, and how it comes and goes.
//!
//! Pages of a file under a [`ResidencyBudget`](budget::ResidencyBudget) are charged before they come into memory, and
//! the limit is kept. An eviction first clears what lets a borrow do without that charge. What the kernel is told ahead
//! is a hint: no answer depends on it.

pub(crate) mod advised;
pub(crate) mod budget;
pub(crate) mod cache;
pub(crate) mod folios;
pub(crate) mod inspect;
pub(crate) mod parts;
pub(crate) mod read_ahead;
pub(crate) mod stream;
pub(crate) mod write_behind;
