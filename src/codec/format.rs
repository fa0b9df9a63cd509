//! The bytes of a compressed file; `docs/compression.md` says the same in tables.
//!
//! Pure functions: parsing never panics, whatever the bytes, and allocates nothing but the text of
//! an error.

use backends::StoredContent;
use crc_fast::{CrcAlgorithm, Digest};
use zerocopy::{
    FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout,
    little_endian::{U32, U64},
};

/// What the medium gives space in; slots are multiples of it, and blocks are compressed to save it.
const PAGE_BYTES: usize = 4096;

/// Where the slots begin: the file's header has a page for itself.
pub(super) const DATA_START: u64 = PAGE_BYTES as u64;

const BLOCK_SIZE_LOG2: std::ops::RangeInclusive<u32> = 12..=21;
const MAGIC: [u8; 8] = StoredContent::LZ4_BLOCKS_MAGIC;
const VERSION: u32 = StoredContent::LZ4_BLOCKS_VERSION;

/// The header of the file, as it lies at byte 0.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct FileRecord {
    magic: [u8; 8],
    version: U32,
    codec: U32,
    block_size_log2: U32,
    reserved: [u8; 4],
    uuid: [u8; 16],
    reserved_2: [u8; 20],
    checksum: U32,
}

const _: () = assert!(size_of::<FileRecord>() == 64);

/// The header of a block, as it lies at the beginning of its slot.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct BlockRecord {
    codec: U32,
    raw_len: U32,
    stored_len: U32,
    reserved: [u8; 16],
    checksum: U32,
}

const _: () = assert!(size_of::<BlockRecord>() == BLOCK_HEADER_BYTES);

/// The bytes of a block's header; what is stored of the block follows it.
pub(super) const BLOCK_HEADER_BYTES: usize = 32;

/// Where the checksum lies in either record: they are its last four bytes.
const CHECKSUM_BYTES: usize = 4;

/// Why a file cannot be read as a compressed one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// It is whole, for all we know, but not ours or not of our version.
    Foreign(String),
    /// It is ours and damaged.
    Damaged(String),
}

/// How a block is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Codec {
    /// As it is.
    Raw,
    /// In the LZ4 block format.
    Lz4,
}

impl Codec {
    const fn number(self) -> u32 {
        match self {
            Self::Raw => 1,
            Self::Lz4 => 2,
        }
    }
}

/// How a file is cut into blocks and slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Geometry {
    block_size_log2: u32,
}

impl Geometry {
    /// The geometry of blocks of this size, if files can have it.
    pub(super) fn new(block_size_bytes: u64) -> Option<Self> {
        let log2 = block_size_bytes.is_power_of_two().then(|| block_size_bytes.ilog2())?;
        BLOCK_SIZE_LOG2.contains(&log2).then_some(Self { block_size_log2: log2 })
    }

    /// The size of a block in bytes.
    pub(super) const fn block_size(self) -> usize {
        1 << self.block_size_log2
    }

    const fn slot_size(self) -> u64 {
        (1 << self.block_size_log2) + PAGE_BYTES as u64
    }

    /// The longest file: its last slot ends below 2^63.
    pub(super) const fn len_max(self) -> u64 {
        ((i64::MAX as u64 - DATA_START) / self.slot_size()) << self.block_size_log2
    }

    /// The block that holds a byte.
    pub(super) const fn block_of(self, offset: u64) -> u64 {
        offset >> self.block_size_log2
    }

    /// The first byte of a block.
    pub(super) const fn block_start(self, block: u64) -> u64 {
        block << self.block_size_log2
    }

    /// Where in the stored file a block's slot begins. The block is one of a file that is not
    /// longer than [`len_max`](Self::len_max).
    pub(super) const fn slot_start(self, block: u64) -> u64 {
        DATA_START + block * self.slot_size()
    }

    /// How many slots a stored file of `stored_len` bytes has at least a byte of.
    pub(super) const fn slot_count(self, stored_len: u64) -> u64 {
        stored_len.saturating_sub(DATA_START).div_ceil(self.slot_size())
    }

