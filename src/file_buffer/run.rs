//! A read of blocks from the medium that others may wait for.

use std::sync::{Arc, OnceLock};

use tokio::sync::Semaphore;

use super::shared_error::SharedError;

/// One read of one or more neighbouring blocks.
pub(super) struct Run {
    /// Has no permits ever; it is closed at the end, which wakes all who wait for one.
    pub(super) ended: Semaphore,
    pub(super) failure: OnceLock<SharedError>,
}

impl Run {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { ended: Semaphore::new(0), failure: OnceLock::new() })
    }

    pub(super) async fn wait(&self) {
        let closed = self.ended.acquire().await;
        debug_assert!(closed.is_err(), "there are no permits");
    }
}
