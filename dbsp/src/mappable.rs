//! The types of keys and values that are read where they lie in a file.
#![expect(
    unsafe_code,
    reason = "what the bytes of a type are can only be promised; each look at them says why it may"
)]

mod macros;
mod tuples;

use std::{
    marker::PhantomData,
    mem::{align_of, size_of},
    slice,
};

use bytemuck::{Pod, Zeroable};
use dbsp::{
    DBData,
    algebra::{F32, F64},
};
use storage::{FixedLayout, ItemLayout};

use crate::text::Text;

#[doc(hidden)]
pub use macros::is_followed;

/// Data that is read where it lies in a mapped file.
///
/// It holds for the integers, `bool`, [`F32`], [`F64`] and `()`; for [`Text`]; for
/// [`Null`](crate::Null) of those; for [`Tup1`](dbsp::utils::Tup1) to [`Tup10`](dbsp::utils::Tup10) and Rust's
/// own tuples of two to six of them, as deep as wanted. [`mappable_struct!`](crate::mappable_struct)
/// says it of a struct.
///
/// The bytes of a text lie beside the items, unless it is short. All else is nothing but its bytes: no
/// pointer, and no padding.
///
/// # Safety
/// Where `Self` is as large as [`Words`](Self::Words) and aligned as [`Align`](Self::Align), which is
/// checked when it is compiled (a larger one has padding): all bytes of a `Self` are initialised; it
/// has no interior mutability; [`parts`](Self::parts) names the place of each [`Text`] and each `bool` in it, and
/// no other; and all bytes of that length and of its alignment are a valid `Self`, as long as those that lie
/// at these places are a valid [`Text`] or `bool`.
pub unsafe trait Mappable: DBData {
    /// Plain data of the same size.
    type Words: Pod;

    /// Of the same alignment.
    type Align: Copy;

    /// What the bytes mean: what stands at which offset. A file keeps it beside the column, so that
    /// one whose tuples were laid out otherwise (by another compiler, say) is refused, and not
    /// misread.
    const LAYOUT: ItemLayout;

    /// Notes the parts of an item that begins at byte `at` of another.
    fn parts(_at: usize, _parts: &mut Parts) {}
}

/// Where in an item there is more than numbers: which bytes of it are a [`Text`], or a `bool`.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    pub(crate) texts: Vec<usize>,
    pub(crate) bools: Vec<usize>,
}

/// The parts of a `T`.
pub(crate) struct PartsOf<T> {
    parts: Parts,
    of: PhantomData<fn(&T)>,
}

impl<T: Mappable> PartsOf<T> {
    pub(crate) fn new() -> Self {
        const { assert!(size_of::<Text>() == 16) };
        let mut parts = Parts::default();
        T::parts(0, &mut parts);
        Self { parts, of: PhantomData }
    }

    /// Where the texts begin in an item.
    pub(crate) fn texts(&self) -> &[usize] {
        &self.parts.texts
    }

    /// Where the bools lie in an item.
    pub(crate) fn bools(&self) -> &[usize] {
        &self.parts.bools
    }

    /// The texts of an item, in the order of [`texts`](Self::texts).
    pub(crate) fn texts_of<'a>(&'a self, item: &'a T) -> impl Iterator<Item = &'a Text> {
        self.parts.texts.iter().map(move |&start| {
            let text = (&raw const *item).wrapping_byte_add(start).cast::<Text>();
            // SAFETY: by `Mappable` a text lies at this place of each `T`, and the item is borrowed for as long.
            unsafe { &*text }
        })
    }
}

/// A `T` as it lies in a file: its bytes, whatever they are.
#[repr(C)]
pub(crate) struct Stored<T: Mappable> {
    aligned: [T::Align; 0],
    words: T::Words,
}

impl<T: Mappable> Clone for Stored<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Mappable> Copy for Stored<T> {}

