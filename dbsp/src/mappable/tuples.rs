//! Tuples: DBSP's, and Rust's own.
//!
//! [`Tup2`] and its like have Rust's own layout: the compiler may put the fields in any order. So
//! nothing here relies on an order. A file remembers where each field was (in the fingerprint of a
//! column), and a file from a program that was laid out otherwise is refused. The same holds for
//! Rust's own tuples, as far as DBSP takes them.
#![expect(unsafe_code, reason = "what the bytes of a tuple are can only be promised")]

use std::mem::{align_of, offset_of, size_of};

use bytemuck::{Pod, Zeroable};
use dbsp::{
    DBData,
    utils::{Tup1, Tup2, Tup3, Tup4, Tup5, Tup6, Tup7, Tup8, Tup9, Tup10},
};

use storage::ItemLayout;

use super::{Mappable, Parts};

macro_rules! words {
    ($words:ident: $($field:ident),+) => {
        /// The bytes of a tuple's fields, one after another, aligned to nothing.
        #[doc(hidden)]
        #[derive(Clone, Copy)]
        #[repr(C, packed)]
        #[expect(missing_debug_implementations, reason = "nobody ever sees one")]
        pub struct $words<$($field: Pod),+>($($field),+);

        // SAFETY: zeros are a value of each field.
        unsafe impl<$($field: Pod),+> Zeroable for $words<$($field),+> {}

        // SAFETY: each field is `Pod`; a packed struct has no padding, inside or at the end; it is
        // `Copy` and `'static`, as they are.
        unsafe impl<$($field: Pod),+> Pod for $words<$($field),+> {}
    };
}

words!(Words1: A);
words!(Words2: A, B);
words!(Words3: A, B, C);
words!(Words4: A, B, C, D);
words!(Words5: A, B, C, D, E);
words!(Words6: A, B, C, D, E, F);
words!(Words7: A, B, C, D, E, F, G);
words!(Words8: A, B, C, D, E, F, G, H);
words!(Words9: A, B, C, D, E, F, G, H, I);
words!(Words10: A, B, C, D, E, F, G, H, I, J);

macro_rules! mappable_tuple {
    ($tuple:ty, $words:ident: $($field:ident $index:tt),+) => {
        // SAFETY: `Words` has the size of the fields together. Where that is the size of the tuple,
        // as is checked wherever a column of it is read or written, no byte of it is padding,
        // wherever the compiler put the fields: all bytes belong to fields, whose bytes are all
        // initialised, and which are valid as `Mappable` promises of them. The parts are theirs. Fields
        // without interior mutability make a tuple without.
        unsafe impl<$($field: Mappable),+> Mappable for $tuple
        where
            $tuple: DBData,
        {
            type Words = $words<$($field::Words),+>;
            type Align = ($([$field::Align; 0],)+);
            const LAYOUT: ItemLayout = ItemLayout::structure(
                size_of::<Self>(),
                align_of::<Self>(),
                &[$((offset_of!(Self, $index), $field::LAYOUT)),+],
            );

            fn parts(at: usize, parts: &mut Parts) {
                $($field::parts(at + offset_of!(Self, $index), parts);)+
            }
        }
    };
}

mappable_tuple!(Tup1<A>, Words1: A 0);
mappable_tuple!(Tup2<A, B>, Words2: A 0, B 1);
mappable_tuple!(Tup3<A, B, C>, Words3: A 0, B 1, C 2);
mappable_tuple!(Tup4<A, B, C, D>, Words4: A 0, B 1, C 2, D 3);
mappable_tuple!(Tup5<A, B, C, D, E>, Words5: A 0, B 1, C 2, D 3, E 4);
mappable_tuple!(Tup6<A, B, C, D, E, F>, Words6: A 0, B 1, C 2, D 3, E 4, F 5);
mappable_tuple!(Tup7<A, B, C, D, E, F, G>, Words7: A 0, B 1, C 2, D 3, E 4, F 5, G 6);
mappable_tuple!(Tup8<A, B, C, D, E, F, G, H>, Words8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
mappable_tuple!(Tup9<A, B, C, D, E, F, G, H, I>, Words9: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
mappable_tuple!(
    Tup10<A, B, C, D, E, F, G, H, I, J>,
    Words10: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9
);
mappable_tuple!((A, B), Words2: A 0, B 1);
mappable_tuple!((A, B, C), Words3: A 0, B 1, C 2);
mappable_tuple!((A, B, C, D), Words4: A 0, B 1, C 2, D 3);
mappable_tuple!((A, B, C, D, E), Words5: A 0, B 1, C 2, D 3, E 4);
mappable_tuple!((A, B, C, D, E, F), Words6: A 0, B 1, C 2, D 3, E 4, F 5);
