//! What the contract says, as the shortest program that keeps it: a map from paths to bytes.

use std::collections::BTreeMap;

use storage::StoragePath;

/// Why an operation is refused, as far as the contract tells the reasons apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    NotFound,
    PastEnd {
        file_len: u64,
    },
    Path,
    Sealed,
    /// The name is a folder's.
    IsFolder,
    /// A part of the path before the last is a file.
    UnderFile,
    NoRoom,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sealed: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Model {
    files: BTreeMap<String, File>,
    budget_bytes: u64,
}

type Outcome<T> = Result<T, Refusal>;

impl Model {
    pub(crate) fn new(budget_bytes: u64) -> Self {
        Self { files: BTreeMap::new(), budget_bytes }
    }

    pub(crate) fn used_bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes.len() as u64).sum()
    }

    pub(crate) fn files(&self) -> &BTreeMap<String, File> {
        &self.files
    }

    /// Whether there may be a file of this name; there may be one already.
    pub(crate) fn check_free(&self, path: &str) -> Outcome<()> {
        let checked = StoragePath::new(path).map_err(|_| Refusal::Path)?;
        if checked.folders().any(|folder| self.files.contains_key(folder)) {
            return Err(Refusal::UnderFile);
        }
        let inside = format!("{path}/");
        match self.files.range(inside.clone()..).next() {
            Some((first, _)) if first.starts_with(&inside) => Err(Refusal::IsFolder),
            _ => Ok(()),
        }
    }

    fn file(&self, path: &str) -> Outcome<&File> {
        StoragePath::new(path).map_err(|_| Refusal::Path)?;
        self.files.get(path).ok_or(Refusal::NotFound)
    }

    pub(crate) fn read(&self, path: &str, offset: u64, length: usize) -> Outcome<&[u8]> {
        let bytes = &self.file(path)?.bytes;
        let past_end = Refusal::PastEnd { file_len: bytes.len() as u64 };
        let start = usize::try_from(offset).map_err(|_| past_end)?;
        let end = start.checked_add(length).ok_or(past_end)?;
        bytes.get(start..end).ok_or(past_end)
    }

    pub(crate) fn len(&self, path: &str) -> Outcome<u64> {
        Ok(self.file(path)?.bytes.len() as u64)
    }

    pub(crate) fn list(&self, prefix: &str) -> Vec<String> {
        self.files.keys().filter(|path| path.starts_with(prefix)).cloned().collect()
    }

    /// Whether a file of `old` bytes may have `new` ones.
    fn check_room(&self, old: u64, new: u64) -> Outcome<usize> {
        let others = self.used_bytes() - old;
        match others.checked_add(new) {
            Some(all) if all <= self.budget_bytes => {
                usize::try_from(new).map_err(|_| Refusal::NoRoom)
            }
            _ => Err(Refusal::NoRoom),
        }
    }

    pub(crate) fn write(&mut self, path: &str, offset: u64, data: &[u8]) -> Outcome<()> {
        self.check_free(path)?;
        let file = self.files.get(path);
        if file.is_some_and(|file| file.sealed) {
            return Err(Refusal::Sealed);
        }
        let old = file.map_or(0, |file| file.bytes.len() as u64);
        if data.is_empty() {
            self.files.entry(path.to_owned()).or_default();
            return Ok(());
        }
        let end = offset.checked_add(data.len() as u64).ok_or(Refusal::NoRoom)?;
        let len = self.check_room(old, end.max(old))?;
        let bytes = &mut self.files.entry(path.to_owned()).or_default().bytes;
        bytes.resize(len, 0);
        let start = usize::try_from(offset).map_err(|_| Refusal::NoRoom)?;
        bytes[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }

    pub(crate) fn delete(&mut self, path: &str) -> Outcome<()> {
        self.file(path)?;
        self.files.remove(path);
        Ok(())
    }

    pub(crate) fn sync(&self, path: &str) -> Outcome<()> {
        self.file(path).map(|_| ())
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Outcome<()> {
        self.file(from)?;
        self.check_free(to)?;
        let file = self.files.remove(from).ok_or(Refusal::NotFound)?;
        self.files.insert(to.to_owned(), file);
        Ok(())
    }

    pub(crate) fn truncate(&mut self, path: &str, len: u64) -> Outcome<()> {
        let file = self.file(path)?;
        if file.sealed {
            return Err(Refusal::Sealed);
        }
        let len = self.check_room(file.bytes.len() as u64, len)?;
        self.files.entry(path.to_owned()).or_default().bytes.resize(len, 0);
        Ok(())
    }

    pub(crate) fn seal(&mut self, path: &str) -> Outcome<()> {
        self.file(path)?;
        self.files.entry(path.to_owned()).or_default().sealed = true;
        Ok(())
    }
}
