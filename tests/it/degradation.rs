//! Where files cannot be mapped: the store goes on with positioned reads and writes, or says why it
//! does not.
//!
//! A limit on address space (`RLIMIT_AS`) keeps every file from being mapped. It holds for a whole
//! process, so each case is a child process that runs this same binary.

use std::{fs::Permissions, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path};

use rustix::process::{Resource, Rlimit, setrlimit};
use storage::{
    DynBackend, StorageBackend, StorageConfig, backend,
    config::{BackendKind, Degrade},
};

use crate::{child, listening::listen_to};

fn config(root: &Path, degrade: Degrade) -> StorageConfig {
    StorageConfig { root: root.into(), backend: BackendKind::Mmap, degrade, ..Default::default() }
}

/// All that lies in the root, but for what says how its files are stored.
fn files_in(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".storage-manifest").collect()
}

/// Runs something with no address space to spare. Allocating goes on in what the allocator has
/// reserved for this thread.
fn without_address_space<T>(run: impl FnOnce() -> T) -> T {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let mapped_pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let limit_bytes = mapped_pages * rustix::param::page_size() as u64;
    let limit = |current| Rlimit { current, maximum: None };
    setrlimit(Resource::As, limit(Some(limit_bytes))).unwrap();
    let output = run();
    setrlimit(Resource::As, limit(None)).unwrap();
    output
}

/// Uses a backend; says whether sealed files are read where they are mapped, without a copy.
async fn reads_mapped_files(backend: &DynBackend, root: &Path) -> bool {
    backend.write("f", 0, b"hello").await.unwrap();
    backend.seal("f").await.unwrap();
    let first = backend.read("f", 1, 3).await.unwrap();
    let second = backend.read("f", 1, 3).await.unwrap();
    assert_eq!((&first[..], &second[..]), (&b"ell"[..], &b"ell"[..]));
    assert_eq!(files_in(root), ["f"], "the probe left nothing behind");
    first.as_ptr() == second.as_ptr()
}

#[tokio::test]
async fn where_files_can_be_mapped_they_are() {
    for degrade in [Degrade::ToPosixio, Degrade::Never] {
        let folder = tempfile::tempdir().unwrap();
        let backend = backend::open(&config(folder.path(), degrade)).unwrap();
        assert!(reads_mapped_files(&backend, folder.path()).await);
    }
}

#[tokio::test]
async fn without_address_space_positioned_reads_do_it() {
    let test = "without_address_space_positioned_reads_do_it";
    let Some(folder) = child::path() else {
        let folder = tempfile::tempdir().unwrap();
        return child::check(&mut child::command("", test, folder.path()));
    };
    let config = config(&folder, Degrade::ToPosixio);
    let (warnings, _guard) = listen_to(tracing::Level::WARN);
    let backend = without_address_space(|| backend::open(&config)).unwrap();
    assert!(!reads_mapped_files(&backend, &folder).await);
    let warnings = warnings.lock().unwrap().clone();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].get("message").contains("files cannot be mapped here"), "{warnings:?}");
    assert!(warnings[0].get("error").contains("Cannot allocate memory"), "{warnings:?}");
    child::done();
}

#[test]
fn without_address_space_and_without_degrading_the_reason_is_told() {
    let test = "without_address_space_and_without_degrading_the_reason_is_told";
    let Some(folder) = child::path() else {
        let folder = tempfile::tempdir().unwrap();
        return child::check(&mut child::command("", test, folder.path()));
    };
    let config = config(&folder, Degrade::Never);
    let error = without_address_space(|| backend::open(&config)).err().unwrap();
    let text = storage::WithCauses(&error).to_string();
    assert!(text.contains("Cannot allocate memory"), "{text}");
    assert!(files_in(&folder).is_empty(), "the probe left nothing behind");
    child::done();
}

/// A folder that nothing can be written to says nothing about mapping: the store opens as asked, for
/// reading what is there. Root may write everywhere, so there is nothing to test then.
#[tokio::test]
async fn a_folder_that_cannot_be_written_to_is_not_blamed_on_the_mapping() {
    if rustix::process::geteuid().is_root() {
        // Visible with `--nocapture`, and in the list of what a run as root leaves out.
        writeln!(std::io::stderr(), "SKIPPED: root may write to every folder").unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let opened = backend::open(&config(folder.path(), Degrade::Never)).unwrap();
    opened.write("f", 0, b"hello").await.unwrap();
    opened.seal("f").await.unwrap();
    drop(opened);
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).unwrap();
    let backend = backend::open(&config(folder.path(), Degrade::Never)).unwrap();
    assert_eq!(backend.read("f", 0, 5).await.unwrap(), b"hello"[..]);
}

/// The mapping is not to blame for a root that is a file.
#[test]
fn a_root_that_cannot_be_opened_is_an_error_either_way() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("file");
    std::fs::write(&root, b"x").unwrap();
    for degrade in [Degrade::ToPosixio, Degrade::Never] {
        let error = backend::open(&config(&root, degrade)).err().unwrap();
        assert!(error.path().is_some_and(|path| path.ends_with("file")), "{error}");
    }
}

/// What a pod's `fsGroup` does to all files: `backend::open` looks at what is there, and neither says that
/// mapping is possible nor lets anybody write to what is sealed.
#[tokio::test]
async fn files_that_others_could_write_to_are_found_when_the_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let backend = backend::open(&config(folder.path(), Degrade::Never)).unwrap();
    backend.write("a/sealed", 0, b"hello").await.unwrap();
    backend.seal("a/sealed").await.unwrap();
    backend.write("mutable", 0, b"hello").await.unwrap();
    drop(backend);
    for name in ["a/sealed", "mutable"] {
        let path = folder.path().join(name);
        let mode = path.metadata().unwrap().permissions().mode();
        std::fs::set_permissions(path, Permissions::from_mode(mode | 0o660)).unwrap();
    }
    let error = backend::open(&config(folder.path(), Degrade::Never)).err().unwrap();
    let message = storage::WithCauses(&error).to_string();
    assert!(message.contains("chmod go-w"), "{message}");
    assert!(error.path().is_some(), "{error}");
    let (warnings, _guard) = listen_to(tracing::Level::WARN);
    let backend = backend::open(&config(folder.path(), Degrade::ToPosixio)).unwrap();
    assert_eq!(warnings.lock().unwrap().len(), 1);
    assert_eq!(backend.read("a/sealed", 0, 5).await.unwrap(), b"hello"[..]);
    let refused = backend.write("a/sealed", 0, b"x").await.unwrap_err();
    assert!(matches!(refused, storage::StorageError::Sealed { .. }), "{refused}");
    backend.write("mutable", 0, b"H").await.unwrap();
    drop(backend);
    // As the error advises.
    for name in ["a/sealed", "mutable"] {
        let path = folder.path().join(name);
        let mode = path.metadata().unwrap().permissions().mode();
        std::fs::set_permissions(path, Permissions::from_mode(mode & !0o022)).unwrap();
    }
    backend::open(&config(folder.path(), Degrade::Never)).unwrap();
}
