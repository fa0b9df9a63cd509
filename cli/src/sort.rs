//! `storage sort`: the lines of a file of any size, in order.

mod chunk;
mod fields;
mod key;
mod number;
mod plan;
mod runs;

use std::{
    env,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use indicatif::{HumanBytes, HumanCount};
use parse_size::Config;
use storage::{
    Existing, ResidencyBudget, is_memory_folder,
    spill::{SortedRun, SpillMerge, SpillOptions, SpillRun, merge_down},
};

use crate::{
    error::{Error, Result},
    input::{self, Input},
    interrupt::Interrupt,
    output::{Failure, Output},
    progress,
    report::{Rate, Took},
    streams::print,
};
use chunk::ChunkRun;
use fields::Fields;
use key::{Direction, LineOrder, Reading, Ties, Uniqueness};
use plan::Plan;
use runs::{Sorted, Sorting};

/// Bytes written at once.
const WRITE_LEN: usize = 1 << 20;

/// Sort the lines of a file, of any size, within a given memory.
///
/// The result is what `LC_ALL=C sort` makes of the same input with the options of the same names.
/// What does not fit into the memory goes to temporary files without a name: nothing of them is left,
/// however the command ends. OUT may be INPUT itself, which is replaced when all is sorted.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::exit::EXIT_CODES)]
pub(crate) struct Args {
    /// The file or pipe to read, or `-` for standard input
    input: PathBuf,
    #[command(flatten)]
    output: Output,
    /// The most memory to take, with the pages of its files that are in memory
    #[arg(long, short = 'S', value_name = "SIZE", default_value = "256MiB")]
    #[arg(value_parser = parse_memory)]
    memory: u64,
    /// Compare only the fields from N on, up to M, counted from 1; blanks separate fields
    #[arg(long, short, value_name = "N[,M]")]
    key: Option<Fields>,
    /// Compare the numbers that lines or keys begin with
    #[arg(long, short)]
    numeric: bool,
    /// Keep only the first of lines that compare equal
    #[arg(long, short)]
    unique: bool,
    /// Leave lines with equal keys in their order, instead of comparing the whole lines
    #[arg(long, short)]
    stable: bool,
    /// Sort in the opposite order
    #[arg(long, short)]
    reverse: bool,
    /// The folder for what does not fit into memory, which must be on a disk
    /// [default: $TMPDIR, /var/tmp, or that of OUT, the first that is]
    #[arg(long, short = 'T', value_name = "FOLDER")]
    tmp: Option<PathBuf>,
}

impl Args {
    /// Sorts.
    pub(crate) fn run(&self) -> Result<()> {
        let interrupt = Interrupt::listen()?;
        let mut input = Input::open(&self.input)?;
        let existing = match input.is_at(&self.output.path) {
            true => Existing::Replace,
            false => self.output.existing(),
        };
        let target = self.output.open(existing)?;
        let started = Instant::now();
        let plan = Plan { memory_bytes: self.memory };
        let budget = ResidencyBudget::new(self.memory)?;
        let _own = budget.reserve(plan.own_bytes())?;
        let spill = SpillOptions::new(self.folder()?).budget(&budget);
        let (order, uniqueness) = (self.order(), self.uniqueness());
        let sorting = Sorting {
            order,
            uniqueness,
            plan,
            budget: &budget,
            spill: &spill,
            interrupt: &interrupt,
        };
        let bar = progress::bytes("sorting", input.len_bytes());
        let sorted = sorting.run(&mut input, &bar)?;
        bar.finish_and_clear();
        let sorted = match sorted {
            Sorted::Spilled(runs) => Sorted::Spilled(merge_runs(runs, &sorting)?),
            in_memory @ Sorted::InMemory(_) => in_memory,
        };
        let writing = Writing { sorting: &sorting, read_bytes: bar.position() };
        let lines = target.fill(|output| writing.write(sorted, output))?;
        if self.output.is_stdout() {
            return Ok(());
        }
        let (bytes, elapsed) = (writing.read_bytes, started.elapsed());
        print(format_args!(
            "sorted {} of {} into {}: {} lines, in {} ({})\n",
            HumanBytes(bytes),
            input::name(&self.input),
            self.output.path.display(),
            HumanCount(lines),
            Took::new(elapsed),
            Rate { bytes, elapsed },
        ))
        .map_err(Error::untold(&self.output.path))
    }

    /// Where what does not fit into memory goes: where it was said, or to the first of these that is on a disk.
    fn folder(&self) -> Result<PathBuf> {
        if let Some(folder) = &self.tmp {
            return match is_memory_folder(folder) {
                Ok(true) => Err(Error::TmpIsMemory { path: folder.clone() }),
                // Where there is none, that is said when it is needed.
                Ok(false) | Err(_) => Ok(folder.clone()),
            };
        }
        // Not /tmp, which is memory on many machines; and last where the output goes.
        let usual = env::var_os("TMPDIR").map(PathBuf::from);
        let output = (!self.output.is_stdout()).then(|| self.output.path.parent()).flatten();
        let output = output.map(|folder| Path::new(".").join(folder));
        let all = usual.into_iter().chain([PathBuf::from("/var/tmp")]).chain(output);
        let all: Vec<_> = all.collect();
        let on_disk = all.iter().find(|folder| !is_memory_folder(folder).is_ok_and(|is| is));
        on_disk.cloned().ok_or_else(|| Error::TmpIsMemory { path: all[0].clone() })
    }

    fn order(&self) -> LineOrder {
        LineOrder {
            fields: self.key,
            reading: if self.numeric { Reading::Numbers } else { Reading::Bytes },
            direction: if self.reverse { Direction::Descending } else { Direction::Ascending },
            ties: if self.stable || self.unique { Ties::InOrder } else { Ties::ByLine },
        }
    }

    fn uniqueness(&self) -> Uniqueness {
        if self.unique { Uniqueness::KeepFirst } else { Uniqueness::KeepAll }
    }
}

/// Merges runs until all that are left can be read at once.
fn merge_runs(runs: Vec<SpillRun>, sorting: &Sorting<'_>) -> Result<Vec<SpillRun>> {
    let bar = progress::bytes("merging", None);
    merge_down(runs, sorting.spill, &sorting.order, |bytes| {
        bar.inc(bytes);
        sorting.interrupt.check()
    })
}

/// The last merge, into the output.
struct Writing<'sort> {
    sorting: &'sort Sorting<'sort>,
    read_bytes: u64,
}

