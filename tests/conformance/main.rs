//! The contract of [`StorageBackend`], as tests that run against every backend.
//!
//! Purpose: each promise in the documentation of the trait has a test here, and no backend has an
//! interpretation of its own. Method: the tests are functions of a [`Kind`] of backend;
//! `conformance!` makes a module of tests out of them for one kind. Each backend (`on_*.rs`) has it
//! twice: on a runtime of several threads, and on one of one thread. The backend is always behind
//! `Arc<dyn ErasedBackend>`, where each call ends in the same call of the backend itself: else the
//! suite would be compiled once more for each of them, for minutes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{io, sync::Arc};

use bytes::Bytes;
use storage::{DynBackend, Limits, StorageBackend, StorageError};

mod cancelled;
mod counts;
mod files;
mod foreign;
mod given_up;
mod hostile;
mod in_folder;
mod machine;
mod many;
mod model;
mod names;
mod ranges;
mod renamed;
mod runtimes;
mod sealing;
#[path = "../slow/mod.rs"]
mod slow;
mod together;
mod views;
mod worlds;

mod on_compressed;
mod on_filesystems;
#[cfg(feature = "test_memory")]
mod on_memory;
mod on_mmap;
mod on_model;
#[cfg(feature = "test_posixio")]
mod on_posixio;
mod on_slow;

pub(crate) use model::Refusal;

/// A backend to test, with whatever it needs to live.
pub(crate) struct Subject {
    backend: DynBackend,
    /// Opens another one over the same files, where they outlive the backend. It owns their folder,
    /// so it is dropped last.
    again: Option<Again>,
}

type Again = Box<dyn FnOnce() -> Subject + Send + Sync>;

impl Subject {
    /// A backend whose files are gone with it.
    pub(crate) fn passing(backend: impl StorageBackend<Error = StorageError> + 'static) -> Self {
        Self { backend: Arc::new(backend), again: None }
    }

    /// A backend over files that `again` opens another one over.
    pub(crate) fn lasting(
        backend: impl StorageBackend<Error = StorageError> + 'static,
        again: impl FnOnce() -> Self + Send + Sync + 'static,
    ) -> Self {
        Self { backend: Arc::new(backend), again: Some(Box::new(again)) }
    }

    /// The backend. Shared, so that tasks can have it.
    pub(crate) const fn backend(&self) -> &DynBackend {
        &self.backend
    }

    /// Closes the backend and opens another one over the same files; `None` where they are gone.
    pub(crate) fn reopen(self) -> Option<Self> {
        drop(self.backend);
        self.again.map(|again| again())
    }
}

/// What kind of backend the suite runs against.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    /// Makes an empty backend that has at least 64 MiB of room.
    pub(crate) make: fn(Limits) -> Subject,
    pub(crate) sealed: Sealed,
    pub(crate) holes: Holes,
}

/// How a sealed file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// As views of one and the same memory.
    Viewed,
    Copied,
}

/// What a hole in a file takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holes {
    Free,
    /// As much as bytes take.
    Full,
}

impl Kind {
    fn make(self, limits: Limits) -> Subject {
        (self.make)(limits)
    }

    fn with_defaults(self) -> Subject {
        self.make(Limits::default())
    }
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
    ($kind:expr, $flavor:literal) => {
        crate::themes! { ($kind, $flavor)
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
            given_up: a_write_that_was_ok_stays, each_change_before_each_other, random_changes;
        }
        crate::plain_tests! { ($kind)
            runtimes: none_at_all, one_thread, many_threads, one_after_the_other;
            machine: agrees_with_the_model;
            foreign: across_runtimes, nobody_waits_for_an_idle_runtime;
        }
    };
}

/// The whole suite.
macro_rules! conformance {
    ($kind:expr, $flavor:literal) => {
        crate::promises! { $kind, $flavor }
        crate::themes! { ($kind, $flavor)
            counts: operations, what_was_at_once;
        }
    };
}

macro_rules! themes {
    ($with:tt $($theme:ident: $($test:ident),+;)+) => {
        $(crate::theme! { $with $theme: $($test),+ })+
    };
}

macro_rules! theme {
    (($kind:expr, $flavor:literal) $theme:ident: $($test:ident),+) => {
        mod $theme {
            #[allow(unused_imports, reason = "for the name of the kind")]
            use super::*;
            $(
                #[tokio::test(flavor = $flavor)]
                async fn $test() {
                    crate::$theme::$test($kind).await;
                }
            )+
        }
    };
}

macro_rules! plain_tests {
    ($with:tt $($theme:ident: $($test:ident),+;)+) => {
        $(crate::plain_theme! { $with $theme: $($test),+ })+
    };
}

macro_rules! plain_theme {
    (($kind:expr) $theme:ident: $($test:ident),+) => {
        mod $theme {
            #[allow(unused_imports, reason = "for the name of the kind")]
            use super::*;
            $(
                #[test]
                fn $test() {
                    crate::$theme::$test($kind);
                }
            )+
        }
    };
}

pub(crate) use {conformance, plain_tests, plain_theme, promises, theme, themes};
