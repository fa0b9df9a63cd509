//! Crashes while whole files are made: sealed, created, backed up, restored.
//!
//! A file is made under another name, synced, renamed, and its folder is synced; none of that goes through the
//! medium of a versioned file. So a workload runs in a folder whose filesystem is the recorder (`recorder`,
//! FUSE), in a process of its own (`mount`). Then the machine crashes at each moment of it (`explorer`), and the
//! folder is left with what was durable and any part of what was not (`folder`): sectors, lengths, and changes of
//! names. Each such state is laid out on a disk in memory, and every file of it opened with the real code and
//! compared with what must and may be there (`judge`). Of some, the call that was under way is made again.

mod calls;
mod expected;
mod explorer;
mod folder;
mod judge;
mod maker;
mod mount;
mod note;
mod recorder;
mod scripts;
mod source;
mod stage;

pub use explorer::{WholeCount, WholeEffort};
pub use mount::unavailable;

pub(crate) use explorer::{WholeExplored, explore};
pub(crate) use mount::{MAKE, make};

use recorder::NoReplace;

/// Which calls are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WholeFiles {
    /// Those of a script.
    Script(usize),
    /// Those that follow from a seed.
    Random(u64),
}

impl WholeFiles {
    fn calls(self) -> calls::Calls {
        match self {
            Self::Script(number) => scripts::script(number),
            Self::Random(seed) => scripts::random(seed),
        }
    }

    /// Whether its filesystem knows renames that replace nothing: the second script is for those that do not, and
    /// every other workload by chance.
    fn no_replace(self) -> NoReplace {
        match self {
            Self::Script(1) => NoReplace::Unknown,
            Self::Random(seed) if seed % 2 == 1 => NoReplace::Unknown,
            Self::Script(_) | Self::Random(_) => NoReplace::Known,
        }
    }

    /// What another process has to be told.
    fn words(self) -> [String; 2] {
        match self {
            Self::Script(number) => ["script".into(), number.to_string()],
            Self::Random(seed) => ["random".into(), seed.to_string()],
        }
    }

    fn from_words([kind, number]: [&String; 2]) -> Option<Self> {
        match kind.as_str() {
            "script" => Some(Self::Script(number.parse().ok()?)),
            "random" => Some(Self::Random(number.parse().ok()?)),
            _ => None,
        }
    }
}

/// All scripts, once.
pub(crate) fn all_scripts() -> impl Iterator<Item = WholeFiles> {
    (0..scripts::SCRIPTS).map(WholeFiles::Script)
}
