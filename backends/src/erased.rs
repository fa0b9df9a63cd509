//! A backend that is chosen at run time.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;

use crate::{
    BackendId, Operation, ReadRequest, Result, Stats, StorageBackend, StorageError, WriteRequest,
};

/// A backend behind a pointer, with [`StorageError`] as its error.
///
/// It is a [`StorageBackend`] itself, so code that is generic over backends takes it too.
pub type DynBackend = Arc<dyn ErasedBackend>;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What [`StorageBackend`] says, in a form that can be a trait object: its futures are boxed, and
/// errors of other types become [`StorageError::Backend`]. Every backend has it; call the methods of
/// [`StorageBackend`], which `dyn ErasedBackend` has too.
pub trait ErasedBackend: Send + Sync + private::Sealed {
    #[doc(hidden)]
    fn erased_read<'a>(
        &'a self,
        path: &'a str,
        offset: u64,
        length: usize,
    ) -> BoxFuture<'a, Result<Bytes>>;
    #[doc(hidden)]
    fn erased_write<'a>(
        &'a self,
        path: &'a str,
        offset: u64,
        data: &'a [u8],
    ) -> BoxFuture<'a, Result<()>>;
    #[doc(hidden)]
    fn erased_delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>>;
    #[doc(hidden)]
    fn erased_exists<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<bool>>;
    #[doc(hidden)]
    fn erased_len<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<u64>>;
    #[doc(hidden)]
    fn erased_list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>>>;
    #[doc(hidden)]
    fn erased_sync<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>>;
    #[doc(hidden)]
    fn erased_rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Result<()>>;
    #[doc(hidden)]
    fn erased_truncate<'a>(&'a self, path: &'a str, len: u64) -> BoxFuture<'a, Result<()>>;
    #[doc(hidden)]
    fn erased_seal<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>>;
    #[doc(hidden)]
    fn erased_read_many<'a>(
        &'a self,
        requests: &'a [ReadRequest<'a>],
    ) -> BoxFuture<'a, Vec<Result<Bytes>>>;
    #[doc(hidden)]
    fn erased_write_many<'a>(
        &'a self,
        requests: &'a [WriteRequest<'a>],
    ) -> BoxFuture<'a, Vec<Result<()>>>;
    #[doc(hidden)]
    fn erased_prefetch<'a>(
        &'a self,
        path: &'a str,
        ranges: &'a [(u64, usize)],
    ) -> BoxFuture<'a, Result<()>>;
    #[doc(hidden)]
    fn erased_id(&self) -> BackendId;
    #[doc(hidden)]
    fn erased_stats(&self) -> Stats;
    #[doc(hidden)]
    fn erased_reads_are_views(&self, path: &str) -> bool;
}

mod private {
    /// Only backends are erased.
    pub trait Sealed {}
    impl<B: crate::StorageBackend> Sealed for B {}
}

/// An error as [`StorageError`]: itself where it is one already.
fn erase<E: std::error::Error + Send + Sync + 'static>(
    operation: Operation,
    path: &str,
) -> impl FnOnce(E) -> StorageError {
    move |error| {
        let error: Box<dyn std::error::Error + Send + Sync> = Box::new(error);
        match error.downcast::<StorageError>() {
            Ok(same) => *same,
            Err(source) => StorageError::Backend { operation, path: path.to_owned(), source },
        }
    }
}

