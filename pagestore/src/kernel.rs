//! System calls that no library wraps, and those that the store can do without.

#[expect(unsafe_code, reason = "system calls that no library wraps")]
pub(crate) mod calls;
pub(crate) mod hint;
