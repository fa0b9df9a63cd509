//! `storage demo`: what the store does, measured here and now beside the usual ways.

mod anonymous;
mod append;
mod compare;
mod data;
mod failures;
mod layer;
mod read;
mod stage;
mod transactions;
mod update;

use std::time::Instant;

use indicatif::{HumanBytes, HumanCount};

use crate::{
    demo::{
        data::{DATA_LEN_BYTES, Data, PAGE_COUNT},
        stage::Stage,
    },
    error::Result,
    interrupt::Interrupt,
    report::Took,
    streams::print,
};

/// Show what the store does, measured on this machine beside pread, pwrite and plain memmap2.
///
/// Takes about half a minute and about 1 GiB of disk in the folder for temporary files (`TMPDIR`); all of
/// it is removed at the end.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::exit::EXIT_CODES)]
pub(crate) struct Args {}

impl Args {
    /// Shows.
    pub(crate) fn run(&self) -> Result<()> {
        if let Some(path) = transactions::child() {
            return transactions::commit_for_ever(&path);
        }
        let started = Instant::now();
        let stage = Stage::set(Interrupt::listen()?)?;
        stage.say(format_args!(
            "{} of numbers in {} pages of 4 KiB, in {}\n\
             Each figure: the median of several runs, ours and the others' in turn. On the right:\n\
             the time that it takes compared with the first line of its block, which is ours.\n",
            HumanBytes(DATA_LEN_BYTES),
            HumanCount(PAGE_COUNT),
            stage.folder().display(),
        ))?;
        let data = Data::make(&stage)?;
        let files = append::show(&stage, &data)?;
        let mutable = read::show(&stage, &data, &files)?;
        update::show(&stage, &files, &mutable)?;
        transactions::show(&stage)?;
        anonymous::show(&stage)?;
        failures::show(&stage, &files)?;
        layer::show(&stage, &data)?;
        drop((mutable, files));
        stage.strike()?;
        print(format_args!(
            "\nDone in {}; the files of the demo are removed.\n",
            Took::new(started.elapsed()),
        ))
    }
}
