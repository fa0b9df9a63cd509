//! Many ranges in one call.

use std::{io, sync::Arc, thread, time::Instant};

use bytes::Bytes;
use futures_util::future;

use crate::{
    Medium, Operation, ReadRequest, Result, StorageError, StoragePath, WriteRequest,
    blocking::BlockingBackend,
    jobs::{Changes, concerns},
};

/// A request that can go to another thread.
type Owned<T> = (String, u64, T);

/// After so many reads that have to wait, the others are not tried at once any more: the call goes to
/// another thread anyhow, and finding out for each of them (2 us) holds up the executor.
const DECLINED_MAX: usize = 4;

/// A batch that goes to one thread ends before it is longer than this: copying so much takes longer
/// than the hop to another thread.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// After so many reads a thread lets others have its core. The kernel lets a thread that has just been
/// woken run before the one that woke it, which here is the executor, and the beginning of 64 reads
/// takes 0.25 ms.
const TURN: usize = 8;

/// Reads at once what can be, as long as that is most of it; the rest goes to other threads, in the
/// order of the files.
pub(super) async fn read<M: Medium>(
    backend: &BlockingBackend<M>,
    requests: &[ReadRequest<'_>],
) -> Vec<Result<Bytes>> {
    settle(backend, || requests.iter().map(|request| request.path)).await;
    let mut results: Vec<Option<Result<Bytes>>> = Vec::with_capacity(requests.len());
    let mut declined = 0;
    results.extend(requests.iter().map(|request| match StoragePath::new(request.path) {
        Ok(_) if declined == DECLINED_MAX => None,
        Ok(path) => {
            let result = backend.try_read(path, request.offset, request.length);
            declined += usize::from(result.is_none());
            result
        }
        Err(error) => Some(Err(error)),
    }));
    let mut waiting: Vec<usize> = (0..results.len()).filter(|&i| results[i].is_none()).collect();
    if !waiting.is_empty() {
        waiting.sort_unstable_by_key(|&index| (requests[index].path, requests[index].offset));
        let batches = batches(backend, requests, &waiting);
        let batches = batches.into_iter().map(|batch| read_batch(backend, requests, batch));
        let done = future::join_all(batches).await.into_iter().flatten();
        for (index, result) in waiting.iter().zip(done) {
            results[*index] = Some(result);
        }
    }
    results.into_iter().map(|result| result.expect("each was read at once or waited")).collect()
}

/// Cuts requests into what one thread each reads: as many batches as may run at the same time, or
/// fewer, where the medium begins many reads together.
fn batches<'indices, M: Medium>(
    backend: &BlockingBackend<M>,
    requests: &[ReadRequest<'_>],
    mut waiting: &'indices [usize],
) -> Vec<&'indices [usize]> {
    let shared = &backend.shared;
    let count_max = waiting.len().div_ceil(shared.limits.max_concurrent_ops);
    let count_max = count_max.max(shared.medium.reads_begun_together());
    let mut batches = Vec::new();
    while !waiting.is_empty() {
        let mut bytes = 0_usize;
        let fits = |&&index: &&usize| {
            bytes = bytes.saturating_add(requests[index].length);
            bytes <= BATCH_BYTES_MAX
        };
        let count = waiting.iter().take(count_max).take_while(fits).count().max(1);
        let (batch, rest) = waiting.split_at(count);
        batches.push(batch);
        waiting = rest;
    }
    batches
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
            begin(medium, &owned);
            let read = |(path, offset, length): &Owned<usize>| {
                medium.read(StoragePath::new(path)?, *offset, *length)
            };
            let mut results = Vec::with_capacity(owned.len());
            for turn in owned.chunks(TURN) {
                results.extend(turn.iter().map(read));
                thread::yield_now();
            }
            results
        }
    };
    let changes = Changes::nothing();
    run(backend, Operation::Read, changes, &owned, |_, read: &Bytes| read.len() as u64, call).await
}

/// Has the medium begin to read all of a batch.
fn begin<M: Medium>(medium: &M, batch: &[Owned<usize>]) {
    if batch.len() < 2 || medium.reads_begun_together() < 2 {
        // The kernel reads ahead of a lone read, as far as it deems right.
        return;
    }
    for of_file in batch.chunk_by(|one, next| one.0 == next.0) {
        for turn in runs(of_file).chunks(TURN) {
            let path = StoragePath::new(&of_file[0].0);
            // Each read finds out by itself what is wrong with the file.
            if let Err(error) = path.and_then(|path| medium.prefetch(path, turn)) {
                tracing::debug!(error = %pagestore::WithCauses(&error), "reads are done one after the other");
            }
            thread::yield_now();
        }
    }
}

/// The ranges of one file, in their order; neighbours as one.
fn runs(of_file: &[Owned<usize>]) -> Vec<(u64, usize)> {
    let end = |&(_, offset, length): &Owned<usize>| offset.saturating_add(length as u64);
    let neighbours = of_file.chunk_by(|one, next| end(one) >= next.1);
    let whole = |run: &[Owned<usize>]| {
        let (start, end) = (run[0].1, run.iter().map(end).max().unwrap_or(run[0].1));
        (start, usize::try_from(end - start).unwrap_or(usize::MAX))
    };
    neighbours.map(whole).collect()
}

/// Writes in order; neighbours in the file that are neighbours in the list go to the medium as one.
pub(super) async fn write<M: Medium>(
    backend: &BlockingBackend<M>,
    requests: &[WriteRequest<'_>],
) -> Vec<Result<()>> {
    if requests.is_empty() {
        return Vec::new();
    }
    settle(backend, || requests.iter().map(|request| request.path)).await;
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
    let changes = Changes::of_all(requests.iter().map(|request| request.path));
    run(backend, Operation::Write, changes, &owned, |data, &()| data.len() as u64, call).await
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

/// Waits until what was given up and may still change one of some paths has ended.
async fn settle<'a, M: Medium, P: Iterator<Item = &'a str>>(
    backend: &BlockingBackend<M>,
    paths: impl Fn() -> P + Send + Sync,
) {
    let jobs = &backend.shared.jobs;
    if !jobs.are_settled() {
        jobs.settle(|changed| paths().any(|path| concerns(path, changed))).await;
    }
}

/// Runs a batch on a thread that may block, and counts each of its requests.
async fn run<M: Medium, A: Sync, T: Send + 'static>(
    backend: &BlockingBackend<M>,
    operation: Operation,
    changes: Changes,
    batch: &[Owned<A>],
    bytes: impl Fn(&A, &T) -> u64 + Send,
    call: impl Fn(&M) -> Vec<Result<T>> + Send + 'static,
) -> Vec<Result<T>> {
    let started = Instant::now();
    let shared = Arc::clone(&backend.shared);
    let done = backend.shared.jobs.run(changes, move || call(&shared.medium)).await;
    let results = match done {
        Ok(results) => results,
        // No thread could be started: the same for each of them.
        Err(error) => batch
            .iter()
            .map(|(path, ..)| {
                let same = io::Error::new(error.kind(), error.to_string());
                Err(StorageError::io(operation, path)(same))
            })
            .collect(),
    };
    for ((_, _, asked), result) in batch.iter().zip(&results) {
        let moved = result.as_ref().ok().map(|done| bytes(asked, done));
        backend.shared.metrics.waited(operation, moved, started.elapsed());
    }
    results
}
