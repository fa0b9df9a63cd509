//! Reading blocks that are not in memory: one read for all who want the same block, and ahead of
//! those who read one block after the other.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;

use super::{
    cache::{Asked, Cache, Claimed, Hit},
    frame::Frame,
    inner::Inner,
    parcel::{PATIENCE_FIRST, Parcel},
    room,
    run::Run,
    shared_error::SharedError,
};
use crate::{Operation, StorageBackend, StorageError, driver};

/// The right and the duty to bring neighbouring blocks. Those that are not brought are given up when
/// this is dropped, and all who wait for them look again.
struct Claim {
    cache: Arc<Cache>,
    run: Arc<Run>,
    next: u64,
    end: u64,
}

impl Claim {
    fn install(&mut self, frame: Frame, asked: Asked) -> Option<Hit> {
        let index = self.next;
        self.next += 1;
        self.cache.install(index, &self.run, frame, asked)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for index in self.next..self.end {
            self.cache.unclaim(index, &self.run);
        }
        self.run.ended.close();
    }
}

/// Brings a block, or waits for whoever does.
pub(super) async fn block<B: StorageBackend + 'static>(
    inner: &Arc<Inner<B>>,
    index: u64,
) -> Result<Hit, StorageError> {
    let cache = &inner.cache;
    let mut patience = PATIENCE_FIRST;
    loop {
        let file_len = cache.len();
        if cache.part_len(index, file_len) == 0 {
            return Err(inner.past_end(index, file_len));
        }
        let run = Run::new();
        match cache.claim(index, &run) {
            Claimed::Resident => {}
            Claimed::Theirs { run, ahead_count } => {
                go_on(inner, index, ahead_count);
                run.wait().await;
                if let Some(error) = run.failure.get() {
                    return Err(error.again(Operation::Read));
                }
            }
            Claimed::Mine => {
                let claim = Claim { cache: Arc::clone(cache), run, next: index, end: index + 1 };
                // Others may come to wait for it.
                let fetch = inner.works.drive(fetch(Arc::clone(inner), claim, patience));
                // In a box, since it is polled in two places.
                let mut fetch = Box::pin(fetch);
                let at_once = (&mut fetch).now_or_never();
                let ahead_count = inner.streams.lock().missed(index);
                ahead(inner, index + 1, ahead_count);
                let brought = match at_once {
                    Some(brought) => brought,
                    None => fetch.await,
                };
                let no_thread = StorageError::io(Operation::Read, inner.file.path());
                if let Some(parcel) = brought.map_err(no_thread)?? {
                    if let Some(hit) = parcel.take() {
                        return Ok(hit);
                    }
                    patience *= 2;
                }
            }
        }
        if let Some(hit) = cache.find(index, 0) {
            go_on(inner, index, hit.ahead_count);
            return Ok(hit);
        }
    }
}

async fn fetch<B: StorageBackend + 'static>(
    inner: Arc<Inner<B>>,
    mut claim: Claim,
    patience: Duration,
) -> Result<Option<Arc<Parcel<Hit>>>, StorageError> {
    match read(&inner, claim.next).await {
        Ok(frame) => {
            let hit = claim.install(frame, Asked::Now);
            Ok(hit.map(|hit| inner.cache.gate().parcels.keep(hit, patience)))
        }
        Err(error) => {
            let error = SharedError::new(error);
            let again = error.again(Operation::Read);
            claim.run.failure.set(error).expect("a run ends once");
            Err(again)
        }
    }
}

async fn read<B: StorageBackend + 'static>(
    inner: &Arc<Inner<B>>,
    index: u64,
) -> Result<Frame, StorageError> {
    let cache = &inner.cache;
    let mut frame = room::find(Arc::clone(inner), Operation::Read).await?;
    // What lies beyond was never written out, so it is zero.
    match cache.part_len(index, cache.stored_len()) {
        0 => frame.fill(&[]),
        len => frame.fill(&inner.file.read_at(cache.offset(index), len).await?),
    }
    Ok(frame)
}

