//! Plain data: the types of keys and values that are read where they lie in a file.
#![expect(
    unsafe_code,
    reason = "which types are plain data can only be promised; what is done with them is safe code"
)]

use std::mem::{align_of, needs_drop, size_of};

use bytemuck::{Pod, TransparentWrapper, Zeroable};
use dbsp::{
    DBData,
    algebra::{F32, F64},
};
use storage::{FixedLayout, ItemLayout};

/// Data that is nothing but its bytes: no pointer, no padding, and no bytes that mean nothing.
///
/// DBSP's tuples are neither `repr(C)` nor [`Copy`], so [`bytemuck::Pod`] cannot be said of them.
/// This says as much as is needed to read a column of them in place. It holds for the integers,
/// [`F32`], [`F64`] and `()`, and for [`Tup1`](dbsp::utils::Tup1) to
/// [`Tup10`](dbsp::utils::Tup10) and Rust's own tuples of two to six of them, as deep as wanted;
/// [`plain_struct!`](crate::plain_struct) says it of a struct. Arrays cannot be keys or values of
/// DBSP ([`DBData`]) but in a struct.
///
/// # Safety
/// Where `Self` is as large as [`Words`](Self::Words) and aligned as [`Align`](Self::Align), which is
/// checked when it is compiled (a larger one has padding): all bytes of a `Self` are initialised; all bytes of that length
/// and of its alignment are a valid `Self`; and it has neither drop glue nor interior mutability.
pub unsafe trait Plain: DBData {
    /// Plain data of the same size.
    type Words: Pod;

    /// Of the same alignment.
    type Align: Copy;

    /// What the bytes mean: what stands at which offset. A file keeps it beside the column, so that
    /// one whose tuples were laid out otherwise (by another compiler, say) is refused, and not
    /// misread.
    const LAYOUT: ItemLayout;
}

/// A `T` as it lies in a file.
#[repr(C)]
pub(crate) struct Stored<T: Plain> {
    aligned: [T::Align; 0],
    words: T::Words,
}

impl<T: Plain> Stored<T> {
    /// That a `Stored<T>` is a `T`'s bytes, and there are no others.
    const IS_PLAIN: () = {
        assert!(
            size_of::<T>() == size_of::<T::Words>(),
            "this type has padding: make its fields add up to a multiple of the largest"
        );
        assert!(size_of::<Self>() == size_of::<T>() && align_of::<Self>() == align_of::<T>());
        assert!(!needs_drop::<T>());
    };

    /// Items as they lie in a file.
    pub(crate) fn of(items: &[T]) -> &[Self] {
        const { Self::IS_PLAIN };
        Self::wrap_slice(items)
    }

    /// What lies in a file as items.
    #[inline]
    pub(crate) fn items(stored: &[Self]) -> &[T] {
        const { Self::IS_PLAIN };
        Self::peel_slice(stored)
    }
}

impl<T: Plain> Clone for Stored<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Plain> Copy for Stored<T> {}

// SAFETY: zeros are a value of its words, which are `Pod`; an array of no items has no bytes.
unsafe impl<T: Plain> Zeroable for Stored<T> {}

// SAFETY: its words are `Pod`, and an array of no items has no bytes. It has no padding behind them:
// this type is private to the crate, which looks at one only by `of` and `items`, or through a slice
// that it gives to them, and `IS_PLAIN` there compares the sizes. `Copy` and `'static` hold.
unsafe impl<T: Plain> Pod for Stored<T> {}

// SAFETY: what this trait is for is a cast between the two types, by value or by reference, either
// way. `IS_PLAIN` checks that size and alignment are the same. `Plain` promises that then all bytes
// of a `T` are initialised, so they are a value of words, which are `Pod`; and that all bytes of a
// `Stored<T>` are a valid `T`. There is no interior mutability on either side, so shared references
// may look at the same bytes; and no drop glue, so owning one or the other is no different.
unsafe impl<T: Plain> TransparentWrapper<T> for Stored<T> {}

macro_rules! plain_numbers {
    ($($number:ident)*) => {$(
        // SAFETY: a number that is `Pod` itself.
        unsafe impl Plain for $number {
            type Words = $number;
            type Align = $number;
            const LAYOUT: ItemLayout = <$number as FixedLayout>::LAYOUT;
        }
    )*};
}

plain_numbers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);

