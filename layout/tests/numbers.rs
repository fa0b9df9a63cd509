//! The numbers that name pages and places, at the edges of what a `u64` holds.
//!
//! Method: each function against the same computed in `u128`, where nothing overflows.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::ops::Bound;

use layout::{
    ByteOffset, FormatError, Geometry, PageChecksum, PageCount, PageHasher, PageId, PageRange,
    PageSize,
};
use proptest::prelude::*;
use uuid::Uuid;

const EDGES: [u64; 9] = [0, 1, 2, 4095, 4096, 1 << 52, (1 << 63) - 1, u64::MAX - 1, u64::MAX];

fn page_sizes() -> impl Iterator<Item = PageSize> {
    (12..=21).map(|log2| PageSize::new(1 << log2).unwrap())
}

/// `None` where the number does not fit a `u64`: what checked arithmetic must give.
fn narrow(wide: u128) -> Option<u64> {
    u64::try_from(wide).ok()
}

#[test]
fn only_ten_page_sizes_exist() {
    for bytes in (0..64).flat_map(|log2| [(1_u64 << log2) - 1, 1 << log2, (1 << log2) + 1]) {
        let possible = bytes.is_power_of_two() && (4096..=2 << 20).contains(&bytes);
        match PageSize::new(bytes) {
            Ok(size) => {
                assert_eq!((size.get(), size.get_usize() as u64), (bytes, bytes));
                assert_eq!(1 << size.log2(), bytes);
            }
            Err(error) => {
                assert_eq!(error.found, bytes);
                assert!(error.to_string().contains("pass a power of two from 4096 (4 KiB)"));
            }
        }
        assert_eq!(PageSize::new(bytes).is_ok(), possible, "{bytes}");
    }
    let shown: Vec<String> = page_sizes().map(|size| size.to_string()).collect();
    assert_eq!(shown[0], "4 KiB");
    assert_eq!(shown[8..], ["1 MiB", "2 MiB"]);
}

#[test]
fn arithmetic_never_wraps() {
    for (a, b) in EDGES.into_iter().flat_map(|a| EDGES.map(|b| (a, b))) {
        let sum = narrow(u128::from(a) + u128::from(b));
        let count = PageCount::new(b);
        assert_eq!(PageId::new(a).checked_add(count).map(PageId::get), sum);
        assert_eq!(PageCount::new(a).checked_add(count).map(PageCount::get), sum);
        assert_eq!(ByteOffset::new(a).checked_add(b).map(ByteOffset::get), sum);
    }
    for (size, number) in page_sizes().flat_map(|size| EDGES.map(|number| (size, number))) {
        let product = narrow(u128::from(number) * u128::from(size.get()));
        assert_eq!(PageId::new(number).offset(size).map(ByteOffset::get), product);
        assert_eq!(PageCount::new(number).bytes(size), product);
        assert_eq!(size.page_of(ByteOffset::new(number)).get(), number / size.get());
        assert_eq!(size.pages_for(number).get(), number.div_ceil(size.get()));
    }
}

/// Operators give what is right, or panic; nothing wraps, in whatever build.
#[test]
fn operators_are_checked() {
    let panics =
        |run: &dyn Fn() -> u64| std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).ok();
    for (a, b) in EDGES.into_iter().flat_map(|a| EDGES.map(|b| (a, b))) {
        let (sum, difference) = (a.checked_add(b), a.checked_sub(b));
        let (page, count, offset) = (PageId::from(a), PageCount::from(a), ByteOffset::from(a));
        let more = PageCount::from(b);
        assert_eq!(panics(&|| (page + more).into()), sum);
        assert_eq!(panics(&|| (page - more).into()), difference);
        assert_eq!(panics(&|| (page - PageId::from(b)).into()), difference);
        assert_eq!(panics(&|| (count + more).into()), sum);
        assert_eq!(panics(&|| (count - more).into()), difference);
        assert_eq!(panics(&|| (offset + b).into()), sum);
        assert_eq!(panics(&|| (offset - b).into()), difference);
        assert_eq!(panics(&|| [count, more].into_iter().sum::<PageCount>().into()), sum);
        let assigned = || {
            let (mut page, mut count, mut offset) = (page, count, offset);
            page += more;
            count += more;
            offset += b;
            assert_eq!((page.get(), count.get()), (offset.get(), offset.get()));
            page -= more;
            count -= more;
            offset -= b;
            assert_eq!((page.get(), count.get(), offset.get()), (a, a, a));
            a
        };
        assert_eq!(panics(&assigned), sum.map(|_| a));
    }
}

