//! The contract of [`StorageBackend`], as tests that run against every backend.
//!
//! Purpose: each promise in the documentation of the trait has a test here, and no backend has an
//! interpretation of its own. Method: the tests are functions that are generic over a [`Subject`];
//! `conformance!` makes a module of tests out of them for one subject. Each backend's test binary
//! does so twice: for the backend itself on a runtime of several threads, and for the same behind
//! `Arc<dyn ErasedBackend>` on a runtime of one thread.

use std::{io, sync::Arc};

use bytes::Bytes;
use storage::{DynBackend, Limits, StorageBackend, StorageError};

pub(crate) mod cancelled;
pub(crate) mod counts;
pub(crate) mod files;
pub(crate) mod hostile;
pub(crate) mod machine;
pub(crate) mod many;
pub(crate) mod model;
pub(crate) mod names;
pub(crate) mod ranges;
pub(crate) mod renamed;
pub(crate) mod runtimes;
pub(crate) mod sealing;
pub(crate) mod together;
pub(crate) mod views;

pub(crate) use model::Refusal;

/// A backend to test, with whatever it needs to live.
pub(crate) trait Subject: Sized + Send + Sync + 'static {
    type Backend: StorageBackend<Error = StorageError> + 'static;

    /// Whether reads of a sealed file are views of one and the same memory.
    const SEALED_IS_ZERO_COPY: bool;
    /// Whether a file of 5 GiB that is nearly all hole can be made.
    const HOLES_ARE_FREE: bool;

    /// An empty backend that has at least 64 MiB of room.
    fn make(limits: Limits) -> Self;

    /// The backend. Shared, so that tasks can have it.
    fn backend(&self) -> &Arc<Self::Backend>;

    /// Closes the backend and opens another one over the same files; `None` where they are gone.
    fn reopen(self) -> Option<Self>;
}

/// A subject behind `Arc<dyn ErasedBackend>`.
pub(crate) struct Erased<S> {
    subject: S,
    backend: Arc<DynBackend>,
}

impl<S: Subject> Erased<S> {
    fn of(subject: S) -> Self {
        let erased: DynBackend = Arc::clone(subject.backend()) as DynBackend;
        Self { subject, backend: Arc::new(erased) }
    }
}

impl<S: Subject> Subject for Erased<S> {
    type Backend = DynBackend;

    const SEALED_IS_ZERO_COPY: bool = S::SEALED_IS_ZERO_COPY;
    const HOLES_ARE_FREE: bool = S::HOLES_ARE_FREE;

    fn make(limits: Limits) -> Self {
        Self::of(S::make(limits))
    }

    fn backend(&self) -> &Arc<DynBackend> {
        &self.backend
    }

    fn reopen(self) -> Option<Self> {
        let Self { subject, backend } = self;
        drop(backend);
        subject.reopen().map(Self::of)
    }
}

/// A subject with the default limits.
pub(crate) fn new<S: Subject>() -> S {
    S::make(Limits::default())
}

/// Bytes that tell where they belong: no shift by a page or a stripe gives the same ones.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}

/// All bytes of a file.
pub(crate) async fn whole<B: StorageBackend<Error = StorageError>>(
    backend: &B,
    path: &str,
) -> Bytes {
    let len = backend.len(path).await.unwrap();
    backend.read(path, 0, usize::try_from(len).unwrap()).await.unwrap()
}

/// The reason that an error gives. Panics for an error that has no place in the contract.
#[track_caller]
pub(crate) fn refusal(error: &StorageError) -> Refusal {
    match (error, error.io_kind()) {
        (StorageError::NotFound { .. }, io::ErrorKind::NotFound) => Refusal::NotFound,
        (StorageError::PastEnd { file_len, .. }, io::ErrorKind::UnexpectedEof) => {
            Refusal::PastEnd { file_len: *file_len }
        }
        (StorageError::Path { .. }, io::ErrorKind::InvalidInput) => Refusal::Path,
        (StorageError::Sealed { .. }, io::ErrorKind::PermissionDenied) => Refusal::Sealed,
        (StorageError::Io { .. }, io::ErrorKind::IsADirectory) => Refusal::IsFolder,
        (StorageError::Io { .. }, io::ErrorKind::NotADirectory) => Refusal::UnderFile,
        (StorageError::BudgetExceeded { .. }, _)
        | (
            _,
            io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded,
        ) => Refusal::NoRoom,
        (_, kind) => panic!("no reason of the contract: {kind:?}: {error:?}"),
    }
}