    /// The most bytes of a slot that are ever used.
    pub(super) const fn used_max(self) -> usize {
        BLOCK_HEADER_BYTES + self.block_size()
    }
}

/// What the header of a file says.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileHeader {
    pub(super) geometry: Geometry,
    uuid: [u8; 16],
}

impl FileHeader {
    /// A header for a new file.
    pub(super) fn new(geometry: Geometry) -> Self {
        Self { geometry, uuid: fastrand::u128(..).to_le_bytes() }
    }

    /// The page that a file begins with.
    pub(super) fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut record = FileRecord {
            magic: MAGIC,
            version: U32::new(VERSION),
            codec: U32::new(Codec::Lz4.number()),
            block_size_log2: U32::new(self.geometry.block_size_log2),
            uuid: self.uuid,
            ..FileRecord::new_zeroed()
        };
        record.checksum = U32::new(record_checksum(record.as_bytes()));
        let mut page = [0; PAGE_BYTES];
        page[..size_of::<FileRecord>()].copy_from_slice(record.as_bytes());
        page
    }

    /// Reads what a stored file begins with; `bytes` are its first page, or all of a shorter one.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, HeaderFault> {
        if bytes.is_empty() {
            return Err(HeaderFault::Damaged(
                "the stored file is empty, it lacks the header of a compressed file".to_owned(),
            ));
        }
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(HeaderFault::Foreign(
                "it does not begin as a file of a store with `compression = \"lz4\"` does; if it was \
                 copied here from one with `compression = \"none\"`, read it there and write it anew \
                 here"
                    .to_owned(),
            ));
        }
        if bytes.len() < PAGE_BYTES {
            return Err(HeaderFault::Damaged(format!(
                "the stored file has {} bytes, and the header of a compressed file takes \
                 {DATA_START}",
                bytes.len()
            )));
        }
        let (record, _) = FileRecord::read_from_prefix(bytes).expect("a page holds the record");
        let (found, computed) = (record.checksum.get(), record_checksum(record.as_bytes()));
        if found != computed {
            return Err(HeaderFault::Damaged(format!(
                "the header's checksum is {found:#010x}, and its bytes have {computed:#010x}"
            )));
        }
        Self::understand(&record)
    }

    /// The fields of a record whose checksum is right.
    fn understand(record: &FileRecord) -> Result<Self, HeaderFault> {
        let (version, codec) = (record.version.get(), record.codec.get());
        if version != VERSION {
            return Err(HeaderFault::Foreign(format!(
                "its format has version {version} and this program knows version {VERSION}; use a \
                 newer one"
            )));
        }
        if codec != Codec::Lz4.number() {
            return Err(HeaderFault::Foreign(format!(
                "it is compressed by method {codec} and this program knows method {} (LZ4); use a \
                 newer one",
                Codec::Lz4.number()
            )));
        }
        let block_size_log2 = record.block_size_log2.get();
        if !BLOCK_SIZE_LOG2.contains(&block_size_log2) {
            return Err(HeaderFault::Damaged(format!(
                "the header has 2^{block_size_log2} as the block size, and 2^{} to 2^{} are possible",
                BLOCK_SIZE_LOG2.start(),
                BLOCK_SIZE_LOG2.end()
            )));
        }
        Ok(Self { geometry: Geometry { block_size_log2 }, uuid: record.uuid })
    }

    /// What computes the checksums of this file's blocks.
    pub(super) fn hasher(&self) -> BlockHasher {
        let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
        digest.update(&self.uuid);
        BlockHasher { after_uuid: digest.get_state() }
    }
}

/// What the header of a block says, each field within its bounds. That the checksum is right was
/// *not* looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BlockHeader {
    pub(super) codec: Codec,
    pub(super) raw_len: usize,
    pub(super) stored_len: usize,
}

