//! Writing: whole blocks over the old ones, and what undoes a failure.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    Inner,
    block::{self, Scratch},
    call::Call,
    files::{File, Length},
    format::{DATA_START, FileHeader},
    reading::{BATCH_BYTES, within},
    turns::{Turn, Use},
};
use crate::{BufferPool, StorageBackend, StorageError, WriteRequest};

/// Bytes and where in the file they go.
#[derive(Clone)]
pub(super) struct Patch {
    pub(super) offset: u64,
    pub(super) data: Bytes,
}

/// The old slots of the first and the last block, which a patch may cover in part only.
#[derive(Clone, Default)]
struct OldSlots(Vec<(u64, Bytes)>);

impl OldSlots {
    fn get(&self, block: u64) -> Option<&Bytes> {
        self.0.iter().find(|(old, _)| *old == block).map(|(_, slot)| slot)
    }
}

impl Patch {
    fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }

    /// Whether writing it leaves the file's length as it is.
    fn lies_in(&self, file: &File) -> bool {
        let end = self.offset.checked_add(self.data.len() as u64);
        self.data.is_empty() || end.is_some_and(|end| end <= file.len_min())
    }

    /// What of the file it takes to write this.
    fn part_of(&self, file: &File) -> Use {
        if self.data.is_empty() {
            return Use::Length;
        }
        if !self.lies_in(file) {
            return Use::Whole;
        }
        let geometry = file.geometry();
        Use::Write(geometry.block_of(self.offset)..=geometry.block_of(self.end() - 1))
    }

    /// The part that lies in a block: where in the block, and the bytes.
    fn part(&self, file: &File, block: u64) -> (Range<usize>, Bytes) {
        let start = file.geometry().block_start(block);
        let from = self.offset.max(start);
        let to = self.end().min(file.geometry().block_start(block + 1));
        let data = self.data.slice(within(self.offset, from)..within(self.offset, to));
        (within(start, from)..within(start, to), data)
    }
}

/// The image of a block's slot with a patch laid over it.
fn patched(
    call: &Call,
    file: &File,
    block: u64,
    (patch, old): (&Patch, &OldSlots),
    buffers: &BufferPool,
    scratch: &mut Scratch,
) -> Result<Bytes, StorageError> {
    let (place, data) = patch.part(file, block);
    let (image, len) = match old.get(block) {
        None if place.start == 0 => block::encode(call, file, block, &data, buffers)?,
        old => {
            let whole = scratch.get(call, file.geometry().block_size())?;
            let decoded = old.map_or(Ok(0), |slot| block::decode(slot, file, block, whole));
            let old_len = decoded
                .map_err(|reason| call.corrupt(file.geometry().slot_start(block), reason))?;
            if old_len < place.start {
                whole[old_len..place.start].fill(0);
            }
            let len = place.end.max(old_len);
            whole[place].copy_from_slice(&data);
            block::encode(call, file, block, &whole[..len], buffers)?
        }
    };
    Ok(image.freeze().slice(..len))
}

