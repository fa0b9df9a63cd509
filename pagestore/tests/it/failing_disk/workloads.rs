//! What is done on the failing disk, and what must hold afterwards.

use std::{
    io::ErrorKind,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use pagestore::{
    Access, Error, Existing, PageCount, PageFile, PageId, PageWriter, PoisonCause, Populate,
    Result, SealedFile,
};

use super::{
    disk::{FailingDisk, Writes},
    filesystem::Fault,
};
use crate::report::{Random, say};

const PAGE_LEN: usize = 4096;

/// Something that is done on the disk.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// The ways of the kernel to try it with.
    pub(crate) writes: &'static [Writes],
    /// Prepares the folder, while the disk works.
    pub(crate) prepare: fn(&Path),
    /// Works while the disk fails; an error ends it.
    pub(crate) work: fn(&Path, &mut Promises) -> Result<()>,
    /// Looks at what is there on the healed disk, and after a crash.
    pub(crate) check: fn(&Path, &Promises),
}

/// What a run of a workload came to.
pub(crate) struct Case {
    /// Operations that failed.
    pub(crate) fired: u64,
    /// Errors that the interface returned.
    pub(crate) errors: u64,
}

/// What a workload was promised by an `Ok`.
#[derive(Default, Debug)]
pub(crate) struct Promises {
    /// The newest generation of each page that was stored to, and the one that was flushed.
    pub(crate) written: Vec<u8>,
    pub(crate) flushed: Vec<u8>,
    /// The file was made.
    pub(crate) created: bool,
    /// The new file was sealed.
    pub(crate) sealed: bool,
    pub(crate) errors: u64,
}

const BOTH: &[Writes] = &[Writes::Through, Writes::Back];

pub(crate) const WORKLOADS: [Workload; 6] = [
    Workload {
        name: "create, grow, update",
        writes: BOTH,
        prepare: |_folder| (),
        work: create_and_update,
        check: check_mutable,
    },
    Workload {
        name: "reopen, update",
        writes: BOTH,
        prepare: prepare_mutable,
        work: reopen_and_update,
        check: check_mutable,
    },
    Workload {
        name: "append, seal",
        writes: BOTH,
        prepare: |_folder| (),
        work: |folder, promises| append_and_seal(folder, promises, Existing::Refuse, &payload(NEW)),
        check: |folder, promises| check_sealed(folder, promises, None),
    },
    Workload {
        name: "append more than a chunk, seal",
        // What is sent later comes page by page and takes a hundred seconds to fail.
        writes: &[Writes::Through],
        prepare: |_folder| (),
        work: |folder, promises| append_and_seal(folder, promises, Existing::Refuse, &long()),
        check: |folder, promises| check_sealed(folder, promises, None),
    },
    Workload {
        name: "append, seal, replace",
        writes: BOTH,
        prepare: |folder| drop(write_sealed(folder, OLD).unwrap()),
        work: |folder, promises| {
            append_and_seal(folder, promises, Existing::Replace, &payload(NEW))
        },
        check: |folder, promises| check_sealed(folder, promises, Some(OLD)),
    },
    Workload {
        name: "open, verify, read sealed",
        writes: BOTH,
        prepare: |folder| drop(write_sealed(folder, NEW).unwrap()),
        work: read_sealed,
        check: |folder, promises| {
            check_sealed(folder, &Promises { sealed: true, ..Promises::default() }, None);
            assert!(!promises.sealed);
        },
    },
];

impl Workload {
    /// Runs it once, with one failure, and checks what it was promised.
    pub(crate) fn run(&self, disk: &mut FailingDisk, fault: &Fault) -> Case {
        disk.clear();
        let folder = disk.path();
        (self.prepare)(&folder);
        let mut promises = Promises::default();
        disk.arm(fault);
        let mut fired = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if let Err(error) = (self.work)(&folder, &mut promises) {
                promises.errors += 1;
                check_error(&error);
            }
            fired = disk.heal();
            (self.check)(&folder, &promises);
            disk.crash();
            (self.check)(&folder, &promises);
        }));
        if let Err(panic) = outcome {
            say(&format!("failing disk, {}: {fault:?}, {promises:?}", self.name));
            resume_unwind(panic);
        }
        Case { fired, errors: promises.errors }
    }
}