impl<T: Mappable> Stored<T> {
    /// That a `Stored<T>` is a `T`'s bytes, and there are no others.
    const IS_WHOLE: () = {
        assert!(
            size_of::<T>() == size_of::<T::Words>(),
            "this type has padding: make its fields add up to a multiple of the largest"
        );
        assert!(size_of::<Self>() == size_of::<T>() && align_of::<Self>() == align_of::<T>());
    };
}

// SAFETY: zeros are a value of its words, which are `Pod`; an array of no items has no bytes.
unsafe impl<T: Mappable> Zeroable for Stored<T> {}

// SAFETY: its words are `Pod`, and an array of no items has no bytes. It has no padding behind them:
// this type is private to the crate, which looks at one only by `bytes_of` and `items_of`, or asks for as many as are
// given to that, and `IS_WHOLE` there compares the sizes. `Copy` and `'static` hold.
unsafe impl<T: Mappable> Pod for Stored<T> {}

/// The bytes of items, texts as they are in memory.
pub(crate) fn bytes_of<T: Mappable>(items: &[T]) -> &[u8] {
    const { Stored::<T>::IS_WHOLE };
    // SAFETY: by `Mappable`, whose condition `IS_WHOLE` checks, all bytes of each item are initialised, and none
    // changes as long as the items are borrowed. A slice is no longer than `isize::MAX`.
    unsafe { slice::from_raw_parts(items.as_ptr().cast(), size_of_val(items)) }
}

/// The items that bytes are.
///
/// # Panics
/// Where they are not aligned, or no whole number of items, or items have no size.
///
/// # Safety
/// At each place that [`PartsOf`] `T` names of each item there is a valid `bool`; or a [`Text`] that is valid
/// where it lies, for as long as the bytes are borrowed.
#[inline]
pub(crate) unsafe fn items_of<T: Mappable>(bytes: &[u8]) -> &[T] {
    const { Stored::<T>::IS_WHOLE };
    let stored: &[Stored<T>] = bytemuck::cast_slice(bytes);
    // SAFETY: `IS_WHOLE` checks that size and alignment are the same, so these are as many items. By the caller's
    // promise the parts of each are valid, and by `Mappable` all else is, whatever its bytes. There is no interior
    // mutability on either side, so both may be borrowed. None is ever dropped, since they are borrowed.
    unsafe { slice::from_raw_parts(stored.as_ptr().cast(), stored.len()) }
}

macro_rules! numbers {
    ($($number:ident)*) => {$(
        // SAFETY: a number that is `Pod` itself.
        unsafe impl Mappable for $number {
            type Words = $number;
            type Align = $number;
            const LAYOUT: ItemLayout = <$number as FixedLayout>::LAYOUT;
        }
    )*};
}

numbers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);

// SAFETY: one value of no bytes.
unsafe impl Mappable for () {
    type Words = ();
    type Align = ();
    const LAYOUT: ItemLayout = ItemLayout::primitive("()", 0, 1);
}

// SAFETY: one byte, which is named as a `bool`.
unsafe impl Mappable for bool {
    type Words = u8;
    type Align = u8;
    const LAYOUT: ItemLayout = ItemLayout::primitive("bool", 1, 1);

    fn parts(at: usize, parts: &mut Parts) {
        parts.bools.push(at);
    }
}

// SAFETY: a struct whose one field is an `f32`, of its size and alignment, in which each bit pattern
// is a value.
unsafe impl Mappable for F32 {
    type Words = u32;
    type Align = u32;
    const LAYOUT: ItemLayout = f32::LAYOUT;
}

// SAFETY: as for `F32`.
unsafe impl Mappable for F64 {
    type Words = u64;
    type Align = u64;
    const LAYOUT: ItemLayout = f64::LAYOUT;
}

// SAFETY: sixteen bytes with no padding (`Text` is made of integers), which are named as a text.
unsafe impl Mappable for Text {
    type Words = [u64; 2];
    type Align = u64;
    const LAYOUT: ItemLayout = ItemLayout::primitive("text", 16, 8);

    fn parts(at: usize, parts: &mut Parts) {
        parts.texts.push(at);
    }
}
