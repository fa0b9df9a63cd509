//! Runs a whole suite once more on other filesystems than the one that temporary files are on.
//!
//! The suite's program is started anew, with a loop device for its temporary folder (`TMPDIR`). A suite has one test
//! that calls [`run`]; in the programs that this starts, it does nothing.

use std::{env, process::Command};

use crate::{
    loop_disk::{BTRFS_MIB_MIN, LoopDisk, XFS_MIB_MIN},
    skip,
};

const VARIABLE: &str = "PAGESTORE_TEST_ELSEWHERE";

/// Enough for what the suites write at a time.
const MIB: u64 = 1536;

type MakeDisk = fn() -> Result<LoopDisk, String>;

/// Runs the suite, which is the module that `test` is of, on XFS and on btrfs, and on ext4 where that is not what it ran on. `but` names
/// tests that are about the filesystem they run on.
pub(crate) fn run(test: &str, but: &[&str]) {
    if env::var_os(VARIABLE).is_some() {
        return;
    }
    let disks: [(&str, MakeDisk); 3] = [
        ("ext4", || LoopDisk::with_feature("has_journal", MIB, 4096)),
        ("xfs", || LoopDisk::xfs(MIB.max(XFS_MIB_MIN))),
        ("btrfs", || LoopDisk::btrfs(MIB.max(BTRFS_MIB_MIN))),
    ];
    const EXT: i64 = 0xef53;
    let is_on_ext = rustix::fs::statfs(env::temp_dir()).is_ok_and(|stat| stat.f_type == EXT);
    for (name, disk) in disks {
        if name == "ext4" && is_on_ext {
            continue;
        }
        let disk = match disk() {
            Ok(disk) => disk,
            Err(reason) => {
                skip::skipped(&format!("{test} on {name}"), &reason);
                continue;
            }
        };
        let mut command = Command::new(env::current_exe().unwrap());
        let suite = test.split_inclusive("::").next().expect("a suite is a module");
        command.env(VARIABLE, name).env("TMPDIR", disk.path()).args(["--quiet", suite]);
        but.iter().for_each(|test| {
            command.args(["--skip", test]);
        });
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "on {name}:\n{said}");
    }
}
