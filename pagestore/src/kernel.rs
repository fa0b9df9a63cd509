//! System calls that no library wraps, and those that the store can do without.
//!
//! A refused [`Hint`](hint::Hint) is noted, and nobody fails for it. Any other refusal is an error of whoever called.

#[expect(unsafe_code, reason = "system calls that no library wraps")]
pub(crate) mod calls;
pub(crate) mod hint;
