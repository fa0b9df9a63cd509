//! Errors: each variant comes out of the public interface, says what it says to programs
//! (`is_transient`, `io_kind`, `path`), and keeps its source.

use std::{
    error::Error as _,
    fs,
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use storage::{
    BlockingBackend, DynBackend, Limits, Medium, Operation, StorageBackend, StorageConfig,
    StorageError, StoragePath, StoredContent, WithCauses,
    backend::{self, Breaker, Layered},
    config::{BackendKind, BreakerConfig, CompressionConfig},
};
use tempfile::TempDir;

use crate::scripted::{Scripted, Step, broken};

fn memory() -> DynBackend {
    let config = StorageConfig {
        backend: BackendKind::Memory,
        memory_budget_bytes: 1 << 20,
        ..Default::default()
    };
    backend::open(&config).unwrap()
}

fn on_disk(backend: BackendKind, compression: CompressionConfig) -> (DynBackend, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config =
        StorageConfig { backend, compression, root: folder.path().into(), ..Default::default() };
    (backend::open(&config).unwrap(), folder)
}

#[tokio::test]
async fn not_found_past_end_path_and_sealed() {
    for backend in [memory(), on_disk(BackendKind::Mmap, CompressionConfig::None).0] {
        let error = backend.read("f", 0, 1).await.unwrap_err();
        assert!(matches!(&error, StorageError::NotFound { path, .. } if path == "f"), "{error}");
        backend.write("f", 0, b"abc").await.unwrap();
        let error = backend.read("f", 1, 3).await.unwrap_err();
        assert!(
            matches!(error, StorageError::PastEnd { offset: 1, length: 3, file_len: 3, .. }),
            "{error}"
        );
        let error = backend.read("../f", 0, 1).await.unwrap_err();
        assert!(matches!(&error, StorageError::Path { path, .. } if path == "../f"), "{error}");
        backend.seal("f").await.unwrap();
        let error = backend.write("f", 0, b"x").await.unwrap_err();
        assert!(
            matches!(error, StorageError::Sealed { operation: Operation::Write, .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn io_keeps_the_system_s_error() {
    for backend in [memory(), on_disk(BackendKind::Posixio, CompressionConfig::None).0] {
        backend.write("a/b", 0, b"x").await.unwrap();
        let error = backend.write("a", 0, b"x").await.unwrap_err();
        assert!(matches!(error, StorageError::Io { operation: Operation::Write, .. }), "{error:?}");
        assert_eq!(error.io_kind(), ErrorKind::IsADirectory);
        let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), ErrorKind::IsADirectory);
        assert!(error.to_string().contains("choose another name"), "{error}");
    }
}

#[tokio::test]
async fn locked() {
    let (first, folder) = on_disk(BackendKind::Mmap, CompressionConfig::None);
    first.write("f", 0, b"x").await.unwrap();
    let config = StorageConfig { root: folder.path().into(), ..Default::default() };
    let second = backend::open(&config).unwrap();
    let error = second.write("f", 0, b"y").await.unwrap_err();
    assert!(matches!(error, StorageError::Locked { .. }), "{error:?}");
}

#[tokio::test]
async fn budget_exceeded() {
    let error = memory().write("f", 0, &vec![1; 2 << 20]).await.unwrap_err();
    assert!(
        matches!(error, StorageError::BudgetExceeded { budget_bytes: 1_048_576, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn corrupt() {
    let (backend, folder) = on_disk(BackendKind::Posixio, CompressionConfig::Lz4);
    let data: Vec<u8> = (0..40_000_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
    backend.write("f", 0, &data).await.unwrap();
    backend.sync("f").await.unwrap();
    drop(backend);
    let path = folder.path().join("f");
    let mut stored = fs::read(&path).unwrap();
    assert!(stored.len() < data.len(), "compressed");
    let at = stored.len() / 2;
    stored[at..at + 512].iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::write(&path, stored).unwrap();
    let config = StorageConfig {
        backend: BackendKind::Posixio,
        compression: CompressionConfig::Lz4,
        root: folder.path().into(),
        ..Default::default()
    };
    let backend = backend::open(&config).unwrap();
    let error = backend.read("f", 0, data.len()).await.unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn circuit_open_through_open_is_the_breaker_s() {
    let inner = Scripted::new([Step::Fail(broken(Operation::Read))]);
    let config = BreakerConfig { failures_max: 1, ..Default::default() };
    let backend = Layered::new(Breaker::new(config).unwrap(), inner);
    backend.read("f", 0, 1).await.unwrap_err();
    let error = backend.read("f", 0, 1).await.unwrap_err();
    assert!(matches!(error, StorageError::CircuitOpen { .. }), "{error:?}");
}

/// A medium that only reads, and has an error of its own.
struct Shelf;

#[derive(Debug, thiserror::Error)]
#[error("the shelf fell down")]
struct FellDown;

impl Medium for Shelf {
    fn name(&self) -> &'static str {
        "shelf"
    }

    fn read(&self, path: StoragePath<'_>, _: u64, _: usize) -> Result<Bytes, StorageError> {
        Err(StorageError::backend(Operation::Read, path.as_str())(FellDown))
    }

    fn len(&self, _: StoragePath<'_>) -> Result<u64, StorageError> {
        Ok(1)
    }

    fn list(&self, _: &str) -> Result<Vec<String>, StorageError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn unsupported_and_a_foreign_backend_s_error() {
    let shelf = BlockingBackend::new(Limits::default(), |_| Ok(Shelf)).unwrap();
    let shelf: DynBackend = Arc::new(shelf);
    let error = shelf.write("f", 0, b"x").await.unwrap_err();
    assert!(matches!(error, StorageError::Unsupported { .. }), "{error:?}");
    assert!(error.to_string().contains("a shelf backend cannot do that"), "{error}");
    let error = shelf.read("f", 0, 1).await.unwrap_err();
    assert!(matches!(error, StorageError::Backend { .. }), "{error:?}");
    assert!(error.source().unwrap().is::<FellDown>());
    assert!(!error.is_transient());
}

#[test]
fn config() {
    let error = backend::open(&StorageConfig::default()).err().unwrap();
    assert!(matches!(error, StorageError::Config { field: "root", .. }), "{error:?}");
    assert_eq!(error.path(), None);
}

#[tokio::test]
async fn poisoned_keeps_what_happened() {
    let plan = backends::FaultPlan::seeded(1);
    let limits = Limits::default();
    let medium = storage::MemoryBackend::with_budget(1 << 20, limits).unwrap();
    let backend = backends::FaultyBackend::new(medium, plan);
    backend.write("f", 0, b"x").await.unwrap();
    backend.fail_next(Operation::Sync, backends::Fault::InputOutput);
    let first = backend.sync("f").await.unwrap_err();
    assert!(!first.is_transient());
    let error = backend.read("f", 0, 1).await.unwrap_err();
    assert!(matches!(error, StorageError::Poisoned { .. }), "{error:?}");
    assert!(error.source().is_some() && !error.is_transient());
}

fn transient_kinds() -> impl Iterator<Item = (ErrorKind, bool)> {
    use ErrorKind::*;
    let yes = [Interrupted, WouldBlock, TimedOut, ResourceBusy, ConnectionReset, ConnectionAborted];
    let no = [PermissionDenied, StorageFull, QuotaExceeded, ReadOnlyFilesystem, InvalidData, Other];
    yes.map(|kind| (kind, true)).into_iter().chain(no.map(|kind| (kind, false)))
}

#[test]
fn which_errors_pass_by_themselves() {
    for (kind, expected) in transient_kinds() {
        let io = |operation| StorageError::io::<io::Error>(operation, "f")(kind.into());
        assert_eq!(io(Operation::Read).is_transient(), expected, "{kind}");
        assert_eq!(io(Operation::Write).io_kind(), kind);
        let foreign = StorageError::backend(Operation::Read, "f")(io::Error::from(kind));
        assert_eq!((foreign.is_transient(), foreign.io_kind()), (expected, kind));
        assert!(!io(Operation::Sync).is_transient() && !io(Operation::Seal).is_transient());
    }
    for (errno, expected) in [(5, false), (12, true), (23, true), (24, true), (28, false)] {
        let error = io::Error::from_raw_os_error(errno);
        let error = StorageError::io::<io::Error>(Operation::Read, "f")(error);
        assert_eq!(error.is_transient(), expected, "errno {errno}");
    }
}

#[test]
fn every_variant_has_a_kind_and_all_but_the_configuration_s_a_path() {
    let (operation, path) = (Operation::Read, || "f".to_owned());
    let (reason, waited) = (|| "why".to_owned(), Duration::from_secs(1));
    let table = [
        (StorageError::NotFound { operation, path: path() }, ErrorKind::NotFound),
        (
            StorageError::PastEnd { path: path(), offset: 0, length: 1, file_len: 0 },
            ErrorKind::UnexpectedEof,
        ),
        (StorageError::Path { path: path(), reason: "why" }, ErrorKind::InvalidInput),
        (StorageError::Sealed { operation, path: path() }, ErrorKind::PermissionDenied),
        (
            StorageError::Locked { operation, path: path(), holder: reason() },
            ErrorKind::ResourceBusy,
        ),
        (
            StorageError::Corrupt { operation, path: path(), offset: 0, reason: reason() },
            ErrorKind::InvalidData,
        ),
        (
            StorageError::Unsupported { operation, path: path(), reason: reason() },
            ErrorKind::Unsupported,
        ),
        (
            StorageError::BudgetExceeded {
                operation,
                path: path(),
                needed_bytes: 1,
                used_bytes: 2,
                budget_bytes: 2,
            },
            ErrorKind::QuotaExceeded,
        ),
        (
            StorageError::BuffersInUse { operation, path: path(), budget_bytes: 1, waited },
            ErrorKind::OutOfMemory,
        ),
        (
            StorageError::CircuitOpen { operation, path: path(), retry_after: waited },
            ErrorKind::Other,
        ),
        (
            StorageError::StoredOtherwise {
                path: path(),
                stored: StoredContent::Lz4Blocks,
                asked: StoredContent::Plain,
                evidence: reason(),
            },
            ErrorKind::InvalidInput,
        ),
        (
            StorageError::Config { field: "root", value: path(), allowed: reason() },
            ErrorKind::InvalidInput,
        ),
    ];
    for (error, kind) in table {
        let text = error.to_string();
        let is_config = matches!(error, StorageError::Config { .. });
        assert_eq!(error.path(), (!is_config).then_some("f"), "{text}");
        assert_eq!((error.io_kind(), error.is_transient()), (kind, false), "{text}");
        assert!(error.source().is_none(), "{text}");
        let io = io::Error::from(error);
        assert_eq!(io.kind(), kind);
        assert!(io.get_ref().unwrap().is::<StorageError>(), "the whole error is kept");
    }
}

/// The texts of an error and of all that caused it, outermost first.
fn chain(error: &dyn std::error::Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        texts.push(error.to_string());
        source = error.source();
    }
    texts
}

/// Whoever reports a chain of errors tells nothing twice, and whoever wants one line has all of it.
#[track_caller]
fn is_told_once(error: &dyn std::error::Error, causes: &[&str]) {
    let texts = chain(error);
    for (text, causes) in texts.iter().zip(1..).map(|(text, next)| (text, &texts[next..])) {
        for cause in causes {
            assert!(!text.contains(cause.as_str()), "{cause:?} stands in {text:?} as well");
        }
    }
    assert_eq!(texts[1..], *causes, "{error:?}");
    assert_eq!(WithCauses(error).to_string(), texts.join(": "));
}

#[test]
fn a_cause_is_told_once_by_every_error_that_has_one() {
    use storage::{AddressLimit, FormatError, PageCount, PageId, PageRange, PageSize};
    use storage::{columns::ColumnsError, spill::SpillError};
    let broken = || io::Error::other("the disk is broken");
    let path = || std::path::PathBuf::from("/f");
    let pages = PageRange::resolve(PageId::new(1)..PageId::new(2), PageCount::new(3)).unwrap();
    let of_pages = [
        storage::Error::Io { operation: "open", path: path(), source: broken() },
        storage::Error::AddressSpace { bytes: 1, limit: AddressLimit::Unknown, source: broken() },
        storage::Error::DiskFull { path: path(), needed_bytes: 1, source: broken() },
        storage::Error::FlushFailed { path: path(), pages, source: broken() },
        storage::Error::SealFailed { path: path(), source: broken() },
        storage::Error::SyncFailed { path: path(), source: broken() },
    ];
    for error in of_pages {
        is_told_once(&error, &["the disk is broken"]);
        // Through all the crates above.
        is_told_once(&ColumnsError::from(error), &["the disk is broken"]);
    }
    let full = storage::Error::SyncFailed { path: path(), source: broken() };
    is_told_once(&SpillError::from(full), &["the disk is broken"]);
    let size = PageSize::new(5).unwrap_err();
    let format = FormatError::from(size);
    is_told_once(&format, &[&size.to_string()]);
    let error = storage::Error::Format { path: path(), source: format };
    is_told_once(&error, &["the superblock is wrong", &size.to_string()]);
    let (operation, name) = (Operation::Read, || "f".to_owned());
    is_told_once(&StorageError::io::<io::Error>(operation, "f")(broken()), &["the disk is broken"]);
    is_told_once(&StorageError::backend(operation, "f")(FellDown), &["the shelf fell down"]);
    let poisoned = StorageError::Poisoned { operation, path: name(), source: Box::new(error) };
    let text = poisoned.source().unwrap().to_string();
    is_told_once(&poisoned, &[&text, "the superblock is wrong", &size.to_string()]);
    is_told_once(
        &io::Error::from(poisoned),
        &[&text, "the superblock is wrong", &size.to_string()],
    );
}

/// A failure that several callers hear of: each gets the whole of it, and nothing twice.
#[tokio::test]
async fn a_failure_that_is_shared_is_told_once_too() {
    let inner = Scripted::new([]);
    let file = storage::AsyncFile::new(Arc::new(inner.clone()) as DynBackend, "f").unwrap();
    let config = StorageConfig::default();
    let buffer = storage::FileBuffer::new(file, (&config).into()).await.unwrap();
    buffer.write_at(0, b"x").await.unwrap();
    inner.then(Step::Fail(StorageError::backend(Operation::Write, "f")(FellDown)));
    let failed = buffer.flush().await.unwrap_err();
    let texts = chain(&failed);
    assert!(texts.last().unwrap().contains("the shelf fell down"), "{texts:?}");
    let causes: Vec<_> = texts[1..].iter().map(String::as_str).collect();
    is_told_once(&failed, &causes);
}

/// Finds, in the source of all crates, messages that quote what `source` gives as well: also those
/// of variants that no test makes.
#[test]
fn no_message_quotes_its_source() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<_> =
        ["", "layout", "pagestore", "backends", "cli", "dbsp", "benches/compare"]
            .map(|member| root.join(member).join("src"))
            .into();
    let mut messages = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for (at, _) in text.match_indices("#[error(") {
                messages += 1;
                let rest = &text[at..];
                let (message, variant) = rest.split_once(")]\n").unwrap();
                let quotes = message.contains("{source") || {
                    // A tuple variant whose only field is its source.
                    let field = variant.lines().next().unwrap();
                    let is_source = field.contains("#[from]") || field.contains("#[source]");
                    is_source && message.contains("{0")
                };
                assert!(!quotes, "{}: {message}", path.display());
            }
        }
    }
    assert!(messages > 80, "only {messages} were found");
}
