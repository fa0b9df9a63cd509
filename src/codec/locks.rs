//! Who may touch which blocks of which file at the same time.
//!
//! Each file has a lock, and so has each block; both are taken from fixed sets by a hash of the
//! path, so there is nothing to grow or to clean up. Files or blocks that share a lock wait for each
//! other needlessly and rarely.
//!
//! Order: the lock of a file before those of blocks; within either set by ascending index. A file's
//! lock is held shared for what leaves its length as it is, else exclusively, and then those of its
//! blocks are not needed.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    ops::RangeInclusive,
};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How many locks there are of each kind: some times the operations that usually run at once.
const LOCK_COUNT: usize = 256;

/// The locks of all files and blocks.
pub(super) struct Locks {
    hashes: RandomState,
    files: Vec<RwLock<()>>,
    blocks: Vec<RwLock<()>>,
}

pub(super) type Shared<'a> = RwLockReadGuard<'a, ()>;
pub(super) type Exclusive<'a> = RwLockWriteGuard<'a, ()>;

impl Locks {
    pub(super) fn new() -> Self {
        let locks = || (0..LOCK_COUNT).map(|_| RwLock::new(())).collect();
        Self { hashes: RandomState::new(), files: locks(), blocks: locks() }
    }

    fn index(&self, path: &str) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "some bits of a hash")]
        let hash = self.hashes.hash_one(path) as usize;
        hash % LOCK_COUNT
    }

    /// Waits until nobody changes the file's length or name.
    pub(super) async fn share(&self, path: &str) -> Shared<'_> {
        self.files[self.index(path)].read().await
    }

    /// Waits until nobody uses the file.
    pub(super) async fn own(&self, path: &str) -> Exclusive<'_> {
        self.files[self.index(path)].write().await
    }

    /// Waits until nobody uses either file.
    pub(super) async fn own_both(&self, one: &str, other: &str) -> Vec<Exclusive<'_>> {
        let mut owned = Vec::with_capacity(2);
        for index in BTreeSet::from([self.index(one), self.index(other)]) {
            owned.push(self.files[index].write().await);
        }
        owned
    }

    /// Waits until nobody writes any of these blocks.
    pub(super) async fn share_blocks(
        &self,
        path: &str,
        blocks: RangeInclusive<u64>,
    ) -> Vec<Shared<'_>> {
        let indices = self.block_indices(path, blocks);
        let mut shared = Vec::with_capacity(indices.len());
        for index in indices {
            shared.push(self.blocks[index].read().await);
        }
        shared
    }

    /// Waits until nobody reads or writes any of these blocks.
    pub(super) async fn own_blocks(
        &self,
        path: &str,
        blocks: RangeInclusive<u64>,
    ) -> Vec<Exclusive<'_>> {
        let indices = self.block_indices(path, blocks);
        let mut owned = Vec::with_capacity(indices.len());
        for index in indices {
            owned.push(self.blocks[index].write().await);
        }
        owned
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
