//! The table of ratios: our work against that of its rivals, side by side in one run.
//!
//! `cargo bench -p storage --bench ratios -- [FILTER] [--quick]`
//!
//! A filter runs the rows whose name contains it. `--quick` takes an eighth of the data, for a
//! first look; what must be reached is meant for 1 GiB. Needs 5 GiB of disk in the target folder.
#![expect(clippy::print_stdout, reason = "a bench is a program that prints")]

mod appends;
mod backends;
mod buffers;
mod clean;
mod cold;
mod data;
mod device;
mod faults;
mod flushes;
mod memory;
mod raw;
mod reads;
mod residency;
mod runner;
mod runs;
mod spills;
mod table;
mod transactions;

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use data::{PAGE_BYTES, PIECE_BYTES};
use device::Device;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use table::{Row, Table};
use tempfile::TempDir;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// `f_type` of tmpfs (statfs(2)), where nothing is ever written to a device.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// What all rows share.
struct Bench {
    /// Removed on drop, also by a panic.
    folder: TempDir,
    device: Option<Device>,
    filter: Option<String>,
    /// Those that this program may run on.
    cores: CpuSet,
    data_len: usize,
    pairs: usize,
    rows: Vec<Row>,
}

impl Bench {
    fn from_args(args: impl Iterator<Item = String>) -> Result<Self> {
        let (mut filter, mut data_len) = (None, 1 << 30);
        for arg in args {
            match arg.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--quick" => data_len = 1 << 27,
                option if option.starts_with('-') => {
                    return Err(format!("{option}: pass a filter, --quick, or nothing").into());
                }
                _ => filter = Some(arg),
            }
        }
        let folder =
            tempfile::Builder::new().prefix("ratios-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        if u64::try_from(rustix::fs::statfs(folder.path())?.f_type) == Ok(TMPFS_MAGIC) {
            return Err("the target folder is on tmpfs: set CARGO_TARGET_DIR to a disk".into());
        }
        let device = Device::under(folder.path())?;
        let cores = sched_getaffinity(None)?;
        Ok(Self { folder, device, filter, cores, data_len, pairs: 7, rows: Vec::new() })
    }

    /// Whether a row was asked for.
    fn wants(&self, work: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| work.contains(filter.as_str()))
    }

    fn wants_any(&self, works: &[&str]) -> bool {
        works.iter().any(|work| self.wants(work))
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The bytes of a file's pages.
    fn data_len(&self) -> usize {
        self.data_len
    }

    fn page_count(&self) -> usize {
        self.data_len / PAGE_BYTES
    }

    fn piece_count(&self) -> usize {
        self.data_len / PIECE_BYTES
    }

    /// All cores, for what has threads.
    fn cores(&self) -> &CpuSet {
        &self.cores
    }

    /// How often each side runs.
    fn pairs(&self) -> usize {
        self.pairs
    }

    /// Waits until what was written before this is on the disk, so that it slows down nothing that
    /// follows.
    fn settle(&self) -> Result<()> {
        match &self.device {
            Some(device) => device.settle(),
            None => {
                rustix::fs::sync();
                Ok(())
            }
        }
    }

    /// The bytes that the device has written, where it tells.
    fn device_bytes(&self) -> Result<Option<u64>> {
        self.device.as_ref().map(Device::written_bytes).transpose()
    }

    fn note(&self, text: &str) {
        println!("  {text}");
    }

    fn push(&mut self, row: Row) {
        println!("{}: {} ({})", row.work, row.ratio, row.spread);
        self.rows.push(row);
    }
}

/// Keeps this process on the core it is on, so that both sides run on the same.
fn stay_on_this_core() -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(sched_getcpu());
    Ok(sched_setaffinity(None, &cores)?)
}

fn main() -> Result<()> {
    if clean::run_as_child()?.is_break() {
        return Ok(());
    }
    let mut bench = Bench::from_args(std::env::args().skip(1))?;
    stay_on_this_core()?;
    let load = std::fs::read_to_string("/proc/loadavg")?;
    println!(
        "ratios: {} MiB a file in 4 KiB pages, {} pairs a row, one core, load {}",
        bench.data_len >> 20,
        bench.pairs,
        load.trim()
    );
    reads::run(&mut bench)?;
    faults::run(&mut bench)?;
    appends::run(&mut bench)?;
    flushes::run(&mut bench)?;
    spills::run(&mut bench)?;
    memory::run(&mut bench)?;
    residency::run(&mut bench)?;
    backends::run(&mut bench)?;
    cold::run(&mut bench)?;
    buffers::run(&mut bench)?;
    runs::run(&mut bench)?;
    transactions::run(&mut bench)?;
    println!("\n{}", Table(std::mem::take(&mut bench.rows)));
    Ok(())
}
