//! A column that is being written: what went to the file, to a temporary one, and what is in memory.

use std::{num::NonZeroU64, path::Path};

use layout::{ByteOffset, ColumnEntry};
use pagestore::{Error, PageWriter, ResidencyBudget};

use crate::{
    ColumnSpec,
    columns::{Result, spool::Spool},
};

/// A column that is being written.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) spec: ColumnSpec,
    /// All that was appended.
    pub(super) len: u64,
    /// Where it begins in the file, if it goes straight there.
    pub(super) start: Option<ByteOffset>,
    /// The earlier bytes of it, where they do not go straight to the file.
    pub(super) spool: Option<Spool>,
    /// The later bytes of it.
    pub(super) buffer: Vec<u8>,
}

impl Pending {
    pub(super) const fn new(spec: ColumnSpec) -> Self {
        Self { spec, len: 0, start: None, spool: None, buffer: Vec::new() }
    }

    /// Appends what was kept back to the file. What fails can be tried again.
    pub(super) fn write_rest<T>(&mut self, writer: &mut PageWriter<T>) -> Result<ColumnEntry> {
        let offset = match self.start {
            Some(start) => start,
            None => *self.start.insert(begin_page(writer)?),
        };
        if let Some(spool) = &mut self.spool {
            spool.drain_into(writer)?;
            self.spool = None;
        }
        writer.append(&self.buffer)?;
        self.buffer = Vec::new();
        let (layout, name) = (self.spec.layout(), self.spec.name());
        let count = self.len / u64::from(layout.size_bytes());
        Ok(ColumnEntry { offset, count, layout, name })
    }

    /// Where the earlier bytes go, made when it is first needed.
    pub(super) fn spool(
        &mut self,
        folder: &Path,
        budget: Option<&ResidencyBudget>,
    ) -> Result<&mut Spool, Error> {
        if self.spool.is_none() {
            self.spool = Some(Spool::create_in(folder, budget)?);
        }
        Ok(self.spool.as_mut().expect("it was just made"))
    }
}

/// Appends zeros up to the next page, and returns where it begins.
pub(super) fn begin_page<T>(writer: &mut PageWriter<T>) -> Result<ByteOffset, Error> {
    let page_bytes = NonZeroU64::new(writer.page_size().get()).expect("a page has a size");
    writer.align_to(page_bytes)
}