/// An error of the disk is told as one.
pub(crate) fn check_error(error: &Error) {
    let told = matches!(
        error,
        Error::Io { .. }
            | Error::DiskFull { .. }
            | Error::Fault { .. }
            | Error::FlushFailed { .. }
            | Error::SealFailed { .. }
            | Error::SyncFailed { .. }
            | Error::NotNamed { .. }
            | Error::SealedNotOpened { .. }
            | Error::Poisoned { .. }
    );
    assert!(told, "a failing disk is told as {error}");
}

/// What a writer advises can be done with a writer: it has nothing to recover from.
fn check_writer_words(error: &Error) {
    let words = error.to_string();
    assert!(!words.contains("recover_into"), "{words}");
    if let Error::SealFailed { .. } | Error::Poisoned { cause: PoisonCause::Write(_), .. } = error {
        assert!(words.contains("write it once more"), "{words}");
    }
}

/// A byte of a page in a generation.
pub(crate) fn byte(page: usize, generation: u8) -> u8 {
    u8::try_from(page % 25).unwrap() * 10 + generation
}

impl Promises {
    fn grow_to(&mut self, pages: usize) {
        self.written.resize(pages, 0);
    }

    /// Stores a new generation to a page.
    fn store(&mut self, file: &PageFile, page: usize) -> Result<()> {
        let generation = self.written[page] + 1;
        file.page_mut(PageId::new(page as u64))?.fill(byte(page, generation));
        self.written[page] = generation;
        Ok(())
    }

    /// Flushes; after an error, checks that the file is of no more use but to be recovered.
    fn flush(&mut self, file: &PageFile) -> Result<()> {
        let mut flushed = file.flush();
        if let Err(error @ (Error::Io { .. } | Error::Format { .. })) = &flushed {
            // The kernel was not asked to write, or it wrote: the file is in order, and a flush
            // that succeeds later is to be believed.
            check_error(error);
            self.errors += 1;
            flushed = file.flush();
        }
        if let Err(Error::FlushFailed { .. }) = &flushed {
            self.check_poisoned(file);
            self.check_recovery(file);
        }
        flushed?;
        self.flushed.clone_from(&self.written);
        Ok(())
    }

    /// After a failed flush everything that writes fails, each time it is asked.
    fn check_poisoned(&mut self, file: &PageFile) {
        for _ in 0..3 {
            let page = PageId::new(0);
            let all = [
                file.flush().map(drop),
                file.page_mut(page).map(drop),
                file.pages_mut(..).map(drop),
                file.try_page_mut(page).map(drop),
                file.try_pages_mut(..).map(drop),
                file.grow(PageCount::new(1)).map(drop),
            ];
            for (number, result) in all.into_iter().enumerate() {
                let poisoned =
                    matches!(result, Err(Error::Poisoned { cause: PoisonCause::Flush(_), .. }));
                assert!(poisoned, "access {number} after a failed flush: {result:?}");
                self.errors += 1;
            }
        }
    }

    /// What is in memory is good, and can be saved on another disk.
    fn check_recovery(&self, file: &PageFile) {
        let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = elsewhere.path().join("recovered");
        match file.recover_into(&path) {
            Ok(report) => {
                assert_eq!(report.pages_unprotected.get(), 0);
                let recovered = PageFile::open(&path).unwrap();
                assert_eq!(recovered.page_count(), file.page_count());
                for (page, &generation) in self.written.iter().enumerate() {
                    let bytes = recovered.page(PageId::new(page as u64)).unwrap();
                    let expected = if generation == 0 { 0 } else { byte(page, generation) };
                    let right = bytes.iter().all(|&found| found == expected);
                    assert!(right, "page {page} was recovered wrong");
                }
            }
            // A page that was not in memory, on a disk that does not read either.
            Err(error) => {
                check_error(&error);
                assert!(!path.exists());
            }
        }
    }
}

fn options() -> pagestore::PageFileOptions {
    PageFile::options().address_space_bytes(1 << 30)
}