impl<B: StorageBackend<Error = StorageError> + 'static> Inner<B> {
    /// Takes a place in the order for a write.
    pub(super) fn take_turn_to_write(&self, call: &Call, patch: &Patch) -> Turn {
        self.take_turn(call, |file| patch.part_of(file))
    }

    pub(super) async fn write(
        &self,
        call: &Call,
        turn: Turn,
        patch: Patch,
    ) -> Result<(), StorageError> {
        patch.offset.checked_add(patch.data.len() as u64).ok_or_else(|| call.too_large())?;
        let file = match self.enter(call, &turn, |file| patch.part_of(file)).await {
            Err(StorageError::NotFound { .. }) => self.create(call).await?,
            found => found?,
        };
        if patch.lies_in(&file) {
            return self.write_within(call, &file, patch).await;
        }
        self.extend(call, &file, patch).await
    }

    /// Makes a file of no bytes. The caller uses the whole file.
    async fn create(&self, call: &Call) -> Result<Arc<File>, StorageError> {
        let header = FileHeader::new(self.geometry);
        let written = self.backend.write(&call.path, 0, &header.encode()).await;
        if let Err(error) = written {
            // Whatever part of a header is there now would pass for a damaged file.
            if self.backend.len(&call.path).await.is_ok_and(|len| len <= DATA_START) {
                let _the_first_error_counts = self.backend.delete(&call.path).await;
            }
            return Err(error);
        }
        let file = Arc::new(File::new(header, Length::Known(0), DATA_START));
        self.shared.known.remember(&call.path, &file);
        Ok(file)
    }

    /// Writes where the file has bytes already. The caller uses the blocks.
    async fn write_within(
        &self,
        call: &Call,
        file: &Arc<File>,
        patch: Patch,
    ) -> Result<(), StorageError> {
        if patch.data.is_empty() {
            // Changes nothing, and fails where the file is sealed.
            return self.backend.write(&call.path, 0, &[]).await;
        }
        let old = self.old_slots(call, file, &patch).await?;
        let written = self.write_blocks(call, file, patch, &old).await;
        if written.is_err() {
            self.put_back(call, file, &old).await;
        }
        written.map(drop)
    }

    /// Writes past the end of the file. The caller uses the whole file.
    async fn extend(
        &self,
        call: &Call,
        file: &Arc<File>,
        patch: Patch,
    ) -> Result<(), StorageError> {
        // Fails where the last block is damaged: what comes behind it would hide that.
        Self::len_of(call, file)?;
        let end = patch.end();
        if end > file.geometry().len_max() {
            return Err(call.too_large());
        }
        let old = self.old_slots(call, file, &patch).await?;
        self.shared.known.forget(&call.path);
        let old_stored_len = file.stored_len();
        match self.write_blocks(call, file, patch, &old).await {
            Ok(()) => {
                let resized = Arc::new(file.resized(end, file.stored_len()));
                self.shared.known.remember(&call.path, &resized);
                Ok(())
            }
            Err(error) => {
                self.put_back(call, file, &old).await;
                self.cut_back(call, old_stored_len).await;
                Err(error)
            }
        }
    }

    /// Reads the blocks that a patch covers in part only.
    async fn old_slots(
        &self,
        call: &Call,
        file: &File,
        patch: &Patch,
    ) -> Result<OldSlots, StorageError> {
        let geometry = file.geometry();
        let (first, last) = (geometry.block_of(patch.offset), geometry.block_of(patch.end() - 1));
        let mut old = OldSlots::default();
        for block in if first == last { vec![first] } else { vec![first, last] } {
            let (place, _) = patch.part(file, block);
            let covered = place.start == 0 && place.end >= file.content_max(block);
            if block < file.slot_count() && !covered {
                old.0.extend(self.slots(call, file, block..=block).await?);
            }
        }
        Ok(old)
    }

    /// Compresses and writes all blocks of a patch, the last one last.
    async fn write_blocks(
        &self,
        call: &Call,
        file: &Arc<File>,
        patch: Patch,
        old: &OldSlots,
    ) -> Result<(), StorageError> {
        let geometry = file.geometry();
        let last = geometry.block_of(patch.end() - 1);
        let batch_len = (BATCH_BYTES / geometry.block_size() as u64).max(1);
        let mut next = geometry.block_of(patch.offset);
        while next <= last {
            let batch = next..=last.min(next + batch_len - 1);
            next = batch.end() + 1;
            let bytes = within(*batch.start(), next) * geometry.block_size();
            let (work, file_2, buffers) = (call.clone(), Arc::clone(file), self.buffers.clone());
            let (patch, old) = (patch.clone(), old.clone());
            let job = move || {
                let mut scratch = Scratch::new(&buffers);
                let image = |block| {
                    let change = (&patch, &old);
                    let image = patched(&work, &file_2, block, change, &buffers, &mut scratch)?;
                    Ok((block, image))
                };
                batch.map(image).collect::<Result<Vec<_>, _>>()
            };
            let images = call.compute(bytes, job).await?;
            self.write_images(call, file, images).await?;
        }
        Ok(())
    }

    async fn write_images(
        &self,
        call: &Call,
        file: &File,
        images: Vec<(u64, Bytes)>,
    ) -> Result<(), StorageError> {
        let Some((last, image)) = images.last() else { return Ok(()) };
        let end = file.geometry().slot_start(*last) + image.len() as u64;
        for (_, image) in &images {
            file.note_used(image.len());
        }
        let path = call.path.as_ref();
        let request =
            |(block, data)| WriteRequest { path, offset: file.geometry().slot_start(block), data };
        let requests: Vec<_> = images.into_iter().map(request).collect();
        self.backend.write_many(&requests).await.into_iter().collect::<Result<(), _>>()?;
        file.note_stored(end);
        Ok(())
    }

    /// After a failed write: gives blocks that were to change in part their old bytes back, since
    /// half a new block would lose bytes that nobody wrote to. As good as it gets: where this fails
    /// too, the block is damaged, and its checksum tells.
    async fn put_back(&self, call: &Call, file: &File, old: &OldSlots) {
        for (block, slot) in &old.0 {
            let start = file.geometry().slot_start(*block);
            let used = block::used_bytes(slot, file).unwrap_or(0);
            let _the_first_error_counts =
                self.backend.write(&call.path, start, &slot[..used.min(slot.len())]).await;
        }
        self.shared.known.forget(&call.path);
    }

    /// After a failed extension: cuts what is there of it off.
    async fn cut_back(&self, call: &Call, stored_len: u64) {
        if self.backend.len(&call.path).await.is_ok_and(|len| len > stored_len) {
            let _the_first_error_counts = self.backend.truncate(&call.path, stored_len).await;
        }
    }

    /// The caller uses the whole file.
    pub(super) async fn truncate(&self, call: &Call, len: u64) -> Result<(), StorageError> {
        let file = self.look_up(call).await?;
        if len > file.len_min() {
            Self::len_of(call, &file)?;
        }
        if len > file.geometry().len_max() {
            return Err(call.too_large());
        }
        self.shared.known.forget(&call.path);
        let old_stored_len = file.stored_len();
        let stored_len = match len.checked_sub(1).map(|at| file.geometry().block_of(at)) {
            None => DATA_START,
            Some(last) => {
                let cut = self.cut_block(call, &file, last, len).await;
                if cut.is_err() && last >= file.geometry().slot_count(old_stored_len) {
                    self.cut_back(call, old_stored_len).await;
                }
                cut?
            }
        };
        // Also where it is that long already: a sealed file is to refuse.
        self.backend.truncate(&call.path, stored_len).await?;
        self.shared.known.remember(&call.path, &Arc::new(file.resized(len, stored_len)));
        Ok(())
    }

    /// Makes `last` the last block of a file of `len` bytes; gives where it ends in the stored file.
    async fn cut_block(
        &self,
        call: &Call,
        file: &Arc<File>,
        last: u64,
        len: u64,
    ) -> Result<u64, StorageError> {
        let slot = match last < file.slot_count() {
            true => self.slots(call, file, last..=last).await?.pop().map(|(_, slot)| slot),
            false => None,
        };
        let block_size = file.geometry().block_size();
        let new_len = within(file.geometry().block_start(last), len);
        let (work, file_2, buffers) = (call.clone(), Arc::clone(file), self.buffers.clone());
        let old = slot.clone();
        let job = move || {
            let mut whole = work.buffer(&buffers, block_size)?;
            let decoded = old.map_or(Ok(0), |slot| block::decode(&slot, &file_2, last, &mut whole));
            let start = file_2.geometry().slot_start(last);
            let old_len = decoded.map_err(|reason| work.corrupt(start, reason))?;
            whole[old_len.min(new_len)..new_len].fill(0);
            let (image, len) = block::encode(&work, &file_2, last, &whole[..new_len], &buffers)?;
            Ok(image.freeze().slice(..len))
        };
        let image = call.compute(block_size, job).await?;
        let end = file.geometry().slot_start(last) + image.len() as u64;
        let written = self.write_images(call, file, vec![(last, image)]).await;
        if written.is_err()
            && let Some(slot) = slot
        {
            self.put_back(call, file, &OldSlots(vec![(last, slot)])).await;
        }
        written.map(|()| end)
    }
}
