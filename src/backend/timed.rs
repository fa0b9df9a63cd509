//! How long a future takes, at no cost for one that is done at once.

use std::{
    future::{Future, poll_fn},
    pin::pin,
};

use tokio::time::Instant;

/// Awaits a future, and says since when it had to be waited for. `None` for one that was done at
/// its first poll: reading the clock takes as long as answering from memory does.
pub(super) async fn timed<Fut: Future>(future: Fut) -> (Fut::Output, Option<Instant>) {
    let mut future = pin!(future);
    let mut waits_since = None;
    let output = poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() && waits_since.is_none() {
            waits_since = Some(Instant::now());
        }
        polled
    })
    .await;
    (output, waits_since)
}