fn create_and_update(folder: &Path, promises: &mut Promises) -> Result<()> {
    let file = options().create(folder.join("file"))?;
    promises.created = true;
    for round in 0..2 {
        // A grow that fails leaves everything as it was.
        let before = file.page_count();
        let grown = file.grow(PageCount::new(12));
        if grown.is_err() {
            assert_eq!(file.page_count(), before);
        }
        grown?;
        promises.grow_to(12 * (round + 1));
        for page in 12 * round..12 * (round + 1) {
            promises.store(&file, page)?;
        }
        promises.flush(&file)?;
        for page in [1, 2, 7] {
            promises.store(&file, page)?;
        }
        promises.flush(&file)?;
    }
    file.close()?;
    Ok(())
}

const MUTABLE_PAGES: usize = 32;

fn prepare_mutable(folder: &Path) {
    let file = options().create(folder.join("file")).unwrap();
    file.grow(PageCount::new(MUTABLE_PAGES as u64)).unwrap();
    for page in 0..MUTABLE_PAGES {
        file.page_mut(PageId::new(page as u64)).unwrap().fill(byte(page, 1));
    }
    file.close().unwrap();
}

fn reopen_and_update(folder: &Path, promises: &mut Promises) -> Result<()> {
    promises.created = true;
    promises.written = vec![1; MUTABLE_PAGES];
    promises.flushed = promises.written.clone();
    for (round, populate) in [Populate::BeforeBorrow, Populate::OnTouch].into_iter().enumerate() {
        let file = options().populate(populate).open(folder.join("file"))?;
        let mut random = Random(round as u64);
        for _ in 0..3 {
            for _ in 0..4 {
                let page = usize::try_from(random.below(MUTABLE_PAGES as u64)).unwrap();
                let at = PageId::new(page as u64);
                let expected = byte(page, promises.written[page]);
                let right =
                    file.with_pages(at..=at, |bytes| bytes.iter().all(|&found| found == expected));
                assert!(right?, "false Ok: page {page} reads wrong");
                promises.store(&file, page)?;
            }
            promises.flush(&file)?;
        }
    }
    Ok(())
}

/// Opens the mutable file, if it is there.
fn open_mutable(folder: &Path, promises: &Promises) -> Option<PageFile> {
    // A write that failed after everybody had closed the file is told to whoever opens it next,
    // once. Only the page count in the header is written so late, and it is a lower bound.
    let mut untold = 1;
    loop {
        match options().access(Access::Sequential).open(folder.join("file")) {
            Ok(file) => return Some(file),
            Err(Error::Io { source, .. })
                if !promises.created && source.kind() == ErrorKind::NotFound =>
            {
                return None;
            }
            Err(Error::Io { operation: "make durable", .. }) if untold > 0 => untold -= 1,
            Err(error) => panic!("the file cannot be opened any more: {error}"),
        }
    }
}

/// Every page is as it was flushed or as it was stored afterwards.
fn check_mutable(folder: &Path, promises: &Promises) {
    let Some(file) = open_mutable(folder, promises) else { return };
    let pages = file.pages(..).unwrap();
    let mut pages = pages.chunks_exact(PAGE_LEN);
    assert!(pages.len() >= promises.flushed.len(), "{} pages are left", pages.len());
    for (page, &flushed) in promises.flushed.iter().enumerate() {
        let bytes = pages.next().unwrap();
        let written = promises.written[page];
        // The pages that were stored to after the flush can be there in any state.
        let right = bytes
            .iter()
            .all(|&found| (flushed..=written).any(|generation| found == byte(page, generation)));
        let whole = bytes.iter().all(|&found| found == bytes[0]);
        assert!(right, "page {page} is {}, not of {flushed} to {written}", bytes[0]);
        assert!(whole || written > flushed, "page {page} is a mixture");
    }
}

/// The payloads of a sealed file, by the byte they begin with.
const OLD: u8 = 100;
const NEW: u8 = 7;

fn payload(first: u8) -> Vec<u8> {
    (first..=250).cycle().take(60 * PAGE_LEN + 1000).collect()
}

