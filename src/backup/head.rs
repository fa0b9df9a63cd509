//! The columns of a backup, and what they say of it.

use std::num::TryFromIntError;

use layout::{CommitId, PageCount, PageId, PageRange, PageSize, VersionedGeometry};
use uuid::Uuid;

use super::{BackupError, Result};
use crate::{ColumnSpec, Columns, Snapshot};

/// The runs of pages that it holds, in order: first page, count.
pub(super) const RUNS: usize = 0;
/// For each page: the commit that changed it last, and its checksum.
pub(super) const STAMPS: usize = 1;
/// The pages.
pub(super) const PAGES: usize = 2;
/// One item: the numbers of [`Head`], in this order.
pub(super) const HEAD: usize = 3;

/// The columns.
pub(super) fn specs() -> [ColumnSpec; 4] {
    [
        ColumnSpec::of::<[u64; 2]>().named("runs"),
        ColumnSpec::of::<[u64; 2]>().named("stamps"),
        ColumnSpec::of::<u8>().named("pages"),
        ColumnSpec::of::<[u64; 8]>().named("head"),
    ]
}

/// What a backup is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) file_uuid: Uuid,
    pub(super) page_size: PageSize,
    pub(super) page_count: PageCount,
    pub(super) commit: CommitId,
    /// Zero: it is whole.
    pub(super) since: CommitId,
    pub(super) log_bytes: u64,
    /// CRC32C of number, commit and checksum of each page of the file that was ever written.
    pub(super) stamps_crc32c: u32,
}

/// Makes the error for columns that contradict.
pub(super) fn contradicts(columns: &Columns, what: &'static str) -> BackupError {
    BackupError::NotABackup { path: columns.file().path().into(), what }
}

impl Head {
    /// What a backup of this snapshot is of.
    pub(super) fn new(snapshot: &Snapshot, since: CommitId, stamps_crc32c: u32) -> Self {
        Self {
            file_uuid: snapshot.file_uuid(),
            page_size: snapshot.page_size(),
            page_count: snapshot.page_count(),
            commit: snapshot.commit(),
            since,
            log_bytes: snapshot.log_bytes(),
            stamps_crc32c,
        }
    }

    /// The item of the column.
    pub(super) fn encode(&self) -> [u64; 8] {
        let (low, high) = self.file_uuid.as_bytes().split_at(8);
        let half = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte));
        [
            half(low),
            half(high),
            self.page_size.get(),
            self.page_count.get(),
            self.commit.get(),
            self.since.get(),
            self.log_bytes,
            self.stamps_crc32c.into(),
        ]
    }

    /// Reads and judges it.
    pub(super) fn read(columns: &Columns) -> Result<Self> {
        let wrong = |what| contradicts(columns, what);
        let &[numbers] = columns.column::<[u64; 8]>(HEAD)? else {
            return Err(wrong("the count of heads"));
        };
        let [low, high, page_size, page_count, commit, since, log_bytes, crc] = numbers;
        let mut uuid = [0; 16];
        uuid[..8].copy_from_slice(&low.to_le_bytes());
        uuid[8..].copy_from_slice(&high.to_le_bytes());
        let page_size = PageSize::new(page_size).map_err(|_| wrong("the page size"))?;
        let page_count = PageCount::new(page_count);
        VersionedGeometry::new(page_size, log_bytes)
            .and_then(|geometry| geometry.file_len(page_count))
            .map_err(|_| wrong("the page count or the length of the log"))?;
        if since > commit {
            return Err(wrong("the order of its commits"));
        }
        let stamps_crc32c =
            crc.try_into().map_err(|_: TryFromIntError| wrong("the checksum of all stamps"))?;
        Ok(Self {
            file_uuid: Uuid::from_bytes(uuid),
            page_size,
            page_count,
            commit: CommitId::new(commit),
            since: CommitId::new(since),
            log_bytes,
            stamps_crc32c,
        })
    }

    /// Reads and judges the runs, and the lengths of the columns that go with them.
    pub(super) fn read_runs(&self, columns: &Columns) -> Result<Vec<PageRange>> {
        let wrong = |what| contradicts(columns, what);
        // As many as the column has: no stored number allocates anything.
        let stored = columns.column::<[u64; 2]>(RUNS)?;
        let mut runs = Vec::with_capacity(stored.len());
        let (mut end, mut held) = (0, 0);
        for &[first, count] in stored {
            let run_end = first.checked_add(count).ok_or_else(|| wrong("a run of pages"))?;
            let run = PageRange::resolve(PageId::new(first)..PageId::new(run_end), self.page_count)
                .map_err(|_| wrong("a run of pages"))?;
            if first < end || count == 0 {
                return Err(wrong("the order of the runs of pages"));
            }
            (end, held) = (run_end, held + count);
            runs.push(run);
        }
        // No overflow: the runs are disjoint parts of a file that there can be.
        let bytes = held * self.page_size.get();
        if columns.len(STAMPS)? as u64 != held || columns.len(PAGES)? as u64 != bytes {
            return Err(wrong("the count of pages"));
        }
        Ok(runs)
    }
}