// SAFETY: one value of no bytes.
unsafe impl Plain for () {
    type Words = ();
    type Align = ();
    const LAYOUT: ItemLayout = ItemLayout::primitive("()", 0, 1);
}

// SAFETY: a struct whose one field is an `f32`, of its size and alignment, in which each bit pattern
// is a value.
unsafe impl Plain for F32 {
    type Words = u32;
    type Align = u32;
    const LAYOUT: ItemLayout = f32::LAYOUT;
}

// SAFETY: as for `F32`.
unsafe impl Plain for F64 {
    type Words = u64;
    type Align = u64;
    const LAYOUT: ItemLayout = f64::LAYOUT;
}

/// Says that a struct is plain data ([`Plain`]), and of which fields.
///
/// The struct must be [`bytemuck::Pod`] already (derive it, with `repr(C)`), which is what makes
/// this safe, and name each of its fields with its type.
///
/// DBSP compares and hashes keys in the form in which its own files have them. The macro writes how
/// ([`OrdRepr`](dbsp::dynamic::OrdRepr), [`HashRepr`](dbsp::dynamic::HashRepr)), by the struct's own `Ord` and
/// `Hash`, so neither is to be derived.
///
/// ```
/// # use dbsp::{never_none, never_roaring_filter};
/// use storage_dbsp::{bytemuck, plain_struct};
///
/// #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// #[derive(size_of::SizeOf, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[archive_attr(derive(Debug, PartialEq, Eq, PartialOrd, Ord))]
/// #[archive(compare(PartialEq, PartialOrd))]
/// # #[derive(bytemuck::Pod, bytemuck::Zeroable)]
/// #[repr(C)]
/// struct Point {
///     x: i32,
///     y: i32,
/// }
/// never_none!(Point);
/// never_roaring_filter!(Point);
/// plain_struct!(Point { x: i32, y: i32 });
/// ```
///
/// A field that is left out is an error:
///
/// ```compile_fail,E0063
/// # use dbsp::{never_none, never_roaring_filter};
/// # use storage_dbsp::{bytemuck, plain_struct};
/// # #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// # #[derive(size_of::SizeOf, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// # #[archive_attr(derive(Debug, PartialEq, Eq, PartialOrd, Ord))]
/// # #[archive(compare(PartialEq, PartialOrd))]
/// # #[derive(bytemuck::Pod, bytemuck::Zeroable)]
/// # #[repr(C)]
/// # struct Point {
/// #     x: i32,
/// #     y: i32,
/// # }
/// # never_none!(Point);
/// # never_roaring_filter!(Point);
/// plain_struct!(Point { x: i32 });
/// ```
#[macro_export]
macro_rules! plain_struct {
    ($name:path { $($field:ident: $kind:ty),* $(,)? }) => {
        #[allow(unsafe_code)]
        // SAFETY: the struct is `Pod`, as the type of `Words` demands, so it is as plain as can be.
        unsafe impl $crate::Plain for $name {
            type Words = $name;
            type Align = $name;
            const LAYOUT: $crate::ItemLayout = $crate::ItemLayout::structure(
                ::core::mem::size_of::<$name>(),
                ::core::mem::align_of::<$name>(),
                &[$((
                    ::core::mem::offset_of!($name, $field),
                    <$kind as $crate::Plain>::LAYOUT,
                )),*],
            );
        }

        const _: () = {
            use $crate::for_macros::{HashRepr, OrdRepr, rkyv};

            fn native(archived: &rkyv::Archived<$name>) -> $name {
                $(let $field: $kind = match rkyv::Deserialize::<$kind, rkyv::Infallible>::deserialize(
                    &archived.$field,
                    &mut rkyv::Infallible,
                ) {
                    Ok(field) => field,
                    Err(never) => match never {},
                };)*
                $name { $($field),* }
            }

            impl OrdRepr<$name> for rkyv::Archived<$name> {
                #[inline]
                fn ord_cmp(&self, other: &$name) -> ::core::cmp::Ordering {
                    ::core::cmp::Ord::cmp(&native(self), other)
                }
            }

            impl HashRepr for rkyv::Archived<$name> {
                const FAITHFUL: bool = true;

                #[inline]
                fn hash_repr<H: ::core::hash::Hasher>(&self, state: &mut H) {
                    ::core::hash::Hash::hash(&native(self), state);
                }
            }
        };
    };
}
