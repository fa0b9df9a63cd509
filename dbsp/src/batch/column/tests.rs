//! Texts where they lie: what is read is what was written, also where a page is lost; and what is no text is refused.

use proptest::{prelude::*, sample::Index};
use storage::PageSize;

use super::texts::write_texts;
use crate::{
    mappable::items_of,
    text::{Kept, Text},
};

const PAGE_BYTES: usize = 4096;

type Row = (Text, u64, Text);

/// A column as it would be mapped: the bytes of texts, and rows behind them.
struct Mapped {
    /// Words, so that rows are aligned.
    words: Vec<u64>,
    len: usize,
    skipped: usize,
    kept: Kept,
}

impl Mapped {
    fn of(rows: &[Row]) -> Self {
        let mut to = (Vec::new(), Vec::new());
        let write = write_texts::<Row, _, ()>(
            rows,
            PageSize::DEFAULT,
            &mut to,
            |to, bytes| {
                to.0.extend_from_slice(bytes);
                Ok(())
            },
            |to, bytes| {
                to.1.extend_from_slice(bytes);
                Ok(())
            },
        );
        write.unwrap();
        let (texts, items) = to;
        assert!(texts.len().is_multiple_of(PAGE_BYTES));
        let bytes = [&texts[..], &items[..]].concat();
        let mut words = vec![0_u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut::<_, u8>(&mut words)[..bytes.len()].copy_from_slice(&bytes);
        Self { words, len: bytes.len(), skipped: texts.len(), kept: Kept::default() }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }

    fn check(&self) -> Result<(), &'static str> {
        let bytes = &bytemuck::cast_slice::<_, u8>(&self.words)[..self.len];
        let (texts, items) = bytes.split_at(self.skipped);
        super::lent::check_items::<Row>(texts, items)
    }

    /// As `Lent` does when it has checked.
    fn keep(&mut self) {
        let bytes = &bytemuck::cast_slice::<_, u8>(&self.words)[..self.len];
        let (texts, items) = bytes.split_at(self.skipped);
        super::lent::keep_texts::<Row>(texts, items, &mut self.kept);
    }

    fn rows(&self) -> &[Row] {
        let bytes = &bytemuck::cast_slice::<_, u8>(&self.words)[..self.len];
        // SAFETY: `keep` was called after `check`, or after they were written; at most pages became zeros since.
        unsafe { items_of(&bytes[self.skipped..]) }
    }
}

fn strings() -> impl Strategy<Value = String> {
    let part = prop_oneof![Just("a"), Just("é"), Just("€"), Just("😀")];
    let short = proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat());
    let some = prop_oneof![Just("x"), Just("é"), Just("€"), Just("a€"), Just("😀")];
    let long = (some, 1..6_000_usize).prop_map(|(part, count)| part.repeat(count));
    prop_oneof![20 => short.clone(), 10 => short.prop_map(|text| text.repeat(5)), 1 => long]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (strings(), any::<u64>(), strings()).prop_map(|(a, n, b)| (a.into(), n, b.into()));
    proptest::collection::vec(row, 1..120)
}

fn is_sound(text: &Text) -> bool {
    str::from_utf8(text.as_str().as_bytes()).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn are_read_as_they_were_written(rows in rows()) {
        let mut mapped = Mapped::of(&rows);
        prop_assert_eq!(mapped.check(), Ok(()));
        mapped.keep();
        prop_assert_eq!(mapped.rows(), &rows[..]);
        let cloned: Vec<Row> = mapped.rows().to_vec();
        drop(mapped);
        prop_assert_eq!(cloned, rows);
    }

    /// Wherever it is: in texts, in items, across one. What is left is a `str` still.
    #[test]
    fn stay_texts_where_a_page_is_lost(rows in rows(), lost in proptest::collection::vec(any::<Index>(), 1..3)) {
        let mut mapped = Mapped::of(&rows);
        mapped.keep();
        let pages = mapped.len.div_ceil(PAGE_BYTES);
        let lost: Vec<usize> = lost.iter().map(|page| page.index(pages)).collect();
        for page in &lost {
            let end = mapped.len.min((page + 1) * PAGE_BYTES);
            mapped.bytes()[page * PAGE_BYTES..end].fill(0);
        }
        for row in mapped.rows() {
            prop_assert!(is_sound(&row.0) && is_sound(&row.2), "without pages {:?}", lost);
        }
    }

    /// Any byte may be another: then it is refused, or reads as some text.
    #[test]
    fn are_refused_where_they_are_none(
        rows in rows(),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>(), any::<bool>()), 1..4),
    ) {
        let mut mapped = Mapped::of(&rows);
        let (skipped, len) = (mapped.skipped, mapped.len);
        for (place, byte, in_items) in changes {
            let place = if in_items { skipped + place.index(len - skipped) } else { place.index(len) };
            mapped.bytes()[place] ^= byte;
        }
        if mapped.check().is_ok() {
            mapped.keep();
            for row in mapped.rows() {
                prop_assert!(is_sound(&row.0) && is_sound(&row.2));
            }
        }
    }
}

/// So many rows that a text of one of them lies in two pages, half in each.
#[test]
fn short_ones_stay_texts_where_half_of_them_is_lost() {
    let rows: Vec<Row> = (0..600).map(|number| ("abc€".into(), number, "abc€".into())).collect();
    let pages = Mapped::of(&rows).len.div_ceil(PAGE_BYTES);
    for lost in 0..pages {
        let mut mapped = Mapped::of(&rows);
        mapped.keep();
        let end = mapped.len.min((lost + 1) * PAGE_BYTES);
        mapped.bytes()[lost * PAGE_BYTES..end].fill(0);
        assert!(mapped.rows().iter().all(|row| is_sound(&row.0) && is_sound(&row.2)), "{lost}");
    }
}

#[test]
fn a_bool_is_zero_or_one() {
    let mut item = [0_u8, 1];
    assert_eq!(super::lent::check_items::<bool>(&[], &item), Ok(()));
    item[0] = 2;
    assert_eq!(super::lent::check_items::<bool>(&[], &item), Err("a bool is neither 0 nor 1"));
}
