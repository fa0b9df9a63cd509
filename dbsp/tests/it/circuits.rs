//! Circuits give the same answers on our backend as on DBSP's own: whatever the cache, compression
//! and number of workers, and also when they are killed and go on from a checkpoint.
//!
//! Method: one circuit with a join, a distinct and two aggregates, all traces in storage, fed with
//! insertions and deletions in several transactions; compared by a digest of all that came out. A
//! process that is to be killed is this test binary once more. `integral` has a circuit that keeps the
//! sum of its input as one batch; `older` a checkpoint of an earlier DBSP; `failures` disks that are full or fail.

mod agreement;
mod failures;
mod integral;
#[path = "../../examples/join/circuits.rs"]
#[expect(dead_code, reason = "programs that measure have more loads")]
mod join;
mod killed;
mod older;
mod two_hosts;

use std::path::Path;

use dbsp::circuit::{CircuitStorageConfig, StorageConfig};
use storage_dbsp::MappedStorage;

/// Which backend a circuit runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum On {
    Ours,
    BuiltIn,
}

impl On {
    fn storage(self, folder: &Path) -> CircuitStorageConfig {
        match self {
            Self::Ours => MappedStorage::open(folder).unwrap().into_config(),
            Self::BuiltIn => {
                let path = folder.to_str().unwrap().to_owned();
                let config = StorageConfig { path, cache: Default::default() };
                CircuitStorageConfig::for_config(config, Default::default()).unwrap()
            }
        }
    }
}
