//! The machine: what it is, what its disk has written, and what it has in memory.

use std::{
    fs::{self, File},
    num::NonZeroU32,
    path::Path,
    thread,
    time::Duration,
};

use memmap2::{Advice, MmapOptions};
use tempfile::TempDir;

use crate::{Result, device::Device};

/// `f_type` of tmpfs (statfs(2)), where nothing is ever written to a device.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// A smaller file may stay in memory: a lock, or a header that was just read.
const CHILLED_BYTES_MIN: u64 = 1 << 20;

/// The folder that everything is measured in, and the device beneath it.
pub(crate) struct Ground {
    /// Removed on drop, also by a panic.
    folder: TempDir,
    device: Option<Device>,
}

impl Ground {
    /// A new folder in the target folder of this build.
    pub(crate) fn new() -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("compare-").tempdir_in(crate::files::target())?;
        if u64::try_from(rustix::fs::statfs(folder.path())?.f_type) == Ok(TMPFS_MAGIC) {
            return Err("the target folder is on tmpfs: set CARGO_TARGET_DIR to a disk".into());
        }
        let device = Device::under(folder.path())?;
        Ok(Self { folder, device })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until what was written before this is on the disk.
    pub(crate) fn settle(&self) -> Result<()> {
        match &self.device {
            Some(device) => device.settle(),
            None => {
                rustix::fs::sync();
                Ok(())
            }
        }
    }

    /// The bytes that the device has written, where it tells.
    pub(crate) fn written_bytes(&self) -> Result<Option<u64>> {
        self.device.as_ref().map(Device::written_bytes).transpose()
    }

    /// What is free on the disk.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        let found = rustix::fs::statvfs(self.folder.path())?;
        Ok(found.f_bavail * found.f_frsize)
    }
}

/// Has the kernel forget what it has in memory of the files in a folder, which nobody may have open.
pub(crate) fn chill(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            chill(&entry.path())?;
        } else {
            chill_file(&entry.path())?;
        }
    }
    Ok(())
}

fn chill_file(path: &Path) -> Result<()> {
    let file = File::open(path)?;
    // What is dirty stays in memory.
    file.sync_data()?;
    for _ in 0..100 {
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        if file.metadata()?.len() < CHILLED_BYTES_MIN {
            return Ok(());
        }
        let map = storage::residency_map(path, NonZeroU32::MIN)?;
        if map.parts.iter().all(|part| part.resident_bytes == 0) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(format!("{} stays in memory, so nothing of it is cold", path.display()).into())
}

/// Takes memory and gives it up again, so that what the host of a virtual machine has taken back is here when
/// somebody is measured: in huge pages, since free blocks of that size are what a host takes. At once before
/// it is needed: the host begins to take it back after two seconds.
pub(crate) fn touch_memory(len_bytes: u64) -> Result<()> {
    let mut memory = MmapOptions::new().len(usize::try_from(len_bytes)?).map_anon()?;
    // A kernel without huge pages does without.
    let _may_fail = memory.advise(Advice::HugePage);
    memory.fill(1);
    std::hint::black_box(memory);
    Ok(())
}

/// What programs could still have of the memory.
pub(crate) fn available_bytes() -> Result<u64> {
    field("/proc/meminfo", "MemAvailable").map(|kibibytes| kibibytes << 10)
}

fn field(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or_else(|| format!("{path} has no {name}"))?.parse()?)
}

/// The machine in a line.
pub(crate) fn describe() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split(": ").nth(1))
        .unwrap_or("an unnamed processor");
    let cores = thread::available_parallelism()?;
    let gibibytes = field("/proc/meminfo", "MemTotal")?.div_ceil(1 << 20);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let version: Vec<&str> = release.trim().splitn(3, '.').collect();
    let kernel = version.iter().take(2).copied().collect::<Vec<_>>().join(".");
    Ok(format!("{cores} cores ({model}), {gibibytes} GiB of memory, Linux {kernel}"))
}
