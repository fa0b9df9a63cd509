//! DBSP's tuples as plain data.
//!
//! [`Tup2`] and its like have Rust's own layout: the compiler may put the fields in any order. So
//! nothing here relies on an order. A file remembers where each field was (in its fingerprint), and
//! a file from a program that was laid out otherwise is refused.
#![expect(unsafe_code, reason = "that a tuple of plain data is plain data can only be promised")]

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};
use dbsp::{
    DBData,
    utils::{Tup1, Tup2, Tup3, Tup4, Tup5, Tup6, Tup7, Tup8, Tup9, Tup10},
};

use crate::pod::{Fingerprint, Plain};

macro_rules! plain_tuple {
    ($tuple:ident, $words:ident: $($field:ident $index:tt),+) => {
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

        // SAFETY: `Words` has the size of the fields together. Where that is the size of the tuple,
        // as is checked wherever a column of it is read or written, no byte of it is padding, wherever the compiler put the fields: all
        // bytes belong to fields, whose bytes are all initialised, and for which each bit pattern is
        // valid, as `Plain` promises of them. Fields without interior mutability make a tuple
        // without.
        unsafe impl<$($field: Plain),+> Plain for $tuple<$($field),+>
        where
            $tuple<$($field),+>: DBData,
        {
            type Words = $words<$($field::Words),+>;
            type Align = ($([$field::Align; 0],)+);
            const FINGERPRINT: Fingerprint = Fingerprint::whole::<Self>()
                $(.field(offset_of!(Self, $index), $field::FINGERPRINT))+;
        }
    };
}

plain_tuple!(Tup1, Words1: A 0);
plain_tuple!(Tup2, Words2: A 0, B 1);
plain_tuple!(Tup3, Words3: A 0, B 1, C 2);
plain_tuple!(Tup4, Words4: A 0, B 1, C 2, D 3);
plain_tuple!(Tup5, Words5: A 0, B 1, C 2, D 3, E 4);
plain_tuple!(Tup6, Words6: A 0, B 1, C 2, D 3, E 4, F 5);
plain_tuple!(Tup7, Words7: A 0, B 1, C 2, D 3, E 4, F 5, G 6);
plain_tuple!(Tup8, Words8: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
plain_tuple!(Tup9, Words9: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
plain_tuple!(Tup10, Words10: A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
