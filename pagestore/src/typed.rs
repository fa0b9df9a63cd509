//! Bytes as slices of plain data, checked.

use std::mem::{align_of, size_of};

use bytemuck::Pod;
use layout::ByteOffset;

use crate::error::ViewError;

/// All of `bytes` as items.
pub(crate) fn as_slice_of<T: Pod>(bytes: &[u8]) -> Result<&[T], ViewError> {
    check_whole::<T>(bytes.len())?;
    bytemuck::try_cast_slice(bytes).map_err(|_| misaligned::<T>(ByteOffset::ZERO))
}

/// All of `bytes` as items to write to.
pub(crate) fn as_slice_of_mut<T: Pod>(bytes: &mut [u8]) -> Result<&mut [T], ViewError> {
    check_whole::<T>(bytes.len())?;
    bytemuck::try_cast_slice_mut(bytes).map_err(|_| misaligned::<T>(ByteOffset::ZERO))
}

/// Where `count` items from `offset` lie in `len_bytes` bytes.
pub(crate) fn window<T>(
    offset: ByteOffset,
    count: usize,
    len_bytes: u64,
) -> Result<std::ops::Range<usize>, ViewError> {
    let item_bytes = size_of::<T>();
    if item_bytes == 0 {
        return Err(ViewError::ZeroSized);
    }
    let past_end = ViewError::PastEnd { offset: offset.get(), count, item_bytes, len_bytes };
    let end = count
        .checked_mul(item_bytes)
        .and_then(|wanted| offset.checked_add(wanted as u64))
        .filter(|end| end.get() <= len_bytes)
        .ok_or(past_end)?;
    // Both fit a `usize`, as what they index is in memory; the error is for a 32-bit machine.
    let index = |at: ByteOffset| usize::try_from(at.get()).map_err(|_| past_end);
    Ok(index(offset)?..index(end)?)
}

/// The bytes of a window that began at `offset`, as items. No items are aligned anywhere.
pub(crate) fn cast_window<T: Pod>(bytes: &[u8], offset: ByteOffset) -> Result<&[T], ViewError> {
    if bytes.is_empty() {
        return Ok(&[]);
    }
    bytemuck::try_cast_slice(bytes).map_err(|_| misaligned::<T>(offset))
}

/// The bytes of a window that began at `offset`, as items to write to.
pub(crate) fn cast_window_mut<T: Pod>(
    bytes: &mut [u8],
    offset: ByteOffset,
) -> Result<&mut [T], ViewError> {
    if bytes.is_empty() {
        return Ok(&mut []);
    }
    bytemuck::try_cast_slice_mut(bytes).map_err(|_| misaligned::<T>(offset))
}

fn check_whole<T>(len_bytes: usize) -> Result<(), ViewError> {
    match size_of::<T>() {
        0 => Err(ViewError::ZeroSized),
        item_bytes if len_bytes.is_multiple_of(item_bytes) => Ok(()),
        item_bytes => Err(ViewError::NotWhole { len_bytes: len_bytes as u64, item_bytes }),
    }
}

fn misaligned<T>(offset: ByteOffset) -> ViewError {
    ViewError::Misaligned { offset: offset.get(), align_bytes: align_of::<T>() }
}
