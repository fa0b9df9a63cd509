//! `storage restore`: a versioned file out of its backups.

use std::{path::PathBuf, time::Instant};

use indicatif::{HumanBytes, HumanCount};
use storage::backup::Chain;

use crate::{
    backup::Bar,
    error::{Error, Result},
    interrupt::Interrupt,
    output::Output,
    report::Took,
    streams::print,
};

/// Make a versioned file out of a whole backup and the increments to it.
///
/// The file is what it was when the last of them was made: the same pages, the same commit number. Backups may come in any order; where
/// one is missing between two others, or they are of several files, nothing is made. Each page is
/// verified before it is written.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::exit::EXIT_CODES)]
pub(crate) struct Args {
    /// A whole backup and, if there are any, each increment since
    #[arg(value_name = "BACKUP", required = true)]
    backups: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Args {
    /// Restores.
    pub(crate) fn run(&self) -> Result<()> {
        if self.output.is_stdout() {
            return Err(Error::InPlace { what: "a restored file" });
        }
        let interrupt = Interrupt::listen()?;
        self.output.check()?;
        let started = Instant::now();
        let chain = Chain::open(&self.backups)?;
        let bar = Bar::new("restoring");
        let (path, existing) = (&self.output.path, self.output.existing());
        chain.restore(path, existing, |done| bar.tell(done, &interrupt))?;
        bar.finish();
        let bytes = chain.page_count().bytes(chain.page_size()).unwrap_or(u64::MAX);
        let from = match self.backups.len() {
            1 => "1 backup".to_owned(),
            count => format!("{count} backups"),
        };
        print(format_args!(
            "restored {} from {from}: commit {}, {} pages ({}) of {}, durable, in {}\n",
            path.display(),
            chain.commit(),
            HumanCount(chain.page_count().get()),
            HumanBytes(bytes),
            chain.page_size(),
            Took::new(started.elapsed()),
        ))
        .map_err(Error::untold(path))
    }
}
