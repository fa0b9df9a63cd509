//! What a run can have as keys: plain data of one size, and text or bytes of any length.

use std::{cmp::Ordering, marker::PhantomData, ops::Range};

use layout::ColumnsKind;

use super::{Part, window::Window};
use crate::{ColumnSpec, Columns, ColumnsError, ColumnsWriter, FixedLayout, columns::Result};

/// What a [`Run`](super::Run) can have as keys: everything with a [`FixedLayout`], and `str` and `[u8]`, which are
/// borrowed from the mapping like the others.
///
/// The methods are how a run keeps its keys; this crate implements the trait, and nobody else needs to.
pub trait RunKey: Ord + ToOwned + 'static {
    /// Goes through keys in place.
    #[doc(hidden)]
    type Window<'a>: KeyWindow<'a, Self>;
    /// Keeps keys that are not in the file yet.
    #[doc(hidden)]
    type Buffer: KeyBuffer<Self>;
    #[doc(hidden)]
    const KIND: ColumnsKind;

    /// What the columns of keys hold.
    #[doc(hidden)]
    fn specs() -> KeySpecs;

    /// The lengths that the columns of so many keys have.
    #[doc(hidden)]
    fn lens(columns: &Columns, key_count: usize) -> Result<Vec<(usize, usize)>>;

    /// How many keys there are.
    #[doc(hidden)]
    fn count(columns: &Columns) -> Result<usize>;

    /// The position of the first key that is not below `key`.
    #[doc(hidden)]
    fn lower_bound(columns: &Columns, key_count: usize, key: &Self) -> Result<usize>;
}

/// What the columns of keys hold.
#[doc(hidden)]
#[derive(Debug)]
pub struct KeySpecs {
    pub(super) keys: ColumnSpec,
    pub(super) index: ColumnSpec,
    pub(super) starts: Option<ColumnSpec>,
}

/// Goes through keys in place.
#[doc(hidden)]
pub trait KeyWindow<'a, K: ?Sized>: Clone {
    /// At the first of so many keys.
    fn new(columns: &'a Columns, key_count: usize) -> Self;

    /// A key; the window moves if it has to.
    fn get(&mut self, position: usize) -> Result<&'a K>;

    /// Where among the keys from `from` on the first one is that is not below `key`, if that is found without
    /// moving.
    fn near(&self, from: usize, key: &K) -> Option<usize>;
}

/// Keeps keys that are not in the file yet.
#[doc(hidden)]
pub trait KeyBuffer<K: ?Sized>: Default {
    /// Takes the key after `count` others.
    fn push(&mut self, key: &K, count: u64);

    /// Hands on what was taken. What fails can be tried again.
    fn hand_on<T>(&mut self, columns: &mut ColumnsWriter<T>) -> Result<()>;

    /// Hands on what comes behind the last key.
    fn finish<T>(&mut self, columns: &mut ColumnsWriter<T>) -> Result<()>;
}

/// How many keys share an entry of the index: those of a page of 4 KiB. So a seek touches one page
/// of keys, and the index takes a 512th of what keys of 8 bytes do. In a run of a million, random
/// seeks take 1.16 times a binary search of a `Vec`, and seeks in order 0.27 times
/// (docs/performance.md).
const fn keys_per_block<K>() -> usize {
    let keys = 4096 / size_of::<K>();
    if keys == 0 { 1 } else { keys }
}

impl<K: FixedLayout + Ord> RunKey for K {
    type Window<'a> = Window<'a, K>;
    type Buffer = FixedBuffer<K>;
    const KIND: ColumnsKind = ColumnsKind::new(*b"run\0\0\0\0\0");

    fn specs() -> KeySpecs {
        KeySpecs { keys: ColumnSpec::of::<K>(), index: ColumnSpec::of::<K>(), starts: None }
    }

    fn count(columns: &Columns) -> Result<usize> {
        columns.len(Part::Keys.column())
    }

    fn lens(_columns: &Columns, key_count: usize) -> Result<Vec<(usize, usize)>> {
        Ok(vec![(Part::Index.column(), key_count.div_ceil(keys_per_block::<K>()))])
    }

    fn lower_bound(columns: &Columns, key_count: usize, key: &K) -> Result<usize> {
        let index = columns.column::<K>(Part::Index.column())?;
        let below = |other: &K| other.cmp(key) == Ordering::Less;
        let block = index.partition_point(below);
        let Some(block) = block.checked_sub(1) else { return Ok(0) };
        let start = block * keys_per_block::<K>();
        let end = key_count.min(start + keys_per_block::<K>());
        let keys = columns.column_range::<K>(Part::Keys.column(), start..end)?;
        Ok(start + keys.partition_point(below))
    }
}

