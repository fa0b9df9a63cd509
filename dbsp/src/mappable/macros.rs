//! Structs of users.

/// Whether what follows a field that ends at byte `end` of a struct is another field, or the struct's end.
#[must_use]
pub const fn is_followed(end: usize, starts: &[usize], size: usize) -> bool {
    let mut index = 0;
    while index < starts.len() {
        if starts[index] == end {
            return true;
        }
        index += 1;
    }
    end == size
}

/// Says that a struct can be read in place ([`Mappable`](crate::Mappable)), and of which fields it is made.
///
/// It takes each field with its type, which must be [`Mappable`](crate::Mappable) itself. There must be no padding:
/// the error says which field it follows. `repr(C)` lets you decide in which order the fields lie.
///
/// DBSP compares and hashes keys in the form in which its own files have them. The macro writes how
/// ([`OrdRepr`](dbsp::dynamic::OrdRepr), [`HashRepr`](dbsp::dynamic::HashRepr)), by the struct's own `Ord` and
/// `Hash`, so neither is to be derived.
///
/// ```
/// # use dbsp::{never_none, never_roaring_filter};
/// use storage_dbsp::{Text, mappable_struct};
///
/// #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// #[derive(size_of::SizeOf, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[archive_attr(derive(PartialEq, Eq, PartialOrd, Ord))]
/// struct Person {
///     name: Text,
///     age: u32,
///     height: u32,
/// }
/// never_none!(Person);
/// never_roaring_filter!(Person);
/// mappable_struct!(Person { name: Text, age: u32, height: u32 });
/// ```
///
/// A field that is left out is an error, and so is padding:
///
/// ```compile_fail,E0063
/// # use dbsp::{never_none, never_roaring_filter};
/// # use storage_dbsp::mappable_struct;
/// # #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// # #[derive(size_of::SizeOf, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// # #[archive_attr(derive(PartialEq, Eq, PartialOrd, Ord))]
/// # struct Person {
/// #     age: u32,
/// #     height: u32,
/// # }
/// # never_none!(Person);
/// # never_roaring_filter!(Person);
/// mappable_struct!(Person { age: u32 });
/// ```
///
/// ```compile_fail,E0080
/// # use dbsp::{never_none, never_roaring_filter};
/// # use storage_dbsp::mappable_struct;
/// # #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// # #[derive(size_of::SizeOf, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// # #[archive_attr(derive(PartialEq, Eq, PartialOrd, Ord))]
/// # struct Person {
/// #     age: u32,
/// #     height: u64,
/// # }
/// # never_none!(Person);
/// # never_roaring_filter!(Person);
/// mappable_struct!(Person { age: u32, height: u64 });
/// ```
#[macro_export]
macro_rules! mappable_struct {
    ($name:path { $($field:ident: $kind:ty),* $(,)? }) => {
        #[allow(unsafe_code)]
        // SAFETY: `native` below makes a struct of these fields and no others, and they are of these types. They are
        // as large together as the struct (the last assertion), so each byte is one of a field's. So all are
        // initialised, and valid where the fields' are, as `Mappable` says of them; the parts are theirs, and without
        // interior mutability in any there is none.
        unsafe impl $crate::Mappable for $name {
            type Words = [u8; ::core::mem::size_of::<$name>()];
            type Align = ($([<$kind as $crate::Mappable>::Align; 0],)*);
            const LAYOUT: $crate::ItemLayout = {
                let starts: &[usize] = &[$(::core::mem::offset_of!($name, $field)),*];
                $(assert!(
                    $crate::for_macros::is_followed(
                        ::core::mem::offset_of!($name, $field) + ::core::mem::size_of::<$kind>(),
                        starts,
                        ::core::mem::size_of::<$name>(),
                    ),
                    concat!(
                        "there is padding behind the field `", stringify!($field), "`: ",
                        "let the sizes of fields add up to a multiple of the largest"
                    ),
                );)*
                assert!(
                    0 $(+ ::core::mem::size_of::<$kind>())* == ::core::mem::size_of::<$name>(),
                    "this struct has padding: let the sizes of fields add up to a multiple of the largest"
                );
                $crate::ItemLayout::structure(
                    ::core::mem::size_of::<$name>(),
                    ::core::mem::align_of::<$name>(),
                    &[$((
                        ::core::mem::offset_of!($name, $field),
                        <$kind as $crate::Mappable>::LAYOUT,
                    )),*],
                )
            };

            fn parts(at: usize, parts: &mut $crate::Parts) {
                $(<$kind as $crate::Mappable>::parts(at + ::core::mem::offset_of!($name, $field), parts);)*
            }
        }

        const _: () = {
            use $crate::for_macros::{HashRepr, OrdRepr, rkyv};

            // Looked at, so that padding is an error here, and not where a batch is first made.
            const _LAYOUT: $crate::ItemLayout = <$name as $crate::Mappable>::LAYOUT;

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
