//! Which names in a folder are durable, as far as its syncs told.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use feldera_storage::error::StorageError;
use parking_lot::Mutex;

/// The names that files were given in one folder, and what its syncs said of them.
///
/// A sync of a folder is for all names that there are. Where it fails, the kernel says so once, and which of them are on
/// the disk is unknown. So these stay failed, whatever a later sync says; names that are given later may try again.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Counts on when a name is about to be given, and when it has been.
    clock: AtomicU64,
    /// Locked while a sync is under way: what the kernel reports to one must not be missing in another.
    syncs: Mutex<Outcomes>,
}

/// A name that was given.
#[derive(Debug)]
pub(crate) struct Given {
    names: Arc<Names>,
    span: Span,
}

/// When a name was given: after the one, and before the other.
#[derive(Clone, Copy, Debug)]
struct Span {
    begun: u64,
    done: u64,
}

impl Names {
    /// Gives a name by `rename`.
    pub(crate) fn give<T, E>(
        self: &Arc<Self>,
        rename: impl FnOnce() -> Result<T, E>,
    ) -> Result<(T, Given), E> {
        let begun = self.tick();
        let renamed = rename()?;
        let span = Span { begun, done: self.tick() };
        Ok((renamed, Given { names: Arc::clone(self), span }))
    }

    /// Makes all names durable by `sync`.
    pub(crate) fn sync(
        &self,
        sync: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        self.sync_as(&mut self.syncs.lock(), sync)
    }

    fn sync_as(
        &self,
        syncs: &mut Outcomes,
        sync: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let before = self.clock.load(Ordering::SeqCst);
        let synced = sync();
        // A failure may be that of a name which was given meanwhile.
        let end = if synced.is_ok() { before } else { self.clock.load(Ordering::SeqCst) };
        syncs.push(end, synced.clone());
        synced
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

impl Given {
    /// Fails where a sync failed that was for this name. It need not be durable else.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        self.names.syncs.lock().of(self.span).unwrap_or(Ok(()))
    }

    /// Makes the name durable by `sync`, and with it all others: of those who ask at the same time, one waits for the
    /// disk, and the others for that one. Where it is known what became of the name, nobody waits.
    pub(crate) fn make_durable(
        &self,
        sync: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut syncs = self.names.syncs.lock();
        syncs.of(self.span).unwrap_or_else(|| self.names.sync_as(&mut syncs, sync))
    }
}

/// How the syncs of a folder ended, in their order, each with a time.
///
/// One that was in order is for names that had been given by its time; one that failed, for those that were about
/// to be. Of some in a row that ended in the same way there is one, so there are at most twice as many as failures.
#[derive(Debug, Default)]
struct Outcomes(Vec<(u64, Result<(), StorageError>)>);

impl Outcomes {
    /// What the first sync said that was for the name, if there was one.
    fn of(&self, span: Span) -> Option<Result<(), StorageError>> {
        let is_for = |(end, outcome): &&(u64, Result<(), StorageError>)| match outcome {
            Ok(()) => span.done < *end,
            Err(_) => span.begun < *end,
        };
        self.0.iter().find(is_for).map(|(_, outcome)| outcome.clone())
    }

    fn push(&mut self, end: u64, outcome: Result<(), StorageError>) {
        match (self.0.last_mut(), &outcome) {
            (Some((last, Ok(()))), Ok(())) => *last = end,
            (Some((last, Err(known))), Err(error)) if known.kind() == error.kind() => *last = end,
            _ => self.0.push((end, outcome)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io::ErrorKind};

    use super::*;

    fn give(names: &Arc<Names>) -> Given {
        let Ok(((), given)) = names.give(|| Ok::<_, Infallible>(()));
        given
    }

    fn failure(told: &str) -> Result<(), StorageError> {
        Err(StorageError::stdio(ErrorKind::Other, "fsync dir", told))
    }

    fn told(result: Result<(), StorageError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_failed_sync_is_for_the_names_that_no_sync_was_for_before() {
        let names = Arc::new(Names::default());
        let durable = give(&names);
        durable.make_durable(|| Ok(())).unwrap();
        let lost = [give(&names), give(&names)];
        let error = told(lost[1].make_durable(|| failure("first")));
        let later = give(&names);
        later.check().unwrap();
        names.sync(|| Ok(())).unwrap();
        let unasked = |given: &Given| given.make_durable(|| unreachable!("it is known"));
        unasked(&durable).unwrap();
        unasked(&later).unwrap();
        for lost in &lost {
            assert_eq!(told(unasked(lost)), error);
            assert_eq!(told(lost.check()), error);
        }
        assert!(told(give(&names).make_durable(|| failure("second"))).contains("second"));
        assert_eq!(told(unasked(&lost[0])), error);
        unasked(&later).unwrap();
    }

    /// Whether the sync was for it cannot be told: it counts among those of a failure, and not among the durable.
    #[test]
    fn a_name_that_is_given_while_a_sync_is_under_way() {
        let names = Arc::new(Names::default());
        let mut given = Vec::new();
        names
            .sync(|| {
                given.push(give(&names));
                Ok(())
            })
            .unwrap();
        let mut asked = false;
        given[0]
            .make_durable(|| {
                asked = true;
                Ok(())
            })
            .unwrap();
        assert!(asked);
        names
            .sync(|| {
                given.push(give(&names));
                failure("told")
            })
            .unwrap_err();
        given[0].check().unwrap();
        given[1].check().unwrap_err();
        // One that is begun before a sync fails, and done after.
        let ((), across) = names
            .give(|| {
                names.sync(|| Ok(())).unwrap();
                names.sync(|| failure("told")).unwrap_err();
                Ok::<_, StorageError>(())
            })
            .unwrap();
        names.sync(|| Ok(())).unwrap();
        across.check().unwrap_err();
    }

    #[test]
    fn what_is_kept_grows_with_failures_alone() {
        let names = Arc::new(Names::default());
        for failures in 1..5 {
            for _ in 0..10 {
                give(&names).make_durable(|| Ok(())).unwrap();
                names.sync(|| Ok(())).unwrap();
            }
            for _ in 0..10 {
                give(&names).make_durable(|| failure("told")).unwrap_err();
            }
            assert_eq!(names.syncs.lock().0.len(), 2 * failures);
        }
    }
}
