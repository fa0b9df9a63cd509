//! A text against the `str` that it was made of.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use dbsp::dynamic::{HashRepr, OrdRepr};
use proptest::prelude::*;
use rkyv::{
    Deserialize, Infallible, archived_root, ser::Serializer, ser::serializers::AllocSerializer,
};

use super::Text;

/// Texts that begin alike, with characters of all lengths, around the length that has room in a text itself.
fn strings() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a"),
        Just("b"),
        Just("\0"),
        Just("é"),
        Just("€"),
        Just("😀"),
        Just("Anna"),
    ];
    proptest::collection::vec(part, 0..9).prop_map(|parts| parts.concat())
}

fn hash_of(hashed: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    hashed.hash(&mut hasher);
    hasher.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn is_a_str(left in strings(), right in strings()) {
        let (a, b) = (Text::from(left.as_str()), Text::from(right.clone()));
        prop_assert_eq!(a.cmp(&b), left.cmp(&right));
        prop_assert_eq!(a == b, left == right);
        prop_assert_eq!(hash_of(&a), hash_of(&left));
        prop_assert_eq!(format!("{a:?} {a}"), format!("{left:?} {left}"));
        prop_assert_eq!(a.len(), left.len());
        prop_assert_eq!(&a.clone(), &a);
        prop_assert_eq!(String::from(b), right);
        prop_assert!(a == left && a == *left.as_str());
    }

    #[test]
    fn files_have_it_as_they_have_a_string(left in strings(), right in strings()) {
        let text = Text::from(left.as_str());
        let mut serializer = AllocSerializer::<64>::default();
        serializer.serialize_value(&text).unwrap();
        let bytes = serializer.into_serializer().into_inner();
        let mut of_string = AllocSerializer::<64>::default();
        of_string.serialize_value(&left).unwrap();
        prop_assert_eq!(&bytes[..], &of_string.into_serializer().into_inner()[..]);
        // SAFETY: these are the bytes of an archived text, from their end on.
        let archived = unsafe { archived_root::<Text>(&bytes) };
        let back: Text = archived.deserialize(&mut Infallible).unwrap();
        prop_assert_eq!(&back, &text);
        let other = Text::from(right);
        prop_assert_eq!(archived.ord_cmp(&other), text.cmp(&other));
        let mut hasher = DefaultHasher::new();
        archived.hash_repr(&mut hasher);
        prop_assert_eq!(hasher.finish(), hash_of(&text));
    }
}

#[test]
fn a_set_of_texts_is_asked_for_a_str() {
    let texts: HashSet<Text> = ["Anna", "a longer one than has room"].map(Text::from).into();
    assert!(texts.contains("Anna") && texts.contains("a longer one than has room"));
    assert!(!texts.contains("Ann"));
}
