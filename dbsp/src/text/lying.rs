//! Texts as they lie in files: `docs/format.md` describes them.

use bytemuck::{Pod, Zeroable};

use super::{AWAY, BESIDE, ROOM, SPLIT, Text, first_bytes, head_of, rest_of};

/// What a character must not lie across. Pages of memory are as large, or multiples of it.
const PAGE_BYTES: u64 = 4096;

/// A [`Text`] as it lies in a file: its bytes, whatever they are.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Lying {
    head: u32,
    rest: [u8; ROOM],
}

const _: () = assert!(size_of::<Lying>() == size_of::<Text>());

/// Where the bytes of a text lie, if not in the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Away {
    /// Their offset.
    start: u64,
    /// Whether a character lies across two pages.
    is_split: bool,
}

impl Away {
    fn of_raw(raw: u64) -> Self {
        Self { start: raw & !SPLIT, is_split: raw & SPLIT != 0 }
    }

    fn raw(self) -> u64 {
        self.start | self.split_bit()
    }

    fn split_bit(self) -> u64 {
        if self.is_split { SPLIT } else { 0 }
    }
}

/// A text whose bytes a copy is to be kept of: where they begin in the file, and how many there are.
type ToKeep = (u64, usize);

impl Lying {
    pub(crate) const LEN_BYTES: usize = size_of::<Self>();

    /// The text as it lies in an item, where all of it does. Its two halves may be in different pages, so no character
    /// lies across them.
    pub(crate) fn short(text: &str) -> Option<Self> {
        let fits = text.len() <= ROOM && (text.len() <= 4 || text.is_char_boundary(4));
        fits.then(|| {
            let mut rest = [0; ROOM];
            rest[..text.len()].copy_from_slice(text.as_bytes());
            Self { head: head_of(text), rest }
        })
    }

    /// The text as it lies in an item that has no place yet; see [`settle`](Self::settle).
    pub(crate) fn unsettled(text: &str, away: Away) -> Self {
        Self { head: head_of(text) | AWAY, rest: rest_of(first_bytes(text), away.raw()) }
    }

    /// The same in an item that has: this text lies at offset `at`, counted from where those of the bytes are counted
    /// from.
    pub(crate) fn settle(self, at: u64) -> Self {
        if self.head & AWAY == 0 {
            return self;
        }
        let away = Away::of_raw(self.place());
        let place = BESIDE | away.split_bit() | (at - away.start);
        let [a, b, c, d, ..] = self.rest;
        Self { head: self.head, rest: rest_of([a, b, c, d], place) }
    }

    /// Whether these are the bytes of a text, where those of texts are `texts`, and it lies at offset `at`, counted from
    /// their beginning.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(self, at: u64, texts: &[u8]) -> Result<(), &'static str> {
        if self.head & AWAY == 0 {
            let len = self.head as usize;
            let whole = self.rest.get(..len).and_then(|bytes| str::from_utf8(bytes).ok());
            let text = whole.ok_or("a short text is no UTF-8, or not short")?;
            let zeros = self.rest[len..].iter().all(|&byte| byte == 0);
            return match zeros && Self::short(text).is_some() {
                true => Ok(()),
                false => Err("a short text is not written as one"),
            };
        }
        let outside = "a text lies outside of its column";
        let place = self.place();
        let start = at.checked_sub(place & !(BESIDE | SPLIT)).filter(|_| place & BESIDE != 0);
        let start = start.ok_or(outside)?;
        let first = usize::try_from(start).map_err(|_too_large| outside)?;
        let len = (self.head & !AWAY) as usize;
        let bytes = first.checked_add(len).and_then(|end| texts.get(first..end)).ok_or(outside)?;
        let text = str::from_utf8(bytes).map_err(|_other| "a text is no UTF-8")?;
        if self.rest[..4] != first_bytes(text) {
            return Err("a text does not begin as it is said to");
        }
        if is_split(text, start) != (place & SPLIT != 0) {
            return Err("a text lies otherwise in its pages than it is said to");
        }
        Ok(())
    }

    /// Which bytes a copy is to be kept of, where it is known that this is a text.
    pub(crate) fn to_keep(self, at: u64) -> Option<ToKeep> {
        let place = self.place();
        let is_split = self.head & AWAY != 0 && place & SPLIT != 0;
        is_split.then(|| (at - (place & !(BESIDE | SPLIT)), (self.head & !AWAY) as usize))
    }

    fn place(self) -> u64 {
        let mut place = [0; 8];
        place.copy_from_slice(&self.rest[4..]);
        u64::from_ne_bytes(place)
    }
}

/// Whether a character of a text that begins at byte `start` lies across two pages.
fn is_split(text: &str, start: u64) -> bool {
    let end = start + text.len() as u64;
    let mut page = (start / PAGE_BYTES + 1) * PAGE_BYTES;
    while page < end {
        let inside = usize::try_from(page - start).expect("a place in a text");
        if !text.is_char_boundary(inside) {
            return true;
        }
        page += PAGE_BYTES;
    }
    false
}

/// Where the bytes of texts come to lie, one behind the other, from offset 0 of a page on.
#[derive(Debug, Default)]
pub(crate) struct TextLayout {
    end: u64,
}

impl TextLayout {
    /// Where the next text lies, and how many zeros before it.
    pub(crate) fn place(&mut self, text: &str) -> (usize, Away) {
        // Three bytes more, and a character of four begins where it was split; or a page of its own, where there is no
        // end of page in the text.
        let to_page = self.end.next_multiple_of(PAGE_BYTES) - self.end;
        let paddings = [0, 1, 2, 3, to_page];
        let whole = paddings.into_iter().find(|&padding| !is_split(text, self.end + padding));
        let padding = whole.unwrap_or(0);
        let away = Away { start: self.end + padding, is_split: whole.is_none() };
        self.end = away.start + text.len() as u64;
        (usize::try_from(padding).expect("a page at most"), away)
    }

    /// Where the last one ends.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }
}
