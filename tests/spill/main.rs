//! What is spilled comes back as it was, in order and at random, with and without compression and
//! budget; a merge is a stable sort; damage and a full disk are errors, and nothing is left behind.
//!
//! Method: random operations against a `Vec` (the seed is in the message of a failure); the standard
//! library's sort; an ext4 of its own on a loop device; the descriptors that proc(5) shows.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../pagestore/tests/cgroup/mod.rs"]
#[expect(dead_code, reason = "what a group has now is looked at elsewhere")]
mod cgroup;
#[path = "../../pagestore/tests/child/mod.rs"]
mod child;
mod hazards;
mod limited;
#[path = "../../pagestore/tests/loop_disk/mod.rs"]
mod loop_disk;
mod merging;
mod model;
#[path = "../../pagestore/tests/nameless/mod.rs"]
mod nameless;
#[path = "../../pagestore/tests/skip/mod.rs"]
#[expect(dead_code, reason = "`LoopDisk` asks for root itself")]
mod skip;

use storage::{
    ResidencyBudget,
    spill::{SpillCompression, SpillOptions},
};
use tempfile::TempDir;

/// A folder on a disk: what is on tmpfs cannot leave memory.
fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// All ways to make a spill in `folder`.
fn all_options(folder: &TempDir) -> Vec<SpillOptions> {
    let budget = ResidencyBudget::new(4 << 20).unwrap();
    let plain = SpillOptions::new(folder.path());
    let lz4 = plain.clone().compression(SpillCompression::Lz4);
    vec![
        plain.clone(),
        plain.budget(&budget),
        lz4.clone().block_size_bytes(4096),
        lz4.budget(&budget),
    ]
}

/// Bytes of which some repeat and some do not.
fn bytes(random: &mut fastrand::Rng, len: usize) -> Vec<u8> {
    let mut bytes = vec![random.u8(..); len];
    if random.bool() {
        random.fill(&mut bytes);
    }
    bytes
}
