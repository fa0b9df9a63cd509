//! What is measured.

use serde::{Deserialize, Serialize};

use crate::data::PAGE_BYTES;

/// One kind of work, the same for every rival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Work {
    Read4k,
    Read4kWhole,
    Read64k,
    Scan,
    ColumnSum,
    Cold4k,
    Cold64k,
    ColdScan,
    OpenRead,
    Load,
    DurableLoad,
    UpdateFlush,
    UpdateSustained,
    ReadersWriter,
    SmallFiles,
    Spill,
    Heartbeat,
    BesideHeartbeat,
}

/// How a cost is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Of a time for so many operations: the time of one.
    Each,
    /// Of a time for so many bytes: how many in a second.
    Throughput,
    /// A time.
    Time,
}

impl Work {
    pub(crate) const ALL: [Self; 18] = [
        Self::Read4k,
        Self::Read4kWhole,
        Self::Read64k,
        Self::Scan,
        Self::ColumnSum,
        Self::Cold4k,
        Self::Cold64k,
        Self::ColdScan,
        Self::OpenRead,
        Self::Load,
        Self::DurableLoad,
        Self::UpdateFlush,
        Self::UpdateSustained,
        Self::ReadersWriter,
        Self::SmallFiles,
        Self::Spill,
        Self::Heartbeat,
        Self::BesideHeartbeat,
    ];

    /// The name on the command line, in the JSON and of its plots.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Read4k => "read-4k",
            Self::Read4kWhole => "read-4k-whole",
            Self::Read64k => "read-64k",
            Self::Scan => "scan",
            Self::ColumnSum => "column-sum",
            Self::Cold4k => "cold-4k",
            Self::Cold64k => "cold-64k",
            Self::ColdScan => "cold-scan",
            Self::OpenRead => "open-read",
            Self::Load => "load",
            Self::DurableLoad => "durable-load",
            Self::UpdateFlush => "update-flush",
            Self::UpdateSustained => "update-sustained",
            Self::ReadersWriter => "readers-writer",
            Self::SmallFiles => "small-files",
            Self::Spill => "spill",
            Self::Heartbeat => "heartbeat",
            Self::BesideHeartbeat => "beside-heartbeat",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Read4k => "random 4 KiB page, hot, first word",
            Self::Read4kWhole => "random 4 KiB page, hot, every word",
            Self::Read64k => "random 64 KiB block, hot, every word",
            Self::Scan => "scan in order, hot",
            Self::ColumnSum => "typed column sum, hot",
            Self::Cold4k => "random 4 KiB page, cold",
            Self::Cold64k => "random 64 KiB block, cold",
            Self::ColdScan => "scan in order, cold",
            Self::OpenRead => "open + first read",
            Self::Load => "bulk load",
            Self::DurableLoad => "bulk load, durable",
            Self::UpdateFlush => "1,000 scattered page updates, durable",
            Self::UpdateSustained => "the same, one after the other for 20 s",
            Self::ReadersWriter => "page read beside a durable writer",
            Self::SmallFiles => "small file of 4 KiB, written and read back",
            Self::Spill => "write, read back, remove: four times the memory limit",
            Self::Heartbeat => "p99 lateness of a heartbeat beside cold reads",
            Self::BesideHeartbeat => "random 4 KiB page, cold, beside a heartbeat",
        }
    }

    /// What a measured time is the time of.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Scan
            | Self::ColumnSum
            | Self::ColdScan
            | Self::Load
            | Self::DurableLoad
            | Self::Spill => Unit::Throughput,
            Self::UpdateFlush | Self::UpdateSustained | Self::Heartbeat => Unit::Time,
            _ => Unit::Each,
        }
    }

    /// The part of ours that a user takes for this, which the rivals are held against.
    pub(crate) fn ours(self) -> &'static str {
        match self {
            Self::UpdateFlush | Self::ReadersWriter => "mutable",
            Self::UpdateSustained => "versioned",
            Self::SmallFiles | Self::Heartbeat | Self::BesideHeartbeat => "async",
            _ => "sealed",
        }
    }

    /// The size of the blocks that it needs the data in.
    pub(crate) fn block_bytes(self) -> usize {
        match self {
            Self::Read64k | Self::Cold64k => 16 * PAGE_BYTES,
            _ => PAGE_BYTES,
        }
    }

    /// Whether it has sizes of its own, and is measured once.
    pub(crate) fn is_single(self) -> bool {
        matches!(self, Self::SmallFiles | Self::Spill | Self::Heartbeat | Self::BesideHeartbeat)
    }
}
