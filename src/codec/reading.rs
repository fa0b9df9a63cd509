//! Reading: what a file is, and its blocks.

use std::{ops::RangeInclusive, sync::Arc};

use bytes::Bytes;

use super::{
    Inner,
    block::{self, Scratch},
    call::Call,
    files::{File, Length},
    format::{DATA_START, FileHeader, HeaderFault},
    turns::{Claim, Turn, Use},
};
use crate::{ReadRequest, StorageBackend, StorageError};

/// How many bytes of blocks are read and decompressed at a time, so that what is read of a long
/// range does not lie in memory twice.
pub(super) const BATCH_BYTES: u64 = 1 << 20;

impl<B: StorageBackend<Error = StorageError>> Inner<B> {
    /// Takes a place in the order for the use of a file, as far as it is known what that will be.
    pub(super) fn take_turn(&self, call: &Call, part: impl Fn(&File) -> Use) -> Turn {
        let part = self.shared.known.get(&call.path).map_or(Use::Whole, |file| part(&file));
        self.shared.turns.take(Claim::File(Arc::clone(&call.path), part))
    }

    /// Waits for the turn, and gives what is known of the file: then `part` of it may be used. All
    /// of it may be where this fails.
    pub(super) async fn enter(
        &self,
        call: &Call,
        turn: &Turn,
        part: impl Fn(&File) -> Use,
    ) -> Result<Arc<File>, StorageError> {
        turn.come().await;
        if let Some(file) = self.shared.known.get(&call.path)
            && turn.covers(&part(&file))
        {
            return Ok(file);
        }
        turn.widen().await;
        let file = self.look_up(call).await?;
        turn.narrow(part(&file));
        Ok(file)
    }

    /// What is known of the file, or what its bytes say. The caller uses the whole file.
    pub(super) async fn look_up(&self, call: &Call) -> Result<Arc<File>, StorageError> {
        if let Some(file) = self.shared.known.get(&call.path) {
            return Ok(file);
        }
        let stored_len = self.backend.len(&call.path).await.map_err(|e| call.below(e))?;
        let header_len = usize::try_from(stored_len.min(DATA_START)).expect("at most a page");
        let header = self.backend.read(&call.path, 0, header_len).await;
        let header = header.map_err(|error| call.below(error))?;
        let header = FileHeader::parse(&header).map_err(|fault| match fault {
            HeaderFault::Foreign(reason) => call.unsupported(reason),
            HeaderFault::Damaged(reason) => call.corrupt(0, reason),
        })?;
        let file = self.measure(call, header, stored_len).await?;
        let file = Arc::new(file);
        self.shared.known.remember(&call.path, &file);
        Ok(file)
    }

    /// Finds out how long the file is, by its last block.
    async fn measure(
        &self,
        call: &Call,
        header: FileHeader,
        stored_len: u64,
    ) -> Result<File, StorageError> {
        let geometry = header.geometry;
        let file = File::new(header, Length::Known(0), stored_len);
        let Some(last) = file.slot_count().checked_sub(1) else { return Ok(file) };
        let start = geometry.slot_start(last);
        let slot = self.backend.read(&call.path, start, file.slot_rest(last)).await;
        let slot = slot.map_err(|error| call.below(error))?;
        let at_least = geometry.block_start(last);
        let length = match block::checked_len(&slot, &file, last) {
            Ok(0) => Length::Damaged {
                at_least,
                reason: "the last block is to tell the file's length, and was never written".into(),
            },
            Ok(len) => Length::Known(at_least + len as u64),
            Err(reason) => Length::Damaged { at_least, reason },
        };
        Ok(File::new(header, length, stored_len))
    }

    /// The file's length, or why it cannot be told.
    pub(super) fn len_of(call: &Call, file: &File) -> Result<u64, StorageError> {
        match file.length() {
            Length::Known(len) => Ok(*len),
            Length::Damaged { at_least, reason } => {
                let last = file.geometry().block_of(*at_least);
                Err(call.corrupt(file.geometry().slot_start(last), reason.clone()))
            }
        }
    }

