//! Results as tables of Markdown, aligned, so that a terminal shows them as well.

use std::fmt::Write;

use crate::{
    results::{Group, Results, Series, median},
    work::{Unit, Work},
};

/// A rival that is this much faster than ours has won; less is noise.
const WON: f64 = 0.95;

/// A cost as people read it.
pub(crate) fn cost(work: Work, ns: f64) -> String {
    match work.unit() {
        // A byte a nanosecond is a gigabyte a second.
        Unit::Throughput => format!("{} GB/s", digits(1.0 / ns)),
        Unit::Each | Unit::Time if ns < 1e3 => format!("{} ns", digits(ns)),
        Unit::Each | Unit::Time if ns < 1e6 => format!("{} us", digits(ns / 1e3)),
        Unit::Each | Unit::Time => format!("{} ms", digits(ns / 1e6)),
    }
}

/// Three digits.
pub(crate) fn digits(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Every work, size and count of threads, with everybody's cost, spread and ratio to ours.
pub(crate) fn all(results: &Results) -> String {
    let mut text = String::new();
    for group in results.groups() {
        _ = writeln!(text, "\n{}", heading(&group));
        let mut rows = vec![cells(["", "median", "least to greatest", "of ours", ""])];
        for series in group.all {
            let (least, greatest) = series.spread();
            let ratio = group.ratio(series);
            let wins = ratio.is_some_and(|ratio| ratio < WON) && !results.is_ours(&series.rival);
            rows.push(cells([
                &series.rival,
                &cost(series.work, series.median()),
                &format!("{} to {}", cost(series.work, least), cost(series.work, greatest)),
                &ratio.map_or_else(String::new, |ratio| format!("{}x time", digits(ratio))),
                if wins { "wins" } else { "" },
            ]));
        }
        text += &aligned(&rows);
        for series in group.all.iter().filter(|series| !series.device.is_empty()) {
            _ = writeln!(
                text,
                "{}: {} bytes to the device for each byte changed",
                series.rival,
                digits(median(&series.device))
            );
        }
    }
    text
}

fn heading(group: &Group<'_>) -> String {
    let mut text = group.work().title().to_owned();
    if group.size_mib() > 0 {
        _ = write!(text, ", {} MiB", group.size_mib());
    }
    match group.threads() {
        1 => text,
        threads => text + &format!(", {threads} threads"),
    }
}

/// Who was set up how, and who does not take part in what.
pub(crate) fn settings(results: &Results) -> String {
    let mut text = String::new();
    for entry in &results.rivals {
        let version =
            if entry.version.is_empty() { String::new() } else { format!(" ({})", entry.version) };
        _ = writeln!(text, "* **{}**{version}: {}.", entry.name, entry.settings);
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for unfit in &entry.unfit {
            match reasons.iter_mut().find(|(why, _)| *why == unfit.why) {
                Some((_, works)) => works.push(unfit.work.id()),
                None => reasons.push((&unfit.why, vec![unfit.work.id()])),
            }
        }
        for (why, works) in reasons {
            _ = writeln!(text, "  Not in {}: {why}.", works.join(", "));
        }
    }
    for (name, why) in crate::rivals::NOT_HERE {
        _ = writeln!(text, "* **{name}** does not take part: {why}.");
    }
    for missed in &results.unmeasured {
        _ = writeln!(
            text,
            "* Not measured: {} at \"{}\": {}.",
            missed.rival,
            missed.work.title(),
            missed.why
        );
    }
    text
}

/// One size and one count of threads: a row for each work, our cost, and the rivals' as multiples of
/// it. Work with a size of its own is in it too, where `threads` is one.
pub(crate) fn summary(results: &Results, size_mib: u64, threads: usize) -> String {
    let groups = results.groups();
    let groups: Vec<&Group<'_>> = groups
        .iter()
        .filter(|group| group.size_mib() == size_mib || group.size_mib() == 0)
        .filter(|group| group.threads() == threads && group.ours().is_some())
        .collect();
    let rivals = results.rivals.iter().filter(|entry| !entry.is_ours);
    let rivals: Vec<&str> = rivals
        .map(|entry| entry.name.as_str())
        .filter(|name| groups.iter().any(|group| group.of(name).is_some()))
        .collect();
    let mut rows =
        vec![[&["work", "ours"], &rivals[..]].concat().into_iter().map(str::to_owned).collect()];
    for group in groups {
        let Some(ours) = group.ours() else { continue };
        let mut row = vec![
            group.work().title().to_owned(),
            format!("{} ({})", cost(group.work(), ours.median()), ours.rival),
        ];
        row.extend(rivals.iter().map(|name| multiple(group, group.of(name))));
        rows.push(row);
    }
    aligned(&rows)
}

fn multiple(group: &Group<'_>, series: Option<&Series>) -> String {
    match series.and_then(|series| group.ratio(series)) {
        None => "-".to_owned(),
        Some(ratio) if ratio < WON => format!("**{}x**", digits(ratio)),
        Some(ratio) => format!("{}x", digits(ratio)),
    }
}

/// The bytes that an update sends to the device, for each byte that it changes.
pub(crate) fn device(results: &Results) -> String {
    let sizes: Vec<u64> = results.sizes();
    let mut rows = vec![vec!["device bytes for a byte changed".to_owned()]];
    rows[0].extend(sizes.iter().map(|size| format!("{size} MiB")));
    for entry in &results.rivals {
        let of = |size: &u64| {
            let mut found = results.series.iter().filter(|series| {
                series.size_mib == *size && series.rival == entry.name && !series.device.is_empty()
            });
            found.next().map(|series| digits(median(&series.device)))
        };
        let cells: Vec<Option<String>> = sizes.iter().map(of).collect();
        if cells.iter().any(Option::is_some) {
            let mut row = vec![entry.name.clone()];
            row.extend(cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned())));
            rows.push(row);
        }
    }
    if rows.len() == 1 { String::new() } else { aligned(&rows) }
}

/// Where a rival is faster than ours.
pub(crate) fn wins(results: &Results) -> String {
    let mut text = String::new();
    for group in results.groups() {
        let winners: Vec<String> = group
            .all
            .iter()
            .filter(|series| !results.is_ours(&series.rival))
            .filter_map(|series| Some((series, group.ratio(series).filter(|ratio| *ratio < WON)?)))
            .map(|(series, ratio)| format!("{} ({}x our time)", series.rival, digits(ratio)))
            .collect();
        if !winners.is_empty() {
            _ = writeln!(text, "* {}: {}.", heading(&group), winners.join(", "));
        }
    }
    if text.is_empty() { "* Nowhere in this run.\n".to_owned() } else { text }
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// A table of Markdown, the first row its head.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let widths = rows.iter().filter_map(|row| Some(row.get(column)?.chars().count()));
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            _ = write!(text, "| {cell:width$} ");
        }
        text += "|\n";
        if number == 0 {
            for width in &widths {
                _ = write!(text, "|{:-<dashes$}", "", dashes = width + 2);
            }
            text += "|\n";
        }
    }
    text
}
