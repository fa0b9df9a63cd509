//! The durable file of a batch, which a checkpoint names.
//!
//! Its payload is the columns, each beginning on a page, and behind them a [`Footer`].

use std::{
    fmt, fs,
    io::ErrorKind,
    mem::size_of,
    num::NonZeroU64,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytemuck::{Pod, Zeroable};
use dbsp::{Runtime, ZWeight, storage::file::reader::Error as ReaderError};
use feldera_storage::{
    FileCommitter, FileReader, FileRw, StoragePath, block::BlockLocation, error::StorageError,
    fbuf::FBuf, file::FileId,
};
use feldera_types::constants::CREATE_FILE_EXTENSION;
use storage::{ByteOffset, PageWriter, SealedFile};
use uuid::Uuid;

use super::{
    Columns, Home,
    column::{Column, bytes_of},
};
use crate::{
    pod::{Fingerprint, Plain},
    search::Index,
};

/// "dbspcol" and the version of the format.
const MAGIC: u64 = u64::from_le_bytes(*b"dbspcol\x01");

/// The last bytes of the payload: where the columns are, and of what.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Footer {
    magic: u64,
    key_fingerprint: u64,
    val_fingerprint: u64,
    index_stride: u64,
    key_count: u64,
    val_count: u64,
    negative_weight_count: u64,
    /// Keys, offsets, values, weights, index.
    columns: [Span; 5],
}

/// Where a column lies in the payload.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Span {
    offset: u64,
    count: u64,
}

const _: () = assert!(size_of::<Footer>() == 136);

/// A batch's file, open.
///
/// It is deleted with its last owner, unless a checkpoint has named it: then DBSP deletes it when
/// no checkpoint does any more.
pub(super) struct BatchFile {
    sealed: SealedFile,
    name: StoragePath,
    path: PathBuf,
    id: FileId,
    kept: AtomicBool,
}

impl BatchFile {
    /// Writes columns to a new file in `folder`.
    pub(super) fn write<K: Plain, V: Plain>(
        folder: &Path,
        columns: &Columns<K, V>,
    ) -> storage::Result<Columns<K, V>> {
        // As DBSP names its own files in the folder: it clears away those that no checkpoint names.
        let name = format!("{}{CREATE_FILE_EXTENSION}", Uuid::new_v4());
        let path = folder.join(&name);
        let mut writer = PageWriter::create(&path)?;
        let spans = [
            append(&mut writer, columns.keys.as_slice())?,
            append(&mut writer, columns.offsets.as_slice())?,
            append(&mut writer, columns.vals.as_slice())?,
            append(&mut writer, columns.weights.as_slice())?,
            append(&mut writer, columns.index.firsts())?,
        ];
        let footer = Footer {
            magic: MAGIC,
            key_fingerprint: K::FINGERPRINT.get(),
            val_fingerprint: V::FINGERPRINT.get(),
            index_stride: Index::<K>::STRIDE as u64,
            key_count: columns.keys.len() as u64,
            val_count: columns.vals.len() as u64,
            negative_weight_count: columns.negative_weight_count,
            columns: spans,
        };
        writer.append(bytemuck::bytes_of(&footer))?;
        let sealed = writer.seal()?;
        let file = Self {
            sealed,
            name: StoragePath::from(name),
            path,
            id: FileId::new(),
            kept: AtomicBool::new(false),
        };
        file.columns(&footer)
    }

    /// Opens the file that a checkpoint names, and verifies all of it.
    pub(super) fn read<K: Plain, V: Plain>(
        name: &StoragePath,
    ) -> Result<Columns<K, V>, ReaderError> {
        let backend = Runtime::storage_backend()?;
        let path = match backend.file_system_path() {
            Some(folder) => folder.join(name.as_ref()),
            None => return Err(ReaderError::Unsupported),
        };
        let failed = |error: storage::Error| {
            let kind = match error {
                _ if !path.exists() => ErrorKind::NotFound,
                _ => ErrorKind::InvalidData,
            };
            StorageError::stdio(kind, "read in place", format!("{}: {error}", path.display()))
        };
        let sealed = SealedFile::open(&path).map_err(failed)?;
        let footer = footer_of(&sealed).map_err(failed)?;
        check(&footer, K::FINGERPRINT, V::FINGERPRINT, Index::<K>::STRIDE).map_err(|why| {
            StorageError::stdio(
                ErrorKind::InvalidData,
                "read in place",
                format!("{}: {why}", path.display()),
            )
        })?;
        let file = Self {
            sealed,
            name: name.clone(),
            path: path.clone(),
            id: FileId::new(),
            kept: AtomicBool::new(true),
        };
        Ok(file.columns(&footer).map_err(failed)?)
    }

