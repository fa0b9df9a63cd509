//! The storage backend does what DBSP asks of one, also where the disk or somebody else gets in its
//! way.
//!
//! Method: through DBSP's traits alone, in folders of a real filesystem. `scenarios` has what
//! DBSP's own backends are held to; `reading`, `writing` and `names` what lies in the corners;
//! `outside` what somebody else does to the files meanwhile; `disks` full and failing devices (ext4
//! on loop devices, mounted as root; said to be skipped elsewhere). Files are also read with DBSP's
//! own backend, and its files with ours.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod disks;
#[path = "../failing_ext4/mod.rs"]
mod failing_ext4;
mod files;
#[path = "../../../pagestore/tests/it/loop_disk.rs"]
mod loop_disk;
mod names;
mod outside;
mod reading;
mod scenarios;
#[path = "../../../pagestore/tests/it/skip.rs"]
#[expect(dead_code, reason = "what is asked for here is more than root")]
mod skip;
mod writing;
