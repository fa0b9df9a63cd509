//! Compressed blocks in a file: each has the same number of bytes when it is decompressed, but for
//! the last.
//!
//! A block stands in the file as four bytes, little-endian, and what follows: the length of the rest,
//! with the top bit set where it is the bytes as they are.

use std::ops::Range;

use pagestore::{ByteOffset, Error, SealedFile, TempWriter};

use super::{Result, SpillError};

const HEADER_BYTES: usize = 4;
const AS_IT_IS: u32 = 1 << 31;

/// Compresses what is appended.
#[derive(Debug)]
pub(super) struct BlockWriter {
    file: TempWriter,
    block_size: usize,
    /// Bytes of the block that is not full yet.
    block: Vec<u8>,
    image: Vec<u8>,
    starts: Vec<u64>,
    /// All that was appended.
    len_bytes: u64,
    /// Whether the last block was written, which need not be full.
    is_ended: bool,
}

impl BlockWriter {
    pub(super) fn new(file: TempWriter, block_size_bytes: u64) -> Self {
        let block_size = usize::try_from(block_size_bytes).expect("a block fits into memory");
        Self {
            file,
            block_size,
            block: Vec::new(),
            image: Vec::new(),
            starts: Vec::new(),
            len_bytes: 0,
            is_ended: false,
        }
    }

    pub(super) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.file.payload_len()
    }

    /// Takes the disk space that the blocks will need at most which `more_bytes` fill.
    pub(super) fn reserve(&mut self, more_bytes: u64) -> Result<()> {
        if self.is_ended {
            return Err(SpillError::Ended);
        }
        let size = self.block_size as u64;
        let full_blocks = (self.block.len() as u64).saturating_add(more_bytes) / size;
        let needed = full_blocks.saturating_mul(size + HEADER_BYTES as u64);
        Ok(self.file.reserve(needed)?)
    }

    /// Appends what there was room reserved for.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.block_size - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            self.len_bytes += now.len() as u64;
            if self.block.len() == self.block_size {
                self.write_block()?;
            }
            bytes = later;
        }
        Ok(())
    }

    fn write_block(&mut self) -> Result<()> {
        encode(&self.block, &mut self.image);
        let start = self.file.append(&self.image)?;
        self.starts.push(start.get());
        self.block.clear();
        Ok(())
    }

    /// Writes the last block and finishes the file. With an error comes the writer, where that can be
    /// tried again.
    pub(super) fn finish(mut self) -> Result<(SealedFile, BlockIndex), Unfinished> {
        if !self.block.is_empty()
            && let Err(error) = self.write_block()
        {
            let is_lost = matches!(self.file.reserve(0), Err(Error::Poisoned { .. }));
            return Err(Box::new((error, (!is_lost).then_some(self))));
        }
        self.is_ended = true;
        match self.file.finish() {
            Ok(file) => {
                let mut starts = self.starts;
                starts.push(file.payload_len());
                let (block_size, len_bytes) = (self.block_size, self.len_bytes);
                Ok((file, BlockIndex { block_size, starts, len_bytes }))
            }
            Err(unsealed) => {
                let (error, file) = unsealed.into_parts();
                Err(Box::new((error.into(), file.map(|file| Self { file, ..self }))))
            }
        }
    }
}

/// Why a writer could not end, and the writer where that can be tried again.
pub(super) type Unfinished = Box<(SpillError, Option<BlockWriter>)>;

/// Where each block stands in the file.
#[derive(Debug)]
pub(super) struct BlockIndex {
    block_size: usize,
    /// One entry a block, and one for the end.
    starts: Vec<u64>,
    len_bytes: u64,
}

impl BlockIndex {
    pub(super) fn block_size(&self) -> u64 {
        self.block_size as u64
    }

    /// Where a block's image lies in the file.
    fn place(&self, block: usize) -> Range<u64> {
        self.starts[block]..self.starts[block + 1]
    }

    /// Appends to `out` the bytes of block number `block`, which the spill has.
    pub(super) fn read(&self, file: &SealedFile, block: u64, out: &mut Vec<u8>) -> Result<()> {
        let offset = block * self.block_size();
        let raw_len = self.block_size().min(self.len_bytes - offset);
        let place = self.place(index(block));
        let image = file
            .as_slice_of_at::<u8>(ByteOffset::new(place.start), index(place.end - place.start))?;
        decode(image, index(raw_len), out)
            .map_err(|reason| SpillError::Corrupt { offset: ByteOffset::new(offset), reason })
    }
}

