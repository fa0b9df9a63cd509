//! A string that is read where it lies in a file.
#![expect(
    unsafe_code,
    reason = "a text points at its bytes by a number: an address of its own, or how far away they lie"
)]

mod archived;
mod kept;
mod lying;
mod strings;
#[cfg(test)]
mod tests;

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ptr, slice,
};

use dbsp::{never_none, never_roaring_filter};
use size_of::{Context, SizeOf};

pub(crate) use self::{
    kept::Kept,
    lying::{Lying, TextLayout},
};

/// How many bytes of a text there is room for in the text itself.
const ROOM: usize = 12;

/// In `head`: the bytes lie elsewhere, and `rest` says where.
const AWAY: u32 = 1 << 31;

/// In the place: the bytes lie so many bytes before the text itself. Without it, the place is an address.
const BESIDE: u64 = 1 << 63;

/// In the place, together with [`BESIDE`]: a character lies across two pages, so a copy is read.
const SPLIT: u64 = 1 << 62;

/// A string, for keys and values that are read in place.
///
/// It is a `str` in all respects: it compares, hashes and prints as one, and DBSP's own files have it as they have a
/// [`String`]. Up to 12 bytes lie in the text itself. A longer one that is made in memory owns its bytes, as a
/// `Box<str>` does. One that lies in a mapped column points at bytes beside it: it is only ever borrowed
/// there, and cloning makes one that owns its bytes. Comparing mostly looks at its first four bytes alone.
///
/// ```
/// use storage_dbsp::Text;
///
/// let name = Text::from("Ada Lovelace of London");
/// assert!(name.starts_with("Ada") && name > Text::from("Ada"));
/// let back: String = name.into();
/// ```
// Sixteen bytes and nothing else: a length, of which one bit says where the bytes lie; then the bytes, and zeros; or
// the first four of them, and a place of eight bytes. All zeros, or zeros in either half of eight bytes, which is what
// a page leaves behind that could not be read, make a text too: a shorter one.
#[repr(C, align(8))]
pub struct Text {
    head: u32,
    rest: [u8; ROOM],
}

impl Text {
    /// The longest text: 2 GiB less a byte.
    pub const LEN_MAX: usize = AWAY as usize - 1;

    /// An empty text.
    #[must_use]
    pub const fn new() -> Self {
        Self { head: 0, rest: [0; ROOM] }
    }

    /// # Panics
    /// Where it is longer than [`LEN_MAX`](Self::LEN_MAX).
    fn of(text: &str) -> Self {
        if text.len() <= ROOM { Self::short(text) } else { Self::long(text.into()) }
    }

    fn short(text: &str) -> Self {
        let mut rest = [0; ROOM];
        rest[..text.len()].copy_from_slice(text.as_bytes());
        Self { head: head_of(text), rest }
    }

    fn long(text: Box<str>) -> Self {
        let head = head_of(&text) | AWAY;
        let first = first_bytes(&text);
        let start = Box::into_raw(text).cast::<u8>();
        Self { head, rest: rest_of(first, start.expose_provenance() as u64) }
    }

    /// The text as Rust's own.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &str {
        // SAFETY: what was made of a `str` is one. What lies in a file was found to be one (`Lying::check`), or was
        // written as one. No character lies across a page, or the two halves of this, or a copy is read: so what is left
        // where a page could not be read, which shows as zeros, is one too.
        unsafe { str::from_utf8_unchecked(self.as_bytes()) }
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        let head = self.head;
        if head & AWAY == 0 {
            return &self.rest[..(head as usize).min(ROOM)];
        }
        self.bytes_away((head & !AWAY) as usize)
    }

    fn bytes_away(&self, len: usize) -> &[u8] {
        let place = self.place();
        let start: *const u8 = if place & BESIDE == 0 {
            if place == 0 {
                // The half of it that lay in another page could not be read.
                return &[];
            }
            ptr::with_exposed_provenance(address(place))
        } else {
            let start = ptr::from_ref(self).addr().wrapping_sub(address(place & !(BESIDE | SPLIT)));
            match place & SPLIT {
                0 => ptr::with_exposed_provenance(start),
                _ => kept::find(start, len),
            }
        };
        // SAFETY: where it owns its bytes, `long` made this address of a box of so many, whose provenance it exposed, and
        // which is freed when this is dropped; nobody writes to them. Otherwise this is borrowed from a column, whose
        // texts were checked, or written, to lie inside it: it exposed the provenance of all of it, stays mapped, and
        // keeps the copies, for as long as anything is borrowed from it.
        unsafe { slice::from_raw_parts(start, len) }
    }

    fn place(&self) -> u64 {
        let mut place = [0; 8];
        place.copy_from_slice(&self.rest[ROOM - 8..]);
        u64::from_ne_bytes(place)
    }

    /// How many bytes it has.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        (self.head & !AWAY) as usize
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first four bytes, or zeros, as a number that orders as they do.
    #[inline]
    fn first(&self) -> u32 {
        let [a, b, c, d, ..] = self.rest;
        u32::from_be_bytes([a, b, c, d])
    }

    /// The bytes that it owns elsewhere.
    pub(crate) fn owned_bytes(&self) -> usize {
        if self.owns_bytes() { self.len() } else { 0 }
    }

    fn owns_bytes(&self) -> bool {
        self.head & AWAY != 0 && self.place() & BESIDE == 0 && self.place() != 0
    }
}

fn head_of(text: &str) -> u32 {
    let len = text.len();
    assert!(len <= Text::LEN_MAX, "a text of {len} bytes: there is room for {}", Text::LEN_MAX);
    u32::try_from(len).expect("it was just compared")
}

/// The first four bytes of a text, or as many as there are, and zeros.
fn first_bytes(text: &str) -> [u8; 4] {
    let mut first = [0; 4];
    let len = text.len().min(4);
    first[..len].copy_from_slice(&text.as_bytes()[..len]);
    first
}

fn rest_of(first: [u8; 4], place: u64) -> [u8; ROOM] {
    let mut rest = [0; ROOM];
    rest[..4].copy_from_slice(&first);
    rest[4..].copy_from_slice(&place.to_ne_bytes());
    rest
}

/// A place as an address, or a distance.
#[expect(clippy::cast_possible_truncation, reason = "it was a usize, or is one in a mapped file")]
const fn address(place: u64) -> usize {
    place as usize
}

impl Drop for Text {
    fn drop(&mut self) {
        if self.owns_bytes() {
            let start = ptr::with_exposed_provenance_mut::<u8>(address(self.place()));
            // SAFETY: `long` got these out of a box of so many bytes, and exposed their provenance. There is one text of
            // this address: one is cloned by making another box, and is never copied.
            drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(start, self.len())) });
        }
    }
}

impl Clone for Text {
    fn clone(&self) -> Self {
        Self::of(self.as_str())
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Text {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.first() == other.first()
            && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl Ord for Text {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        // Zeros for bytes that there are not come before all others, as a shorter text does.
        let firsts = self.first().cmp(&other.first());
        firsts.then_with(|| self.as_bytes().cmp(other.as_bytes()))
    }
}

impl PartialOrd for Text {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl SizeOf for Text {
    fn size_of_children(&self, context: &mut Context) {
        if self.owns_bytes() {
            context.add_arraylike(self.len(), 1).add_distinct_allocation();
        }
    }
}

never_none!(Text);
never_roaring_filter!(Text);
