//! Copies of the few texts that have a character across two pages, and are too long to lie in one.
//!
//! Where one of the two could not be read, half of a character would be left, and that is no `str`. So who reads such
//! a text reads a copy in memory. Texts of one page at most are laid out so that there is no need for it.

use std::{
    collections::{HashMap, hash_map::Entry},
    ptr,
    sync::LazyLock,
};

use parking_lot::RwLock;

/// The address that the bytes of a text are mapped at, and their length.
type Place = (usize, usize);

static KEPT: LazyLock<RwLock<HashMap<Place, Box<str>>>> = LazyLock::new(RwLock::default);

/// The copies that a column keeps. They go with it.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    places: Vec<Place>,
    bytes: usize,
}

impl Kept {
    /// Keeps a copy of the text whose bytes are mapped at an address, for as long as `self` lives: no longer than
    /// they are mapped there. Bytes that are no text any more, since a page of them could not be read, are kept as
    /// zeros: whoever reads them is told by `still_valid`.
    pub(crate) fn add(&mut self, address: usize, bytes: &[u8]) {
        let place = (address, bytes.len());
        // One that there is stays: somebody may be reading it.
        if let Entry::Vacant(vacant) = KEPT.write().entry(place) {
            let text =
                str::from_utf8(bytes).map_or_else(|_lost| "\0".repeat(bytes.len()), Into::into);
            vacant.insert(text.into());
            self.places.push(place);
            self.bytes += bytes.len();
        }
    }

    /// What the copies take.
    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.places.is_empty() {
            let mut kept = KEPT.write();
            for place in &self.places {
                kept.remove(place);
            }
        }
    }
}

/// Where the copy lies of the text whose `len` bytes are mapped at an address: as many bytes.
///
/// # Panics
/// Where nobody keeps one.
pub(super) fn find(address: usize, len: usize) -> *const u8 {
    let kept = KEPT.read();
    ptr::from_ref(&**kept.get(&(address, len)).expect("the column keeps it")).cast()
}
