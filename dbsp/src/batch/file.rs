//! The durable file of a batch, which a checkpoint names: a file of columns of the kind `dbsp`.

use std::{
    any::type_name,
    fmt, fs,
    io::{self, ErrorKind},
    mem::size_of,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use dbsp::{Runtime, ZWeight, storage::file::reader::Error as ReaderError};
use feldera_storage::{
    FileCommitter, FileReader, FileRw, StoragePath, block::BlockLocation, error::StorageError,
    fbuf::FBuf, file::FileId,
};
use feldera_types::constants::CREATE_FILE_EXTENSION;
use parking_lot::Mutex;
use storage::{
    Access, AppendOrder, ByteOffset, ColumnSpec, ColumnsError, ColumnsKind, ColumnsWriter,
    PageSize, SealedFile,
};
use uuid::Uuid;

use super::{
    Columns, Home,
    column::{Column, Unreadable, write_texts},
    folder,
    names::{self, Given},
};
use crate::{
    mappable::{Mappable, PartsOf, bytes_of},
    search::Index,
};

const KIND: ColumnsKind = ColumnsKind::new(*b"dbsp\0\0\0\0");

/// Which column of a file is which.
struct Places {
    keys: Option<ItemPlaces>,
    offsets: usize,
    vals: Option<ItemPlaces>,
    weights: usize,
    specs: Vec<ColumnSpec>,
}

/// The columns of keys, or of values. What has no size has none.
#[derive(Clone, Copy)]
struct ItemPlaces {
    /// The one of the bytes of their texts, directly before them; the same where they have no texts.
    texts: usize,
    items: usize,
}

impl Places {
    fn of<K: Mappable, V: Mappable>() -> Self {
        let mut specs = Vec::new();
        let mut add = |spec| {
            specs.push(spec);
            specs.len() - 1
        };
        let keys = ItemPlaces::of::<K>(&mut add);
        let offsets = add(spec_of::<u64>());
        let vals = ItemPlaces::of::<V>(&mut add);
        let weights = add(spec_of::<ZWeight>());
        Self { keys, offsets, vals, weights, specs }
    }
}

impl ItemPlaces {
    fn of<T: Mappable>(add: &mut impl FnMut(ColumnSpec) -> usize) -> Option<Self> {
        if size_of::<T>() == 0 {
            return None;
        }
        let texts = has_texts::<T>().then(|| add(ColumnSpec::of::<u8>().named("texts")));
        let items = add(spec_of::<T>());
        Some(Self { texts: texts.unwrap_or(items), items })
    }
}

fn has_texts<T: Mappable>() -> bool {
    !PartsOf::<T>::new().texts().is_empty()
}

fn spec_of<T: Mappable>() -> ColumnSpec {
    ColumnSpec::new(T::LAYOUT, type_name::<T>())
}

/// A batch's file.
///
/// It is deleted with its last owner, unless a checkpoint has named it: then DBSP deletes it when
/// no checkpoint does any more.
pub(super) struct BatchFile {
    /// None until somebody reads it: what the batch itself reads lies elsewhere, if it was not restored.
    opened: Mutex<Option<SealedFile>>,
    name: StoragePath,
    path: PathBuf,
    id: FileId,
    kept: AtomicBool,
    /// What may not be durable yet. The file itself is, from the beginning; and one that a checkpoint named is in
    /// every respect.
    given: Option<Given>,
}

impl BatchFile {
    /// Writes columns to a new file in `folder`.
    pub(super) fn write<K: Mappable, V: Mappable>(
        folder: &Path,
        columns: &Columns<K, V>,
    ) -> storage::columns::Result<Self> {
        // As DBSP names its own files in the folder: it clears away those that no checkpoint names.
        let name = format!("{}{CREATE_FILE_EXTENSION}", Uuid::new_v4());
        let unfinished = folder::unfinished_in(folder)?.join(&name);
        let path = folder.join(&name);
        let places = Places::of::<K, V>();
        let options = ColumnsWriter::options().kind(KIND).order(AppendOrder::ColumnByColumn);
        let mut writer = options.create(&unfinished, &places.specs)?;
        append(&mut writer, places.keys, &columns.keys)?;
        writer.append(places.offsets, columns.offsets.as_slice())?;
        append(&mut writer, places.vals, &columns.vals)?;
        writer.append(places.weights, columns.weights.as_slice())?;
        drop(writer.seal()?);
        // No page of theirs may have been missing.
        columns.still_valid()?;
        let given = names::give(&unfinished, &path)?;
        Ok(Self::new(None, StoragePath::from(name), path, Some(given)))
    }

    /// Opens the file that a checkpoint names, and verifies all of it.
    pub(super) fn read<K: Mappable, V: Mappable>(
        name: &StoragePath,
    ) -> Result<Columns<K, V>, ReaderError> {
        let backend = Runtime::storage_backend()?;
        let path = match backend.file_system_path() {
            Some(folder) => folder.join(name.as_ref()),
            None => return Err(ReaderError::Unsupported),
        };
        let refused = |why: &dyn fmt::Display| {
            let told = format!("{}: {why}: start without this checkpoint", path.display());
            StorageError::stdio(ErrorKind::InvalidData, "read in place", told)
        };
        let failed = |error| match error {
            Unreadable::File(ColumnsError::Store(error)) => failure("read in place", &path, error),
            Unreadable::File(error) => refused(&error),
            Unreadable::Items(why) => refused(&why),
        };
        let opened = storage::Columns::open(&path).map_err(Unreadable::from).map_err(failed)?;
        opened.expect_kind(KIND).map_err(Unreadable::from).map_err(failed)?;
        let columns = columns_of::<K, V>(&opened).map_err(failed)?;
        check_items(&columns).map_err(|why| refused(&why))?;
        let file = Self::new(Some(opened.file().clone()), name.clone(), path, None);
        file.mark_for_checkpoint();
        *columns.file.lock() = Some(Arc::new(file));
        Ok(columns)
    }

    fn new(
        opened: Option<SealedFile>,
        name: StoragePath,
        path: PathBuf,
        given: Option<Given>,
    ) -> Self {
        let (opened, kept) = (Mutex::new(opened), AtomicBool::new(false));
        Self { opened, name, path, id: FileId::new(), kept, given }
    }

    /// Whether it is still there. DBSP deletes it when no checkpoint names it any more, also where somebody
    /// still has the batch.
    pub(super) fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    fn open(&self) -> Result<SealedFile, StorageError> {
        let mut opened = self.opened.lock();
        if let Some(sealed) = &*opened {
            return Ok(sealed.clone());
        }
        let sealed =
            SealedFile::open(&self.path).map_err(|error| failure("open", &self.path, error))?;
        Ok(opened.insert(sealed).clone())
    }
}

/// Appends keys, or values, with the bytes of their texts.
fn append<T: Mappable>(
    writer: &mut ColumnsWriter,
    places: Option<ItemPlaces>,
    column: &Column<T>,
) -> storage::columns::Result<()> {
    let Some(ItemPlaces { texts, items }) = places else { return Ok(()) };
    match column {
        Column::File(lent) => {
            let (text_bytes, item_bytes) = lent.parts();
            if texts != items {
                writer.append_bytes(texts, text_bytes)?;
            }
            writer.append_bytes(items, item_bytes)
        }
        Column::Memory { items: values, .. } if texts == items => {
            writer.append_bytes(items, bytes_of(values))
        }
        Column::Memory { items: values, .. } => write_texts(
            values,
            // That of the writer's options.
            PageSize::DEFAULT,
            writer,
            |writer, bytes| writer.append_bytes(texts, bytes),
            |writer, bytes| writer.append_bytes(items, bytes),
        ),
    }
}

/// The columns of a file.
fn columns_of<K: Mappable, V: Mappable>(
    opened: &storage::Columns,
) -> Result<Columns<K, V>, Unreadable> {
    let places = Places::of::<K, V>();
    let of_one = |items| Some(ItemPlaces { texts: items, items });
    let weights = column::<ZWeight>(opened, of_one(places.weights), 0)?;
    let tuples = weights.len();
    // Of keys that have no size there is but one.
    let keys = column::<K>(opened, places.keys, tuples.min(1))?;
    let vals = column::<V>(opened, places.vals, tuples)?;
    let offsets = column::<u64>(opened, of_one(places.offsets), 0)?;
    let firsts: Vec<K> = keys.as_slice().iter().step_by(Index::<K>::STRIDE).cloned().collect();
    let negative = weights.as_slice().iter().filter(|weight| **weight < 0).count();
    // It was just read as a whole; see `ReadAhead` for what comes now.
    opened.file().advise(.., Access::Random)?;
    Ok(Columns {
        keys,
        offsets,
        vals,
        weights,
        index: Index::from_firsts(&firsts),
        negative_weight_count: negative as u64,
        home: Home::Named(opened.file().clone()),
        file: Mutex::new(None),
    })
}

/// A column of a file; verifies its pages. Without a place, it is `count` items that have no size.
fn column<T: Mappable>(
    opened: &storage::Columns,
    places: Option<ItemPlaces>,
    count: usize,
) -> Result<Column<T>, Unreadable> {
    let Some(ItemPlaces { texts, items }) = places else { return Ok(Column::of_sizeless(count)) };
    let (offset, count) = opened.column_place(items, &spec_of::<T>())?;
    let texts = match texts == items {
        true => offset,
        false => match opened.column_place(texts, &ColumnSpec::of::<u8>())? {
            // A column of nothing lies anywhere.
            (_, 0) => offset,
            (texts, _) => texts,
        },
    };
    Column::read(opened.file(), texts, offset, count)
}

/// An error of the store as one of Feldera's, which keeps its kind.
pub(super) fn failure(operation: &'static str, path: &Path, error: storage::Error) -> StorageError {
    let told = format!("{}: {}", path.display(), storage::WithCauses(&error));
    StorageError::stdio(io::Error::from(error).kind(), operation, told)
}

/// Whether columns hold what [`Columns`] promises of them. Checksums only say that these are the
/// bytes that somebody wrote, and a cursor goes where the offsets send it.
fn check_items<K: Mappable, V: Mappable>(columns: &Columns<K, V>) -> Result<(), &'static str> {
    let (keys, offsets) = (columns.keys.as_slice(), columns.offsets.as_slice());
    let (vals, weights) = (columns.vals.as_slice(), columns.weights.as_slice());
    let have_offsets = keys.len().checked_add(1) == Some(offsets.len());
    if vals.len() != weights.len()
        || !(have_offsets || offsets.is_empty() && keys.len() == vals.len())
    {
        return Err("the lengths of its columns contradict each other");
    }
    if !keys.is_sorted_by(|key, next| key < next) {
        return Err("its keys are not in order");
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
    if weights.contains(&0) {
        return Err("it has tuples of no weight");
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
    /// It was made durable when it was written; now its name is. What was read from it since must have been
    /// true.
    fn commit(&self) -> Result<(), StorageError> {
        if let Some(sealed) = &*self.opened.lock() {
            sealed.still_valid().map_err(|error| failure("commit", &self.path, error))?;
        }
        match &self.given {
            Some(given) => given.make_durable(&self.path),
            None => Ok(()),
        }
    }
}

impl FileReader for BatchFile {
    fn mark_for_checkpoint(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    fn read_block(&self, location: BlockLocation) -> Result<Arc<FBuf>, StorageError> {
        let sealed = self.open()?;
        let bytes = sealed.as_slice_of_at::<u8>(ByteOffset::new(location.offset), location.size);
        let bytes = bytes.map_err(|error| match error {
            storage::Error::View(_) => {
                let told = format!("{}: {}", self.path.display(), storage::WithCauses(&error));
                StorageError::stdio(ErrorKind::UnexpectedEof, "read", told)
            }
            error => failure("read", &self.path, error),
        })?;
        let mut block = FBuf::with_capacity(bytes.len());
        block.extend_from_slice(bytes);
        Ok(Arc::new(block))
    }

    fn get_size(&self) -> Result<u64, StorageError> {
        Ok(self.open()?.payload_len())
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
