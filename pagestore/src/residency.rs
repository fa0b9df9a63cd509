//! What of files is in memory, and how it comes and goes.
//!
//! The wings above bring pages in through here where they are under a [`ResidencyBudget`](budget::ResidencyBudget): what is in
//! memory is charged, and the limit is kept. What is evicted forgets first what made its pages quick to borrow. What
//! the kernel is told ahead is a hint: answers are the same without.

pub(crate) mod advised;
pub(crate) mod budget;
pub(crate) mod cache;
pub(crate) mod folios;
pub(crate) mod inspect;
pub(crate) mod parts;
pub(crate) mod read_ahead;
pub(crate) mod stream;
pub(crate) mod write_behind;
