//! `storage backup`: a copy of a versioned file, or of what changed since an earlier one.

use std::{ops::ControlFlow, path::PathBuf, time::Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar};
use storage::{
    VersionedFile,
    backup::{Backup, BackupOptions, BackupProgress},
};

use crate::{
    error::{Error, Result},
    interrupt::Interrupt,
    output::Output,
    progress,
    report::{Rate, Took},
    streams::print,
};

/// Back a versioned file up: whole, or what changed since an earlier backup.
///
/// OUT is a sealed file with a checksum for each page (`storage verify` checks it), and each page is verified before it goes there.
/// `storage restore` makes the file out of it again.
///
/// This reads the file under a lock that keeps writers out, so it waits for nobody and fails where a program
/// has the file open to write. Such a program makes backups itself, while it goes on to commit:
/// `storage::backup::BackupOptions`, of any snapshot.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::exit::EXIT_CODES)]
pub(crate) struct Args {
    /// The versioned file to back up
    file: PathBuf,
    #[command(flatten)]
    output: Output,
    /// Only what changed since this backup, which is whole or an increment itself
    #[arg(long, value_name = "BACKUP")]
    since: Option<PathBuf>,
    /// Where FILE was not closed: first put the commits of its log into its pages, as opening it to write
    /// does
    #[arg(long)]
    recover: bool,
}

impl Args {
    /// Backs up.
    pub(crate) fn run(&self) -> Result<()> {
        if self.output.is_stdout() {
            return Err(Error::InPlace { what: "a backup" });
        }
        let interrupt = Interrupt::listen()?;
        self.output.check()?;
        let started = Instant::now();
        let earlier = self.since.as_ref().map(Backup::open).transpose()?;
        if self.recover {
            VersionedFile::open(&self.file)?.close()?;
        }
        let snapshot = VersionedFile::open_read_only(&self.file)?;
        let mut options = BackupOptions::new().existing(self.output.existing());
        if let Some(earlier) = &earlier {
            options = options.since(earlier);
        }
        let bar = Bar::new("backing up");
        let backup =
            options.create(&snapshot, &self.output.path, |done| bar.tell(done, &interrupt));
        let backup = backup.map_err(Error::from)?;
        bar.finish();
        let elapsed = started.elapsed();
        let bytes = backup.held_count().bytes(backup.page_size()).unwrap_or(u64::MAX);
        let kind = match backup.since() {
            None => format!("commit {}, whole", backup.commit()),
            Some(since) => format!("commit {}, what changed since commit {since}", backup.commit()),
        };
        print(format_args!(
            "backed {} up into {}: {kind}: {} of {} pages ({}), sealed and durable, in {} ({})\n",
            self.file.display(),
            self.output.path.display(),
            HumanCount(backup.held_count().get()),
            HumanCount(backup.page_count().get()),
            HumanBytes(bytes),
            Took::new(elapsed),
            Rate { bytes, elapsed },
        ))
        .map_err(Error::untold(&self.output.path))
    }
}

/// A progress bar that learns how long the work is when it begins.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(action: &'static str) -> Self {
        Self(progress::bytes(action, Some(0)))
    }

    /// Shows how far it is, and says whether to go on.
    pub(crate) fn tell(&self, done: BackupProgress, interrupt: &Interrupt) -> ControlFlow<()> {
        self.0.set_length(done.bytes);
        self.0.set_position(done.bytes_done);
        if done.bytes_done == done.bytes {
            self.0.set_message("making durable");
        }
        match interrupt.check() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
