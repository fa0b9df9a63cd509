//! Giving up, on media where that is harder to get right, or sure to meet a thread at work: changes
//! that take their time, compression over files and over such changes.
//!
//! Purpose and method: see `given_up.rs` and `foreign.rs`.

use storage::{
    BufferPool, Compressed, Limits, MmapBackend, PosixBackend, StorageBackend, StorageError,
};

use crate::{Holes, Kind, Sealed, Subject, plain_tests, slow::slow, themes};

fn packed<B: StorageBackend<Error = StorageError> + 'static>(backend: B) -> Compressed<B> {
    Compressed::new(backend, 16 << 10, BufferPool::new(1 << 30)).unwrap()
}

const fn copied(make: fn(Limits) -> Subject) -> Kind {
    Kind { make, sealed: Sealed::Copied, holes: Holes::Free }
}

macro_rules! giving_up {
    ($name:ident, $make:expr) => {
        mod $name {
            use super::*;
            const KIND: Kind = copied($make);
            themes! { (KIND, "multi_thread")
                given_up: a_write_that_was_ok_stays, each_change_before_each_other,
                    random_changes;
            }
            plain_tests! { (KIND)
                foreign: across_runtimes, nobody_waits_for_an_idle_runtime;
            }
        }
    };
}

giving_up!(directly, |limits| Subject::passing(slow(limits)));
giving_up!(compressed, |limits| Subject::passing(packed(slow(limits))));

giving_up!(compressed_in_mapped_files, |limits| {
    let folder = tempfile::tempdir().unwrap();
    let backend = MmapBackend::open(folder.path().join("root"), limits).unwrap();
    Subject::lasting(packed(backend), move || unreachable!("{folder:?} is not opened again"))
});

giving_up!(compressed_in_positioned_files, |limits| {
    let folder = tempfile::tempdir().unwrap();
    let backend = PosixBackend::open(folder.path().join("root"), limits).unwrap();
    Subject::lasting(packed(backend), move || unreachable!("{folder:?} is not opened again"))
});
