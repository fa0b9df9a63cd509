//! The storage backend does what DBSP asks of one, also where the disk or somebody else gets in its
//! way.
//!
//! Method: through DBSP's traits alone, in folders of a real filesystem. `scenarios` has what
//! DBSP's own backends are held to; `reading`, `writing` and `names` what lies in the corners;
//! `sealing` what becomes of a file that is whole where it cannot be sealed or mapped;
//! `syncing` how the files of a checkpoint become durable;
//! `outside` what somebody else does to the files meanwhile; `disks` full and failing devices (ext4
//! on loop devices, mounted as root; said to be skipped elsewhere). Files are also read with DBSP's
//! own backend, and its files with ours.

mod disks;
mod files;
mod names;
mod outside;
mod reading;
mod scenarios;
mod sealing;
mod syncing;
mod writing;