impl Writing<'_> {
    /// Writes all lines; says how many.
    fn write(&self, sorted: Sorted, output: &mut dyn Write) -> Result<u64, Failure> {
        match sorted {
            Sorted::InMemory(chunks) => {
                self.merge(chunks.into_iter().map(ChunkRun::from).collect(), output)
            }
            Sorted::Spilled(runs) => {
                self.merge(runs.iter().map(SpillRun::cursor).collect(), output)
            }
        }
    }

    fn merge<R: SortedRun>(&self, runs: Vec<R>, output: &mut dyn Write) -> Result<u64, Failure> {
        let Sorting { order, uniqueness, interrupt, .. } = *self.sorting;
        let mut output = BufWriter::with_capacity(WRITE_LEN, output);
        let bar = progress::bytes("writing", Some(self.read_bytes));
        let mut merge = SpillMerge::new(runs, order)?;
        let (mut lines, mut told_bytes) = (0, 0);
        let mut last: Option<Vec<u8>> = None;
        while let Some(line) = merge.next()? {
            if uniqueness == Uniqueness::KeepFirst {
                if let Some(last) = &mut last {
                    if uniqueness.leaves_out(&order, last, line) {
                        continue;
                    }
                    last.clear();
                    last.extend_from_slice(line);
                } else {
                    last = Some(line.to_vec());
                }
            }
            output
                .write_all(line)
                .and_then(|()| output.write_all(b"\n"))
                .map_err(Failure::Output)?;
            lines += 1;
            told_bytes += line.len() as u64 + 1;
            if told_bytes >= WRITE_LEN as u64 {
                bar.inc(told_bytes);
                told_bytes = 0;
                interrupt.check()?;
            }
        }
        output.flush().map_err(Failure::Output)?;
        Ok(lines)
    }
}

/// An amount of memory as a user writes it. `M` and `MB` count in 1024s like `MiB`.
fn parse_memory(text: &str) -> Result<u64, String> {
    let bytes = Config::new().with_binary().parse_size(text).map_err(|_| {
        "that is no amount of memory: write it like 256MiB, 1G or 268435456".to_owned()
    })?;
    let least_bytes = Plan::MEMORY_BYTES_MIN;
    match bytes {
        _ if bytes < least_bytes => Err(format!("it needs {} at least", HumanBytes(least_bytes))),
        _ if bytes > 1 << 50 => Err("no machine has that much: write it like 256MiB".to_owned()),
        _ => Ok(bytes),
    }
}
