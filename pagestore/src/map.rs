//! Memory over a file: mapped, guarded against faults, and told where its pages lie.
//!
//! The wings above get a [`Mapping`](mapping::Mapping), whose addresses stay where they are while it lives. A page that
//! cannot be reached is an error or a noted fault, never the end of the process. Whoever asks after a fault is told so
//! for good.

#[expect(unsafe_code, reason = "a signal handler, and what installs it")]
pub(crate) mod fault;
#[expect(unsafe_code, reason = "the one module that turns addresses into slices")]
pub(crate) mod mapping;
pub(crate) mod place;
pub(crate) mod poison;
