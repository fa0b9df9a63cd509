//! `storage unpack`: the bytes of a sealed page file.

use std::{io::Write, path::PathBuf, time::Instant};

use indicatif::{HumanBytes, HumanCount};
use storage::{Access, ByteOffset, SealedFile};

use crate::{
    error::{Error, Result},
    interrupt::Interrupt,
    output::{Failure, Output},
    progress,
    report::{Rate, Took},
    streams::print,
};

/// Bytes written at once.
const WRITE_LEN: u64 = 1 << 20;

/// Give back the bytes that were packed into a page file.
///
/// Each page is verified before its bytes are written. A damaged page ends the command, and OUT is not
/// made. Standard output then has the pages before the damaged one.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::exit::EXIT_CODES)]
pub(crate) struct Args {
    /// The sealed page file to read
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

impl Args {
    /// Unpacks.
    pub(crate) fn run(&self) -> Result<()> {
        let interrupt = Interrupt::listen()?;
        let file = SealedFile::open(&self.file)?;
        file.advise(.., Access::Sequential)?;
        let target = self.output.open(self.output.existing())?;
        let started = Instant::now();
        target.fill(|output| copy(&file, output, &interrupt))?;
        if self.output.is_stdout() {
            return Ok(());
        }
        let (bytes, elapsed) = (file.payload_len(), started.elapsed());
        print(format_args!(
            "unpacked {} ({} bytes) of {} into {}: {} pages verified, in {} ({})\n",
            HumanBytes(bytes),
            HumanCount(bytes),
            self.file.display(),
            self.output.path.display(),
            HumanCount(file.page_count().get()),
            Took::new(elapsed),
            Rate { bytes, elapsed },
        ))
        .map_err(Error::untold(&self.output.path))
    }
}

/// Writes the payload, straight from the mapping, each page verified before.
fn copy(file: &SealedFile, output: &mut dyn Write, interrupt: &Interrupt) -> Result<(), Failure> {
    let payload_len = file.payload_len();
    let bar = progress::bytes("unpacking", Some(payload_len));
    let mut start = 0;
    while start < payload_len {
        interrupt.check()?;
        let len = WRITE_LEN.min(payload_len - start);
        let count = usize::try_from(len).expect("one write is small");
        let bytes = file.as_slice_of_at::<u8>(ByteOffset::new(start), count)?;
        output.write_all(bytes).map_err(Failure::Output)?;
        start += len;
        bar.inc(len);
    }
    Ok(())
}
