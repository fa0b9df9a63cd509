//! The conformance suite against `Compressed` over `MemoryBackend`.
//!
//! Purpose and method: see `conformance/mod.rs`. Blocks are of 16 KiB, so that the suite's ranges
//! cover some as a whole and others in part. A closed layer knows nothing any more, so opening
//! another one over the same memory reads every header again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use storage::{BufferPool, Compressed, Limits, MemoryBackend};

use crate::conformance::{Erased, Subject, promises};

#[expect(dead_code, unused_imports, unused_macros, reason = "a part of the suite is not for it")]
mod conformance;

struct Packed {
    memory: MemoryBackend,
    limits: Limits,
    layer: Arc<Compressed<MemoryBackend>>,
}

impl Packed {
    fn over(memory: MemoryBackend, limits: Limits) -> Self {
        let buffers = BufferPool::new(limits.buffer_bytes);
        let layer = Compressed::new(memory.clone(), 16 << 10, buffers).unwrap();
        Self { memory, limits, layer: Arc::new(layer) }
    }
}

impl Subject for Packed {
    type Backend = Compressed<MemoryBackend>;

    const SEALED_IS_ZERO_COPY: bool = false;
    const HOLES_ARE_FREE: bool = true;

    fn make(limits: Limits) -> Self {
        Self::over(MemoryBackend::with_budget(256 << 20, limits.clone()).unwrap(), limits)
    }

    fn backend(&self) -> &Arc<Compressed<MemoryBackend>> {
        &self.layer
    }

    fn reopen(self) -> Option<Self> {
        let Self { memory, limits, layer } = self;
        drop(layer);
        Some(Self::over(memory, limits))
    }
}

mod plain {
    use super::*;
    promises!(Packed, "multi_thread");
}

mod erased {
    use super::*;
    promises!(Erased<Packed>, "current_thread");
}
