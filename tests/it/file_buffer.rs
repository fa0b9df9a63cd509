//! Blocks of a file in memory: what is read and written is what a plain vector of bytes would hold,
//! whatever is evicted, cancelled or fails meanwhile, and within the limit.
//!
//! The backend below is a file in memory that records each call and can be told to stall or to
//! fail. `model` compares random sequences of operations with a model; the others look at
//! one promise each, by the calls that reach the backend. `by_file` has real media below.

mod by_file;
mod double;
mod given_up;
mod limit;
mod model;
mod pass_through;
mod reading;
mod sharing;
mod writing;
