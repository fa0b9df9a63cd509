//! What a store may hold after some changes were given up: a set of models, one for each way in
//! which it may have gone.

use bytes::Bytes;

use super::{Refusal, given_up::given_up_at, model::Model, pattern, refusal};
use storage::{DynBackend, StorageBackend, StorageError, WriteRequest};

/// More of them take too long.
const MANY: usize = 24;

/// A change to files beneath one folder.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write { path: &'static str, offset: u64, len: usize, seed: u64 },
    WriteMany(Vec<(&'static str, u64, usize, u64)>),
    Truncate(&'static str, u64),
    Rename(&'static str, &'static str),
    Delete(&'static str),
    Seal(&'static str),
    Sync(&'static str),
}

const PATHS: [&str; 3] = ["w/a", "w/b", "w/c"];

type Done<T> = Result<T, Refusal>;

impl Change {
    pub(crate) fn one_of_each() -> Vec<Self> {
        vec![
            Self::Write { path: "w/a", offset: 0, len: 9000, seed: 1 },
            Self::Write { path: "w/a", offset: 8000, len: 70_000, seed: 2 },
            Self::Write { path: "w/b", offset: 3, len: 5, seed: 3 },
            Self::WriteMany(vec![("w/a", 10, 20_000, 4), ("w/b", 0, 100, 5), ("w/a", 5, 9, 6)]),
            Self::Truncate("w/a", 5000),
            Self::Truncate("w/a", 100_000),
            Self::Rename("w/a", "w/b"),
            Self::Rename("w/b", "w/a"),
            Self::Delete("w/a"),
            Self::Seal("w/a"),
            Self::Sync("w/a"),
        ]
    }

    pub(crate) fn random(random: &mut fastrand::Rng) -> Self {
        let path = PATHS[random.usize(..PATHS.len())];
        let write = |random: &mut fastrand::Rng| {
            let (offset, len) = (random.u64(..20_000), random.usize(..30_000));
            (PATHS[random.usize(..PATHS.len())], offset, len, random.u64(..))
        };
        match random.u8(..12) {
            0 => Self::Truncate(path, random.u64(..40_000)),
            1 => Self::Rename(path, PATHS[random.usize(..PATHS.len())]),
            2 => Self::Delete(path),
            3 if random.u8(..4) == 0 => Self::Seal(path),
            4 => Self::Sync(path),
            5 | 6 => Self::WriteMany((0..random.usize(1..5)).map(|_| write(random)).collect()),
            _ => {
                let (path, offset, len, seed) = write(random);
                Self::Write { path, offset, len, seed }
            }
        }
    }

    async fn to(&self, backend: &DynBackend) -> Vec<Result<(), StorageError>> {
        match self {
            Self::Write { path, offset, len, seed } => {
                vec![backend.write(path, *offset, &pattern(*seed, *len)).await]
            }
            Self::WriteMany(parts) => {
                let request = |&(path, offset, len, seed): &(&'static str, u64, usize, u64)| {
                    WriteRequest { path, offset, data: Bytes::from(pattern(seed, len)) }
                };
                let requests: Vec<_> = parts.iter().map(request).collect();
                backend.write_many(&requests).await
            }
            Self::Truncate(path, len) => vec![backend.truncate(path, *len).await],
            Self::Rename(from, to) => vec![backend.rename(from, to).await],
            Self::Delete(path) => vec![backend.delete(path).await],
            Self::Seal(path) => vec![backend.seal(path).await],
            Self::Sync(path) => vec![backend.sync(path).await],
        }
    }

    fn to_model(&self, model: &mut Model) -> Vec<Done<()>> {
        match self {
            Self::Write { path, offset, len, seed } => {
                vec![model.write(path, *offset, &pattern(*seed, *len))]
            }
            Self::WriteMany(parts) => {
                let parts = parts.iter();
                parts
                    .map(|(path, at, len, seed)| model.write(path, *at, &pattern(*seed, *len)))
                    .collect()
            }
            Self::Truncate(path, len) => vec![model.truncate(path, *len)],
            Self::Rename(from, to) => vec![model.rename(from, to)],
            Self::Delete(path) => vec![model.delete(path)],
            Self::Seal(path) => vec![model.seal(path)],
            Self::Sync(path) => vec![model.sync(path)],
        }
    }
}

/// All that the store may hold.
pub(crate) struct Worlds {
    models: Vec<Model>,
    history: Vec<String>,
}

impl Worlds {
    /// Empties the folder, and puts a first file there.
    pub(crate) async fn begin(backend: &DynBackend) -> Self {
        for path in backend.list("w/").await.unwrap() {
            backend.delete(&path).await.unwrap();
        }
        let mut worlds = Self { models: vec![Model::new(u64::MAX)], history: Vec::new() };
        let first = Change::Write { path: "w/a", offset: 0, len: 10_000, seed: 9 };
        worlds.make(backend, &first).await;
        worlds
    }

    pub(crate) fn are_many(&self) -> bool {
        self.models.len() > MANY
    }

    /// Makes a change. Only worlds that answer as the store does stay.
    pub(crate) async fn make(&mut self, backend: &DynBackend, change: &Change) {
        let results: Vec<_> = change
            .to(backend)
            .await
            .into_iter()
            .map(|done| done.map_err(|e| refusal(&e)))
            .collect();
        self.history.push(format!("{change:?} gave {results:?}"));
        self.models.retain_mut(|model| change.to_model(model) == results);
        self.check();
    }

    /// Gives a change up when it waits for the `count`th time; says whether it was done before.
    pub(crate) async fn give_up(
        &mut self,
        backend: &DynBackend,
        change: &Change,
        count: usize,
    ) -> bool {
        match given_up_at(change.to(backend), count).await {
            Some(results) => {
                let results: Vec<_> =
                    results.into_iter().map(|done| done.map_err(|e| refusal(&e))).collect();
                self.history.push(format!("{change:?} gave {results:?} before it was given up"));
                self.models.retain_mut(|model| change.to_model(model) == results);
                self.check();
                true
            }
            None => {
                self.history.push(format!("{change:?} was given up at wait {count}"));
                for index in 0..self.models.len() {
                    let mut changed = self.models[index].clone();
                    change.to_model(&mut changed);
                    if !self.models.contains(&changed) {
                        self.models.push(changed);
                    }
                }
                false
            }
        }
    }

    /// Looks at everything. Only worlds that show what the store does stay.
    pub(crate) async fn look(&mut self, backend: &DynBackend) {
        let listed = backend.list("w/").await.unwrap();
        self.history.push(format!("listed {listed:?}"));
        self.models.retain(|model| model.list("w/") == listed);
        self.check();
        for path in PATHS {
            let len = backend.len(path).await.map_err(|error| refusal(&error));
            self.history.push(format!("{path} has {len:?} bytes"));
            self.models.retain(|model| model.len(path) == len);
            self.check();
            let Ok(len) = len else { continue };
            let length = usize::try_from(len).unwrap();
            let bytes = backend.read(path, 0, length).await.unwrap();
            self.history.push(format!("{path} was read: {:?}...", bytes.get(..4)));
            self.models.retain(|model| model.read(path, 0, length) == Ok(&bytes[..]));
            self.check();
        }
    }

    #[track_caller]
    fn check(&self) {
        assert!(!self.models.is_empty(), "no world shows this:\n{}", self.history.join("\n"));
    }
}
