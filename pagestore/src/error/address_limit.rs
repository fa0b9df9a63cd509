//! Which limit a process met that was refused more addresses.
//!
//! The kernel answers `ENOMEM` for all of them (mmap(2)). What it compared is read back here, after the
//! refusal, so that the error says what to change.

use std::{fmt, fs};

use rustix::process::{Resource, getrlimit};

/// The limit that a process met when it asked for addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AddressLimit {
    /// The addresses of the process (`RLIMIT_AS`, `ulimit -v`).
    Addresses {
        /// The limit.
        limit_bytes: u64,
    },
    /// Its private memory (`RLIMIT_DATA`, `ulimit -d`).
    Data {
        /// The limit.
        limit_bytes: u64,
    },
    /// How many mappings it may have (`vm.max_map_count`).
    Mappings {
        /// The limit.
        count_max: u64,
    },
    /// What the system promises to all processes together (`vm.overcommit_memory` is 2).
    Commit {
        /// The limit.
        limit_bytes: u64,
    },
    /// Other memory lies behind a range that had to grow in place.
    Neighbour,
    /// None of these: the process has no free range of so many addresses.
    Unknown,
}

impl fmt::Display for AddressLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses { limit_bytes } => write!(
                f,
                "this process may have {limit_bytes} bytes of addresses: raise the limit (ulimit -v), \
                 close files, or pass a smaller `address_space_bytes` where that was given"
            ),
            Self::Data { limit_bytes } => write!(
                f,
                "this process may have {limit_bytes} bytes of memory of its own: raise the limit \
                 (ulimit -d), or pass a smaller `address_space_bytes` where that was given"
            ),
            Self::Mappings { count_max } => write!(
                f,
                "this process has all the {count_max} mappings that it may have: close files, or raise \
                 the limit (sysctl vm.max_map_count)"
            ),
            Self::Commit { limit_bytes } => write!(
                f,
                "the system promises no more than {limit_bytes} bytes of memory to all processes \
                 (vm.overcommit_memory is 2): raise vm.overcommit_ratio, add swap, or pass a smaller \
                 `address_space_bytes` where that was given"
            ),
            Self::Neighbour => f.write_str(
                "other memory lies behind the addresses reserved so far: open with \
                 `address_space_bytes` of what the file is to hold at most",
            ),
            Self::Unknown => f.write_str(
                "the machine has no free range of so many addresses: pass a smaller \
                 `address_space_bytes`, or close files",
            ),
        }
    }
}

/// What new addresses count against.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Counted {
    /// Against the addresses of the process: a mapping that is shared with a file.
    Addresses,
    /// Against its memory as well: private memory.
    Memory,
}

/// The limit that `bytes` more bytes meet now, if one is known.
pub(crate) fn met(bytes: u64, counted: Counted) -> Option<AddressLimit> {
    mappings()
        .or_else(|| addresses(bytes))
        .or_else(|| (counted == Counted::Memory).then(|| memory(bytes)).flatten())
}

fn mappings() -> Option<AddressLimit> {
    let count_max = number(&fs::read_to_string("/proc/sys/vm/max_map_count").ok()?)?;
    let maps = fs::read("/proc/self/maps").ok()?;
    let count = maps.iter().filter(|&&byte| byte == b'\n').count() as u64;
    // One line may be of what the kernel maps into every process, which does not count; and one more
    // mapping was asked for. What is refused then is refused for this reason.
    (count + 2 >= count_max).then_some(AddressLimit::Mappings { count_max })
}

fn addresses(bytes: u64) -> Option<AddressLimit> {
    let limit_bytes = getrlimit(Resource::As).current?;
    let used = statm(0)?;
    (used.saturating_add(bytes) > limit_bytes).then_some(AddressLimit::Addresses { limit_bytes })
}

fn memory(bytes: u64) -> Option<AddressLimit> {
    if let Some(limit_bytes) = getrlimit(Resource::Data).current
        && statm(5)?.saturating_add(bytes) > limit_bytes
    {
        return Some(AddressLimit::Data { limit_bytes });
    }
    let policy = number(&fs::read_to_string("/proc/sys/vm/overcommit_memory").ok()?)?;
    if policy != 2 {
        return None;
    }
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        number(line.trim_start_matches(':').trim_end_matches("kB"))
    };
    let (limit_bytes, used) = (kib("CommitLimit")? << 10, kib("Committed_AS")? << 10);
    (used.saturating_add(bytes) > limit_bytes).then_some(AddressLimit::Commit { limit_bytes })
}

/// A number of pages of proc_pid_statm(5), in bytes: 0 is all addresses, 5 is data and stack.
fn statm(field: usize) -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages = number(statm.split_whitespace().nth(field)?)?;
    Some(pages * rustix::param::page_size() as u64)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}
