//! `storage sort` against `LC_ALL=C sort`: the same file, the same memory, two threads each.
//!
//! `cargo bench -p storage-cli --bench sort -- [MIB] [MEMORY_MIB]` (default 256 and 64). Needs four
//! times the file's size of disk in the target folder. Prints the times, their ratio and the peak
//! memory of both, and checks that the outputs are equal.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a bench is a program that prints")]

use std::{
    error::Error,
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PAIRS: usize = 3;

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let (mib, memory_mib) = (numbers.next().unwrap_or(256), numbers.next().unwrap_or(64));
    let folder =
        tempfile::Builder::new().prefix("sort-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let folder = folder.path();
    let (input, ours, gnus) = (folder.join("input"), folder.join("ours"), folder.join("gnus"));
    make_lines(&input, mib << 20)?;
    println!("sort of {mib} MiB of lines within {memory_mib} MiB, {PAIRS} pairs");
    let mut ratios = Vec::new();
    for _ in 0..PAIRS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_storage"));
        command.arg("sort").arg(&input).arg(&ours).arg("--force").arg("--tmp").arg(folder);
        let own = timed(command.arg(format!("--memory={memory_mib}MiB")))?;
        let mut command = Command::new("sort");
        command.env("LC_ALL", "C").arg(format!("-S{memory_mib}M")).arg("--parallel=2");
        let gnu = timed(command.arg("-T").arg(folder).arg("-o").arg(&gnus).arg(&input))?;
        let ratio = own.elapsed.as_secs_f64() / gnu.elapsed.as_secs_f64();
        println!("ours {own}; GNU {gnu}; ratio {ratio:.2}");
        ratios.push(ratio);
        if !are_equal(&ours, &gnus)? {
            return Err("the outputs differ".into());
        }
        fs::remove_file(&gnus)?;
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2} (to reach: 1.00)", ratios[PAIRS / 2]);
    Ok(())
}

/// Lines of 20 to 160 bytes, that begin with noise.
fn make_lines(path: &Path, len: u64) -> Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut written = 0;
    let mut number = 0_u64;
    while written < len {
        number += 1;
        let noise = scramble(number);
        let width = usize::try_from(noise % 120)?;
        let line = format!("{noise:016x} {number} {:.<width$}\n", "");
        file.write_all(line.as_bytes())?;
        written += line.len() as u64;
    }
    file.into_inner()?.sync_all()?;
    Ok(())
}

/// splitmix64: turns a counter into noise.
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What a run took.
struct Took {
    elapsed: Duration,
    peak_kib: u64,
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} s, peak {} MiB", self.elapsed.as_secs_f64(), self.peak_kib >> 10)
    }
}

fn timed(command: &mut Command) -> Result<Took> {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn()?;
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = peak_kib.max(peak_of(&child).unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        sleep(Duration::from_millis(5));
    };
    let elapsed = started.elapsed();
    if status.success() { Ok(Took { elapsed, peak_kib }) } else { Err(status.to_string().into()) }
}

/// The most memory that a process ever had, its files' mapped pages too (`VmHWM` in proc(5)).
fn peak_of(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn are_equal(a: &Path, b: &Path) -> Result<bool> {
    let (mut a, mut b) = (BufReader::new(File::open(a)?), BufReader::new(File::open(b)?));
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let len = a.read(&mut left)?;
        b.read_exact(&mut right[..len])?;
        if left[..len] != right[..len] {
            return Ok(false);
        }
        if len == 0 {
            return Ok(b.read(&mut right)? == 0);
        }
    }
}
