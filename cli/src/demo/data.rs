//! The bytes that the demo works on.

use std::{fs::File, os::unix::fs::FileExt, path::PathBuf};

use memmap2::Mmap;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use storage::SealedFile;

use crate::{
    demo::stage::Stage,
    error::{Error, Result},
};

const PAGE_COUNT_LOG2: u32 = 16;

/// The pages of the data.
pub(crate) const PAGE_COUNT: u64 = 1 << PAGE_COUNT_LOG2;

/// The bytes of a page.
pub(crate) const PAGE_LEN: usize = 4096;

/// The bytes of the data.
pub(crate) const DATA_LEN_BYTES: u64 = PAGE_COUNT * PAGE_LEN as u64;

/// Bytes written or read at once where work goes through the data in order.
pub(crate) const CHUNK_LEN: usize = 1 << 20;

/// The data in a memfd that is sealed against change, which is what `memmap2` maps by a safe
/// function. It is what all files are written from, and the raw mapping that reads are compared
/// with.
pub(crate) struct Data {
    memfd: File,
    raw: Mmap,
}

/// Two files that hold the data.
pub(crate) struct Files {
    /// A sealed file of ours.
    pub(crate) sealed: SealedFile,
    /// A file without anything around the data.
    pub(crate) plain: File,
    /// Its path.
    pub(crate) plain_path: PathBuf,
}

impl Data {
    /// Makes the data: numbers in an order that no reader can guess, so that every page differs.
    pub(crate) fn make(stage: &Stage) -> Result<Self> {
        const NAME: &str = "a memfd";
        stage.prepare("making the data");
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memfd = memfd_create("storage-demo", flags).map_err(Error::io_of("make", NAME))?;
        let memfd = File::from(memfd);
        let mut numbers = Numbers::new();
        let mut chunk = vec![0_u64; CHUNK_LEN / 8];
        for start in (0..DATA_LEN_BYTES).step_by(CHUNK_LEN) {
            stage.check()?;
            chunk.fill_with(|| numbers.next());
            memfd
                .write_all_at(bytemuck::cast_slice(&chunk), start)
                .map_err(Error::io_of("write to", NAME))?;
        }
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&memfd, seals).map_err(Error::io_of("seal", NAME))?;
        let raw = Self::map(&memfd)?;
        Ok(Self { memfd, raw })
    }

    /// All the bytes, by raw memmap2.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The same in another mapping, none of whose pages was touched yet.
    pub(crate) fn map_again(&self) -> Result<Mmap> {
        Self::map(&self.memfd)
    }

    fn map(memfd: &File) -> Result<Mmap> {
        Mmap::map_if_safe(memfd).map_err(Error::io_of("map", "a sealed memfd"))
    }

    /// The bytes in pieces as they are appended.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.raw.chunks(CHUNK_LEN)
    }
}

/// A sequence of numbers without a pattern: a linear congruential generator (Knuth's MMIX).
pub(crate) struct Numbers(u64);

impl Numbers {
    /// The sequence, always the same one.
    pub(crate) fn new() -> Self {
        Self(1)
    }

    /// The next number; its upper bits are the good ones.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0
    }

    /// The number of some page.
    pub(crate) fn next_page(&mut self) -> u64 {
        self.next() >> (u64::BITS - PAGE_COUNT_LOG2)
    }
}

/// The first number in a page.
pub(crate) fn first_number(page: &[u8]) -> u64 {
    u64::from_le_bytes(*page.first_chunk().expect("a page is longer than a number"))
}

/// The sum of numbers, without regard to overflow.
pub(crate) fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |sum, &number| sum.wrapping_add(number))
}

/// The index of a page's first byte.
pub(crate) fn start_of(page: u64) -> usize {
    usize::try_from(page).expect("there are few pages") * PAGE_LEN
}
