//! What the block device has written, as the kernel counts it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::Result;

/// The kernel counts in sectors of 512 bytes, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;

/// The place of "sectors written" in a line of /proc/diskstats that was split at spaces
/// (Documentation/admin-guide/iostats.rst: major, minor, name, then field 7).
const SECTORS_WRITTEN: usize = 9;

/// How long the counter must stand still to count as quiet, and how long that is waited for.
const QUIET: Duration = Duration::from_millis(30);
const QUIET_WAIT_MAX: Duration = Duration::from_secs(1);

/// The counter of the device under a folder.
pub(crate) struct Device {
    major: String,
    minor: String,
}

impl Device {
    /// The device that holds `folder`; `None` where the kernel keeps no counter for it (overlays,
    /// network filesystems, btrfs subvolumes).
    pub(crate) fn under(folder: &Path) -> Result<Option<Self>> {
        let number = fs::metadata(folder)?.dev();
        let device = Self {
            major: rustix::fs::major(number).to_string(),
            minor: rustix::fs::minor(number).to_string(),
        };
        Ok(device.written_bytes().is_ok().then_some(device))
    }

    /// The bytes written since the machine started, by everybody.
    pub(crate) fn written_bytes(&self) -> Result<u64> {
        let stats = fs::read_to_string("/proc/diskstats")?;
        for line in stats.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.len() > SECTORS_WRITTEN && fields[..2] == [&self.major, &self.minor] {
                return Ok(fields[SECTORS_WRITTEN].parse::<u64>()? * SECTOR_BYTES);
            }
        }
        Err("the device has no line in /proc/diskstats".into())
    }

    /// Writes back whatever is dirty on this machine and waits until the device is quiet; on a busy
    /// machine, not for ever.
    pub(crate) fn settle(&self) -> Result<()> {
        rustix::fs::sync();
        let started = Instant::now();
        let mut last = self.written_bytes()?;
        loop {
            thread::sleep(QUIET);
            let now = self.written_bytes()?;
            if now == last || started.elapsed() > QUIET_WAIT_MAX {
                return Ok(());
            }
            last = now;
        }
    }
}
