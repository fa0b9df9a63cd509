//! The durable file of a batch, which a checkpoint names.
//!
//! Its payload is the columns, each beginning on a page, and behind them a [`Footer`].

use std::{
    fmt, fs,
    io::{self, ErrorKind},
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
use storage::{Access, ByteOffset, PageWriter, SealedFile};
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
        let failed = |error| failure("read in place", &path, error);
        let refused = |why: String| {
            let told = format!("{}: {why}", path.display());
            StorageError::stdio(ErrorKind::InvalidData, "read in place", told)
        };
        let sealed = SealedFile::open(&path).map_err(failed)?;
        let footer = footer_of(&sealed).map_err(failed)?;
        check(&footer, K::FINGERPRINT, V::FINGERPRINT, Index::<K>::STRIDE).map_err(refused)?;
        let file = Self {
            sealed,
            name: name.clone(),
            path: path.clone(),
            id: FileId::new(),
            kept: AtomicBool::new(true),
        };
        let columns = file.columns::<K, V>(&footer).map_err(failed)?;
        check_items(&columns).map_err(|why| refused(why.to_owned()))?;
        Ok(columns)
    }

    fn columns<K: Plain, V: Plain>(self, footer: &Footer) -> storage::Result<Columns<K, V>> {
        let [keys, offsets, vals, weights, index] = footer.columns;
        let firsts: Column<K> = self.column(index)?;
        let columns = Columns {
            keys: self.column(keys)?,
            offsets: self.column(offsets)?,
            vals: self.column(vals)?,
            weights: self.column::<ZWeight>(weights)?,
            index: Index::from_firsts(firsts.as_slice()),
            negative_weight_count: footer.negative_weight_count,
            home: Home::Temporary,
        };
        // It was just read as a whole; see `ReadAhead` for what comes now.
        self.sealed.advise(Access::Random)?;
        Ok(Columns { home: Home::Durable(Arc::new(self)), ..columns })
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

/// An error of the store as one of Feldera's, which keeps its kind.
fn failure(operation: &'static str, path: &Path, error: storage::Error) -> StorageError {
    let told = format!("{}: {error}", path.display());
    StorageError::stdio(io::Error::from(error).kind(), operation, told)
}

/// What is wrong with a footer for a batch of these types.
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

/// Whether columns whose lengths were checked hold what [`Columns`] promises of them. Checksums only
/// say that these are the bytes that somebody wrote, and a cursor goes where the offsets send it.
fn check_items<K: Plain, V: Plain>(columns: &Columns<K, V>) -> Result<(), &'static str> {
    let (keys, offsets) = (columns.keys.as_slice(), columns.offsets.as_slice());
    let (vals, weights) = (columns.vals.as_slice(), columns.weights.as_slice());
    if !keys.is_sorted_by(|key, next| key < next) {
        return Err("its keys are not in order");
    }
    let firsts = keys.iter().step_by(Index::<K>::STRIDE);
    if !firsts.eq(columns.index.firsts()) {
        return Err("its index is not that of its keys");
    }
    let ends = (offsets.first(), offsets.last());
    if !offsets.is_sorted_by(|start, end| start < end)
        || (!offsets.is_empty() && ends != (Some(&0), Some(&(vals.len() as u64))))
    {
        return Err("its offsets do not lead to its values");
    }
    // In range: they ascend, and the last one is the count of values.
    let mut groups = offsets.array_windows().map(|&[start, end]| &vals[place(start)..place(end)]);
    if !groups.all(|group| group.is_sorted_by(|val, next| val < next)) {
        return Err("the values of a key are not in order");
    }
    let negative = weights.iter().filter(|weight| **weight < 0).count() as u64;
    if weights.contains(&0) || negative != columns.negative_weight_count {
        return Err("its weights are not as it says of them");
    }
    Ok(())
}

/// A place in a column.
fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("what is in memory fits a usize")
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
        self.sealed.still_valid().map_err(|error| failure("commit", &self.path, error))
    }
}

impl FileReader for BatchFile {
    fn mark_for_checkpoint(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    fn read_block(&self, location: BlockLocation) -> Result<Arc<FBuf>, StorageError> {
        let bytes =
            self.sealed.as_slice_of_at::<u8>(ByteOffset::new(location.offset), location.size);
        let bytes = bytes.map_err(|error| match error {
            storage::Error::View(_) => {
                let told = format!("{}: {error}", self.path.display());
                StorageError::stdio(ErrorKind::UnexpectedEof, "read", told)
            }
            error => failure("read", &self.path, error),
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
            if let Err(error) = fs::remove_file(&self.path) {
                tracing::warn!(%error, name = %self.name, "a dropped batch could not be removed");
            }
        }
    }
}
