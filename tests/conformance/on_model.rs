//! The conformance suite against its own model, made a medium by `BlockingBackend`.
//!
//! Purpose: what `BlockingBackend` adds to a medium (threads, permits, many requests at a time,
//! counts) keeps the contract by itself, and the suite asks for nothing that the simplest correct
//! medium does not give. Method: the model behind a mutex.

use std::{
    io,
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use storage::{
    BlockingBackend, BufferPool, Limits, Medium, Operation, Stats, StorageError, StoragePath,
};

use crate::{Holes, Kind, Refusal, Sealed, Subject, conformance, model::Model};

const BUDGET_BYTES: u64 = 256 << 20;

struct ModelMedium {
    model: Mutex<Model>,
    buffers: BufferPool,
}

type Result<T> = std::result::Result<T, StorageError>;

impl ModelMedium {
    fn lock(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    /// Turns a refusal into the error that says it.
    fn because(operation: Operation, path: StoragePath<'_>) -> impl Fn(Refusal) -> StorageError {
        let path = path.as_str().to_owned();
        move |refusal| {
            let path = path.clone();
            let io = |kind: io::ErrorKind| StorageError::Io {
                operation,
                path: path.clone(),
                source: kind.into(),
            };
            match refusal {
                Refusal::NotFound => StorageError::NotFound { operation, path },
                Refusal::Sealed => StorageError::Sealed { operation, path },
                Refusal::IsFolder => io(io::ErrorKind::IsADirectory),
                Refusal::UnderFile => io(io::ErrorKind::NotADirectory),
                Refusal::NoRoom => io(io::ErrorKind::StorageFull),
                Refusal::PastEnd { .. } | Refusal::Path => unreachable!("{refusal:?}"),
            }
        }
    }
}

impl Medium for ModelMedium {
    fn name(&self) -> &'static str {
        "model"
    }

    fn read(&self, path: StoragePath<'_>, offset: u64, length: usize) -> Result<Bytes> {
        let model = self.lock();
        let bytes = match model.read(path.as_str(), offset, length) {
            Ok(bytes) => bytes,
            Err(Refusal::PastEnd { file_len }) => {
                let path = path.as_str().to_owned();
                return Err(StorageError::PastEnd { path, offset, length, file_len });
            }
            Err(other) => return Err(Self::because(Operation::Read, path)(other)),
        };
        let buffer = self.buffers.take(length);
        let mut buffer = buffer.ok_or_else(|| StorageError::BudgetExceeded {
            operation: Operation::Read,
            path: path.as_str().to_owned(),
            needed_bytes: length as u64,
            used_bytes: self.buffers.used_bytes(),
            budget_bytes: self.buffers.limit_bytes(),
        })?;
        buffer.copy_from_slice(bytes);
        Ok(buffer.freeze())
    }

    fn len(&self, path: StoragePath<'_>) -> Result<u64> {
        self.lock().len(path.as_str()).map_err(Self::because(Operation::Examine, path))
    }

    /// In another order than asked for: putting it right is not the medium's job.
    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        Ok(self.lock().list(prefix).into_iter().rev().collect())
    }

    fn write(&self, path: StoragePath<'_>, offset: u64, parts: &[Bytes]) -> Result<()> {
        let data = parts.concat();
        let written = self.lock().write(path.as_str(), offset, &data);
        written.map_err(Self::because(Operation::Write, path))
    }

    fn delete(&self, path: StoragePath<'_>) -> Result<()> {
        self.lock().delete(path.as_str()).map_err(Self::because(Operation::Delete, path))
    }

    fn sync(&self, path: StoragePath<'_>) -> Result<()> {
        self.lock().sync(path.as_str()).map_err(Self::because(Operation::Sync, path))
    }

    fn rename(&self, from: StoragePath<'_>, to: StoragePath<'_>) -> Result<()> {
        let renamed = self.lock().rename(from.as_str(), to.as_str());
        renamed.map_err(Self::because(Operation::Rename, from))
    }

    fn truncate(&self, path: StoragePath<'_>, len: u64) -> Result<()> {
        let cut = self.lock().truncate(path.as_str(), len);
        cut.map_err(Self::because(Operation::Truncate, path))
    }

    fn seal(&self, path: StoragePath<'_>) -> Result<()> {
        self.lock().seal(path.as_str()).map_err(Self::because(Operation::Seal, path))
    }

    fn fill_stats(&self, stats: &mut Stats) {
        stats.used_bytes = self.lock().used_bytes();
        stats.budget_bytes = Some(BUDGET_BYTES);
    }
}

/// The backend over the model.
const SIMPLE: Kind = Kind { make: simple, sealed: Sealed::Copied, holes: Holes::Full };

fn simple(limits: Limits) -> Subject {
    let make = |buffers: &BufferPool| {
        let model = Mutex::new(Model::new(BUDGET_BYTES));
        Ok(ModelMedium { model, buffers: buffers.clone() })
    };
    Subject::passing(BlockingBackend::new(limits, make).unwrap())
}

mod several_threads {
    use super::*;
    conformance!(SIMPLE, "multi_thread");
}

mod one_thread {
    use super::*;
    conformance!(SIMPLE, "current_thread");
}