impl<'a, K: FixedLayout + Ord> KeyWindow<'a, K> for Window<'a, K> {
    fn new(columns: &'a Columns, key_count: usize) -> Self {
        Self::of(columns, Part::Keys, key_count)
    }

    #[inline]
    fn get(&mut self, position: usize) -> Result<&'a K> {
        self.item(position)
    }

    fn near(&self, from: usize, key: &K) -> Option<usize> {
        gallop(self.rest_from(from), key).map(|skipped| from + skipped)
    }
}

/// The position of the first of `keys` that is not below `key`: looks at the first, and then at
/// keys twice as far each time. `None` where all are below.
fn gallop<K: Ord>(keys: &[K], key: &K) -> Option<usize> {
    let (mut below, mut probe) = (0, 0);
    loop {
        match keys.get(probe) {
            Some(other) if other < key => {
                below = probe + 1;
                probe = 2 * probe + 1;
            }
            Some(_) => break,
            None if keys.last().is_none_or(|last| last < key) => return None,
            None => {
                probe = keys.len() - 1;
                break;
            }
        }
    }
    Some(below + keys[below..probe].partition_point(|other| other < key))
}

/// Keys of one size.
#[doc(hidden)]
#[derive(Debug)]
pub struct FixedBuffer<K> {
    keys: Vec<K>,
    index: Vec<K>,
}

impl<K> Default for FixedBuffer<K> {
    fn default() -> Self {
        Self { keys: Vec::new(), index: Vec::new() }
    }
}

impl<K: FixedLayout> KeyBuffer<K> for FixedBuffer<K> {
    #[inline]
    fn push(&mut self, key: &K, count: u64) {
        if count.is_multiple_of(keys_per_block::<K>() as u64) {
            self.index.push(*key);
        }
        self.keys.push(*key);
    }

    fn hand_on<T>(&mut self, columns: &mut ColumnsWriter<T>) -> Result<()> {
        append_all(columns, Part::Keys, &mut self.keys)?;
        append_all(columns, Part::Index, &mut self.index)
    }

    fn finish<T>(&mut self, _columns: &mut ColumnsWriter<T>) -> Result<()> {
        Ok(())
    }
}

pub(super) fn append_all<T, I: FixedLayout>(
    columns: &mut ColumnsWriter<T>,
    part: Part,
    items: &mut Vec<I>,
) -> Result<()> {
    columns.append(part.column(), items)?;
    items.clear();
    Ok(())
}

/// Keys of any length, by their bytes, whose order they have.
trait Text: RunKey<Buffer = TextBuffer> {
    fn bytes(&self) -> &[u8];
    fn of(bytes: &[u8]) -> Option<&Self>;
}

impl Text for str {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn of(bytes: &[u8]) -> Option<&Self> {
        Self::from_utf8(bytes).ok()
    }
}

impl Text for [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn of(bytes: &[u8]) -> Option<&Self> {
        Some(bytes)
    }
}

/// How many texts share an entry of the index, which is a number: the first eight bytes of the first.
const TEXTS_PER_BLOCK: usize = 64;

/// The first eight bytes, as a number that is smaller for what comes before.
fn prefix(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = bytes.len().min(8);
    first[..len].copy_from_slice(&bytes[..len]);
    u64::from_be_bytes(first)
}

/// The text at a position.
fn text_at<K: Text + ?Sized>(columns: &Columns, position: usize) -> Result<&K> {
    let ends = position..position.saturating_add(2);
    let ends = columns.column_range::<u64>(Part::Starts.column(), ends)?;
    text::<K>(columns, position, ends[0]..ends[1])
}

fn text<K: Text + ?Sized>(columns: &Columns, position: usize, place: Range<u64>) -> Result<&K> {
    // What no `usize` can tell lies past the end, which the column says.
    let place = [place.start, place.end].map(|end| usize::try_from(end).unwrap_or(usize::MAX));
    let bytes = columns.column_range::<u8>(Part::Keys.column(), place[0]..place[1])?;
    K::of(bytes).ok_or_else(|| {
        let path = columns.file().path().into();
        ColumnsError::RunText { path, key: position }
    })
}