/// Makes of a block what stands in the file.
fn encode(block: &[u8], image: &mut Vec<u8>) {
    image.resize(HEADER_BYTES + lz4_flex::block::get_maximum_output_size(block.len()), 0);
    let compressed = lz4_flex::block::compress_into(block, &mut image[HEADER_BYTES..]);
    let compressed_len = compressed.expect("there is room for the longest output");
    let header = |len| u32::try_from(len).expect("a block is far smaller");
    let header = if compressed_len < block.len() {
        image.truncate(HEADER_BYTES + compressed_len);
        header(compressed_len)
    } else {
        image.truncate(HEADER_BYTES);
        image.extend_from_slice(block);
        header(block.len()) | AS_IT_IS
    };
    image[..HEADER_BYTES].copy_from_slice(&header.to_le_bytes());
}

/// Appends the block of an image to `out`: `raw_len` bytes, or nothing where the image is not that
/// of such a block. Allocates no more than that, whatever the image says.
fn decode(image: &[u8], raw_len: usize, out: &mut Vec<u8>) -> Result<(), String> {
    let Some((header, stored)) = image.split_first_chunk::<HEADER_BYTES>() else {
        return Err(format!("a block's image has {} bytes, less than its header", image.len()));
    };
    let header = u32::from_le_bytes(*header);
    let stored_len = header & !AS_IT_IS;
    if usize::try_from(stored_len) != Ok(stored.len()) {
        return Err(format!("{} bytes are stored, and the header says {stored_len}", stored.len()));
    }
    if header & AS_IT_IS != 0 {
        if stored.len() != raw_len {
            return Err(format!("{} bytes are stored as they are of {raw_len}", stored.len()));
        }
        out.extend_from_slice(stored);
        return Ok(());
    }
    let start = out.len();
    out.resize(start + raw_len, 0);
    let outcome = match lz4_flex::block::decompress_into(stored, &mut out[start..]) {
        Ok(len) if len == raw_len => return Ok(()),
        Ok(len) => format!("it decompresses to {len} bytes in the place of {raw_len}"),
        Err(error) => format!("it is no LZ4 block: {error}"),
    };
    out.truncate(start);
    Err(outcome)
}

/// A length of something in memory, or the number of something that is.
fn index(number: u64) -> usize {
    usize::try_from(number).expect("it is in memory, so it fits a usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks() -> Vec<Vec<u8>> {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(5000).collect();
        vec![vec![], vec![1], vec![7; 5000], noise, b"abcabcabcabcabcabcabc".to_vec()]
    }

    #[test]
    fn blocks_come_back() {
        let mut image = Vec::new();
        for block in blocks() {
            encode(&block, &mut image);
            assert!(image.len() <= block.len() + HEADER_BYTES);
            let mut out = vec![9];
            decode(&image, block.len(), &mut out).unwrap();
            assert_eq!((out[0], &out[1..]), (9, &block[..]));
        }
    }

    #[test]
    fn hostile_images_are_errors_and_allocate_no_more_than_a_block() {
        fastrand::seed(6);
        let mut image = Vec::new();
        for round in 0..20_000_usize {
            let block = &blocks()[round % 5];
            encode(block, &mut image);
            for _ in 0..=fastrand::usize(..4) {
                let at = fastrand::usize(..image.len());
                image[at] = fastrand::u8(..);
            }
            image.truncate(fastrand::usize(..=image.len()));
            let mut out = Vec::new();
            let decoded = decode(&image, block.len(), &mut out);
            assert_eq!(out.len(), decoded.map_or(0, |()| block.len()));
            assert!(out.capacity() <= block.len().max(8) * 2);
        }
        // An LZ4 block that would be far longer than the image says: 4 KiB of "match, and longer".
        let mut bomb = vec![0x1f, 0, 1, 0];
        bomb.resize(4096, 0xff);
        let header = u32::try_from(bomb.len()).unwrap();
        let image = [&header.to_le_bytes()[..], &bomb].concat();
        let mut out = Vec::new();
        decode(&image, 100, &mut out).unwrap_err();
        assert!(out.is_empty() && out.capacity() <= 200);
    }
}
