//! How the memory that sorting may take is divided.

const MIB: u64 = 1 << 20;

/// What the process itself takes: code, stacks, buffers for the output.
const OWN_BYTES: u64 = 4 * MIB;

/// What spills buffer. They charge the budget for it themselves.
const SPILL_BYTES: u64 = 4 * MIB;

/// Chunks that are read, sorted and spilled at the same time.
pub(super) const CHUNK_COUNT: u64 = 3;

/// A division of the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    pub(super) memory_bytes: u64,
}

impl Plan {
    /// The least memory to sort in.
    pub(super) const MEMORY_BYTES_MIN: u64 = 16 * MIB;

    /// What chunks and the spills' pages in memory share.
    fn shared_bytes(self) -> u64 {
        self.memory_bytes - OWN_BYTES - SPILL_BYTES
    }

    /// What is set apart for the process itself.
    pub(super) fn own_bytes(self) -> u64 {
        OWN_BYTES
    }

    /// The bytes of a chunk: a bit more than a quarter each, so that a fifth of all is left for what
    /// waits to be written to the disk.
    pub(super) fn chunk_bytes(self) -> usize {
        index(self.shared_bytes() * 4 / 5 / CHUNK_COUNT)
    }

    /// The most that a chunk can grow to for one long line, when it is the only one.
    pub(super) fn chunk_bytes_max(self) -> usize {
        index(self.shared_bytes() * 3 / 4)
    }
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