/// The first position of a range at which something is so, where it is so of all behind it.
fn first_in(
    mut range: Range<usize>,
    mut is_so: impl FnMut(usize) -> Result<bool>,
) -> Result<usize> {
    while range.start < range.end {
        let middle = range.start.midpoint(range.end);
        if is_so(middle)? { range.end = middle } else { range.start = middle + 1 }
    }
    Ok(range.start)
}

macro_rules! texts {
    ($($text:ty => $kind:literal),*) => {$(
        impl RunKey for $text {
            type Window<'a> = TextWindow<'a, $text>;
            type Buffer = TextBuffer;
            const KIND: ColumnsKind = ColumnsKind::new(*$kind);

            fn specs() -> KeySpecs {
                let number = ColumnSpec::of::<u64>();
                KeySpecs { keys: ColumnSpec::of::<u8>(), index: number, starts: Some(number) }
            }

            fn count(columns: &Columns) -> Result<usize> {
                Ok(columns.len(Part::Starts.column())?.saturating_sub(1))
            }

            fn lens(_columns: &Columns, key_count: usize) -> Result<Vec<(usize, usize)>> {
                Ok(vec![
                    (Part::Index.column(), key_count.div_ceil(TEXTS_PER_BLOCK)),
                    (Part::Starts.column(), key_count + 1),
                ])
            }

            fn lower_bound(columns: &Columns, key_count: usize, key: &Self) -> Result<usize> {
                let index = columns.column::<u64>(Part::Index.column())?;
                let asked = prefix(Text::bytes(key));
                let is_at_least =
                    |position| text_at::<Self>(columns, position).map(|other| other >= key);
                // The prefix decides, or where it is the same, the text.
                let block = first_in(0..index.len(), |block| match index[block].cmp(&asked) {
                    Ordering::Equal => is_at_least(block * TEXTS_PER_BLOCK),
                    other => Ok(other == Ordering::Greater),
                })?;
                let Some(block) = block.checked_sub(1) else { return Ok(0) };
                let start = block * TEXTS_PER_BLOCK;
                first_in(start..key_count.min(start + TEXTS_PER_BLOCK), is_at_least)
            }
        }

        impl KeyBuffer<$text> for TextBuffer {
            fn push(&mut self, key: &$text, count: u64) {
                self.take(Text::bytes(key), count);
            }

            fn hand_on<T>(&mut self, columns: &mut ColumnsWriter<T>) -> Result<()> {
                self.hand_on_to(columns)
            }

            fn finish<T>(&mut self, columns: &mut ColumnsWriter<T>) -> Result<()> {
                columns.append(Part::Starts.column(), &[self.len])
            }
        }
    )*};
}

texts! { str => b"run str\0", [u8] => b"run [u8]" }

/// Goes through texts in place.
#[doc(hidden)]
#[derive(Debug)]
pub struct TextWindow<'a, K: ?Sized> {
    columns: &'a Columns,
    starts: Window<'a, u64>,
    texts: PhantomData<fn() -> &'a K>,
}

impl<K: ?Sized> Clone for TextWindow<'_, K> {
    fn clone(&self) -> Self {
        Self { columns: self.columns, starts: self.starts.clone(), texts: PhantomData }
    }
}

impl<'a, K: Text + ?Sized> KeyWindow<'a, K> for TextWindow<'a, K> {
    fn new(columns: &'a Columns, key_count: usize) -> Self {
        let starts = Window::of(columns, Part::Starts, key_count + 1);
        Self { columns, starts, texts: PhantomData }
    }

    fn get(&mut self, position: usize) -> Result<&'a K> {
        let start = *self.starts.item(position)?;
        let end = *self.starts.item(position + 1)?;
        text(self.columns, position, start..end)
    }

    fn near(&self, _from: usize, _key: &K) -> Option<usize> {
        None
    }
}

/// Texts that are not in the file yet.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct TextBuffer {
    bytes: Vec<u8>,
    starts: Vec<u64>,
    index: Vec<u64>,
    /// Of all texts so far.
    len: u64,
}

impl TextBuffer {
    fn take(&mut self, bytes: &[u8], count: u64) {
        if count.is_multiple_of(TEXTS_PER_BLOCK as u64) {
            self.index.push(prefix(bytes));
        }
        self.starts.push(self.len);
        self.bytes.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
    }

    fn hand_on_to<T>(&mut self, columns: &mut ColumnsWriter<T>) -> Result<()> {
        append_all(columns, Part::Keys, &mut self.bytes)?;
        append_all(columns, Part::Starts, &mut self.starts)?;
        append_all(columns, Part::Index, &mut self.index)
    }
}