/// Somebody came to the first of `ahead_count` blocks that were read ahead, so those behind them
/// are next, twice as many. Does nothing for 0.
pub(super) fn go_on<B: StorageBackend + 'static>(
    inner: &Arc<Inner<B>>,
    index: u64,
    ahead_count: u32,
) {
    if ahead_count > 0 {
        let next_count = ahead_count.saturating_mul(2).min(inner.options.ahead_count_max());
        ahead(inner, index + u64::from(ahead_count), next_count);
    }
}

/// What is read ahead goes to the medium in pieces of so many bytes, at the same time: the first is
/// there before the last, and buffers of this size are kept for the next piece. By the row `posixio
/// read` of the ratio bench: 8 times the time of pread with blocks of 1 MiB and one piece of 16 of
/// them, 1.5 times with blocks of 64 KiB in these pieces.
const PIECE_BYTES: usize = 1 << 20;

/// Neighbouring blocks that were claimed to be read ahead, and the memory for them.
struct Piece {
    claim: Claim,
    frames: Vec<Frame>,
}

/// Begins to read `count` blocks from `first` on that nobody asked for yet; fewer where some are
/// there, where the file ends, or where they would take memory that is in use or dirty.
fn ahead<B: StorageBackend + 'static>(inner: &Arc<Inner<B>>, first: u64, count: u32) {
    let cache = &inner.cache;
    let stored_len = cache.stored_len();
    let stored_end = stored_len.div_ceil(cache.block_size() as u64);
    let end = (first + u64::from(count)).min(stored_end);
    let piece_len = (PIECE_BYTES / cache.block_size()).max(1) as u64;
    let mut pieces = Vec::new();
    let mut next = first;
    while next < end {
        let piece = claim_piece(cache, next, end.min(next + piece_len));
        let is_short = piece.claim.end < end.min(next + piece_len);
        next = piece.claim.end;
        if !piece.frames.is_empty() {
            pieces.push(piece);
        }
        if is_short {
            break;
        }
    }
    if next == first {
        return;
    }
    // The first one leads on, by as many blocks as are really under way.
    let count = u32::try_from(next - first).expect("not more than `count`");
    cache.mark_ahead(first, count);
    inner.counts.read_ahead.fetch_add(u64::from(count), Ordering::Relaxed);
    for Piece { claim, frames } in pieces {
        let read_end = cache.offset(claim.end).min(stored_len);
        // Under way when the caller goes on.
        let begun = driver::begin(fetch_ahead(Arc::clone(inner), claim, frames, read_end));
        if let Err(error) = begun {
            tracing::debug!(path = inner.file.path(), %error, "nothing is read ahead");
        }
    }
}

/// Claims the blocks from `first` on, up to the first one that is there or finds no memory.
fn claim_piece(cache: &Arc<Cache>, first: u64, end: u64) -> Piece {
    let run = Run::new();
    let mut claim = Claim { cache: Arc::clone(cache), run, next: first, end: first };
    let mut frames = Vec::new();
    while claim.end < end && cache.claim_absent(claim.end, &claim.run) {
        claim.end += 1;
        let Some(buffer) = cache.take(0) else {
            claim.end -= 1;
            cache.unclaim(claim.end, &claim.run);
            break;
        };
        frames.push(Frame::new(buffer, cache.gate()));
    }
    Piece { claim, frames }
}

async fn fetch_ahead<B: StorageBackend + 'static>(
    inner: Arc<Inner<B>>,
    mut claim: Claim,
    frames: Vec<Frame>,
    read_end: u64,
) {
    let begin = inner.cache.offset(claim.next);
    let length = usize::try_from(read_end - begin).expect("the frames are that long");
    match inner.file.read_at(begin, length).await {
        Ok(bytes) => {
            for (mut frame, part) in frames.into_iter().zip(bytes.chunks(inner.cache.block_size()))
            {
                frame.fill(part);
                claim.install(frame, Asked::Ahead);
            }
        }
        // Whoever wants one of the blocks reads it for themselves, and has an error of their own.
        Err(error) => {
            tracing::debug!(path = inner.file.path(), error = %pagestore::WithCauses(&error), "reading ahead failed");
        }
    }
}
