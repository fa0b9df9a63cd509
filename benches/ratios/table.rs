//! The table that the run ends with.

use std::fmt;

use crate::runner::{Pairs, median};

/// How a row's times are shown.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Nanoseconds for each of that many operations.
    NanosecondsEach { count: usize },
    /// Throughput over that many bytes.
    GigabytesPerSecond { bytes: u64 },
    /// The time itself.
    Milliseconds,
}

impl Unit {
    fn show(self, seconds: f64) -> String {
        match self {
            Self::NanosecondsEach { count } => format!("{:.1} ns", seconds * 1e9 / count as f64),
            Self::GigabytesPerSecond { bytes } => {
                format!("{:.2} GB/s", bytes as f64 / seconds / 1e9)
            }
            Self::Milliseconds => format!("{:.2} ms", seconds * 1e3),
        }
    }
}

/// What a row must reach.
#[derive(Clone, Copy)]
pub(crate) enum Reach {
    /// At most this many times the rival's time.
    TimesTheTime(f64),
    /// At least this many times faster than the rival.
    TimesFaster(f64),
    /// At least this throughput, whatever the rival has.
    GigabytesPerSecond { bytes: u64, reach: f64 },
}

impl Reach {
    /// The figure that is compared, of our time and the rival's.
    fn figure(self, ours: f64, rival: f64) -> f64 {
        match self {
            Self::TimesTheTime(_) => ours / rival,
            Self::TimesFaster(_) => rival / ours,
            Self::GigabytesPerSecond { bytes, .. } => bytes as f64 / ours / 1e9,
        }
    }

    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::TimesTheTime(most) => figure <= most,
            Self::TimesFaster(least) => figure >= least,
            Self::GigabytesPerSecond { reach, .. } => figure >= reach,
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimesTheTime(most) => write!(f, "<= {most}x time"),
            Self::TimesFaster(least) => write!(f, ">= {least}x faster"),
            Self::GigabytesPerSecond { reach, .. } => write!(f, ">= {reach} GB/s"),
        }
    }
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) ours: String,
    pub(crate) rival: String,
    pub(crate) ratio: String,
    pub(crate) spread: String,
    pub(crate) reach: String,
    /// `None` where it could not be measured.
    pub(crate) is_met: Option<bool>,
}

impl Row {
    /// A row about time: ratio of the medians, and the least and the greatest of the pairs.
    pub(crate) fn of_times(work: &'static str, unit: Unit, reach: Reach, pairs: &Pairs) -> Self {
        let figure = reach.figure(pairs.ours(), pairs.rival());
        let each: Vec<f64> = match reach {
            Reach::GigabytesPerSecond { .. } => {
                pairs.our_times().iter().map(|&ours| reach.figure(ours, 1.0)).collect()
            }
            _ => pairs.ratios().iter().map(|&ratio| reach.figure(ratio, 1.0)).collect(),
        };
        let ratio = match reach {
            Reach::TimesTheTime(_) => format!("{figure:.2}x time"),
            Reach::TimesFaster(_) => format!("{figure:.2}x faster"),
            Reach::GigabytesPerSecond { .. } => {
                format!("{:.2}x time", pairs.ours() / pairs.rival())
            }
        };
        Self {
            work,
            ours: unit.show(pairs.ours()),
            rival: unit.show(pairs.rival()),
            ratio,
            spread: spread(&each),
            reach: reach.to_string(),
            is_met: Some(reach.is_met(figure)),
        }
    }

    /// A row about what ours takes on top of the rival, in nanoseconds for each of `count`
    /// operations.
    pub(crate) fn of_difference(
        work: &'static str,
        count: usize,
        most_ns: f64,
        pairs: &Pairs,
    ) -> Self {
        let each = |seconds: f64| seconds * 1e9 / count as f64;
        let differences: Vec<f64> = pairs.differences().into_iter().map(each).collect();
        let difference = median(&differences);
        let reach = Reach::TimesTheTime(f64::INFINITY);
        Self {
            ratio: format!("+{difference:.0} ns"),
            spread: spread(&differences),
            reach: format!("<= +{most_ns} ns"),
            is_met: Some(difference <= most_ns),
            ..Self::of_times(work, Unit::NanosecondsEach { count }, reach, pairs)
        }
    }

    /// A row about what ours takes by itself, in nanoseconds for each of `count` operations.
    pub(crate) fn of_each(work: &'static str, count: usize, most_ns: f64, pairs: &Pairs) -> Self {
        let reach = Reach::TimesTheTime(f64::INFINITY);
        Self {
            reach: format!("<= {most_ns} ns"),
            is_met: Some(pairs.ours() * 1e9 / count as f64 <= most_ns),
            ..Self::of_times(work, Unit::NanosecondsEach { count }, reach, pairs)
        }
    }

    /// A row about bytes written to the device, as shares of the bytes that were dirty.
    pub(crate) fn of_device_bytes(
        work: &'static str,
        most: f64,
        ours: &[f64],
        rival: &[f64],
    ) -> Self {
        Self {
            work,
            ours: format!("{:.2}x dirty", median(ours)),
            rival: format!("{:.2}x dirty", median(rival)),
            ratio: format!("{:.2}x bytes", median(ours) / median(rival)),
            spread: spread(ours),
            reach: format!("<= {most}x dirty"),
            is_met: Some(median(ours) <= most),
        }
    }

    /// A row that this machine cannot measure.
    pub(crate) fn unmeasured(work: &'static str, reach: String, why: &str) -> Self {
        let none = || "-".to_owned();
        Self {
            work,
            ours: format!("not measured: {why}"),
            rival: none(),
            ratio: none(),
            spread: none(),
            reach,
            is_met: None,
        }
    }

    fn cells(&self) -> [&str; 7] {
        let met = match self.is_met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "?",
        };
        [self.work, &self.ours, &self.rival, &self.ratio, &self.spread, &self.reach, met]
    }
}

/// The least and the greatest value.
pub(crate) fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{least:.2}-{greatest:.2}")
}

/// All rows, as Markdown with aligned columns.
pub(crate) struct Table(pub(crate) Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["work", "ours", "rival", "ratio", "spread", "reach", "met"];
        let lines: Vec<[&str; 7]> =
            std::iter::once(head).chain(self.0.iter().map(Row::cells)).collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|column| lines.iter().map(|line| line[column].len()).max().unwrap_or(0))
            .collect();
        for (number, line) in lines.iter().enumerate() {
            for (cell, width) in line.iter().zip(&widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                for width in &widths {
                    write!(f, "|{:-<dashes$}", "", dashes = width + 2)?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}
