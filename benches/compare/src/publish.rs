//! The documents: what in them comes from results, and whether it still does.

use std::{fmt::Write, fs, path::PathBuf};

use crate::{Result, files, plots, results::Results, table};

/// What stands around a generated part of a document.
const BEGIN: &str = "<!-- begin: made by `compare publish` from docs/comparison.json -->";
const END: &str = "<!-- end: made by `compare publish` -->";

/// The size that the README shows: more than the processor's caches, less than memory.
const SHOWN_MIB: u64 = 512;

/// A document with a generated part.
struct Document {
    path: PathBuf,
    part: String,
}

impl Document {
    fn all(results: &Results) -> [Self; 2] {
        let root = files::root();
        [
            Self { path: root.join("README.md"), part: readme(results) },
            Self { path: root.join("docs/performance.md"), part: performance(results) },
        ]
    }

    /// The document as it is, and as it must be.
    fn now_and_due(&self) -> Result<(String, String)> {
        let text = fs::read_to_string(&self.path)?;
        let missing = || format!("{} has no generated part", self.path.display());
        let (before, rest) = text.split_once(BEGIN).ok_or_else(missing)?;
        let (_, after) = rest.split_once(END).ok_or_else(missing)?;
        let due = format!("{before}{BEGIN}\n{}{END}{after}", self.part);
        Ok((text, due))
    }
}

/// Writes the generated parts, and draws the plots.
pub(crate) fn publish(results: &Results) -> Result<()> {
    for document in Document::all(results) {
        fs::write(&document.path, document.now_and_due()?.1)?;
    }
    plots::draw(results, &files::root().join("docs/comparison"))
}

/// Tells the documents that do not say what the results do.
pub(crate) fn outdated(results: &Results) -> Result<Vec<PathBuf>> {
    let mut outdated = Vec::new();
    for document in Document::all(results) {
        let (now, due) = document.now_and_due()?;
        if now != due {
            outdated.push(document.path);
        }
    }
    Ok(outdated)
}

fn caption(results: &Results, threads: usize) -> String {
    let reading =
        if threads == 1 { "One thread.".to_owned() } else { format!("{threads} threads.") };
    format!(
        "{}. {reading} *Ours*: the median, and which part of this store. The others: how many times that \
         long they take; bold where they are faster.\n\n",
        results.machine
    )
}

fn readme(results: &Results) -> String {
    let shown = shown(results);
    format!(
        "{shown} MiB of data in pages of 4 KiB. {}{}",
        caption(results, 1),
        table::summary(results, shown, 1)
    )
}

/// The size for the README, or what there is.
fn shown(results: &Results) -> u64 {
    let sizes = results.sizes();
    if sizes.contains(&SHOWN_MIB) { SHOWN_MIB } else { sizes.first().copied().unwrap_or(0) }
}

fn performance(results: &Results) -> String {
    let mut text = format!(
        "{} Made by `{}`, in {:.1} minutes.\n",
        results.machine,
        results.command,
        results.seconds / 60.0
    );
    let groups = results.groups();
    let mut runs: Vec<(u64, usize)> = groups
        .iter()
        .filter(|group| group.size_mib() > 0)
        .map(|group| (group.size_mib(), group.threads()))
        .collect();
    runs.sort_unstable();
    runs.dedup();
    for (size, threads) in runs {
        let times =
            if threads == 1 { "one thread".to_owned() } else { format!("{threads} threads") };
        _ = write!(text, "\n### {size} MiB, {times}\n\n{}", table::summary(results, size, threads));
    }
    let device = table::device(results);
    if !device.is_empty() {
        _ = write!(text, "\n### Bytes written by scattered updates\n\n{device}");
    }
    _ = write!(text, "\n### Where a rival is faster\n\n{}", table::wins(results));
    text += "\n### Plots\n\n";
    for work in crate::work::Work::ALL {
        if results.series.iter().any(|series| series.work == work) {
            _ = writeln!(text, "* [{}](comparison/{}.svg)", work.title(), work.id());
        }
    }
    _ = write!(text, "\n### Everybody's settings\n\n{}", table::settings(results));
    _ = write!(
        text,
        "\n<details><summary>Every median, with the least and the greatest</summary>\n{}\n</details>\n",
        table::all(results)
    );
    text
}