    fn columns<K: Plain, V: Plain>(self, footer: &Footer) -> storage::Result<Columns<K, V>> {
        let [keys, offsets, vals, weights, index] = footer.columns;
        let firsts: Column<K> = self.column(index)?;
        Ok(Columns {
            keys: self.column(keys)?,
            offsets: self.column(offsets)?,
            vals: self.column(vals)?,
            weights: self.column::<ZWeight>(weights)?,
            index: Index::from_firsts(firsts.as_slice()),
            negative_weight_count: footer.negative_weight_count,
            home: Home::Durable(Arc::new(self)),
        })
    }

    fn column<T: Plain>(&self, span: Span) -> storage::Result<Column<T>> {
        // A count that no memory can hold is past the payload's end, which is what `read` says of it.
        let count = usize::try_from(span.count).unwrap_or(usize::MAX);
        Column::read(&self.sealed, ByteOffset::new(span.offset), count)
    }
}

fn append<T: Plain>(writer: &mut PageWriter, items: &[T]) -> storage::Result<Span> {
    let page_size = NonZeroU64::new(writer.page_size().get()).expect("a page has bytes");
    let offset = writer.align_to(page_size)?.get();
    writer.append(bytes_of(items))?;
    Ok(Span { offset, count: items.len() as u64 })
}

fn footer_of(sealed: &SealedFile) -> storage::Result<Footer> {
    let len_bytes = size_of::<Footer>();
    // Of a file that is shorter, the place is past its end.
    let offset = sealed.payload_len().saturating_sub(len_bytes as u64);
    let bytes = sealed.as_slice_of_at::<u8>(ByteOffset::new(offset), len_bytes)?;
    Ok(bytemuck::pod_read_unaligned(bytes))
}

/// What is wrong with a footer for a batch of these types. Sizes that fit the counts are all that
/// can be checked without reading everything; the checksums vouch for the rest.
fn check(footer: &Footer, key: Fingerprint, val: Fingerprint, stride: usize) -> Result<(), String> {
    let [keys, offsets, vals, weights, index] = footer.columns.map(|span| span.count);
    let expected_index = footer.key_count.div_ceil(stride as u64);
    if footer.magic != MAGIC {
        return Err("this is no file of a batch".into());
    }
    if (footer.key_fingerprint, footer.val_fingerprint) != (key.get(), val.get()) {
        return Err(format!(
            "its keys or values are laid out otherwise ({:x}, {:x}) than this program's ({key:?}, \
             {val:?}): start without this checkpoint",
            footer.key_fingerprint, footer.val_fingerprint
        ));
    }
    let consistent = keys == footer.key_count
        && (vals, weights) == (footer.val_count, footer.val_count)
        && (offsets == keys + 1 || (offsets == 0 && keys == vals))
        && footer.index_stride == stride as u64
        && index == expected_index;
    if consistent { Ok(()) } else { Err("the lengths of its columns contradict each other".into()) }
}

impl FileRw for BatchFile {
    fn file_id(&self) -> FileId {
        self.id
    }

    fn path(&self) -> &StoragePath {
        &self.name
    }
}

impl FileCommitter for BatchFile {
    /// It was made durable when it was written. What was read from it since must have been true.
    fn commit(&self) -> Result<(), StorageError> {
        self.sealed.still_valid().map_err(|error| {
            StorageError::stdio(
                ErrorKind::Other,
                "commit",
                format!("{}: {error}", self.path.display()),
            )
        })
    }
}

impl FileReader for BatchFile {
    fn mark_for_checkpoint(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    fn read_block(&self, location: BlockLocation) -> Result<Arc<FBuf>, StorageError> {
        let bytes =
            self.sealed.as_slice_of_at::<u8>(ByteOffset::new(location.offset), location.size);
        let bytes = bytes.map_err(|error| {
            StorageError::stdio(
                ErrorKind::UnexpectedEof,
                "read",
                format!("{}: {error}", self.path.display()),
            )
        })?;
        let mut block = FBuf::with_capacity(bytes.len());
        block.extend_from_slice(bytes);
        Ok(Arc::new(block))
    }

    fn get_size(&self) -> Result<u64, StorageError> {
        Ok(self.sealed.payload_len())
    }
}

impl fmt::Debug for BatchFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchFile({})", self.name)
    }
}

impl Drop for BatchFile {
    fn drop(&mut self) {
        if !*self.kept.get_mut() {
            // Where it stays behind, DBSP clears it away when it starts next.
            fs::remove_file(&self.path).ok();
        }
    }
}
