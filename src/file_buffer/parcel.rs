//! What was found for a call, until the call takes it.
//!
//! Work is done whoever polls, so its result may lie there for a call that nobody polls: the memory
//! in it would be in use for ever, and others would wait for an executor that does nothing. So a
//! result is kept for a while only: after that, whoever waits for memory takes it back, and the call
//! asks again when it is polled.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// For how long a result is kept at first. An executor that has work takes less to poll a call that
/// it was woken for; asking again costs a read.
pub(super) const PATIENCE_FIRST: Duration = Duration::from_millis(20);

/// Something that takes memory, for one call.
pub(super) struct Parcel<T> {
    content: Mutex<Option<T>>,
    due: Instant,
}

impl<T> Parcel<T> {
    /// What was found; `None` where it was taken back.
    pub(super) fn take(&self) -> Option<T> {
        self.content.lock().take()
    }
}

trait Reclaim: Send + Sync {
    /// When it may be taken back; `None` where there is nothing in it.
    fn due(&self) -> Option<Instant>;
    /// Drops what is in it.
    fn reclaim(&self);
}

impl<T: Send> Reclaim for Parcel<T> {
    fn due(&self) -> Option<Instant> {
        self.content.lock().is_some().then_some(self.due)
    }

    fn reclaim(&self) {
        drop(self.take());
    }
}

/// The parcels of one buffer.
#[derive(Default)]
pub(crate) struct Parcels(Mutex<List>);

#[derive(Default)]
struct List {
    all: Vec<Weak<dyn Reclaim>>,
    /// At this many, those that are gone are removed.
    clean_at: usize,
}

impl Parcels {
    /// Keeps something for a call, for as long as `patience` at least.
    pub(super) fn keep<T: Send + 'static>(&self, content: T, patience: Duration) -> Arc<Parcel<T>> {
        let due = Instant::now() + patience;
        let parcel = Arc::new(Parcel { content: Mutex::new(Some(content)), due });
        let entry: Weak<dyn Reclaim> = Arc::<Parcel<T>>::downgrade(&parcel);
        let mut list = self.0.lock();
        if list.all.len() >= list.clean_at {
            list.all.retain(|parcel| parcel.strong_count() > 0);
            list.clean_at = (2 * list.all.len()).max(64);
        }
        list.all.push(entry);
        parcel
    }

    /// Takes back what nobody took in time. Says when the next one can be.
    pub(super) fn reclaim(&self) -> Option<Instant> {
        let now = Instant::now();
        let there: Vec<_> = self.0.lock().all.iter().filter_map(Weak::upgrade).collect();
        let mut next: Option<Instant> = None;
        for parcel in there {
            match parcel.due() {
                Some(due) if due <= now => parcel.reclaim(),
                Some(due) => next = Some(next.map_or(due, |next| next.min(due))),
                None => {}
            }
        }
        next
    }
}
