//! Work that is done to its end even where nobody waits for it any more.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::runtime::Handle;

/// A future that goes on as a task of its own where it is dropped before its end.
///
/// What was begun on a backend must not be left lying: a read that others wait for, a write that
/// must not be overtaken by the next write of the same block, a place in the line for a thread that
/// nobody else could get past.
pub(super) struct HandOver<T: Send + 'static> {
    rest: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl<T: Send + 'static> HandOver<T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { rest: Some(Box::pin(work)) }
    }
}

impl<T: Send + 'static> Future for HandOver<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let work = self.rest.as_mut().expect("nobody polls a future that has ended");
        let result = ready!(work.as_mut().poll(cx));
        self.rest = None;
        Poll::Ready(result)
    }
}

impl<T: Send + 'static> Drop for HandOver<T> {
    fn drop(&mut self) {
        let Some(rest) = self.rest.take() else {
            return;
        };
        // A panic came out of it: it must not be polled again. And without a runtime nothing can
        // go on; the guards inside clean up.
        if !std::thread::panicking()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                rest.await;
            });
        }
    }
}