impl BlockHeader {
    /// Reads the header of a slot; `None` where no block was ever written.
    pub(super) fn parse(
        bytes: &[u8; BLOCK_HEADER_BYTES],
        geometry: Geometry,
    ) -> Result<Option<Self>, String> {
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let record = BlockRecord::read_from_bytes(bytes).expect("the lengths are the same");
        let codec = match record.codec.get() {
            1 => Codec::Raw,
            2 => Codec::Lz4,
            other => {
                return Err(format!("the block is stored by method {other}, which is unknown"));
            }
        };
        let block_size = geometry.block_size();
        let raw_len = record.raw_len.get() as usize;
        if raw_len == 0 || raw_len > block_size {
            return Err(format!(
                "the block has {raw_len} bytes, and 1 to {block_size} are possible"
            ));
        }
        let stored_len = record.stored_len.get() as usize;
        let possible = match codec {
            Codec::Raw => stored_len == raw_len,
            Codec::Lz4 => stored_len != 0 && stored_len < raw_len,
        };
        if !possible {
            return Err(format!(
                "{stored_len} bytes are stored of a block of {raw_len}, which {codec:?} never does"
            ));
        }
        Ok(Some(Self { codec, raw_len, stored_len }))
    }

    /// Writes the header of an image whose stored bytes stand behind it.
    pub(super) fn encode(self, hasher: BlockHasher, block: u64, image: &mut [u8]) {
        let number = |len: usize| U32::new(u32::try_from(len).expect("a block has at most 2 MiB"));
        let mut record = BlockRecord {
            codec: U32::new(self.codec.number()),
            raw_len: number(self.raw_len),
            stored_len: number(self.stored_len),
            ..BlockRecord::new_zeroed()
        };
        let (header, stored) = image.split_at_mut(BLOCK_HEADER_BYTES);
        header.copy_from_slice(record.as_bytes());
        record.checksum = U32::new(hasher.checksum(block, header, &stored[..self.stored_len]));
        header.copy_from_slice(record.as_bytes());
    }

    /// The bytes of the slot that are used.
    pub(super) const fn used_bytes(self) -> usize {
        BLOCK_HEADER_BYTES + self.stored_len
    }
}

/// Whether storing `stored_len` bytes instead of `raw_len` saves at least one page.
pub(super) const fn saves_a_page(stored_len: usize, raw_len: usize) -> bool {
    (BLOCK_HEADER_BYTES + stored_len).div_ceil(PAGE_BYTES)
        < (BLOCK_HEADER_BYTES + raw_len).div_ceil(PAGE_BYTES)
}

/// Computes the checksums of the blocks of one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHasher {
    /// The state of the computation after the uuid, which all blocks begin with.
    after_uuid: u64,
}

impl BlockHasher {
    /// CRC32C of the file's uuid, the block's number, its header but for the checksum, and what is
    /// stored of it.
    fn checksum(self, block: u64, header: &[u8], stored: &[u8]) -> u32 {
        let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, self.after_uuid);
        digest.update(U64::new(block).as_bytes());
        digest.update(&header[..BLOCK_HEADER_BYTES - CHECKSUM_BYTES]);
        digest.update(stored);
        narrow(digest.finalize())
    }

    /// Checks a header and what is stored behind it.
    pub(super) fn check(self, block: u64, header: &[u8], stored: &[u8]) -> Result<(), String> {
        let at = BLOCK_HEADER_BYTES - CHECKSUM_BYTES;
        let found = U32::read_from_bytes(&header[at..BLOCK_HEADER_BYTES]).expect("four bytes");
        let (found, computed) = (found.get(), self.checksum(block, header, stored));
        if found != computed {
            return Err(format!(
                "the checksum of block {block} is {found:#010x}, and its bytes have {computed:#010x}"
            ));
        }
        Ok(())
    }
}

/// CRC32C of a file's record but for its last four bytes.
fn record_checksum(record: &[u8]) -> u32 {
    let covered = &record[..record.len() - CHECKSUM_BYTES];
    narrow(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, covered))
}

/// The crate computes every width in a `u64`; a 32-bit checksum fills its lower half.
fn narrow(wide: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "a CRC32C has 32 bits")]
    let narrow = wide as u32;
    narrow
}
