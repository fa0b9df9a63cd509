//! The conformance suite against `Compressed` over `MemoryBackend`.
//!
//! Purpose and method: see `main.rs`. Blocks are of 16 KiB, so that the suite's ranges
//! cover some as a whole and others in part. A closed layer knows nothing any more, so opening
//! another one over the same memory reads every header again.

use storage::{BufferPool, Compressed, Limits, MemoryBackend};

use crate::{Holes, Kind, Sealed, Subject, promises};

const PACKED: Kind = Kind {
    make: |limits| over(MemoryBackend::with_budget(256 << 20, limits.clone()).unwrap(), limits),
    sealed: Sealed::Copied,
    holes: Holes::Free,
};

fn over(memory: MemoryBackend, limits: Limits) -> Subject {
    let buffers = BufferPool::new(limits.buffer_bytes);
    let layer = Compressed::new(memory.clone(), 16 << 10, buffers).unwrap();
    Subject::lasting(layer, move || over(memory, limits))
}

mod several_threads {
    use super::*;
    promises!(PACKED, "multi_thread");
}

mod one_thread {
    use super::*;
    promises!(PACKED, "current_thread");
}
