//! A small filesystem of its own, on a loop device.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tempfile::TempDir;

pub(crate) const BLOCK_BYTES: u64 = 4096;

/// How often unmounting is tried where a file of the disk seems open, and how long after each.
const UNMOUNTS_MAX: u32 = 100;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(20);

/// The least that a disk of XFS has, in MiB.
#[allow(dead_code, reason = "most suites know ext4 alone")]
pub(crate) const XFS_MIB_MIN: u64 = 320;

/// The least that a disk of btrfs has, in MiB.
#[allow(dead_code, reason = "most suites know ext4 alone")]
pub(crate) const BTRFS_MIB_MIN: u64 = 128;

/// Mounted as long as the value lives; unmounted on drop, also when a test panics.
pub(crate) struct LoopDisk {
    folder: TempDir,
}

impl LoopDisk {
    /// A filesystem of `mib` MiB with room for `inodes` files; the error says what is missing here.
    #[allow(dead_code, reason = "some suites choose another feature")]
    pub(crate) fn new(mib: u64, inodes: u32) -> Result<Self, String> {
        Self::with_feature("^has_journal", mib, inodes)
    }

    /// The same with or without a feature of ext4 (`mkfs.ext4 -O`).
    pub(crate) fn with_feature(feature: &str, mib: u64, inodes: u32) -> Result<Self, String> {
        let inodes = inodes.to_string();
        let mkfs = ["-q", "-F", "-m", "0", "-b", "4096", "-I", "256", "-O", feature];
        Self::made_by(Command::new("mkfs.ext4").args(mkfs).args(["-N", &inodes]), mib)
    }

    /// XFS as mkfs(8) makes it: files may share blocks.
    #[allow(dead_code, reason = "most suites know ext4 alone")]
    pub(crate) fn xfs(mib: u64) -> Result<Self, String> {
        Self::made_by(Command::new("mkfs.xfs").args(["-q", "-m", "reflink=1"]), mib)
    }

    /// btrfs, which writes everything to a new place.
    #[allow(dead_code, reason = "most suites know ext4 alone")]
    pub(crate) fn btrfs(mib: u64) -> Result<Self, String> {
        Self::made_by(Command::new("mkfs.btrfs").arg("-q"), mib)
    }

    /// A disk of `mib` MiB, on which `mkfs` makes a filesystem.
    fn made_by(mkfs: &mut Command, mib: u64) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting a loop device needs root".into());
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let disk = Self { folder };
        let image = disk.folder.path().join("image");
        std::fs::create_dir(disk.path()).map_err(|error| error.to_string())?;
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(mib << 20).map_err(|error| error.to_string())?;
        run(mkfs.arg(&image))?;
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        let image = self.folder.path().join("image");
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(self.path()))
    }

    /// Unmounts it, when no file of it is open, and mounts it again.
    #[allow(dead_code, reason = "not every suite looks at what outlives a crash")]
    pub(crate) fn mount_again(&self) -> Result<(), String> {
        self.unmount()?;
        self.mount()
    }

    /// Unmounts it, and asks more than once: a test beside this one that starts a program has, until
    /// that program begins, copies of all descriptors of this process, so of this disk's files too.
    #[allow(dead_code, reason = "not every suite looks at what outlives a crash")]
    fn unmount(&self) -> Result<(), String> {
        let mut asked_count = 0;
        loop {
            let unmounted = run(Command::new("umount").arg(self.path()));
            asked_count += 1;
            if unmounted.is_ok() || asked_count == UNMOUNTS_MAX {
                return unmounted;
            }
            sleep(UNMOUNT_PAUSE);
        }
    }

    /// The folder in which it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// The blocks that a file could still get.
    pub(crate) fn free_blocks(&self) -> u64 {
        statvfs(self.path()).unwrap().f_bavail
    }

    /// Takes all blocks but `left`, which ext4 can be filled to, and gives the file that has them; removing it frees them.
    #[allow(dead_code, reason = "other filesystems cannot be filled to the block")]
    pub(crate) fn fill_but(&self, left: u64) -> PathBuf {
        let path = self.path().join("ballast");
        let ballast = File::create(&path).unwrap();
        // What is written back later splits extents that were reserved, and joins them again: the blocks that note
        // where they lie come and go.
        rustix::fs::syncfs(&ballast).unwrap();
        let mut len = 0;
        // More than once, since the ballast takes blocks of its own to note where it lies.
        for _ in 0..64 {
            if self.free_blocks() == left {
                break;
            }
            let free = self.free_blocks();
            if free > left {
                // In pieces from large to small, each of which fits.
                let piece = (1 << (free - left).ilog2()) * BLOCK_BYTES;
                fallocate(&ballast, FallocateFlags::empty(), len, piece).unwrap();
                len += piece;
            } else {
                len -= (left - free) * BLOCK_BYTES;
                ballast.set_len(len).unwrap();
            }
        }
        assert_eq!(self.free_blocks(), left, "the disk is as full as the test needs");
        path
    }

    /// Takes all space that a file can still get, in pieces from large to small, and gives the file that
    /// has it; removing it frees the space. For filesystems that cannot be filled to the block.
    #[allow(dead_code, reason = "most suites know ext4 alone")]
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let ballast = File::create(&path).unwrap();
        let mut len = 0;
        // More than once: what was reserved for a while becomes free when all is written.
        for _ in 0..3 {
            rustix::fs::syncfs(&ballast).unwrap();
            let mut piece = 32 << 20;
            while piece >= BLOCK_BYTES {
                match fallocate(&ballast, FallocateFlags::empty(), len, piece) {
                    Ok(()) => len += piece,
                    Err(_) => piece /= 2,
                }
            }
        }
        path
    }

    /// Runs mount(8) on it once more, with other options.
    #[allow(dead_code, reason = "not every suite needs a read-only disk")]
    pub(crate) fn remount(&self, options: &str) -> Result<(), String> {
        run(Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.path()))
    }

    /// Has ext4 find a fault in itself (`trigger_fs_error`), as where its metadata are damaged.
    #[allow(dead_code, reason = "most suites break no filesystem")]
    pub(crate) fn find_a_fault(&self) -> Result<(), String> {
        let mounts =
            std::fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let path = self.path();
        let mut fields = mounts.lines().map(|line| line.split(' '));
        let device = fields.find_map(|mut fields| {
            let device = fields.next()?;
            (Path::new(fields.next()?) == path).then_some(device)
        });
        let device = device.and_then(|device| device.strip_prefix("/dev/")).ok_or("no device")?;
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        std::fs::write(trigger, "by a test").map_err(|error| error.to_string())
    }

    /// The names in its top folder, but for ext4's own.
    #[allow(dead_code, reason = "not every suite looks at names")]
    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.path())
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let path = self.path();
        if run(Command::new("umount").arg(&path)).is_err() {
            let _lazily = run(Command::new("umount").arg("-l").arg(&path));
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "lost+found").collect();
    names.sort();
    names
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
