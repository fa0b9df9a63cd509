//! How sizes and durations are written: `65536` or `"64 KiB"`, `"250ms"` or `"1m 30s"`.

use std::{fmt, time::Duration};

use parse_size::parse_size;
use serde::de::{Error, Visitor};

/// Says what is wrong with a text, and what to write instead. The text itself is not in it, since it
/// may be a secret that got into the wrong place.
pub(super) type Wrong = String;

/// Reads a size in bytes.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    // The reason holds nothing of the text.
    parse_size(text).map_err(|error| {
        format!(
            "it is no size in bytes ({error}): write a number, or one with a unit, as \"64 KiB\""
        )
    })
}

/// How it is written that there is no limit.
const NONE: &str = "none";

/// Reads a size in bytes, or that there is none.
pub(super) fn size_or_none(text: &str) -> Result<Option<u64>, Wrong> {
    if text == NONE { Ok(None) } else { size(text).map(Some) }
}

/// Reads a duration.
pub(super) fn time(text: &str) -> Result<Duration, Wrong> {
    // The reason would hold a part of the text.
    humantime::parse_duration(text).map_err(|_| {
        "it is no duration: write a number and a unit, as \"250ms\" or \"10s\"".to_owned()
    })
}

/// For `serde(with)`: a size, as an integer or as a text with a unit. Written as an integer.
pub(super) mod bytes {
    use serde::{Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde prescribes it")]
    pub(in crate::config) fn serialize<S: Serializer>(
        size: &u64,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_u64(*size)
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<u64, D::Error> {
        from.deserialize_any(super::SizeVisitor)
    }
}

/// For `serde(with)`: a size, or `"none"`.
pub(super) mod bytes_or_none {
    use serde::{Deserializer, Serializer};

    use super::NONE;

    pub(in crate::config) fn serialize<S: Serializer>(
        size: &Option<u64>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match size {
            Some(size) => to.serialize_u64(*size),
            None => to.serialize_str(NONE),
        }
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<u64>, D::Error> {
        from.deserialize_any(super::SizeOrNoneVisitor)
    }
}

/// For `serde(with)`: a duration, as a text with units.
pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    pub(in crate::config) fn serialize<S: Serializer>(
        duration: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(&humantime::format_duration(*duration))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        from.deserialize_str(super::DurationVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size in bytes, as 65536 or \"64 KiB\"")
    }

    fn visit_u64<E: Error>(self, size: u64) -> Result<u64, E> {
        Ok(size)
    }

    fn visit_i64<E: Error>(self, size: i64) -> Result<u64, E> {
        u64::try_from(size)
            .map_err(|_| E::custom(format!("a size cannot be {size}: it is negative")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        size(text).map_err(E::custom)
    }
}

struct SizeOrNoneVisitor;

impl Visitor<'_> for SizeOrNoneVisitor {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"none\", or a size in bytes, as 65536 or \"64 KiB\"")
    }

    fn visit_u64<E: Error>(self, size: u64) -> Result<Self::Value, E> {
        SizeVisitor.visit_u64(size).map(Some)
    }

    fn visit_i64<E: Error>(self, size: i64) -> Result<Self::Value, E> {
        SizeVisitor.visit_i64(size).map(Some)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        size_or_none(text).map_err(E::custom)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration, as \"250ms\" or \"10s\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        time(text).map_err(E::custom)
    }
}
