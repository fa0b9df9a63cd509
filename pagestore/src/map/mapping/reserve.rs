//! How many addresses a mapping takes, and what is said where they are refused.

use std::io;

use rustix::io::Errno;

use super::region::{Content, Growth, Region};
use crate::error::{
    Error, Result,
    address_limit::{self, AddressLimit, Counted},
};

/// How many addresses a mapping that is written to takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reserve {
    /// So many bytes, for good.
    Exactly(u64),
    /// As many as these bytes need, and more when they become more ([`make_room`](super::Mapping::make_room)).
    Growing(u64),
}

/// The least that a mapping that grows has.
const GROWING_MIN_BYTES: u64 = 1 << 20;

/// The most that it has beyond what is needed.
const GROWING_ROOM_MAX_BYTES: u64 = 1 << 30;

impl Reserve {
    pub(super) fn of(self, content: Content<'_>, counted: Counted) -> Result<Region> {
        let map = |bytes: u64, growth| {
            let len = to_usize(bytes, counted)?;
            Region::new(content, len, growth).map_err(|source| refused(bytes, counted, source))
        };
        match self {
            Self::Exactly(bytes) => map(bytes, Growth::None),
            Self::Growing(needed) => map(Self::grown(needed), Growth::InPlace)
                .or_else(|_| map(needed.max(GROWING_MIN_BYTES), Growth::InPlace)),
        }
    }

    /// How much to reserve where so much is needed: twice as much, within limits, so that few calls
    /// are made while a file grows.
    pub(super) fn grown(needed_bytes: u64) -> u64 {
        let room = needed_bytes.clamp(GROWING_MIN_BYTES, GROWING_ROOM_MAX_BYTES);
        let sum = needed_bytes.saturating_add(room);
        sum.checked_next_multiple_of(GROWING_MIN_BYTES).unwrap_or(needed_bytes)
    }
}

pub(super) fn refused(bytes: u64, counted: Counted, source: io::Error) -> Error {
    let limit = address_limit::met(bytes, counted).unwrap_or(AddressLimit::Unknown);
    Error::AddressSpace { bytes, limit, source }
}

pub(super) fn to_usize(bytes: u64, counted: Counted) -> Result<usize> {
    usize::try_from(bytes).map_err(|_| refused(bytes, counted, Errno::OVERFLOW.into()))
}
