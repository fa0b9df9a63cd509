//! Types whose layout can be told, and compared with that of a file.

use bytemuck::Pod;
use layout::ItemLayout;

#[cfg(target_endian = "big")]
compile_error!("columns are little-endian in the file and borrowed as they are");

/// Plain data that a column can hold. The type describes its own layout, so that a column can only be borrowed
/// as the type that was written.
///
/// Numbers and arrays have it; [`fixed_layout!`](crate::fixed_layout) gives it to a struct. `usize`
/// and `isize` do not: their size depends on the machine.
pub trait FixedLayout: Pod {
    /// Size, alignment, and a fingerprint of the fields and their places.
    const LAYOUT: ItemLayout;

    /// What messages call the type.
    fn name() -> String;
}

macro_rules! primitives {
    ($($primitive:ident)*) => {$(
        impl FixedLayout for $primitive {
            const LAYOUT: ItemLayout = ItemLayout::primitive(
                stringify!($primitive),
                size_of::<$primitive>(),
                align_of::<$primitive>(),
            );

            fn name() -> String {
                stringify!($primitive).to_owned()
            }
        }
    )*};
}

primitives! { u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 }

impl<T: FixedLayout, const N: usize> FixedLayout for [T; N] {
    const LAYOUT: ItemLayout = ItemLayout::array(T::LAYOUT, N);

    fn name() -> String {
        format!("[{}; {N}]", T::name())
    }
}

/// Implements [`FixedLayout`](crate::FixedLayout) for a struct of plain data, from its fields and
/// their types. A field that is left out, or has another type, does not compile.
///
/// ```
/// #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
/// #[repr(C)]
/// struct Trade {
///     id: u64,
///     price: f32,
///     lots: [u16; 2],
/// }
/// storage::fixed_layout!(Trade { id: u64, price: f32, lots: [u16; 2] });
/// ```
///
/// ```compile_fail
/// #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
/// #[repr(C)]
/// struct Trade {
///     id: u64,
///     price: u64,
/// }
/// storage::fixed_layout!(Trade { id: u64 }); // where is `price`?
/// ```
#[macro_export]
macro_rules! fixed_layout {
    ($name:ty { $($field:ident : $kind:ty),+ $(,)? }) => {
        // Computed here, whether it is used or not, so that what is wrong does not compile.
        const _: $crate::ItemLayout = <$name as $crate::FixedLayout>::LAYOUT;

        impl $crate::FixedLayout for $name {
            const LAYOUT: $crate::ItemLayout = {
                // The fields have these types.
                let _: fn(&$name) = |item| {
                    $(let _: &$kind = &item.$field;)+
                };
                // There are no others: plain data has no padding.
                $crate::columns::assert_all_fields::<$name>(&[$(size_of::<$kind>()),+]);
                $crate::ItemLayout::structure(
                    size_of::<$name>(),
                    align_of::<$name>(),
                    &[$((
                        core::mem::offset_of!($name, $field),
                        <$kind as $crate::FixedLayout>::LAYOUT,
                    )),+],
                )
            };

            fn name() -> String {
                stringify!($name).to_owned()
            }
        }
    };
}

/// Fails to compile where fields of these sizes are not all of `T`; for
/// [`fixed_layout!`](crate::fixed_layout).
///
/// # Panics
/// There, which in a constant is that failure.
#[doc(hidden)]
pub const fn assert_all_fields<T>(sizes: &[usize]) {
    let (mut sum, mut index) = (0, 0);
    while index < sizes.len() {
        sum += sizes[index];
        index += 1;
    }
    assert!(sum == size_of::<T>(), "name every field of the struct");
}
