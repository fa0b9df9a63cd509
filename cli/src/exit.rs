//! How a command ends, and the codes that it exits with.

use std::process::ExitCode;

/// What every `--help` ends with.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    error; the message says what is wrong and what to do
  2    wrong usage
  3    `verify`, or `heatmap --verify`, found damage
  130  interrupted";

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// All is well.
    Done,
    /// It could not do its work.
    Failed,
    /// What was typed is no command.
    WrongUsage,
    /// The file is not as it was written.
    Damaged,
    /// Somebody asked it to end.
    Interrupted,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Failed => Self::from(1),
            Outcome::WrongUsage => Self::from(2),
            Outcome::Damaged => Self::from(3),
            Outcome::Interrupted => Self::from(130),
        }
    }
}
