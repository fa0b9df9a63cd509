//! Who may touch which blocks of which file at the same time.
//!
//! Each file has a lock, and so has each block; both are taken from fixed sets by a hash of the
//! path, so there is nothing to grow or to clean up. Files or blocks that share a lock wait for each
//! other needlessly and rarely.
//!
//! Order: the lock of a file before those of blocks; within either set by ascending index. A file's
//! lock is held shared for what leaves its length as it is, else exclusively, and then those of its
//! blocks are not needed.
//!
//! Guards own their locks, so that a task that completes a change can take them along. Whoever goes
//! away before that changed nothing; whoever goes away later leaves the locks with that task, so
//! that the next one sees all of the change.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    ops::RangeInclusive,
    sync::Arc,
};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// How many locks there are of each kind: some times the operations that usually run at once.
const LOCK_COUNT: usize = 256;

/// The locks of all files and blocks.
pub(super) struct Locks {
    hashes: RandomState,
    files: Vec<Arc<RwLock<()>>>,
    blocks: Vec<Arc<RwLock<()>>>,
    /// Shared by whoever changes which files there are.
    names: Arc<RwLock<()>>,
}

pub(super) type Shared = OwnedRwLockReadGuard<()>;
pub(super) type Exclusive = OwnedRwLockWriteGuard<()>;

impl Locks {
    pub(super) fn new() -> Self {
        let locks = || (0..LOCK_COUNT).map(|_| Arc::default()).collect();
        Self { hashes: RandomState::new(), files: locks(), blocks: locks(), names: Arc::default() }
    }

    fn index(&self, path: &str) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "some bits of a hash")]
        let hash = self.hashes.hash_one(path) as usize;
        hash % LOCK_COUNT
    }

    /// Waits until nobody changes the file's length or name.
    pub(super) async fn share(&self, path: &str) -> Shared {
        Arc::clone(&self.files[self.index(path)]).read_owned().await
    }

    /// Waits until nobody uses the file.
    pub(super) async fn own(&self, path: &str) -> Exclusive {
        Arc::clone(&self.files[self.index(path)]).write_owned().await
    }

    /// Waits until nobody uses either file.
    pub(super) async fn own_both(&self, one: &str, other: &str) -> Vec<Exclusive> {
        let mut owned = Vec::with_capacity(2);
        for index in BTreeSet::from([self.index(one), self.index(other)]) {
            owned.push(Arc::clone(&self.files[index]).write_owned().await);
        }
        owned
    }

    /// Waits until nobody writes any of these blocks.
    pub(super) async fn share_blocks(
        &self,
        path: &str,
        blocks: RangeInclusive<u64>,
    ) -> Vec<Shared> {
        let indices = self.block_indices(path, blocks);
        let mut shared = Vec::with_capacity(indices.len());
        for index in indices {
            shared.push(Arc::clone(&self.blocks[index]).read_owned().await);
        }
        shared
    }

    /// Waits until nobody reads or writes any of these blocks.
    pub(super) async fn own_blocks(
        &self,
        path: &str,
        blocks: RangeInclusive<u64>,
    ) -> Vec<Exclusive> {
        let indices = self.block_indices(path, blocks);
        let mut owned = Vec::with_capacity(indices.len());
        for index in indices {
            owned.push(Arc::clone(&self.blocks[index]).write_owned().await);
        }
        owned
    }

    /// To be held while a file comes, goes or gets another name. Comes after the files' locks.
    pub(super) async fn share_names(&self) -> Shared {
        Arc::clone(&self.names).read_owned().await
    }

    /// Waits until all files have come, gone and got their names that were about to.
    pub(super) async fn settle_names(&self) {
        drop(self.names.write().await);
    }

    /// The locks of a range of blocks, in the order in which they are taken. Neighbours in a file
    /// have neighbouring locks, so a long range needs no more than all.
    fn block_indices(&self, path: &str, blocks: RangeInclusive<u64>) -> Vec<usize> {
        let first = self.index(path);
        let mut indices: Vec<usize> = blocks
            .take(LOCK_COUNT)
            .map(|block| {
                #[expect(clippy::cast_possible_truncation, reason = "below LOCK_COUNT")]
                let within = (block % LOCK_COUNT as u64) as usize;
                (first + within) % LOCK_COUNT
            })
            .collect();
        indices.sort_unstable();
        indices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_take_each_lock_once_and_in_ascending_order() {
        let locks = Locks::new();
        for blocks in [0..=0, 3..=7, 0..=LOCK_COUNT as u64, 250..=900, 0..=u64::MAX] {
            let indices = locks.block_indices("a", blocks.clone());
            assert!(indices.is_sorted_by(|a, b| a < b), "{blocks:?} takes {indices:?}");
            let count = (blocks.end() - blocks.start()).saturating_add(1);
            assert_eq!(indices.len() as u64, count.min(LOCK_COUNT as u64));
        }
    }
}
