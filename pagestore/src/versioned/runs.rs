//! Pages as runs of adjacent ones.

use layout::{PageChange, PageRange};

/// The runs of adjacent pages among some changes.
pub(super) fn runs_of(
    changes: &[PageChange],
    is_wanted: impl Fn(&PageChange) -> bool,
) -> impl Iterator<Item = PageRange> {
    let mut pages =
        changes.iter().filter(move |change| is_wanted(change)).map(|change| change.page).peekable();
    std::iter::from_fn(move || {
        let mut run = PageRange::from(pages.next()?);
        while pages.next_if_eq(&run.end()).is_some() {
            run = run.with_next();
        }
        Some(run)
    })
}

/// From the first page to the last.
pub(super) fn hull(runs: &[PageRange]) -> PageRange {
    match (runs.first(), runs.last()) {
        (Some(&first), Some(&last)) => first.hull(last),
        _ => PageRange::EMPTY,
    }
}