/// Asserts that an operation is refused for this reason.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, StorageError>, expected: Refusal) {
    match result {
        Ok(done) => panic!("expected {expected:?}, but it was done: {done:?}"),
        Err(error) => assert_eq!(refusal(&error), expected, "{error:?}"),
    }
}

/// One module for each theme, and in it one test for each function of the theme, on a runtime of
/// the given flavor. All but `counts`, which is for backends that keep statistics of their own.
macro_rules! promises {
    ($subject:ty, $flavor:literal) => {
        crate::conformance::themes! { ($subject, $flavor)
            ranges: exact_reads, reads_past_the_end, gaps_are_zeros, writing_nothing,
                overwriting_across_pages, truncating, truncating_and_growing_again, large_files,
                many_sizes, reads_after_writes;
            files: deleting, existing, listing, listing_by_prefix, folders_vanish,
                a_name_is_a_file_or_a_folder, failures_leave_no_folders, missing_files,
                empty_files, thousands_of_files, surviving_a_reopen;
            renamed: moving, replacing, onto_itself, between_folders, onto_folders_and_under_files,
                seen_by_readers_as_old_or_new;
            sealing: nothing_changes_it, twice, deleting_and_renaming, replaced_by_a_rename,
                views_without_a_copy, surviving_a_reopen, an_empty_file;
            views: stay_as_they_were, of_deleted_files, outlive_the_backend, go_to_other_threads;
            many: in_order, good_and_bad, neighbours, overlapping, no_requests, a_lot;
            hostile: reads, writes, truncating, nothing_written_at_no_place, holes_of_five_gib,
                more_than_all_buffers;
            names: broken_rules, every_byte, lookalikes, longest, deepest, plain_but_tempting;
            together: whole_writes_in_reads, overlapping_writes, growing, deleting_and_making,
                cutting_while_reading, one_file_each, sealing_while_writing;
            cancelled: leaves_no_permit_behind, is_whole_or_nothing, leaves_no_buffer_behind,
                in_the_queue;
        }
        crate::conformance::plain_tests! { ($subject)
            runtimes: none_at_all, one_thread, many_threads, one_after_the_other;
            machine: agrees_with_the_model;
        }
    };
}

/// The whole suite.
macro_rules! conformance {
    ($subject:ty, $flavor:literal) => {
        crate::conformance::promises! { $subject, $flavor }
        crate::conformance::themes! { ($subject, $flavor)
            counts: operations, what_was_at_once;
        }
    };
}

macro_rules! themes {
    ($with:tt $($theme:ident: $($test:ident),+;)+) => {
        $(crate::conformance::theme! { $with $theme: $($test),+ })+
    };
}

macro_rules! theme {
    (($subject:ty, $flavor:literal) $theme:ident: $($test:ident),+) => {
        mod $theme {
            #[allow(unused_imports, reason = "for the name of the subject")]
            use super::*;
            $(
                #[tokio::test(flavor = $flavor)]
                async fn $test() {
                    crate::conformance::$theme::$test::<$subject>().await;
                }
            )+
        }
    };
}

macro_rules! plain_tests {
    ($with:tt $($theme:ident: $($test:ident),+;)+) => {
        $(crate::conformance::plain_theme! { $with $theme: $($test),+ })+
    };
}

macro_rules! plain_theme {
    (($subject:ty) $theme:ident: $($test:ident),+) => {
        mod $theme {
            #[allow(unused_imports, reason = "for the name of the subject")]
            use super::*;
            $(
                #[test]
                fn $test() {
                    crate::conformance::$theme::$test::<$subject>();
                }
            )+
        }
    };
}

pub(crate) use {conformance, plain_tests, plain_theme, promises, theme, themes};
