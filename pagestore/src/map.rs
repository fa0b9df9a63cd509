//! Memory over a file: mapped, guarded against faults, and told where its pages lie.
//!
//! Those above get a [`Mapping`](mapping::Mapping), whose addresses stay where they are while it lives. A page that
//! cannot be reached is an error, or a fault that is noted, and not the end of the process. A noted fault is never
//! forgotten: whoever asks for it is told.

#[expect(unsafe_code, reason = "a signal handler, and what installs it")]
pub(crate) mod fault;
#[expect(unsafe_code, reason = "the one module that turns addresses into slices")]
pub(crate) mod mapping;
pub(crate) mod place;
pub(crate) mod poison;
