//! What all who compress on one backend share, also those that come later.
//!
//! Work that was given up goes on after the last handle is gone, and it holds turns. Who compresses on the
//! same backend then has to find them: so they are found by the backend, and last as long as anybody uses them.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Weak},
};

use parking_lot::Mutex;

use super::{files::KnownFiles, turns::Turns};
use crate::BackendId;

/// The order of calls, and what is known of files.
pub(super) struct Shared {
    /// What they are as a backend: not the one below, whose files have other bytes.
    pub(super) id: BackendId,
    pub(super) turns: Turns,
    pub(super) known: KnownFiles,
}

static OF_BACKENDS: LazyLock<Mutex<HashMap<BackendId, Weak<Shared>>>> =
    LazyLock::new(Mutex::default);

impl Shared {
    /// What those share who compress on a backend.
    pub(super) fn of(backend: BackendId) -> Arc<Self> {
        let mut of_backends = OF_BACKENDS.lock();
        if let Some(shared) = of_backends.get(&backend).and_then(Weak::upgrade) {
            return shared;
        }
        // Those of backends that nobody compresses on any more.
        of_backends.retain(|_, shared| shared.strong_count() > 0);
        let (id, turns, known) = (BackendId::unique(), Turns::default(), KnownFiles::default());
        let shared = Arc::new(Self { id, turns, known });
        of_backends.insert(backend, Arc::downgrade(&shared));
        shared
    }
}
