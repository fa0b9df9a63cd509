//! `storage unpack`: the bytes of a sealed page file.

use std::{
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use indicatif::{HumanBytes, HumanCount};
use storage::{Access, ByteOffset, Existing, SealedFile};
use tempfile::NamedTempFile;

use crate::{
    error::{Error, Result},
    interrupt::Interrupt,
    output::Output,
    progress,
    report::{Rate, Took, print},
};

/// Bytes written at once.
const WRITE_LEN: u64 = 1 << 20;

/// Give back the bytes that were packed into a page file.
///
/// Each page is verified before its bytes are written. A damaged page ends the command; OUT is not
/// made then. Standard output has got the pages before the damaged one.
#[derive(Debug, clap::Args)]
#[command(after_help = crate::args::EXIT_CODES)]
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
        file.advise(Access::Sequential)?;
        if self.output.is_stdout() {
            return copy(&file, &mut io::stdout().lock(), &interrupt).map_err(|failure| {
                failure.into_error(|source| match source.kind() {
                    ErrorKind::BrokenPipe => Error::ReaderGone,
                    _ => Error::io_of("write to", "standard output")(source),
                })
            });
        }
        self.output.check()?;
        let started = Instant::now();
        self.unpack_to_file(&file, &interrupt)?;
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
    }

    /// Writes a temporary file beside the output and gives it its name when it is whole and
    /// durable. It is removed where anything fails before that.
    fn unpack_to_file(&self, file: &SealedFile, interrupt: &Interrupt) -> Result<()> {
        let path = &self.output.path;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut temporary = tempfile::Builder::new()
            .prefix(".storage-")
            .suffix(".tmp")
            .tempfile_in(folder)
            .map_err(Error::io("make a file in", folder))?;
        copy(file, temporary.as_file_mut(), interrupt)
            .map_err(|failure| failure.into_error(Error::io("write", path)))?;
        temporary.as_file().sync_all().map_err(Error::io("make durable", path))?;
        self.publish(temporary)?;
        let folder_file = std::fs::File::open(folder).map_err(Error::io("open", folder))?;
        folder_file.sync_all().map_err(Error::io("make durable the folder", folder))
    }

    fn publish(&self, temporary: NamedTempFile) -> Result<()> {
        let path = &self.output.path;
        let persisted = match self.output.existing() {
            Existing::Refuse => temporary.persist_noclobber(path),
            Existing::Replace => temporary.persist(path),
        };
        match persisted {
            Ok(_) => Ok(()),
            Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::Exists { path: path.clone() })
            }
            Err(refused) => Err(Error::io("rename the finished file to", path)(refused.error)),
        }
    }
}

/// Which side of a copy failed.
enum Failure {
    Input(Error),
    Output(io::Error),
}

impl Failure {
    fn into_error(self, output: impl FnOnce(io::Error) -> Error) -> Error {
        match self {
            Self::Input(error) => error,
            Self::Output(source) => output(source),
        }
    }
}

/// Writes the payload, straight from the mapping, each page verified before.
fn copy(file: &SealedFile, output: &mut impl Write, interrupt: &Interrupt) -> Result<(), Failure> {
    let payload_len = file.payload_len();
    let bar = progress::bytes("unpacking", Some(payload_len));
    let mut start = 0;
    while start < payload_len {
        interrupt.check().map_err(Failure::Input)?;
        let len = WRITE_LEN.min(payload_len - start);
        let count = usize::try_from(len).expect("one write is small");
        let bytes = file
            .as_slice_of_at::<u8>(ByteOffset::new(start), count)
            .map_err(|error| Failure::Input(error.into()))?;
        output.write_all(bytes).map_err(Failure::Output)?;
        start += len;
        bar.inc(len);
    }
    output.flush().map_err(Failure::Output)
}
