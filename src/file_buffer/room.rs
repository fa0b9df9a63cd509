//! Finding memory for a block.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    cache::DIRTY_PASSED,
    frame::Frame,
    inner::Inner,
    parcel::{PATIENCE_FIRST, Parcel},
    write_back,
};
use crate::{Operation, StorageBackend, StorageError};

/// Memory for one block: unused, or that of the block that was used least recently, which is written
/// out first where it is dirty. Waits where everything is in use.
pub(super) async fn make<B: StorageBackend + 'static>(
    inner: &Arc<Inner<B>>,
    operation: Operation,
) -> Result<Frame, StorageError> {
    let mut patience = PATIENCE_FIRST;
    let mut found = at_hand(inner);
    loop {
        if let Some(frame) = found {
            return Ok(frame);
        }
        let driven = inner.works.drive(find_for_call(Arc::clone(inner), operation, patience)).await;
        found = driven.map_err(StorageError::io(operation, inner.file.path()))??.take();
        patience *= 2;
    }
}

async fn find_for_call<B: StorageBackend + 'static>(
    inner: Arc<Inner<B>>,
    operation: Operation,
    patience: Duration,
) -> Result<Arc<Parcel<Frame>>, StorageError> {
    let frame = find(Arc::clone(&inner), operation).await?;
    Ok(inner.cache.gate().parcels.keep(frame, patience))
}

fn at_hand<B>(inner: &Inner<B>) -> Option<Frame> {
    let buffer = inner.cache.take(DIRTY_PASSED)?;
    Some(Frame::new(buffer, inner.cache.gate()))
}

/// As [`make`], for driven work: whoever has the turn to write, or waits for it, must be polled.
pub(super) async fn find<B: StorageBackend + 'static>(
    inner: Arc<Inner<B>>,
    operation: Operation,
) -> Result<Frame, StorageError> {
    let (cache, gate) = (&inner.cache, inner.cache.gate());
    if let Some(frame) = at_hand(&inner) {
        return Ok(frame);
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
        if let Some(frame) = at_hand(&inner) {
            return Ok(frame);
        }
        let victims = write_back::choose(&inner);
        if victims.is_empty() {
            drop(turn);
            if let Some(buffer) = cache.take(usize::MAX) {
                return Ok(Frame::new(buffer, gate));
            }
            let deadline = started + inner.options.wait_max;
            let until = gate.parcels.reclaim().map_or(deadline, |due| due.min(deadline));
            let none_freed = tokio::time::timeout_at(until, freed).await.is_err();
            if none_freed && Instant::now() >= deadline {
                return Err(gate.in_use(operation, started.elapsed()));
            }
        } else {
            let written = write_back::write(&inner, turn, victims).await;
            if let Some(buffer) = cache.take(usize::MAX) {
                return Ok(Frame::new(buffer, gate));
            }
            written?;
        }
    }
}