/// One that begins in the same way and is longer than what a writer keeps before it writes (1 MiB),
/// so that appending can fail as well as sealing.
fn long() -> Vec<u8> {
    (NEW..=250).cycle().take(310 * PAGE_LEN + 1000).collect()
}

fn write_sealed(folder: &Path, first: u8) -> Result<SealedFile> {
    let mut writer = PageWriter::create(folder.join("file"))?;
    writer.append(&payload(first))?;
    Ok(writer.seal()?)
}

fn append_and_seal(
    folder: &Path,
    promises: &mut Promises,
    existing: Existing,
    payload: &[u8],
) -> Result<()> {
    let mut writer = PageWriter::options().existing(existing).create(folder.join("file"))?;
    for piece in payload.chunks(payload.len() / 3 + 7) {
        let before = writer.payload_len();
        match writer.append(piece) {
            Ok(at) => assert_eq!(at.get(), before),
            // Space could not be reserved: nothing was appended, and the writer may go on.
            Err(Error::DiskFull { .. })
            | Err(Error::Io { operation: "reserve disk space (fallocate) for", .. }) => {
                assert_eq!(writer.payload_len(), before);
                promises.errors += 1;
                writer.append(piece)?;
            }
            Err(error) => {
                let again = writer.append(piece);
                let again = again.expect_err("a failed writer does not go on");
                check_writer_words(&again);
                return Err(error);
            }
        }
    }
    let sealed = writer.seal().map_err(Error::from).inspect_err(check_writer_words)?;
    promises.sealed = true;
    let right = sealed.with_pages(.., |bytes| bytes.starts_with(payload));
    assert!(right?, "false Ok: the sealed file reads wrong");
    Ok(())
}

/// The name names the new file whole, or, where `seal` did not succeed, what it named before.
fn check_sealed(folder: &Path, promises: &Promises, old: Option<u8>) {
    let file = match SealedFile::open(folder.join("file")) {
        Ok(file) => file,
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
            assert!(!promises.sealed, "false Ok: the sealed file is not there");
            return assert!(old.is_none(), "the old file is gone");
        }
        Err(error) => panic!("the file cannot be opened: {error}"),
    };
    let report = file.verify(|_| ControlFlow::Continue(())).unwrap();
    assert!(report.is_ok(), "{report:?}");
    let bytes = file.pages(..).unwrap();
    let new = bytes.starts_with(&payload(NEW));
    assert!(new || !promises.sealed, "false Ok: the sealed file is not the new one");
    assert!(new || old.is_some_and(|first| bytes.starts_with(&payload(first))));
}

/// Reads in every way that there is; what fails is asked again, until the file says it is poisoned.
fn read_sealed(folder: &Path, promises: &mut Promises) -> Result<()> {
    let payload = payload(NEW);
    let file = SealedFile::open(folder.join("file"))?;
    let mut tell = |result: Result<bool>| match result {
        Ok(right) => assert!(right, "false Ok: wrong bytes"),
        Err(error) => {
            promises.errors += 1;
            check_error(&error);
        }
    };
    let first = PageId::new(0);
    tell(file.page(first).and_then(|page| {
        let right = page == &payload[..PAGE_LEN];
        file.still_valid().map(|()| right)
    }));
    tell(file.with_pages(PageId::new(3)..PageId::new(9), |bytes| {
        bytes == &payload[3 * PAGE_LEN..9 * PAGE_LEN]
    }));
    tell(file.bytes(PageId::new(30)..PageId::new(50)).and_then(|view| {
        let right = view == payload[30 * PAGE_LEN..50 * PAGE_LEN];
        file.still_valid().map(|()| right)
    }));
    tell(file.evict(..).map(|()| true));
    tell(file.with_pages(.., |bytes| bytes.starts_with(&payload)));
    // A file that was read wrong is not found right.
    let verified = file.verify(|_| ControlFlow::Continue(()));
    if let Ok(report) = &verified {
        assert!(report.is_ok(), "the disk fails, it does not lie: {report:?}");
    }
    tell(verified.map(|_report| true));
    Ok(())
}
