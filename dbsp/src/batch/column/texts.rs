//! Items with texts, on their way to a file.

use std::{
    mem::size_of,
    num::NonZeroU64,
    path::{Path, PathBuf},
    slice,
};

use storage::{ByteOffset, PageSize, TempWriter};

use super::CHUNK_BYTES;
use crate::{
    mappable::{Mappable, PartsOf, bytes_of},
    text::{Lying, TextLayout},
};

/// How much of the items is kept in memory until their texts are complete. What is more goes to a file of its own.
const MEMORY_BYTES: usize = 1 << 20;

const ZEROS: [u8; 4096] = [0; 4096];

/// Items whose texts go to a file as they come, and which follow when there are no more.
pub(super) struct TextItems<T> {
    parts: PartsOf<T>,
    layout: TextLayout,
    /// As they are to lie, but for the places of their texts; see [`Lying::unsettled`].
    items: Vec<u8>,
    /// Those before.
    spool: Option<TempWriter>,
    folder: PathBuf,
}

impl<T: Mappable> TextItems<T> {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            parts: PartsOf::new(),
            layout: TextLayout::default(),
            items: Vec::new(),
            spool: None,
            folder: folder.into(),
        }
    }

    pub(super) fn push(&mut self, item: &T, file: &mut TempWriter) -> storage::Result<()> {
        let mut write = |bytes: &[u8]| file.append(bytes).map(drop);
        lay_out(&self.parts, item, &mut self.layout, &mut self.items, &mut write)?;
        if self.items.len() >= MEMORY_BYTES {
            self.spool()?;
        }
        Ok(())
    }

    #[cold]
    fn spool(&mut self) -> storage::Result<()> {
        let spool = match &mut self.spool {
            Some(spool) => spool,
            none => none.insert(TempWriter::create_in(&self.folder)?),
        };
        spool.append(&self.items)?;
        self.items.clear();
        Ok(())
    }

    pub(super) fn len_in_memory(&self) -> usize {
        self.items.capacity()
    }

    /// Appends the items to the file that has their texts; says where they begin.
    pub(super) fn finish(mut self, file: &mut TempWriter) -> storage::Result<ByteOffset> {
        let page_bytes = NonZeroU64::new(file.page_size().get()).expect("a page has a size");
        let start = file.align_to(page_bytes)?;
        let mut at = start.get();
        if let Some(spool) = self.spool.take() {
            let spool = spool.finish()?;
            let count = usize::try_from(spool.payload_len()).expect("what is mapped fits a usize");
            let items = spool.as_slice_of_at::<u8>(ByteOffset::ZERO, count)?;
            let mut chunk = Vec::new();
            for some in items.chunks(CHUNK_BYTES.next_multiple_of(size_of::<T>())) {
                chunk.clear();
                chunk.extend_from_slice(some);
                append_settled(&self.parts, &mut chunk, &mut at, file)?;
            }
            spool.still_valid()?;
        }
        append_settled(&self.parts, &mut self.items, &mut at, file)?;
        Ok(start)
    }
}

fn append_settled<T: Mappable>(
    parts: &PartsOf<T>,
    items: &mut [u8],
    at: &mut u64,
    file: &mut TempWriter,
) -> storage::Result<()> {
    settle(parts, items, at);
    file.append(items).map(drop)
}

/// Writes an item to `items`, as it is to lie, and the bytes of its texts by `write`.
fn lay_out<T: Mappable, E>(
    parts: &PartsOf<T>,
    item: &T,
    layout: &mut TextLayout,
    items: &mut Vec<u8>,
    write: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let start = items.len();
    items.extend_from_slice(bytes_of(slice::from_ref(item)));
    for (place, text) in parts.texts().iter().zip(parts.texts_of(item)) {
        let lying = match Lying::short(text) {
            Some(lying) => lying,
            None => {
                let (padding, away) = layout.place(text);
                write(&ZEROS[..padding])?;
                write(text.as_bytes())?;
                Lying::unsettled(text, away)
            }
        };
        let place = start + place..start + place + Lying::LEN_BYTES;
        items[place].copy_from_slice(bytemuck::bytes_of(&lying));
    }
    Ok(())
}

/// Says in each text of items, the first of which lies at `at`, how far away its bytes are.
fn settle<T: Mappable>(parts: &PartsOf<T>, items: &mut [u8], at: &mut u64) {
    for item in items.chunks_exact_mut(size_of::<T>()) {
        for &place in parts.texts() {
            let bytes = &mut item[place..place + Lying::LEN_BYTES];
            let lying: Lying = bytemuck::pod_read_unaligned(bytes);
            bytes.copy_from_slice(bytemuck::bytes_of(&lying.settle(*at + place as u64)));
        }
        *at += size_of::<T>() as u64;
    }
}

/// Writes the bytes of the texts of items that are in memory by `write_text`, filled up to a page, and then the items by
/// `write_items`.
pub(in crate::batch) fn write_texts<T: Mappable, W, E>(
    items: &[T],
    page_size: PageSize,
    to: &mut W,
    mut write_text: impl FnMut(&mut W, &[u8]) -> Result<(), E>,
    mut write_items: impl FnMut(&mut W, &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let parts = PartsOf::<T>::new();
    let (mut layout, mut unused) = (TextLayout::default(), Vec::new());
    for item in items {
        unused.clear();
        lay_out(&parts, item, &mut layout, &mut unused, &mut |bytes: &[u8]| write_text(to, bytes))?;
    }
    let texts_len = layout.end().next_multiple_of(page_size.get());
    let mut padding = texts_len - layout.end();
    while padding > 0 {
        let some = padding.min(ZEROS.len() as u64);
        write_text(to, &ZEROS[..usize::try_from(some).expect("4 KiB at most")])?;
        padding -= some;
    }
    // Once more: the same items have the same places.
    let (mut layout, mut chunk, mut at) = (TextLayout::default(), Vec::new(), texts_len);
    let mut none = |_bytes: &[u8]| Ok(());
    for some in items.chunks((CHUNK_BYTES / size_of::<T>()).max(1)) {
        chunk.clear();
        some.iter()
            .try_for_each(|item| lay_out(&parts, item, &mut layout, &mut chunk, &mut none))?;
        settle(&parts, &mut chunk, &mut at);
        write_items(to, &chunk)?;
    }
    Ok(())
}
