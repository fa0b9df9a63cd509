//! Where files cannot be mapped: the store goes on with positioned reads and writes, or says why it
//! does not.
//!
//! A limit on address space (`RLIMIT_AS`) keeps every file from being mapped. It holds for a whole
//! process, so each case is a child process that runs this same binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, path::Path, process::Command};

use storage::{
    StorageBackend, StorageConfig, backend,
    config::{BackendKind, Degrade},
};

/// Tells a child what to do.
const CASE: &str = "STORAGE_TEST_DEGRADATION";

fn config(root: &Path, degrade: Degrade) -> StorageConfig {
    StorageConfig { root: root.into(), backend: BackendKind::Mmap, degrade, ..Default::default() }
}

fn files_in(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Runs the test of the given name in a child, where it finds its case.
fn in_child(test: &str, case: &str) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(CASE, case)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = text + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{case}: {text}");
}

/// No more than what is mapped now and some room for threads and buffers: less than one reservation.
fn limit_address_space() {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let mapped_pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let limit_bytes = mapped_pages * rustix::param::page_size() as u64 + (512 << 20);
    let limit = rustix::process::Rlimit { current: Some(limit_bytes), maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::As, limit).unwrap();
}

async fn works(root: &Path, degrade: Degrade) -> bool {
    let backend = backend::open(&config(root, degrade)).unwrap();
    backend.write("f", 0, b"hello").await.unwrap();
    backend.seal("f").await.unwrap();
    let view = backend.read("f", 1, 3).await.unwrap();
    assert_eq!(view, b"ell"[..]);
    assert_eq!(files_in(root), ["f"], "the probe left nothing behind");
    backend.reads_are_views()
}

#[tokio::test]
async fn where_files_can_be_mapped_they_are() {
    for degrade in [Degrade::ToPosixio, Degrade::Never] {
        let folder = tempfile::tempdir().unwrap();
        assert!(works(folder.path(), degrade).await);
    }
}

#[tokio::test]
async fn without_address_space_positioned_reads_do_it() {
    if env::var(CASE).is_err() {
        in_child("without_address_space_positioned_reads_do_it", "to-posixio");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    limit_address_space();
    assert!(!works(folder.path(), Degrade::ToPosixio).await);
}

#[test]
fn without_address_space_and_without_degrading_the_reason_is_told() {
    if env::var(CASE).is_err() {
        in_child("without_address_space_and_without_degrading_the_reason_is_told", "never");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    limit_address_space();
    let error = backend::open(&config(folder.path(), Degrade::Never)).err().unwrap();
    assert!(error.to_string().contains("address space"), "{error}");
    assert!(files_in(folder.path()).is_empty(), "the probe left nothing behind");
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
