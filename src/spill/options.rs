//! How a spill is made.

use std::path::{Path, PathBuf};

use pagestore::{PageWriter, ResidencyBudget};

use super::{Result, SpillError, SpillWriter, blocks::BlockWriter, writer::Store};

/// What is done to the bytes on their way to the file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum SpillCompression {
    /// Nothing: they are borrowed from the file as they are.
    #[default]
    None,
    /// LZ4, block by block. A block that does not become smaller is kept as it is. Cursors then lend
    /// from a buffer of their own.
    Lz4,
}

/// How to make a [`SpillWriter`].
///
/// ```
/// use storage::spill::{SpillCompression, SpillOptions};
/// # let folder = tempfile::tempdir().unwrap();
/// let writer = SpillOptions::new(folder.path()).compression(SpillCompression::Lz4).create()?;
/// # Ok::<(), storage::spill::SpillError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SpillOptions {
    folder: PathBuf,
    budget: Option<ResidencyBudget>,
    compression: SpillCompression,
    block_size_bytes: u64,
}

impl SpillOptions {
    /// The size of a block when none is asked for: 64 KiB. Measured with LZ4 on text, larger ones
    /// become hardly any smaller.
    pub const BLOCK_SIZE_BYTES_DEFAULT: u64 = 64 << 10;

    /// The default options, for files in `folder`: no budget, no compression. The folder must be
    /// on a disk for this to save memory; `/tmp` often is not.
    pub fn new(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: folder.as_ref().into(),
            budget: None,
            compression: SpillCompression::None,
            block_size_bytes: Self::BLOCK_SIZE_BYTES_DEFAULT,
        }
    }

    /// The budget that what is in memory of the file counts against. Default: none, and the kernel
    /// decides what stays in memory.
    pub fn budget(mut self, budget: &ResidencyBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// Whether blocks are compressed. Default: [`SpillCompression::None`].
    pub fn compression(mut self, compression: SpillCompression) -> Self {
        self.compression = compression;
        self
    }

    /// How many bytes are compressed together: a power of two from 4 KiB to 4 MiB. Reading a record
    /// decompresses the blocks that it lies in. Means nothing without compression.
    ///
    /// Default: [`BLOCK_SIZE_BYTES_DEFAULT`](Self::BLOCK_SIZE_BYTES_DEFAULT).
    pub fn block_size_bytes(mut self, bytes: u64) -> Self {
        self.block_size_bytes = bytes;
        self
    }

    /// Begins a spill.
    ///
    /// # Errors
    /// [`SpillError::BlockSize`]; [`SpillError::Store`] where there can be no file in the folder.
    pub fn create(&self) -> Result<SpillWriter> {
        let block_size_bytes = self.block_size_bytes;
        if !block_size_bytes.is_power_of_two() || !(4096..=4 << 20).contains(&block_size_bytes) {
            return Err(SpillError::BlockSize { block_size_bytes });
        }
        let mut options = PageWriter::options();
        if let Some(budget) = &self.budget {
            options = options.budget(budget);
        }
        let file = options.create_temporary(&self.folder)?;
        let store = match self.compression {
            SpillCompression::None => Store::Plain(file),
            SpillCompression::Lz4 => Store::Blocks(BlockWriter::new(file, block_size_bytes)),
        };
        Ok(SpillWriter::new(store))
    }
}