/// What was given out as a range can be asked for as one, of any file that has those pages.
#[test]
fn a_range_of_pages_is_a_range() {
    for (start, end) in [(0, 0), (0, 1), (3, 9), (7, 7), (0, u64::MAX), (u64::MAX, u64::MAX)] {
        let all = PageCount::new(u64::MAX);
        let range = PageRange::resolve(PageId::new(start)..PageId::new(end), all).unwrap();
        assert_eq!(PageRange::resolve(range, all), Ok(range));
        assert_eq!(
            (range.start().get(), range.end().get(), range.count().get()),
            (start, end, end - start)
        );
        assert_eq!(PageRange::resolve(range, PageCount::new(8)).is_ok(), end <= 8);
    }
}

/// The places of `docs/format.md`, in `u128`; `None` past 2^63 - 1, the longest file.
fn places(page_size: u64, page_count: u64) -> Option<[u64; 4]> {
    let data_start = u128::from(page_size.max(8192));
    let data_end = data_start + u128::from(page_size) * u128::from(page_count);
    let seal_start = (data_end + 4 * u128::from(page_count)).next_multiple_of(4096);
    let file_len = i64::try_from(seal_start + 4096).ok()?;
    let [data_start, data_end, seal_start] = [data_start, data_end, seal_start].map(narrow);
    Some([data_start?, data_end?, seal_start?, u64::try_from(file_len).ok()?])
}

fn check_places(page_size: PageSize, page_count: u64) {
    let made = Geometry::new(page_size, PageCount::new(page_count));
    match places(page_size.get(), page_count) {
        Some([data_start, data_end, seal_start, file_len]) => {
            let made = made.unwrap();
            assert_eq!(Geometry::data_start(page_size), data_start);
            assert_eq!((made.data_end(), made.data_len()), (data_end, data_end - data_start));
            assert_eq!((made.seal_start(), made.file_len_sealed()), (seal_start, file_len));
            assert_eq!(made.table_len(), 4 * page_count);
        }
        None => {
            let page_size = page_size.get();
            assert_eq!(made.unwrap_err(), FormatError::TooLarge { page_count, page_size });
        }
    }
}

#[test]
fn places_are_right_at_the_edge_of_the_longest_file() {
    for size in page_sizes() {
        EDGES.into_iter().for_each(|count| check_places(size, count));
        // The largest count that fits, found by halving, and its neighbours.
        let (mut fits, mut too_many) = (0, u64::MAX);
        while too_many - fits > 1 {
            let middle = fits + (too_many - fits) / 2;
            if places(size.get(), middle).is_some() { fits = middle } else { too_many = middle }
        }
        (fits - 2..=fits + 2).for_each(|count| check_places(size, count));
    }
}

proptest! {
    #[test]
    fn places_are_right_everywhere(log2 in 12..=21_u32, shift in 0..64_u32, count: u64) {
        check_places(PageSize::new(1 << log2).unwrap(), count >> shift);
    }
}

/// Every bound kind over the edge numbers, against the definition.
#[test]
fn ranges_resolve_like_their_definition() {
    let bounds = || {
        let numbers = [0, 1, 4, 5, 6, u64::MAX - 1, u64::MAX].map(PageId::new);
        numbers
            .into_iter()
            .flat_map(|page| [Bound::Included(page), Bound::Excluded(page)])
            .chain([Bound::Unbounded])
    };
    for page_count in [0, 1, 5] {
        for (from, to) in bounds().flat_map(|from| bounds().map(move |to| (from, to))) {
            let start = match from {
                Bound::Included(page) => u128::from(page.get()),
                Bound::Excluded(page) => u128::from(page.get()) + 1,
                Bound::Unbounded => 0,
            };
            let end = match to {
                Bound::Included(page) => u128::from(page.get()) + 1,
                Bound::Excluded(page) => u128::from(page.get()),
                Bound::Unbounded => u128::from(page_count),
            };
            let resolved = PageRange::resolve((from, to), PageCount::new(page_count));
            let inside = start <= end && end <= u128::from(page_count);
            assert_eq!(resolved.is_ok(), inside, "{from:?}, {to:?} of {page_count}");
            match resolved {
                Ok(range) => {
                    assert_eq!(u128::from(range.start().get()), start);
                    assert_eq!(u128::from(range.end().get()), end);
                    assert_eq!(range.is_empty(), start == end);
                }
                Err(error) => assert_eq!(error.page_count.get(), page_count),
            }
        }
    }
}

