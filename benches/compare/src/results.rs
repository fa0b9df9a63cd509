//! What was measured, as it is kept in JSON.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{Result, contestant::Contestant, rivals, turn::Sample, work::Work};

/// All that was measured on one machine.
#[derive(Serialize, Deserialize, Default)]
pub(crate) struct Results {
    pub(crate) machine: String,
    /// How the run was made.
    pub(crate) command: String,
    /// How long it took.
    pub(crate) seconds: f64,
    pub(crate) rivals: Vec<Entry>,
    pub(crate) series: Vec<Series>,
    /// What was tried, and could not be measured.
    pub(crate) unmeasured: Vec<Unmeasured>,
}

/// Who took part, and how it was set up.
#[derive(Serialize, Deserialize, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) settings: String,
    pub(crate) is_ours: bool,
    pub(crate) unfit: Vec<Unfit>,
}

/// Work that does not fit a rival.
#[derive(Serialize, Deserialize, Clone, PartialEq)]
pub(crate) struct Unfit {
    pub(crate) work: Work,
    pub(crate) why: String,
}

/// The measurements of one rival at one work.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Series {
    pub(crate) work: Work,
    /// Zero where the work has a size of its own.
    pub(crate) size_mib: u64,
    pub(crate) threads: usize,
    pub(crate) rival: String,
    /// Nanoseconds an operation, a byte, or all in all; round by round.
    pub(crate) ns: Vec<f64>,
    /// Bytes written to the device for each byte that was changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) device: Vec<f64>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq)]
pub(crate) struct Unmeasured {
    pub(crate) work: Work,
    pub(crate) rival: String,
    pub(crate) why: String,
}

impl Series {
    pub(crate) fn median(&self) -> f64 {
        median(&self.ns)
    }

    /// The least and the greatest.
    pub(crate) fn spread(&self) -> (f64, f64) {
        let least = self.ns.iter().copied().fold(f64::INFINITY, f64::min);
        (least, self.ns.iter().copied().fold(0.0, f64::max))
    }
}

