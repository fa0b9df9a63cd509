//! Makes calls of the real code.

use std::{
    error::Error as _,
    fs::{self, OpenOptions},
    io::{IoSlice, Write as _},
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use pagestore::{
    CommitId, Error, Existing, NewFile, PageCount, PageFile, PageId, PageWriter, RawFile, Snapshot,
    VersionedContent,
};
use storage::{
    ColumnsError,
    backup::{Backup, BackupError, BackupOptions, BackupProgress, Chain},
};

use super::{
    calls::{Call, Calls, NAMES, What},
    note::{self, Note},
    source::{Source, options, page_of},
};

/// Who makes calls.
pub(crate) struct Maker {
    calls: Calls,
    source: Source,
}

pub(crate) fn go_on(_: BackupProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Whether a call failed since the name is taken.
pub(crate) fn is_taken(error: &BackupError) -> bool {
    matches!(
        error,
        BackupError::Store(Error::AlreadyExists { .. })
            | BackupError::Columns(ColumnsError::Store(Error::AlreadyExists { .. }))
    )
}

/// An error with its causes.
pub(crate) fn tell(error: &BackupError) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

fn io_error(path: &Path, operation: &'static str) -> impl FnOnce(std::io::Error) -> BackupError {
    move |source| Error::Io { operation, path: path.into(), source }.into()
}

impl Maker {
    pub(crate) fn new(calls: Calls) -> pagestore::Result<Self> {
        let source = Source::new(calls.seed)?;
        Ok(Self { calls, source })
    }

    /// Makes all calls in a folder that records what is done in it, and tells it when each begins and returns.
    pub(crate) fn make_all(&self, folder: &Path) -> Result<(), BackupError> {
        for number in 0..self.calls.calls.len() {
            if number == self.calls.before {
                note::tell(folder, Note::Start);
            }
            note::tell(folder, Note::Begun(number));
            self.make(number, folder)?;
            note::tell(folder, Note::Returned(number));
        }
        Ok(())
    }

    /// Makes one.
    pub(crate) fn make(&self, number: usize, folder: &Path) -> Result<(), BackupError> {
        let Call { name, existing, what } = &self.calls.calls[number];
        let path = &folder.join(NAMES[*name]);
        match what {
            What::Seal(len) => {
                self.write_pages(number, *len, path, *existing)?.seal().map(drop)?;
            }
            What::SealAndClose(len) => {
                self.write_pages(number, *len, path, *existing)?.seal_and_close()?;
            }
            What::Bytes(len) => {
                let mut file = NewFile::create(path, *existing)?;
                let bytes = self.calls.bytes(number, *len);
                file.write_all(&bytes).map_err(io_error(path, "write"))?;
                file.publish()?;
            }
            What::SealRaw(len) => seal_raw(path, &self.calls.bytes(number, *len))?,
            What::PageFile => drop(PageFile::create(path)?),
            What::Create => options().create(path)?.close()?,
            What::Copy(state) => copy(&self.source.snapshots[*state], path, *existing)?,
            What::Rescue => {
                self.source.file.recover_into(path)?;
            }
            What::Backup { state, since } => {
                let mut options = BackupOptions::new().existing(*existing);
                if let Some(since) = since {
                    options = options.since(&Backup::open(folder.join(NAMES[*since]))?);
                }
                options.create(&self.source.snapshots[*state], path, go_on)?;
            }
            What::Restore(chain) => {
                let chain = Chain::open(chain.iter().map(|&name| folder.join(NAMES[name])))?;
                chain.restore(path, *existing, go_on)?;
            }
            What::Commit => self.commit(number, path)?,
            What::Remove => fs::remove_file(path).map_err(io_error(path, "remove"))?,
        }
        Ok(())
    }

    fn write_pages(
        &self,
        number: usize,
        len: usize,
        path: &Path,
        existing: Existing,
    ) -> Result<PageWriter, BackupError> {
        let mut writer = PageWriter::options().existing(existing).create(path)?;
        let bytes = self.calls.bytes(number, len);
        bytes.chunks(50_000).try_for_each(|some| writer.append(some).map(drop))?;
        Ok(writer)
    }

    fn commit(&self, number: usize, path: &Path) -> Result<(), BackupError> {
        let file = options().open(path)?;
        let mut transaction = file.begin()?;
        if transaction.page_count() == PageCount::ZERO {
            transaction.grow(PageCount::new(1))?;
        }
        let word = self.calls.word(number);
        transaction.page_mut(PageId::new(0))?.copy_from_slice(&page_of(Some(word)));
        transaction.commit()?;
        Ok(file.close()?)
    }
}

/// Writes a file under its own name, seals it, and makes the name durable.
fn seal_raw(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create_new(true).mode(0o600);
    let file = RawFile::open(options.open(path).map_err(io_error(path, "create"))?, path)?;
    for (number, piece) in (0..).zip(bytes.chunks(RAW_PIECE_BYTES)) {
        file.write_at(number * RAW_PIECE_BYTES as u64, &[IoSlice::new(piece)])?;
    }
    file.seal()?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let folder = fs::File::open(folder).and_then(|folder| folder.sync_all());
    folder.map_err(io_error(path, "make durable the folder of"))
}

/// What is written to a raw file at once.
const RAW_PIECE_BYTES: usize = 10_000;

/// Writes the pages of a snapshot to a new file.
fn copy(snapshot: &Snapshot, path: &Path, existing: Existing) -> Result<(), BackupError> {
    let (file_uuid, commit): (_, CommitId) = (snapshot.file_uuid(), snapshot.commit());
    let content = VersionedContent { file_uuid, commit, page_count: snapshot.page_count() };
    let mut writer = options().write(path, existing, &content)?;
    for page in (0..snapshot.page_count().get()).map(PageId::new) {
        if let Some(stamp) = snapshot.stamp(page)? {
            writer.append(page, &[stamp], snapshot.page(page)?)?;
        }
    }
    Ok(writer.publish()?)
}