    pub(super) async fn read(
        &self,
        call: &Call,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, StorageError> {
        let in_file =
            |file: &File| offset.checked_add(length as u64).filter(|&end| end <= file.len_min());
        let part = |file: &File| match in_file(file) {
            Some(end) if length > 0 => {
                Use::Read(file.geometry().block_of(offset)..=file.geometry().block_of(end - 1))
            }
            _ => Use::Length,
        };
        let turn = self.take_turn(call, part);
        let file = self.enter(call, &turn, part).await?;
        let end = in_file(&file);
        let Some(end) = end else {
            let file_len = Self::len_of(call, &file)?;
            let path = call.path.as_ref().to_owned();
            return Err(StorageError::PastEnd { path, offset, length, file_len });
        };
        if length == 0 {
            return Ok(Bytes::new());
        }
        let geometry = file.geometry();
        let (first, last) = (geometry.block_of(offset), geometry.block_of(end - 1));
        let mut out = call.buffer(&self.buffers, length)?;
        let batch_len = (BATCH_BYTES / geometry.block_size() as u64).max(1);
        let mut next = first;
        while next <= last {
            let batch = next..=last.min(next + batch_len - 1);
            next = batch.end() + 1;
            let slots = self.slots(call, &file, batch).await?;
            let (file, buffers) = (Arc::clone(&file), self.buffers.clone());
            let (bytes, work) = (slots.len() * geometry.block_size(), call.clone());
            let job = move || {
                let mut scratch = Scratch::new(&buffers);
                for (block, slot) in slots {
                    let start = geometry.block_start(block);
                    let (from, to) = (offset.max(start), end.min(geometry.block_start(block + 1)));
                    let part = &mut out[within(offset, from)..within(offset, to)];
                    let from = within(start, from);
                    block::decode_part(&work, &file, (block, &slot), from, part, &mut scratch)?;
                }
                Ok(out)
            };
            out = call.compute(bytes, job).await?;
        }
        Ok(out.freeze())
    }

    /// What the slots of some blocks hold, at least as far as their blocks use them. The caller
    /// uses the blocks.
    pub(super) async fn slots(
        &self,
        call: &Call,
        file: &File,
        blocks: RangeInclusive<u64>,
    ) -> Result<Vec<(u64, Bytes)>, StorageError> {
        let guesses: Vec<_> = blocks.map(|block| (block, file.guess(block))).collect();
        let mut slots = self.slot_prefixes(call, file, &guesses).await?;
        let mut longer = Vec::new();
        for (block, slot) in &slots {
            // A header that makes no sense is reported where the block is decoded.
            let used = block::used_bytes(slot, file).unwrap_or(0);
            file.note_used(used);
            let used = used.min(file.slot_rest(*block));
            if used > slot.len() {
                longer.push((*block, used));
            }
        }
        if longer.is_empty() {
            return Ok(slots);
        }
        let mut longer = self.slot_prefixes(call, file, &longer).await?.into_iter().peekable();
        for slot in &mut slots {
            if let Some(whole) = longer.next_if(|whole| whole.0 == slot.0) {
                *slot = whole;
            }
        }
        Ok(slots)
    }

    /// The first so many bytes of some slots.
    async fn slot_prefixes(
        &self,
        call: &Call,
        file: &File,
        lengths: &[(u64, usize)],
    ) -> Result<Vec<(u64, Bytes)>, StorageError> {
        let offset = |block| file.geometry().slot_start(block);
        // A block is usually asked for by itself.
        if let [(block, length)] = *lengths {
            let slot = self.backend.read(&call.path, offset(block), length).await;
            return Ok(vec![(block, slot.map_err(|error| call.below(error))?)]);
        }
        let path = call.path.as_ref();
        let request =
            |&(block, length): &(u64, usize)| ReadRequest { path, offset: offset(block), length };
        let requests: Vec<_> = lengths.iter().map(request).collect();
        let read = self.backend.read_many(&requests).await;
        let slots = lengths.iter().zip(read);
        slots.map(|((block, _), slot)| Ok((*block, slot.map_err(|e| call.below(e))?))).collect()
    }
}

/// How far a byte lies behind another one that begins a range in memory.
pub(super) fn within(start: u64, offset: u64) -> usize {
    usize::try_from(offset - start).expect("both lie in a range that is in memory")
}
