//! Pages that tell what they are: their number, their generation, and the place of each word.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use crate::report::Random;

pub(crate) const PAGES: u64 = 48;
pub(crate) const PAGE_LEN: usize = 4096;
pub(crate) const WORDS: usize = PAGE_LEN / 8;
/// The header of a file with pages of 4 KiB: two pages of it come first.
pub(crate) const DATA_START: u64 = 8192;
pub(crate) const FULL_LEN: u64 = DATA_START + PAGES * PAGE_LEN as u64;

/// The word at `place` of a page in a generation.
pub(crate) fn word(page: u64, generation: u64, place: usize) -> u64 {
    let first = (page + 1) << 32 | generation;
    if place == 0 { first } else { first.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place as u64 }
}

/// What some bytes that were handed back are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Judgement {
    /// Those of the page, in this generation.
    Right(u64),
    /// Zeros in some places, the first word among them or else right in all others.
    Zeros,
    /// Something else.
    Wrong,
}

pub(crate) fn judge(page: u64, bytes: &[u8]) -> Judgement {
    let words = |place: usize| {
        u64::from_le_bytes(bytes[place * 8..place * 8 + 8].try_into().expect("eight bytes"))
    };
    let first = words(0);
    let generation = first & 0xffff_ffff;
    if first >> 32 != page + 1 {
        // Without its first word a page does not tell its generation. That happens to a page that
        // was lost and came back empty while it was being written: the rest of it may be there. A cut
        // inside the first word leaves the generation and takes the page's number.
        return if first >> 32 == 0 { Judgement::Zeros } else { Judgement::Wrong };
    }
    let mut judgement = Judgement::Right(generation);
    for place in 1..WORDS {
        let found = words(place);
        if found == word(page, generation, place) {
            continue;
        }
        // A cut can lie inside a word; what it leaves of that ends in zeros.
        let kept = (64 - found.leading_zeros()).next_multiple_of(8);
        let mask = 1_u64.checked_shl(kept).map_or(u64::MAX, |bit| bit - 1);
        if found & !mask == 0 && found == word(page, generation, place) & mask || found == 0 {
            judgement = Judgement::Zeros;
        } else {
            return Judgement::Wrong;
        }
    }
    judgement
}

/// A random range of pages, from one to all of them.
pub(crate) fn some_pages(random: &mut Random) -> (u64, u64) {
    if random.one_in(3) {
        return (0, PAGES);
    }
    let start = random.below(PAGES);
    (start, start + 1 + random.below(PAGES - start))
}

/// A file with these bytes that only this user can write to.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> File {
    let _none_before = fs::remove_file(path);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

#[test]
fn a_cut_inside_any_word_is_told_from_wrong_bytes() {
    let whole: Vec<u8> = (0..WORDS).flat_map(|place| word(43, 2, place).to_le_bytes()).collect();
    assert_eq!(judge(43, &whole), Judgement::Right(2));
    assert_eq!(judge(42, &whole), Judgement::Wrong);
    for kept in 0..PAGE_LEN {
        let mut cut = whole.clone();
        cut[kept..].fill(0);
        assert_eq!(judge(43, &cut), Judgement::Zeros, "cut at {kept}");
    }
}
