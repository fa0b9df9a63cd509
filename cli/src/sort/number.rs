//! Numbers at the beginning of a text, as `sort -n` reads them: blanks, `-`, digits, `.`, digits. They
//! can have any number of digits, so they are compared as they stand.

use std::cmp::Ordering;

use super::fields::is_blank;

/// A number. What is none counts as 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Number<'text> {
    is_negative: bool,
    /// The digits before the point, from the first that is not 0 on.
    whole: &'text [u8],
    /// The digits behind the point, up to the last that is not 0.
    fraction: &'text [u8],
}

impl<'text> Number<'text> {
    pub(super) fn parse(text: &'text [u8]) -> Self {
        let text = skip(text, is_blank);
        let (minus, text) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, text),
        };
        let text = skip(text, |byte| byte == b'0');
        let (whole, rest) = text.split_at(digits(text));
        let fraction = match rest.split_first() {
            Some((b'.', rest)) => &rest[..digits(rest)],
            _ => &[],
        };
        let zeros = fraction.iter().rev().take_while(|&&byte| byte == b'0').count();
        let fraction = &fraction[..fraction.len() - zeros];
        let is_negative = minus && !(whole.is_empty() && fraction.is_empty());
        Self { is_negative, whole, fraction }
    }

    /// A number that is smaller where this is, or equal: sign, how many digits stand before the
    /// point, and the first 15 digits.
    pub(super) fn prefix(self) -> u64 {
        const DIGITS: usize = 15;
        const COUNT_MAX: usize = (1 << 12) - 1;
        let count = self.whole.len().min(COUNT_MAX);
        let mut all_digits = self.whole.iter().chain(self.fraction).map(|digit| digit - b'0');
        let mut first = 0;
        for _ in 0..DIGITS {
            first = first * 10 + u64::from(all_digits.next().unwrap_or(0));
        }
        // Of numbers with so many digits the first ones say nothing: more digits may follow.
        let first = if count == COUNT_MAX { 0 } else { first };
        let magnitude = ((count as u64) << 50) | first;
        if self.is_negative { (1 << 62) - 1 - magnitude } else { (1 << 62) + magnitude }
    }
}

impl Ord for Number<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let magnitudes = || {
            let by_whole = self.whole.len().cmp(&other.whole.len());
            by_whole
                .then_with(|| self.whole.cmp(other.whole))
                .then_with(|| self.fraction.cmp(other.fraction))
        };
        match (self.is_negative, other.is_negative) {
            (false, false) => magnitudes(),
            (true, true) => magnitudes().reverse(),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Number<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn skip(text: &[u8], is_skipped: impl Fn(u8) -> bool) -> &[u8] {
    let count = text.iter().take_while(|&&byte| is_skipped(byte)).count();
    &text[count..]
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_order_and_so_are_their_prefixes() {
        let long = "9".repeat(5000);
        let longer = "1".repeat(5001);
        let negative = format!("-{long}");
        let ordered: [&[&str]; 12] = [
            &[&negative],
            &["-10", "-10.0", "  -0010x"],
            &["-9.5"],
            &["-.25"],
            &["0", "", "x", "-", "-0", "+5", "- 1", ".", "-.0", "\t0.000"],
            &[".05"],
            &["0.5", ".50"],
            &["1", "01", "1.", "1e5", "1-2"],
            &["9.123456789012345678"],
            &["9.1234567890123456789"],
            &["123456789012345678901234567890"],
            &[&long],
        ];
        let flat: Vec<(usize, &str)> = ordered
            .iter()
            .chain(&[&[longer.as_str()][..]])
            .enumerate()
            .flat_map(|(rank, texts)| texts.iter().map(move |text| (rank, *text)))
            .collect();
        for (rank_a, a) in &flat {
            for (rank_b, b) in &flat {
                let (a, b) = (Number::parse(a.as_bytes()), Number::parse(b.as_bytes()));
                assert_eq!(a.cmp(&b), rank_a.cmp(rank_b), "{a:?} {b:?}");
                assert!(a.prefix().cmp(&b.prefix()) != rank_b.cmp(rank_a) || rank_a == rank_b);
            }
        }
    }
}
