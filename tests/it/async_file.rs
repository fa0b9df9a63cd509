//! One file of a backend: each method reaches the backend with the file's path, at once where the
//! backend answers at once, and errors keep what they say.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use storage::{AsyncFile, BackendId, DynBackend, Operation, StorageBackend, StorageError};

/// Fails each call with an error of its own kind; reads show what was asked.
#[derive(Clone)]
struct Own(BackendId);

fn own() -> Own {
    Own(BackendId::unique())
}

#[derive(Debug, thiserror::Error)]
#[error("no luck with {0}")]
struct OwnError(&'static str);

impl StorageBackend for Own {
    type Error = OwnError;

    fn id(&self) -> BackendId {
        self.0
    }

    async fn read(&self, path: &str, offset: u64, length: usize) -> Result<Bytes, OwnError> {
        Ok(format!("{path} {offset} {length}").into())
    }
    async fn write(&self, _: &str, _: u64, _: &[u8]) -> Result<(), OwnError> {
        Err(OwnError("write"))
    }
    async fn delete(&self, _: &str) -> Result<(), OwnError> {
        Err(OwnError("delete"))
    }
    async fn exists(&self, _: &str) -> Result<bool, OwnError> {
        Err(OwnError("exists"))
    }
    async fn len(&self, _: &str) -> Result<u64, OwnError> {
        Err(OwnError("len"))
    }
    async fn list(&self, _: &str) -> Result<Vec<String>, OwnError> {
        Err(OwnError("list"))
    }
    async fn sync(&self, _: &str) -> Result<(), OwnError> {
        Err(OwnError("sync"))
    }
    async fn rename(&self, _: &str, _: &str) -> Result<(), OwnError> {
        Err(OwnError("rename"))
    }
    async fn truncate(&self, _: &str, _: u64) -> Result<(), OwnError> {
        Err(OwnError("truncate"))
    }
    async fn seal(&self, _: &str) -> Result<(), OwnError> {
        Err(OwnError("seal"))
    }
}

#[test]
fn a_path_is_checked_before_anything_is_asked() {
    for path in ["", "/etc/passwd", "a/../../b", "a//b"] {
        let refused = AsyncFile::new(own(), path);
        assert!(matches!(refused, Err(StorageError::Path { .. })), "{path:?}");
    }
    assert_eq!(AsyncFile::new(own(), "a/b").unwrap().path(), "a/b");
}

#[test]
fn reads_are_answered_in_the_same_poll() {
    let file = AsyncFile::new(own(), "a/b").unwrap();
    assert_eq!(file.read_at(7, 3).now_or_never().unwrap().unwrap(), "a/b 7 3");
    let many = file.read_many_at(&[(1, 2), (3, 4)]).now_or_never().unwrap();
    let many: Vec<Bytes> = many.into_iter().map(Result::unwrap).collect();
    assert_eq!(many, ["a/b 1 2", "a/b 3 4"]);
}

#[tokio::test]
async fn errors_of_other_types_say_what_was_tried() {
    let file = AsyncFile::new(own(), "a/b").unwrap();
    let errors = [
        (file.write_at(0, b"x").await.unwrap_err(), Operation::Write, "write"),
        (file.len().await.unwrap_err(), Operation::Examine, "len"),
        (file.set_len(5).await.unwrap_err(), Operation::Truncate, "truncate"),
        (file.sync().await.unwrap_err(), Operation::Sync, "sync"),
        (
            file.write_many_at(vec![(0, Bytes::new())]).await.pop().unwrap().unwrap_err(),
            Operation::Write,
            "write",
        ),
    ];
    for (error, tried, method) in errors {
        let message = error.to_string();
        let StorageError::Backend { operation, path, source } = error else {
            panic!("{message}");
        };
        assert_eq!((operation, path.as_str()), (tried, "a/b"));
        assert_eq!(source.downcast_ref::<OwnError>().unwrap().0, method);
    }
}

#[tokio::test]
async fn the_same_through_a_backend_that_is_chosen_at_run_time() {
    let erased: DynBackend = Arc::new(own());
    let file = AsyncFile::new(erased, "a/b").unwrap();
    assert_eq!(file.read_at(7, 3).await.unwrap(), "a/b 7 3");
    let error = file.sync().await.unwrap_err();
    // Once, not an error within an error.
    let message = storage::WithCauses(&error).to_string();
    assert_eq!(message, "cannot make durable \"a/b\": no luck with sync");
}
