//! Finding memory for a block.

use std::sync::Arc;

use tokio::{runtime::Handle, time::Instant};

use super::{Inner, cache::DIRTY_PASSED, write_back};
use crate::{FBuf, Operation, StorageBackend, StorageError};

/// A buffer for one block: unused memory, or that of the block that was used least recently, which
/// is written out first where it is dirty. Waits where everything is in use.
pub(super) async fn make<B: StorageBackend + 'static>(
    inner: &Arc<Inner<B>>,
    operation: Operation,
) -> Result<FBuf, StorageError> {
    let (cache, gate) = (&inner.cache, inner.cache.gate());
    if let Some(buffer) = cache.take(DIRTY_PASSED) {
        return Ok(buffer);
    }
    if Handle::try_current().is_err() {
        let path = inner.file.path().to_owned();
        return Err(StorageError::NoRuntime { operation, path });
    }
    let started = Instant::now();
    // From here on, whoever gives memory back says so.
    let _waiting = gate.wait();
    loop {
        let freed = gate.memory_freed.notified();
        tokio::pin!(freed);
        freed.as_mut().enable();
        let turn = Arc::clone(&inner.write_turn).lock_owned().await;
        // Whoever had the turn before may have cleaned enough.
        if let Some(buffer) = cache.take(DIRTY_PASSED) {
            return Ok(buffer);
        }
        let victims = write_back::choose(inner);
        if victims.is_empty() {
            drop(turn);
            if let Some(buffer) = cache.take(usize::MAX) {
                return Ok(buffer);
            }
            let deadline = started + inner.options.wait_max;
            if tokio::time::timeout_at(deadline, freed).await.is_err() {
                return Err(gate.in_use(operation, started.elapsed()));
            }
        } else {
            let written = write_back::write(inner, turn, victims).await;
            if let Some(buffer) = cache.take(usize::MAX) {
                return Ok(buffer);
            }
            written?;
        }
    }
}
