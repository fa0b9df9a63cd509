//! Random sequences of all operations, each step against the model.
//!
//! Method: proptest makes sequences over a few paths that get in each other's way. After each step
//! the results must be equal, errors by their reason, and so must the lists of files; in the end all
//! bytes, and all views that were taken on the way.

use bytes::Bytes;
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestCaseError, TestRunner},
};

use super::{Kind, Refusal, Subject, model::Model, pattern, refusal};
use storage::{DynBackend, ReadRequest, StorageBackend, StorageError, WriteRequest};

const PATHS: [&str; 8] = ["a", "b", "a/b", "a/b/c", "a/d", "e/f", "\u{e9} x", "../a"];

type Range = (usize, usize);

#[derive(Clone, Debug)]
enum Step {
    Read(&'static str, Range),
    Write(&'static str, Range, u64),
    Append(&'static str, usize, u64),
    Delete(&'static str),
    Exists(&'static str),
    Len(&'static str),
    List(&'static str),
    Sync(&'static str),
    Rename(&'static str, &'static str),
    Truncate(&'static str, usize),
    Seal(&'static str),
    ReadMany(Vec<(&'static str, Range)>),
    WriteMany(Vec<(&'static str, Range, u64)>),
    ReadHostile(&'static str, u64, usize),
    Reopen,
}

/// Mostly small; now and then next to the borders of pages and stripes.
fn sizes() -> impl Strategy<Value = usize> {
    let near = |unit: usize, count: usize| {
        (1..=count, 0..5_usize).prop_map(move |(factor, by)| factor * unit + by - 2)
    };
    prop_oneof![4 => 0..40_usize, 1 => near(4096, 3), 1 => near(65_536, 3), 1 => 0..9000_usize]
}

fn steps() -> impl Strategy<Value = Step> {
    let path = || select(&PATHS[..]);
    let range = || (sizes(), sizes());
    let hostile = select(vec![usize::MAX, usize::MAX - 4096, 1 << 63, (1 << 63) - 1]);
    prop_oneof![
        6 => (path(), range()).prop_map(|(path, range)| Step::Read(path, range)),
        8 => (path(), range(), any::<u64>()).prop_map(|(p, range, seed)| Step::Write(p, range, seed)),
        3 => (path(), sizes(), any::<u64>()).prop_map(|(p, len, seed)| Step::Append(p, len, seed)),
        2 => path().prop_map(Step::Delete),
        1 => path().prop_map(Step::Exists),
        1 => path().prop_map(Step::Len),
        1 => select(vec!["", "a", "a/", "a/b", "x", "/", "\u{e9}"]).prop_map(Step::List),
        1 => path().prop_map(Step::Sync),
        3 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => (path(), sizes()).prop_map(|(path, len)| Step::Truncate(path, len)),
        1 => path().prop_map(Step::Seal),
        1 => vec((path(), range()), 0..6).prop_map(Step::ReadMany),
        2 => vec((path(), range(), any::<u64>()), 0..6).prop_map(Step::WriteMany),
        1 => (path(), any::<u64>(), hostile).prop_map(|(p, at, len)| Step::ReadHostile(p, at, len)),
        1 => Just(Step::Reopen),
    ]
}

/// A result in the model's terms.
fn plain<T>(result: Result<T, StorageError>) -> Result<T, Refusal> {
    result.map_err(|error| refusal(&error))
}

/// The subject and the model side by side.
struct Pair {
    kind: Kind,
    subject: Option<Subject>,
    model: Model,
    views: Vec<(Bytes, Vec<u8>)>,
}

impl Pair {
    fn backend(&self) -> &DynBackend {
        self.subject.as_ref().expect("there is one between steps").backend()
    }

    async fn read(&mut self, path: &str, (offset, length): Range) -> Result<(), TestCaseError> {
        let read = plain(self.backend().read(path, offset as u64, length).await);
        self.compare_read(path, offset as u64, length, read)
    }

    /// Compares a read, and keeps its view to look at it again in the end.
    fn compare_read(
        &mut self,
        path: &str,
        offset: u64,
        length: usize,
        read: Result<Bytes, Refusal>,
    ) -> Result<(), TestCaseError> {
        let expected = self.model.read(path, offset, length);
        prop_assert!(
            read.as_deref() == expected.as_ref().copied(),
            "read {length} bytes at {offset} of {path:?}: {:?}, expected {:?}",
            read.map(|bytes| bytes.len()),
            expected.map(<[u8]>::len)
        );
        if let (Ok(view), Ok(bytes)) = (read, expected) {
            let bytes = bytes.to_vec();
            self.views.push((view, bytes));
        }
        Ok(())
    }

    async fn rename(&mut self, from: &str, to: &str) -> Result<(), TestCaseError> {
        let seen = plain(self.backend().rename(from, to).await);
        let names = self.model.check_free(to);
        let expected = self.model.rename(from, to);
        // Where both names are wrong, either may be the one that is told.
        let either = expected == Err(Refusal::NotFound) && seen == names && seen.is_err();
        prop_assert!(seen == expected || either, "{from:?} to {to:?}: {seen:?}, not {expected:?}");
        Ok(())
    }

    async fn read_many(&mut self, ranges: &[(&str, Range)]) -> Result<(), TestCaseError> {
        let requests: Vec<_> = ranges
            .iter()
            .map(|&(path, (offset, length))| ReadRequest { path, offset: offset as u64, length })
            .collect();
        let results = self.backend().read_many(&requests).await;
        prop_assert_eq!(results.len(), requests.len());
        for (request, result) in requests.iter().zip(results) {
            self.compare_read(request.path, request.offset, request.length, plain(result))?;
        }
        Ok(())
    }

    async fn write_many(&mut self, ranges: &[(&str, Range, u64)]) -> Result<(), TestCaseError> {
        let requests: Vec<_> = ranges
            .iter()
            .map(|&(path, (offset, length), seed)| {
                let data = Bytes::from(pattern(seed, length));
                WriteRequest { path, offset: offset as u64, data }
            })
            .collect();
        let results = self.backend().write_many(&requests).await;
        prop_assert_eq!(results.len(), requests.len());
        for (request, result) in requests.iter().zip(results) {
            let expected = self.model.write(request.path, request.offset, &request.data);
            prop_assert_eq!(plain(result), expected, "{:?}", request.path);
        }
        Ok(())
    }

    async fn write(&mut self, path: &str, offset: u64, data: &[u8]) -> Result<(), TestCaseError> {
        let written = plain(self.backend().write(path, offset, data).await);
        prop_assert_eq!(written, self.model.write(path, offset, data));
        Ok(())
    }

    /// Over the same files where the subject has storage, and over none where it has not.
    fn reopen(&mut self) {
        let subject = self.subject.take().expect("there is one between steps");
        self.subject = Some(subject.reopen().unwrap_or_else(|| {
            self.model = Model::new(u64::MAX);
            self.kind.with_defaults()
        }));
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Read(path, range) => self.read(path, range).await?,
            Step::Write(path, (offset, len), seed) => {
                self.write(path, offset as u64, &pattern(seed, len)).await?;
            }
            Step::Append(path, len, seed) => {
                let end = self.model.len(path).unwrap_or(0);
                self.write(path, end, &pattern(seed, len)).await?;
            }
            Step::Delete(path) => {
                let seen = plain(self.backend().delete(path).await);
                prop_assert_eq!(seen, self.model.delete(path));
            }
            Step::Exists(path) => {
                let expected = match self.model.len(path) {
                    Err(Refusal::NotFound) => Ok(false),
                    other => other.map(|_| true),
                };
                prop_assert_eq!(plain(self.backend().exists(path).await), expected);
            }
            Step::Len(path) => {
                prop_assert_eq!(plain(self.backend().len(path).await), self.model.len(path));
            }
            Step::List(prefix) => {
                let seen = plain(self.backend().list(prefix).await);
                prop_assert_eq!(seen, Ok(self.model.list(prefix)));
            }
            Step::Sync(path) => {
                prop_assert_eq!(plain(self.backend().sync(path).await), self.model.sync(path));
            }
            Step::Rename(from, to) => self.rename(from, to).await?,
            Step::Truncate(path, len) => {
                let seen = plain(self.backend().truncate(path, len as u64).await);
                prop_assert_eq!(seen, self.model.truncate(path, len as u64));
            }
            Step::Seal(path) => {
                prop_assert_eq!(plain(self.backend().seal(path).await), self.model.seal(path));
            }
            Step::ReadMany(ref ranges) => self.read_many(ranges).await?,
            Step::WriteMany(ref ranges) => self.write_many(ranges).await?,
            Step::ReadHostile(path, offset, length) => {
                let read = plain(self.backend().read(path, offset, length).await);
                self.compare_read(path, offset, length, read)?;
            }
            Step::Reopen => self.reopen(),
        }
        prop_assert_eq!(plain(self.backend().list("").await), Ok(self.model.list("")));
        Ok(())
    }

    async fn compare_all(&mut self) -> Result<(), TestCaseError> {
        for (path, file) in self.model.files().clone() {
            self.read(&path, (0, file.bytes.len())).await?;
            prop_assert_eq!(plain(self.backend().len(&path).await), self.model.len(&path));
            let sealed = plain(self.backend().write(&path, 0, b"").await);
            prop_assert_eq!(sealed == Err(Refusal::Sealed), file.sealed, "{:?}", path);
        }
        for (view, bytes) in &self.views {
            prop_assert!(view == bytes, "a view has changed");
        }
        Ok(())
    }
}

pub(crate) fn agrees_with_the_model(kind: Kind) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&vec(steps(), 1..60), |steps| {
        runtime.block_on(async {
            let model = Model::new(u64::MAX);
            let mut pair =
                Pair { kind, subject: Some(kind.with_defaults()), model, views: Vec::new() };
            for (number, step) in steps.iter().enumerate() {
                let at = |error| TestCaseError::fail(format!("step {number}, {step:?}: {error}"));
                pair.step(step).await.map_err(at)?;
            }
            pair.compare_all().await
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