impl Results {
    /// Nothing yet, on this machine.
    pub(crate) fn new(command: String) -> Result<Self> {
        let machine = crate::machine::describe()?;
        let rivals = rivals::ALL.iter().enumerate();
        let rivals = rivals.map(|(at, one)| Entry::of(one, at < rivals::OURS)).collect();
        Ok(Self { machine, command, rivals, ..Self::default() })
    }

    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| {
            format!("{}: {error}; run the comparison first, without --add", path.display())
        })?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Makes the folder for results, and fails where they cannot be written.
    pub(crate) fn make_room(path: &Path) -> Result<()> {
        let told = |error| format!("results cannot go to {}: {error}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(told)?;
        }
        // Earlier results stay until there are new ones.
        fs::OpenOptions::new().append(true).create(true).open(path).map_err(told)?;
        Ok(())
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        Ok(fs::write(path, self.to_json()?)?)
    }

    /// A line for each rival and each series, so that a change of one shows as one.
    fn to_json(&self) -> Result<String> {
        let lines = |items: Vec<serde_json::Result<String>>| -> Result<String> {
            Ok(items.into_iter().collect::<serde_json::Result<Vec<_>>>()?.join(",\n"))
        };
        Ok(format!(
            "{{\"machine\":{},\n\"command\":{},\n\"seconds\":{},\n\"rivals\":[\n{}\n],\n\"series\":[\n{}\n],\n\"unmeasured\":[\n{}\n]}}\n",
            serde_json::to_string(&self.machine)?,
            serde_json::to_string(&self.command)?,
            serde_json::to_string(&self.seconds)?,
            lines(self.rivals.iter().map(serde_json::to_string).collect())?,
            lines(self.series.iter().map(serde_json::to_string).collect())?,
            lines(self.unmeasured.iter().map(serde_json::to_string).collect())?,
        ))
    }

    /// Takes in what a turn has measured.
    pub(crate) fn push(&mut self, rival: &str, size_mib: u64, samples: Vec<Sample>) {
        for sample in samples {
            let size_mib = if sample.work.is_single() { 0 } else { size_mib };
            let found = self.series.iter_mut().find(|series| {
                (series.work, series.size_mib, series.threads, series.rival.as_str())
                    == (sample.work, size_mib, sample.threads, rival)
            });
            let series = match found {
                Some(series) => series,
                None => {
                    self.series.push(Series {
                        work: sample.work,
                        size_mib,
                        threads: sample.threads,
                        rival: rival.to_owned(),
                        ns: Vec::new(),
                        device: Vec::new(),
                    });
                    self.series.last_mut().expect("it was just pushed")
                }
            };
            series.ns.push(rounded(sample.ns));
            series.device.extend(sample.device.map(rounded));
        }
    }

    /// A rival's time for a load that is not durable as a multiple of ours, and the MiB of it: the most
    /// that both have loaded.
    pub(crate) fn load_against_ours(&self, rival: &str) -> Option<(f64, u64)> {
        let loads = self.series.iter().filter(|series| series.work == Work::Load);
        let theirs = loads.clone().filter(|series| series.rival == rival);
        let both = theirs.filter_map(|theirs| {
            let is_ours = |ours: &&Series| {
                (ours.size_mib, ours.rival.as_str()) == (theirs.size_mib, Work::Load.ours())
            };
            let ours = loads.clone().find(is_ours)?;
            Some((theirs.median() / ours.median(), theirs.size_mib))
        });
        both.max_by_key(|(_, size_mib)| *size_mib)
    }

    /// Takes in why something could not be measured.
    pub(crate) fn miss(&mut self, work: Work, rival: &str, why: String) {
        let missed = Unmeasured { work, rival: rival.to_owned(), why };
        if !self.unmeasured.contains(&missed) {
            self.unmeasured.push(missed);
        }
    }

    /// Puts everything in the order of the tables.
    pub(crate) fn sort(&mut self) {
        let place = |name: &str| self.rivals.iter().position(|entry| entry.name == name);
        let key = |one: &Series| (one.work, one.size_mib, one.threads, place(&one.rival));
        let mut series = std::mem::take(&mut self.series);
        series.sort_by_key(key);
        self.series = series;
    }

    /// Each work, size and count of threads that was measured, with everybody who was.
    pub(crate) fn groups(&self) -> Vec<Group<'_>> {
        let same = |a: &Series, b: &Series| {
            (a.work, a.size_mib, a.threads) == (b.work, b.size_mib, b.threads)
        };
        self.series.chunk_by(same).map(|all| Group { all }).collect()
    }

    /// The sizes that were measured.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        let mut sizes: Vec<u64> = self.series.iter().map(|series| series.size_mib).collect();
        sizes.retain(|size| *size > 0);
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Whether a rival is a part of this store.
    pub(crate) fn is_ours(&self, name: &str) -> bool {
        self.rivals.iter().any(|entry| entry.name == name && entry.is_ours)
    }
}

impl Entry {
    fn of(one: &Contestant, is_ours: bool) -> Self {
        let unfit = Work::ALL
            .into_iter()
            .filter_map(|work| Some(Unfit { work, why: (one.unfit)(work)?.to_owned() }));
        Self {
            name: one.name.to_owned(),
            version: one.package.map_or_else(String::new, version),
            settings: one.settings.to_owned(),
            is_ours,
            unfit: unfit.collect(),
        }
    }
}

/// The version of a package that this was built with.
fn version(package: &str) -> String {
    let lock = include_str!("../../../Cargo.lock");
    let entry = lock
        .split("[[package]]")
        .find_map(|entry| entry.trim().strip_prefix(&format!("name = \"{package}\"")));
    let version = entry.and_then(|entry| entry.trim().strip_prefix("version = \""));
    let version = version.and_then(|rest| rest.split('"').next()).unwrap_or("of unknown version");
    format!("{package} {version}")
}

/// Everybody's measurements of the same.
pub(crate) struct Group<'a> {
    pub(crate) all: &'a [Series],
}

impl Group<'_> {
    pub(crate) fn work(&self) -> Work {
        self.all[0].work
    }

    pub(crate) fn size_mib(&self) -> u64 {
        self.all[0].size_mib
    }

    pub(crate) fn threads(&self) -> usize {
        self.all[0].threads
    }

    pub(crate) fn of(&self, rival: &str) -> Option<&Series> {
        self.all.iter().find(|series| series.rival == rival)
    }

    /// What the others are held against.
    pub(crate) fn ours(&self) -> Option<&Series> {
        self.of(self.work().ours())
    }

    /// A rival's cost as a multiple of ours.
    pub(crate) fn ratio(&self, series: &Series) -> Option<f64> {
        Some(series.median() / self.ours()?.median())
    }
}

/// Five digits, which is more than any of it is good for.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

/// The middle value, or the mean of the two in the middle; zero where there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}
