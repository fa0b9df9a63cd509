//! Tables with an entry or a bit for each page, which take memory by what was stored to them.

pub(crate) mod bits;
pub(crate) mod segments;
pub(crate) mod zeroed;
