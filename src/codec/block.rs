//! One block: from bytes to what its slot holds, and back.

use backends::FBuf;

use super::{
    call::Call,
    files::File,
    format::{BLOCK_HEADER_BYTES, BlockHeader, Codec, saves_a_page},
};
use crate::{BufferPool, StorageError};

/// What a slot holds of a block, whole and within bounds; its checksum was not looked at yet.
#[derive(Clone, Copy)]
enum Content<'a> {
    /// No block was ever written there.
    Nothing,
    /// A header, read, and all that is stored behind it.
    Stored(BlockHeader, &'a [u8], &'a [u8]),
}

/// Splits what was read from the beginning of a slot.
fn split<'a>(slot: &'a [u8], file: &File) -> Result<Content<'a>, String> {
    let Some((header, rest)) = slot.split_first_chunk::<BLOCK_HEADER_BYTES>() else {
        return Err(format!("the stored file ends {} bytes into a block's header", slot.len()));
    };
    let Some(parsed) = BlockHeader::parse(header, file.geometry())? else {
        return Ok(Content::Nothing);
    };
    let stored = rest.get(..parsed.stored_len).ok_or_else(|| {
        format!("{} bytes of the block are stored, and {} are there", parsed.stored_len, rest.len())
    })?;
    Ok(Content::Stored(parsed, header, stored))
}

/// How many bytes from the beginning of a slot its block takes, by its header.
pub(super) fn used_bytes(slot: &[u8], file: &File) -> Result<usize, String> {
    let Some(header) = slot.first_chunk::<BLOCK_HEADER_BYTES>() else {
        return Err(format!("the stored file ends {} bytes into a block's header", slot.len()));
    };
    let parsed = BlockHeader::parse(header, file.geometry())?;
    Ok(parsed.map_or(BLOCK_HEADER_BYTES, BlockHeader::used_bytes))
}

/// Checks a slot; gives how many bytes its block has, 0 where none was ever written.
pub(super) fn checked_len(slot: &[u8], file: &File, block: u64) -> Result<usize, String> {
    match split(slot, file)? {
        Content::Nothing => Ok(0),
        Content::Stored(parsed, header, stored) => {
            file.hasher().check(block, header, stored)?;
            Ok(parsed.raw_len)
        }
    }
}

/// Reads the block into the beginning of `out` and gives how many bytes it has. What stood in `out`
/// behind them stays.
///
/// `out` must be long enough for the block; one block's size always is.
pub(super) fn decode(
    slot: &[u8],
    file: &File,
    block: u64,
    out: &mut [u8],
) -> Result<usize, String> {
    let Content::Stored(parsed, header, stored) = split(slot, file)? else { return Ok(0) };
    file.hasher().check(block, header, stored)?;
    let out_len = out.len();
    let Some(out) = out.get_mut(..parsed.raw_len) else {
        return Err(format!(
            "block {block} has {} bytes, and there can be only {out_len} before the end of the file",
            parsed.raw_len
        ));
    };
    match parsed.codec {
        Codec::Raw => out.copy_from_slice(stored),
        Codec::Lz4 => {
            let decoded = lz4_flex::block::decompress_into(stored, out);
            let len = decoded.map_err(|error| format!("block {block} is no LZ4 block: {error}"))?;
            if len != parsed.raw_len {
                return Err(format!(
                    "block {block} decompresses to {len} bytes, and its header says {}",
                    parsed.raw_len
                ));
            }
        }
    }
    Ok(parsed.raw_len)
}

/// Reads the bytes `from..` of a block into all of `out`; zeros stand for what the block lacks.
pub(super) fn decode_part(
    call: &Call,
    file: &File,
    (block, slot): (u64, &[u8]),
    from: usize,
    out: &mut [u8],
    scratch: &mut Scratch,
) -> Result<(), StorageError> {
    let corrupt = |reason| call.corrupt(file.geometry().slot_start(block), reason);
    if from == 0 && out.len() >= file.content_max(block) {
        let len = decode(slot, file, block, out).map_err(corrupt)?;
        out[len..].fill(0);
        return Ok(());
    }
    let whole = scratch.get(call, file.geometry().block_size())?;
    let len = decode(slot, file, block, whole).map_err(corrupt)?;
    let there = &whole[from.min(len)..len.min(from + out.len())];
    let (copied, zeros) = out.split_at_mut(there.len());
    copied.copy_from_slice(there);
    zeros.fill(0);
    Ok(())
}

/// What the slot of a block with these bytes is to hold: the beginning of a buffer, this long.
pub(super) fn encode(
    call: &Call,
    file: &File,
    block: u64,
    raw: &[u8],
    buffers: &BufferPool,
) -> Result<(FBuf, usize), StorageError> {
    let room = lz4_flex::block::get_maximum_output_size(raw.len());
    let mut image = call.buffer(buffers, BLOCK_HEADER_BYTES + room)?;
    let compressed = lz4_flex::block::compress_into(raw, &mut image[BLOCK_HEADER_BYTES..]);
    let compressed_len = compressed.expect("the buffer has room for the longest output");
    let header = if saves_a_page(compressed_len, raw.len()) {
        BlockHeader { codec: Codec::Lz4, raw_len: raw.len(), stored_len: compressed_len }
    } else {
        image[BLOCK_HEADER_BYTES..][..raw.len()].copy_from_slice(raw);
        BlockHeader { codec: Codec::Raw, raw_len: raw.len(), stored_len: raw.len() }
    };
    header.encode(file.hasher(), block, &mut image);
    Ok((image, header.used_bytes()))
}

/// A buffer that is taken when it is first needed.
pub(super) struct Scratch {
    buffers: BufferPool,
    taken: Option<FBuf>,
}

impl Scratch {
    pub(super) fn new(buffers: &BufferPool) -> Self {
        Self { buffers: buffers.clone(), taken: None }
    }

    /// The buffer, with whatever was in it last. `len` is the same each time.
    pub(super) fn get(&mut self, call: &Call, len: usize) -> Result<&mut [u8], StorageError> {
        if self.taken.is_none() {
            self.taken = Some(call.buffer(&self.buffers, len)?);
        }
        Ok(self.taken.as_mut().expect("it was just taken"))
    }
}
