//! A column's bytes while another column is written straight to the file.

use std::path::Path;

use pagestore::{ByteOffset, Error, PageWriter, ResidencyBudget, TempWriter};

/// How much is handed on at a time: what a budget evicts at once.
const PIECE_BYTES: u64 = 256 << 10;

/// A temporary file without a name, which goes when it is closed. Under a budget it counts.
#[derive(Debug)]
pub(crate) struct Spool(TempWriter);

impl Spool {
    /// Begins one in `folder`, since there is the room for the file that its bytes will go to.
    pub(crate) fn create_in(
        folder: &Path,
        budget: Option<&ResidencyBudget>,
    ) -> Result<Self, Error> {
        let mut options = PageWriter::options();
        if let Some(budget) = budget {
            options = options.budget(budget);
        }
        Ok(Self(options.create_temporary(folder)?))
    }

    /// Takes all of `bytes`, or, with an error, none of them.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.append(bytes).map(drop)
    }

    /// Appends all that was taken to the file.
    pub(crate) fn drain_into<T>(self, writer: &mut PageWriter<T>) -> Result<(), Error> {
        let (len, file) = (self.0.payload_len(), self.0.finish()?);
        let mut offset = 0;
        while offset < len {
            let piece_bytes = PIECE_BYTES.min(len - offset);
            let count = usize::try_from(piece_bytes).expect("a piece fits a usize");
            writer.append(file.as_slice_of_at::<u8>(ByteOffset::new(offset), count)?)?;
            offset += piece_bytes;
        }
        file.still_valid()
    }
}
