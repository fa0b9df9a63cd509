//! A value that may be missing, and is read where it lies in a file.
#![expect(unsafe_code, reason = "what the bytes of a type are can only be promised")]

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    mem::{align_of, offset_of, size_of},
};

use bytemuck::{Pod, Zeroable};
use dbsp::{
    algebra::{F32, F64},
    dynamic::OrdRepr,
    utils::{IsNone, SupportsRoaring},
};
use rkyv::{Archive, Deserialize, Fallible, Serialize, option::ArchivedOption};
use size_of::{Context, SizeOf};
use storage::ItemLayout;

use crate::{
    mappable::{Mappable, Parts},
    text::Text,
};

/// An [`Option`], for keys and values that are read in place.
///
/// Rust does not say where in an `Option` its bytes lie. This is one in all respects: it compares, hashes and prints
/// as one, `None` before all others, and DBSP's own files have it as they have an `Option`. It holds the numbers, `bool`
/// and [`Text`]. It is twice as large as a number.
///
/// ```
/// use storage_dbsp::{Null, Text};
///
/// let seller: Null<u64> = Some(7).into();
/// let city: Null<Text> = None.into();
/// assert_eq!(seller.get(), Some(&7));
/// assert!(city.get().is_none() && city < Null::from(Text::from("Turin")));
/// ```
#[derive(Clone, Default)]
#[repr(C)]
pub struct Null<T: Nullable> {
    /// The default where there is none.
    value: T,
    /// Zero where there is none, one otherwise.
    is_some: T::Flag,
}

/// What a [`Null`] can hold.
pub trait Nullable: Mappable {
    /// An integer of the same alignment, and no larger.
    type Flag: Flag;
}

/// An unsigned integer. It is for this module alone.
pub trait Flag: Pod + Eq + Send + Sync + Default {
    /// One, or zero.
    fn of(is_some: bool) -> Self;
}

macro_rules! flags {
    ($($flag:ident)*) => {$(
        impl Flag for $flag {
            fn of(is_some: bool) -> Self {
                Self::from(is_some)
            }
        }
    )*};
}

flags!(u8 u16 u32 u64 u128);

macro_rules! nullable {
    ($($kind:ident: $flag:ident),* $(,)?) => {$(
        impl Nullable for $kind {
            type Flag = $flag;
        }
    )*};
}

nullable!(
    u8: u8, u16: u16, u32: u32, u64: u64, u128: u128,
    i8: u8, i16: u16, i32: u32, i64: u64, i128: u128,
    bool: u8, F32: u32, F64: u64, Text: u64,
);

impl<T: Nullable> Null<T> {
    /// No value.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// A value.
    #[must_use]
    pub fn some(value: T) -> Self {
        Self { value, is_some: T::Flag::of(true) }
    }

    /// The value, if there is one.
    #[inline]
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        if self.is_some == T::Flag::default() { None } else { Some(&self.value) }
    }

    /// The value, if there is one.
    #[must_use]
    pub fn into_option(self) -> Option<T> {
        if self.is_some == T::Flag::default() { None } else { Some(self.value) }
    }
}

impl<T: Nullable + Copy> Copy for Null<T> {}

impl<T: Nullable> From<Option<T>> for Null<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or_else(Self::none, Self::some)
    }
}

impl<T: Nullable> From<T> for Null<T> {
    fn from(value: T) -> Self {
        Self::some(value)
    }
}

impl<T: Nullable> From<Null<T>> for Option<T> {
    fn from(value: Null<T>) -> Self {
        value.into_option()
    }
}

impl<T: Nullable> PartialEq for Null<T> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Nullable> Eq for Null<T> {}

impl<T: Nullable> Ord for Null<T> {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.get().cmp(&other.get())
    }
}

impl<T: Nullable> PartialOrd for Null<T> {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Nullable> Hash for Null<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.get().hash(state);
    }
}

