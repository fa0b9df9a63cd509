//! The conformance suite against `MemoryBackend`: files in anonymous memory.
//!
//! Purpose and method: see `conformance/mod.rs`. Nothing outlives the backend, so the subject cannot
//! be reopened.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use storage::{Limits, MemoryBackend};

use crate::conformance::{Erased, Subject, conformance};

mod conformance;

struct Memory(Arc<MemoryBackend>);

impl Subject for Memory {
    type Backend = MemoryBackend;

    const SEALED_IS_ZERO_COPY: bool = true;
    /// Only pages that are written to take memory.
    const HOLES_ARE_FREE: bool = true;

    fn make(limits: Limits) -> Self {
        Self(Arc::new(MemoryBackend::with_budget(256 << 20, limits).unwrap()))
    }

    fn backend(&self) -> &Arc<MemoryBackend> {
        &self.0
    }

    fn reopen(self) -> Option<Self> {
        None
    }
}

mod plain {
    use super::*;
    conformance!(Memory, "multi_thread");
}

mod erased {
    use super::*;
    conformance!(Erased<Memory>, "current_thread");
}