impl<B: StorageBackend> ErasedBackend for B {
    fn erased_read<'a>(
        &'a self,
        path: &'a str,
        offset: u64,
        length: usize,
    ) -> BoxFuture<'a, Result<Bytes>> {
        Box::pin(async move {
            self.read(path, offset, length).await.map_err(erase(Operation::Read, path))
        })
    }

    fn erased_write<'a>(
        &'a self,
        path: &'a str,
        offset: u64,
        data: &'a [u8],
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.write(path, offset, data).await.map_err(erase(Operation::Write, path))
        })
    }

    fn erased_delete<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.delete(path).await.map_err(erase(Operation::Delete, path)) })
    }

    fn erased_exists<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move { self.exists(path).await.map_err(erase(Operation::Examine, path)) })
    }

    fn erased_len<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<u64>> {
        Box::pin(async move { self.len(path).await.map_err(erase(Operation::Examine, path)) })
    }

    fn erased_list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(async move { self.list(prefix).await.map_err(erase(Operation::List, prefix)) })
    }

    fn erased_sync<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.sync(path).await.map_err(erase(Operation::Sync, path)) })
    }

    fn erased_rename<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.rename(from, to).await.map_err(erase(Operation::Rename, from)) })
    }

    fn erased_truncate<'a>(&'a self, path: &'a str, len: u64) -> BoxFuture<'a, Result<()>> {
        Box::pin(
            async move { self.truncate(path, len).await.map_err(erase(Operation::Truncate, path)) },
        )
    }

    fn erased_seal<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { self.seal(path).await.map_err(erase(Operation::Seal, path)) })
    }

    fn erased_read_many<'a>(
        &'a self,
        requests: &'a [ReadRequest<'a>],
    ) -> BoxFuture<'a, Vec<Result<Bytes>>> {
        Box::pin(async move {
            let results = self.read_many(requests).await.into_iter().zip(requests);
            results.map(|(result, r)| result.map_err(erase(Operation::Read, r.path))).collect()
        })
    }

    fn erased_write_many<'a>(
        &'a self,
        requests: &'a [WriteRequest<'a>],
    ) -> BoxFuture<'a, Vec<Result<()>>> {
        Box::pin(async move {
            let results = self.write_many(requests).await.into_iter().zip(requests);
            results.map(|(result, r)| result.map_err(erase(Operation::Write, r.path))).collect()
        })
    }

    fn erased_prefetch<'a>(
        &'a self,
        path: &'a str,
        ranges: &'a [(u64, usize)],
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.prefetch(path, ranges).await.map_err(erase(Operation::Prefetch, path))
        })
    }

    fn erased_id(&self) -> BackendId {
        self.id()
    }

    fn erased_stats(&self) -> Stats {
        self.stats()
    }

    fn erased_reads_are_views(&self, path: &str) -> bool {
        self.reads_are_views(path)
    }
}

impl StorageBackend for dyn ErasedBackend + '_ {
    type Error = StorageError;

    async fn read(&self, path: &str, offset: u64, length: usize) -> Result<Bytes> {
        self.erased_read(path, offset, length).await
    }

    async fn write(&self, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        self.erased_write(path, offset, data).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.erased_delete(path).await
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        self.erased_exists(path).await
    }

    async fn len(&self, path: &str) -> Result<u64> {
        self.erased_len(path).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.erased_list(prefix).await
    }

    async fn sync(&self, path: &str) -> Result<()> {
        self.erased_sync(path).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.erased_rename(from, to).await
    }

    async fn truncate(&self, path: &str, len: u64) -> Result<()> {
        self.erased_truncate(path, len).await
    }

    async fn seal(&self, path: &str) -> Result<()> {
        self.erased_seal(path).await
    }

    async fn read_many(&self, requests: &[ReadRequest<'_>]) -> Vec<Result<Bytes>> {
        self.erased_read_many(requests).await
    }

    async fn write_many(&self, requests: &[WriteRequest<'_>]) -> Vec<Result<()>> {
        self.erased_write_many(requests).await
    }

    async fn prefetch(&self, path: &str, ranges: &[(u64, usize)]) -> Result<()> {
        self.erased_prefetch(path, ranges).await
    }

    fn id(&self) -> BackendId {
        self.erased_id()
    }

    fn stats(&self) -> Stats {
        self.erased_stats()
    }

    fn reads_are_views(&self, path: &str) -> bool {
        self.erased_reads_are_views(path)
    }
}