impl<T: Nullable> fmt::Debug for Null<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl<T: Nullable> SizeOf for Null<T> {
    fn size_of_children(&self, context: &mut Context) {
        self.value.size_of_children(context);
    }
}

impl<T: Nullable> IsNone for Null<T> {
    type Inner = T;

    fn is_none(&self) -> bool {
        self.get().is_none()
    }

    fn unwrap_or_self(&self) -> &T {
        self.get().expect("there is a value")
    }

    fn from_inner(value: T) -> Self {
        Self::some(value)
    }

    fn result_to_field<E>(result: Result<Self, E>) -> Result<Self, E> {
        Ok(result.unwrap_or_default())
    }
}

impl<T: Nullable> SupportsRoaring for Null<T> {}

/// The bytes of a value and its flag, aligned to nothing.
#[doc(hidden)]
#[derive(Clone, Copy)]
#[repr(C, packed)]
#[expect(missing_debug_implementations, reason = "nobody ever sees one")]
pub struct Words<V: Pod, F: Pod>(V, F);

// SAFETY: zeros are a value of each field.
unsafe impl<V: Pod, F: Pod> Zeroable for Words<V, F> {}

// SAFETY: each field is `Pod`; a packed struct has no padding, inside or at the end; it is `Copy` and `'static`, as
// they are.
unsafe impl<V: Pod, F: Pod> Pod for Words<V, F> {}

// SAFETY: `Words` has the size of the two fields together, so where that is its size, as is checked wherever a column is
// read or written, no byte is padding. A flag is an integer: any bytes are one. The parts are those of the value, and
// neither has interior mutability.
unsafe impl<T: Nullable> Mappable for Null<T> {
    type Words = Words<T::Words, T::Flag>;
    type Align = [T::Align; 0];
    const LAYOUT: ItemLayout = ItemLayout::structure(
        size_of::<Self>(),
        align_of::<Self>(),
        &[
            (offset_of!(Self, value), T::LAYOUT),
            (
                offset_of!(Self, is_some),
                ItemLayout::primitive("null", size_of::<T::Flag>(), align_of::<T::Flag>()),
            ),
        ],
    );

    fn parts(at: usize, parts: &mut Parts) {
        T::parts(at + offset_of!(Self, value), parts);
    }
}

impl<T: Nullable> Archive for Null<T> {
    type Archived = ArchivedOption<<T as Archive>::Archived>;
    type Resolver = Option<<T as Archive>::Resolver>;

    unsafe fn resolve(&self, pos: usize, resolver: Self::Resolver, out: *mut Self::Archived) {
        // SAFETY: the caller's promise is that of this function too, and `serialize` gave a resolver where there is a
        // value.
        unsafe { self.get().cloned().resolve(pos, resolver, out) };
    }
}

impl<T: Nullable + Serialize<S>, S: Fallible + ?Sized> Serialize<S> for Null<T> {
    fn serialize(&self, serializer: &mut S) -> Result<Self::Resolver, S::Error> {
        self.get().map(|value| value.serialize(serializer)).transpose()
    }
}

impl<T, A, D> Deserialize<Null<T>, D> for ArchivedOption<A>
where
    T: Nullable,
    A: Deserialize<T, D>,
    D: Fallible + ?Sized,
{
    fn deserialize(&self, deserializer: &mut D) -> Result<Null<T>, D::Error> {
        Ok(match self {
            Self::Some(value) => Null::some(value.deserialize(deserializer)?),
            Self::None => Null::none(),
        })
    }
}

impl<T: Nullable, A: OrdRepr<T>> OrdRepr<Null<T>> for ArchivedOption<A> {
    #[inline]
    fn ord_cmp(&self, other: &Null<T>) -> Ordering {
        match (self, other.get()) {
            (Self::None, None) => Ordering::Equal,
            (Self::None, Some(_)) => Ordering::Less,
            (Self::Some(_), None) => Ordering::Greater,
            (Self::Some(value), Some(other)) => value.ord_cmp(other),
        }
    }
}
