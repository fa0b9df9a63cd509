//! Many ranges in one call.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures_util::future;

use crate::{
    Medium, Operation, ReadRequest, Result, StorageError, StoragePath, WriteRequest,
    blocking::BlockingBackend,
};

/// A request that can go to another thread.
type Owned<T> = (String, u64, T);

/// Reads at once what can be; cuts the rest into batches, as many as may run at the same time.
pub(super) async fn read<M: Medium>(
    backend: &BlockingBackend<M>,
    requests: &[ReadRequest<'_>],
) -> Vec<Result<Bytes>> {
    let mut results: Vec<Option<Result<Bytes>>> = Vec::with_capacity(requests.len());
    results.extend(requests.iter().map(|request| match StoragePath::new(request.path) {
        Ok(path) => backend.try_read(path, request.offset, request.length),
        Err(error) => Some(Err(error)),
    }));
    let waiting: Vec<usize> = (0..results.len()).filter(|&i| results[i].is_none()).collect();
    if !waiting.is_empty() {
        let batch_len = waiting.len().div_ceil(backend.shared.max_concurrent_ops);
        let batches = waiting.chunks(batch_len).map(|batch| read_batch(backend, requests, batch));
        let done = future::join_all(batches).await.into_iter().flatten();
        for (index, result) in waiting.iter().zip(done) {
            results[*index] = Some(result);
        }
    }
    results.into_iter().map(|result| result.expect("each was read at once or waited")).collect()
}

async fn read_batch<M: Medium>(
    backend: &BlockingBackend<M>,
    requests: &[ReadRequest<'_>],
    batch: &[usize],
) -> Vec<Result<Bytes>> {
    let owned: Arc<[Owned<usize>]> = batch
        .iter()
        .map(|&index| &requests[index])
        .map(|request| (request.path.to_owned(), request.offset, request.length))
        .collect();
    let call = {
        let owned = Arc::clone(&owned);
        move |medium: &M| {
            let read = |(path, offset, length): &Owned<usize>| {
                medium.read(StoragePath::new(path)?, *offset, *length)
            };
            owned.iter().map(read).collect()
        }
    };
    run(backend, Operation::Read, &owned, |_, read: &Bytes| read.len() as u64, call).await
}

/// Writes in order; neighbours in the file that are neighbours in the list go to the medium as one.
pub(super) async fn write<M: Medium>(
    backend: &BlockingBackend<M>,
    requests: &[WriteRequest<'_>],
) -> Vec<Result<()>> {
    if requests.is_empty() {
        return Vec::new();
    }
    let owned: Arc<[Owned<Bytes>]> = requests
        .iter()
        .map(|request| (request.path.to_owned(), request.offset, request.data.clone()))
        .collect();
    let call = {
        let owned = Arc::clone(&owned);
        move |medium: &M| {
            let runs = owned.chunk_by(|(path, offset, data), (next_path, next_offset, _)| {
                path == next_path && offset.checked_add(data.len() as u64) == Some(*next_offset)
            });
            runs.flat_map(|run| write_run(medium, run)).collect()
        }
    };
    run(backend, Operation::Write, &owned, |data, &()| data.len() as u64, call).await
}

/// Writes neighbours by one call. Where that fails, each is tried by itself, for a result of its own.
fn write_run<M: Medium>(medium: &M, run: &[Owned<Bytes>]) -> Vec<Result<()>> {
    let write = |(path, offset, _): &Owned<Bytes>, parts: &[Bytes]| {
        medium.write(StoragePath::new(path)?, *offset, parts)
    };
    let parts: Vec<Bytes> = run.iter().map(|(_, _, data)| data.clone()).collect();
    match write(&run[0], &parts) {
        Ok(()) => run.iter().map(|_| Ok(())).collect(),
        Err(error) if run.len() == 1 => vec![Err(error)],
        Err(_) => run.iter().map(|one| write(one, std::slice::from_ref(&one.2))).collect(),
    }
}

/// Runs a batch on a thread that may block, and counts each of its requests.
async fn run<M: Medium, A: Sync, T: Send + 'static>(
    backend: &BlockingBackend<M>,
    operation: Operation,
    batch: &[Owned<A>],
    bytes: impl Fn(&A, &T) -> u64 + Send,
    call: impl Fn(&M) -> Vec<Result<T>> + Send + 'static,
) -> Vec<Result<T>> {
    let started = Instant::now();
    let run = backend.block_uncounted(operation, &batch[0].0, move |medium| Ok(call(medium)));
    let results = match run.await {
        Ok(results) => results,
        // The runtime is gone: the same for each of them.
        Err(_) => batch
            .iter()
            .map(|(path, ..)| Err(StorageError::NoRuntime { operation, path: path.clone() }))
            .collect(),
    };
    for ((_, _, asked), result) in batch.iter().zip(&results) {
        let moved = result.as_ref().ok().map(|done| bytes(asked, done));
        backend.shared.metrics.waited(operation, moved, started.elapsed());
    }
    results
}
