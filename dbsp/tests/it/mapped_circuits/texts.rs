//! Keys and values with texts, nulls and bools.

use dbsp::{never_none, never_roaring_filter};
use proptest::prelude::*;
use storage_dbsp::{Null, Text, mappable_struct};

use super::{Kind, agree, steps};

/// Keys that are texts, and values that have some.
#[derive(Clone, Debug)]
pub(super) struct Texts;

#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    size_of::SizeOf,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
)]
#[archive_attr(derive(PartialEq, Eq, PartialOrd, Ord))]
pub(super) struct Person {
    name: Text,
    city: Null<Text>,
    age: Null<u32>,
    is_member: bool,
    was_member: Null<bool>,
    floor: i8,
    rank: i32,
}
never_none!(Person);
never_roaring_filter!(Person);
mappable_struct!(Person {
    name: Text,
    city: Null<Text>,
    age: Null<u32>,
    is_member: bool,
    was_member: Null<bool>,
    floor: i8,
    rank: i32,
});

/// Texts that have room in themselves, and others; of one byte a character, and of more; a few longer than a page.
fn text(number: u64) -> Text {
    match number % 6 {
        0 => Text::from(format!("{number}")),
        1 => Text::from(format!("a name of some length, and its number: {number}")),
        2 => Text::from(format!("Käthe{number}")),
        3 => Text::from(format!("東京都{number}").repeat(3)),
        4 if number % 450 == 4 => Text::from(format!("€{number}").repeat(2_500)),
        _ => Text::from(format!("the same for some of these: {}", number / 60)),
    }
}

impl Kind for Texts {
    type Key = Text;
    type Val = Person;

    fn pair(key: &Text, left: &Person, right: &Person) -> Option<(Text, Person)> {
        let city = left.city.get().or(right.city.get()).cloned();
        let joined = Person {
            name: Text::from(format!("{}, {}", left.name, right.name)),
            city: city.into(),
            age: left.age.max(right.age),
            is_member: left.is_member && right.is_member,
            was_member: Null::from(left.was_member.get().is_some().then_some(right.is_member)),
            floor: left.floor,
            rank: left.rank.wrapping_add(right.rank),
        };
        Some((key.chars().take(3).collect(), joined))
    }

    fn key(number: u64) -> Text {
        text(number)
    }

    fn val(number: u64) -> Person {
        Person {
            name: text(number * 7),
            city: number.is_multiple_of(2).then(|| text(number / 2)).into(),
            age: (!number.is_multiple_of(3)).then(|| u32::try_from(number).unwrap()).into(),
            is_member: number % 5 < 3,
            was_member: number.is_multiple_of(7).then_some(number % 5 < 2).into(),
            floor: -1,
            rank: i32::try_from(number).unwrap() - 5,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 60, ..Default::default() })]

    #[test]
    fn circuits_agree_with_built_in_batches(steps in steps::<Texts>(), workers in 1..3_usize) {
        agree::<Texts>(&steps, workers)?;
    }
}