#[test]
fn range_errors_say_what_there_is() {
    let (two, nine) = (PageId::new(2), PageId::new(9));
    let error = PageRange::resolve(two..nine, PageCount::new(5)).unwrap_err();
    assert_eq!((error.start, error.end, error.page_count), (2, 9, PageCount::new(5)));
    let words = error.to_string();
    assert!(words.contains("pages 2..9") && words.contains("there are 5 (0..5)"), "{words}");
    let reversed = PageRange::resolve(nine..two, PageCount::new(50)).unwrap_err();
    assert!(reversed.to_string().contains("must not end before it starts"), "{reversed}");
    for (page, count) in [(0, 0), (5, 5), (u64::MAX, 5), (u64::MAX, u64::MAX)] {
        let single = PageRange::single(PageId::new(page), PageCount::new(count));
        assert_eq!(single.unwrap_err().start, page);
    }
    let last = PageRange::single(PageId::new(u64::MAX - 1), PageCount::new(u64::MAX)).unwrap();
    assert_eq!(last.end().get(), u64::MAX);
}

#[test]
fn runs_join_and_count() {
    let run = |start: u64, end: u64| {
        let count = PageCount::new(u64::MAX);
        PageRange::resolve(PageId::new(start)..PageId::new(end), count).unwrap()
    };
    assert_eq!(run(3, 5).hull(run(9, 10)), run(3, 10));
    assert_eq!(run(9, 10).hull(run(3, 5)), run(3, 10));
    assert_eq!(run(3, 9).hull(run(4, 5)), run(3, 9));
    assert_eq!(PageRange::EMPTY.hull(run(3, 5)), run(3, 5));
    assert_eq!(run(3, 5).hull(PageRange::EMPTY), run(3, 5));
    let numbers: Vec<u64> = run(3, 6).iter().rev().map(PageId::get).collect();
    assert_eq!(numbers, [5, 4, 3]);
    assert_eq!(run(3, 6).to_string(), "3..6");
    assert_eq!(PageRange::from(PageId::new(4)), run(4, 5));
    assert!(PageRange::from(PageId::new(u64::MAX)).is_empty());
    assert_eq!(run(3, 5).with_next(), run(3, 6));
    assert_eq!(run(3, u64::MAX - 1).with_next(), run(3, u64::MAX));
    assert_eq!(run(3, u64::MAX).with_next(), run(3, u64::MAX));
}

#[test]
fn numbers_are_shown_as_what_they_are() {
    assert_eq!(format!("{:?}", PageSize::DEFAULT), "PageSize(4096)");
    assert_eq!(format!("{:?}", PageChecksum::from_le_bytes([1; 4])), "PageChecksum(0x01010101)");
}

#[test]
fn a_page_checksum_binds_file_number_and_bytes() {
    let page = vec![0x5a; 4096];
    let of = |uuid: u128, number: u64, bytes: &[u8]| {
        PageHasher::new(Uuid::from_u128(uuid)).checksum(PageId::new(number), bytes)
    };
    let right = of(1, 2, &page);
    assert_ne!(right, of(9, 2, &page), "another file");
    assert_ne!(right, of(1, 3, &page), "another place");
    let mut damaged = page;
    damaged[4095] ^= 1;
    assert_ne!(right, of(1, 2, &damaged), "other bytes");
    assert_eq!(PageChecksum::from_le_bytes(right.to_le_bytes()), right);
    assert_eq!(right.to_le_bytes(), right.get().to_le_bytes());
    assert_eq!(PageChecksum::from_le_bytes([1, 2, 3, 4]).to_string(), "0x04030201");
}
