//! A column's bytes while another column is written straight to the file.

use std::path::Path;

use pagestore::{ByteOffset, Error, PageWriter, ResidencyBudget, SealedFile, TempWriter};

/// How much is handed on at a time: what a budget evicts at once.
const PIECE_BYTES: u64 = 256 << 10;

/// A temporary file without a name, which goes when it is closed. Under a budget it counts.
#[derive(Debug)]
pub(crate) struct Spool {
    /// Until it is drained.
    writer: Option<TempWriter>,
    /// From then on.
    file: Option<SealedFile>,
    /// How many bytes were handed on.
    drained_len: u64,
}

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
        let writer = Some(options.create_temporary(folder)?);
        Ok(Self { writer, file: None, drained_len: 0 })
    }

    /// Takes all of `bytes`, or, with an error, none of them.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.writer.as_mut().expect("what is drained is not appended to").append(bytes).map(drop)
    }

    /// Appends all that was taken to the file. What fails can be tried again, and goes on where it
    /// was, unless the bytes [are lost](Self::is_lost).
    pub(crate) fn drain_into<T>(&mut self, writer: &mut PageWriter<T>) -> Result<(), Error> {
        if let Some(spool) = self.writer.take() {
            match spool.finish() {
                Ok(file) => self.file = Some(file),
                Err(unsealed) => {
                    let (error, spool) = unsealed.into_parts();
                    self.writer = spool;
                    return Err(error);
                }
            }
        }
        let file = self.file.as_ref().expect("nobody drains what is lost");
        while self.drained_len < file.payload_len() {
            let piece_bytes = PIECE_BYTES.min(file.payload_len() - self.drained_len);
            let count = usize::try_from(piece_bytes).expect("a piece fits a usize");
            let offset = ByteOffset::new(self.drained_len);
            writer.append(file.as_slice_of_at::<u8>(offset, count)?)?;
            self.drained_len += piece_bytes;
        }
        file.still_valid()
    }

    /// Whether what was taken cannot be handed on any more.
    pub(crate) fn is_lost(&mut self) -> bool {
        match (&mut self.writer, &self.file) {
            (Some(writer), _) => matches!(writer.reserve(0), Err(Error::Poisoned { .. })),
            (None, Some(file)) => file.still_valid().is_err(),
            (None, None) => true,
        }
    }
}
