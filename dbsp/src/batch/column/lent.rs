//! Items that are borrowed from a file.

use std::{marker::PhantomData, mem::size_of, ops::Range};

use bytes::Bytes;
use storage::{ByteOffset, SealedFile};

use super::Unreadable;
use crate::{
    mappable::{Mappable, PartsOf, Stored, items_of},
    text::{Kept, Lying},
};

/// Items of a file.
pub(in crate::batch) struct Lent<T: Mappable> {
    // Dropped first: as long as the addresses that it goes by are mapped, nobody else's bytes are there.
    kept: Kept,
    /// The bytes of texts, zeros, and the items.
    ///
    /// Invariant: they begin at a page, and the items from `skipped` on are whole and aligned. Each of their parts is
    /// valid there, and for as long as this lives: each text has its bytes before `skipped`, and a copy in `kept` if
    /// it says so.
    bytes: Bytes,
    /// Where in `bytes` the items begin.
    skipped: usize,
    file: SealedFile,
    /// Where `bytes` begin in the payload.
    start: u64,
    items: PhantomData<T>,
}

impl<T: Mappable> Lent<T> {
    /// Items that may be anything, as far as their bytes say; see [`Column::read`](super::Column::read).
    pub(super) fn read(
        file: &SealedFile,
        texts: ByteOffset,
        offset: ByteOffset,
        count: usize,
    ) -> Result<Self, Unreadable> {
        if texts > offset {
            return Err(Unreadable::Items("its texts do not lie before its items"));
        }
        let mut lent = Self::at(file, texts, offset, count)?;
        let (texts, items) = lent.parts();
        check_items::<T>(texts, items).map_err(Unreadable::Items)?;
        lent.keep();
        Ok(lent)
    }

    /// `count` items, the first at `offset` of the payload of a file, which begins with the bytes of their texts.
    ///
    /// # Safety
    /// These are the bytes of so many items, and each text of theirs lies before `offset`.
    pub(super) unsafe fn written(
        file: &SealedFile,
        offset: ByteOffset,
        count: usize,
    ) -> storage::Result<Self> {
        let mut lent = Self::at(file, ByteOffset::ZERO, offset, count)?;
        lent.keep();
        Ok(lent)
    }

    /// The invariant does not hold yet: nobody has looked at the parts, or kept a copy.
    fn at(
        file: &SealedFile,
        texts: ByteOffset,
        offset: ByteOffset,
        count: usize,
    ) -> storage::Result<Self> {
        // Refuses what would be misaligned, or past the end.
        let len = size_of_val(file.as_slice_of_at::<Stored<T>>(offset, count)?);
        let page_size = file.page_size();
        let start = if PartsOf::<T>::new().texts().is_empty() { offset } else { texts };
        let first = page_size.page_of(start);
        let start = first.get() * page_size.get();
        let skipped = usize::try_from(offset.get() - start).expect("a place in a mapping");
        let bytes = file.bytes(first..)?.slice(..skipped + len);
        let (file, kept) = (file.clone(), Kept::default());
        Ok(Self { kept, bytes, skipped, file, start, items: PhantomData })
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[T] {
        // SAFETY: the invariant; what is borrowed lives no longer than `self`.
        unsafe { items_of(&self.bytes[self.skipped..]) }
    }

    fn keep(&mut self) {
        let (texts, items) = self.bytes.split_at(self.skipped);
        keep_texts::<T>(texts, items, &mut self.kept);
    }

    /// The bytes of the texts, with zeros behind them, and those of the items. They may be copied to where the former
    /// begin a page, and the latter follow.
    pub(in crate::batch) fn parts(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at(self.skipped)
    }

    pub(super) fn read_ahead(&self, items: Range<usize>) {
        let len = self.bytes.len();
        let byte = |item: usize| {
            item.saturating_mul(size_of::<T>()).saturating_add(self.skipped).min(len) as u64
        };
        let (start, end) = (byte(items.start), byte(items.end));
        if start < end {
            let page_of = |byte| self.file.page_size().page_of(ByteOffset::new(self.start + byte));
            if let Err(error) = self.file.prefetch([page_of(start)..=page_of(end - 1)]) {
                // Whoever goes on waits for each page instead.
                tracing::debug!(error = %storage::WithCauses(&error), "not read ahead");
            }
        }
    }

    pub(super) fn still_valid(&self) -> storage::Result<()> {
        self.file.still_valid()
    }

    /// The bytes of items and texts.
    pub(super) fn len_bytes(&self) -> usize {
        self.bytes.len() + self.kept.len_bytes()
    }
}

/// Whether all parts of all items are valid, where the bytes of their texts lie directly before them, from the beginning
/// of a page on.
pub(super) fn check_items<T: Mappable>(texts: &[u8], items: &[u8]) -> Result<(), &'static str> {
    let parts = PartsOf::<T>::new();
    if parts.texts().is_empty() && parts.bools().is_empty() {
        return Ok(());
    }
    for (number, item) in items.chunks_exact(size_of::<T>()).enumerate() {
        if parts.bools().iter().any(|&place| item[place] > 1) {
            return Err("a bool is neither 0 nor 1");
        }
        for &place in parts.texts() {
            let at = texts.len() + number * size_of::<T>() + place;
            lying(item, place).check(at as u64, texts)?;
        }
    }
    Ok(())
}

/// Lets all texts be reached from where the items lie, and keeps a copy of those that need one.
pub(super) fn keep_texts<T: Mappable>(texts: &[u8], items: &[u8], kept: &mut Kept) {
    let parts = PartsOf::<T>::new();
    if parts.texts().is_empty() {
        return;
    }
    // What a text reads is reached by a number.
    let base = texts.as_ptr().expose_provenance();
    for (number, item) in items.chunks_exact(size_of::<T>()).enumerate() {
        for &place in parts.texts() {
            let at = texts.len() + number * size_of::<T>() + place;
            if let Some((start, len)) = lying(item, place).to_keep(at as u64) {
                let start = usize::try_from(start).expect("a place in a mapping");
                kept.add(base + start, &texts[start..start + len]);
            }
        }
    }
}

/// The bytes of a text in those of an item.
fn lying(item: &[u8], place: usize) -> Lying {
    bytemuck::pod_read_unaligned(&item[place..place + Lying::LEN_BYTES])
}
