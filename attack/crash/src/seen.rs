//! What was opened already: a state that comes again is judged by what it showed.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// What a state showed when it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shown {
    pub(crate) commit: u32,
    /// Of the commit's pages.
    pub(crate) digest: u32,
}

/// States by their hashes, 16 bytes each.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashMap<u64, Shown, BuildHasherDefault<AsItIs>>);

/// Of what is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

impl Seen {
    pub(crate) fn get(&self, state: u64) -> Option<Shown> {
        self.0.get(&state).copied()
    }

    pub(crate) fn insert(&mut self, state: u64, shown: Shown) {
        self.0.insert(state, shown);
    }

    /// The hashes, each once, in order.
    pub(crate) fn into_hashes(self) -> Vec<u64> {
        let mut hashes: Vec<u64> = self.0.into_keys().collect();
        hashes.sort_unstable();
        hashes
    }
}
