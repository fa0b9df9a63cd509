//! A backend of one's own: the files in a tar archive, read through the same interface as all
//! others. `docs/adding-a-backend.md` goes through it step by step.
//!
//! Run it with `cargo run --example tar_backend [ARCHIVE]`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use bytes::Bytes;
use storage::{
    BlockingBackend, BufferPool, DynBackend, Limits, Medium, Operation, StorageBackend,
    StorageError, StoragePath,
};

/// The files of an archive that is not compressed. It is read only: what it cannot do is left to
/// the contract, which answers with an error that says so.
struct TarMedium {
    archive: File,
    /// Where each file's bytes begin in the archive, and how many they are.
    files: BTreeMap<String, (u64, u64)>,
    buffers: BufferPool,
}

impl TarMedium {
    fn open(path: &Path, buffers: &BufferPool) -> Result<Self, StorageError> {
        let refused =
            |error: io::Error| StorageError::io(Operation::Open, path.display().to_string())(error);
        let archive = File::open(path).map_err(refused)?;
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(&archive).entries_with_seek().map_err(refused)? {
            let entry = entry.map_err(refused)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            // Names that no backend takes cannot be asked for; folders and links are no files.
            if entry.header().entry_type().is_file() && StoragePath::new(&name).is_ok() {
                files.insert(name, (entry.raw_file_position(), entry.size()));
            }
        }
        Ok(Self { archive, files, buffers: buffers.clone() })
    }

    fn find(
        &self,
        operation: Operation,
        path: StoragePath<'_>,
    ) -> Result<(u64, u64), StorageError> {
        let found = self.files.get(path.as_str()).copied();
        found.ok_or_else(|| StorageError::NotFound { operation, path: path.to_string() })
    }
}

impl Medium for TarMedium {
    fn name(&self) -> &'static str {
        "tar"
    }

    fn read(
        &self,
        path: StoragePath<'_>,
        offset: u64,
        length: usize,
    ) -> Result<Bytes, StorageError> {
        let (start, file_len) = self.find(Operation::Read, path)?;
        // First the range, then the memory: `length` may be any number.
        if offset.checked_add(length as u64).is_none_or(|end| end > file_len) {
            let path = path.to_string();
            return Err(StorageError::PastEnd { path, offset, length, file_len });
        }
        let mut buffer = self.buffers.take(length).ok_or_else(|| StorageError::BudgetExceeded {
            operation: Operation::Read,
            path: path.to_string(),
            needed_bytes: length as u64,
            used_bytes: self.buffers.used_bytes(),
            budget_bytes: self.buffers.limit_bytes(),
        })?;
        let read = self.archive.read_exact_at(&mut buffer, start + offset);
        read.map_err(StorageError::io(Operation::Read, path.as_str()))?;
        Ok(buffer.freeze())
    }

    fn len(&self, path: StoragePath<'_>) -> Result<u64, StorageError> {
        self.find(Operation::Examine, path).map(|(_, len)| len)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let from_prefix = self.files.range(prefix.to_owned()..).map(|(path, _)| path);
        Ok(from_prefix.take_while(|path| path.starts_with(prefix)).cloned().collect())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let archive = match env::args_os().nth(1) {
        Some(archive) => archive.into(),
        None => some_archive(folder.path())?,
    };

    let backend =
        BlockingBackend::new(Limits::default(), |buffers| TarMedium::open(&archive, buffers))?;
    // From here on nobody needs to know what it is.
    let backend: DynBackend = std::sync::Arc::new(backend);

    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        for path in backend.list("").await? {
            let len = backend.len(&path).await?;
            let start = backend.read(&path, 0, usize::try_from(len.min(24))?).await?;
            println!("{len:>10} {path}  {:?}", String::from_utf8_lossy(&start));
        }
        let refused = backend.write("new", 0, b"bytes").await;
        println!("{}", refused.expect_err("an archive is read only"));
        Ok(())
    })
}

/// Makes an archive to look at.
fn some_archive(folder: &Path) -> io::Result<std::path::PathBuf> {
    let path = folder.join("some.tar");
    let mut archive = tar::Builder::new(File::create(&path)?);
    for (name, text) in [("readme", "An archive with two files."), ("data/numbers", "1 2 3 4 5")] {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, text.as_bytes())?;
    }
    archive.into_inner()?.flush()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_read_through_the_interface() -> Result<(), Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let archive = some_archive(folder.path())?;
        let backend =
            BlockingBackend::new(Limits::default(), |buffers| TarMedium::open(&archive, buffers))?;
        assert_eq!(backend.list("").await?, ["data/numbers", "readme"]);
        assert_eq!(backend.list("data").await?, ["data/numbers"]);
        assert_eq!(&backend.read("data/numbers", 2, 3).await?[..], b"2 3");
        assert!(!backend.exists("data").await?);
        let past = backend.read("data/numbers", 2, usize::MAX).await;
        assert!(matches!(past, Err(StorageError::PastEnd { file_len: 9, .. })), "{past:?}");
        let missing = backend.read("data/letters", 0, 1).await;
        assert!(matches!(missing, Err(StorageError::NotFound { .. })), "{missing:?}");
        let refused = backend.delete("readme").await;
        assert!(matches!(refused, Err(StorageError::Unsupported { .. })), "{refused:?}");
        Ok(())
    }
}
