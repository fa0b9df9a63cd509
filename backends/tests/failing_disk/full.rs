//! A disk that is full to the last block: what needs no room works, everything else is an error that
//! says so and leaves nothing half done, and works once there is room again.

use std::path::Path;

use backends::{DynBackend, Result, StorageBackend as _, StorageError, WriteRequest};

use crate::{
    BACKENDS,
    loop_disk::{BLOCK_BYTES, LoopDisk},
    session::Open,
    skip,
};

const MIB: usize = 1 << 20;

fn bytes(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|place| u8::try_from((place + 37 * seed) % 251).unwrap() + 1).collect()
}

#[track_caller]
fn check_full(result: Result<()>) {
    let error = result.unwrap_err();
    let StorageError::Io { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull, "{error}");
    assert!(error.to_string().ends_with("(free some space and try again)"), "{error}");
    assert!(!error.is_transient(), "a full disk waits for a person");
}

/// A file has these bytes and no other ones, for the backend and on the disk.
async fn check(backend: &DynBackend, disk: &LoopDisk, path: &str, expected: &[u8]) {
    assert_eq!(backend.len(path).await.unwrap(), expected.len() as u64, "{path}");
    let found = backend.read(path, 0, expected.len()).await.unwrap();
    let wrong = found.iter().zip(expected).position(|(found, expected)| found != expected);
    assert_eq!(wrong, None, "{path}");
    let on_disk = disk.path().join(path).metadata().unwrap().len();
    assert_eq!(on_disk, expected.len() as u64, "{path} on the disk");
}

async fn prepare(backend: &DynBackend) {
    for (path, len) in [("file", MIB), ("folder/deep", 5000), ("ballast 1", MIB), ("old", 5000)] {
        backend.write(path, 0, &bytes(1, len)).await.unwrap();
        backend.sync(path).await.unwrap();
    }
    backend.write("sealed", 0, &bytes(2, 100_000)).await.unwrap();
    backend.seal("sealed").await.unwrap();
}

/// What needs no block.
async fn without_room(backend: &DynBackend, disk: &LoopDisk, file: &mut [u8]) {
    check(backend, disk, "file", file).await;
    check(backend, disk, "sealed", &bytes(2, 100_000)).await;
    let listed = backend.list("").await.unwrap();
    assert_eq!(listed, ["ballast", "ballast 1", "file", "folder/deep", "old", "sealed"]);
    assert!(backend.exists("file").await.unwrap() && !backend.exists("none").await.unwrap());
    backend.write("file", 5000, &bytes(3, 300_000)).await.unwrap();
    file[5000..305_000].copy_from_slice(&bytes(3, 300_000));
    backend.sync("file").await.unwrap();
    check(backend, disk, "file", file).await;
    backend.seal("folder/deep").await.unwrap();
    backend.rename("old", "older").await.unwrap();
    check(backend, disk, "older", &bytes(1, 5000)).await;
}

/// What needs blocks.
async fn refused(backend: &DynBackend, disk: &LoopDisk, file: &mut Vec<u8>) {
    let large = bytes(4, 2 * MIB);
    let end = file.len() as u64;
    for offset in [end, end + 1, end + 5 * MIB as u64, 100 * MIB as u64] {
        check_full(backend.write("file", offset, &large).await);
        check(backend, disk, "file", file).await;
    }
    // What the file had in the range may be the new bytes, nothing else.
    check_full(backend.write("file", end - 100, &large).await);
    let tail = backend.read("file", end - 100, 100).await.unwrap();
    let (before, tail_start) = (&file[file.len() - 100..], file.len() - 100);
    assert!(
        tail.iter()
            .zip(before.iter().zip(&large))
            .all(|(byte, (old, new))| byte == old || byte == new)
    );
    file[tail_start..].copy_from_slice(&tail);
    check(backend, disk, "file", file).await;

    // A hole can be made, and not be filled.
    backend.truncate("file", 3 * MIB as u64).await.unwrap();
    file.resize(3 * MIB, 0);
    check(backend, disk, "file", file).await;
    check_full(backend.write("file", 2 * MIB as u64, &large[..MIB]).await);
    check(backend, disk, "file", file).await;
    backend.truncate("file", end).await.unwrap();
    file.truncate(MIB);

    let request = |path, offset, len| WriteRequest { path, offset, data: bytes(5, len).into() };
    let requests =
        [request("file", 100, 50), request("file", end, MIB), request("file", end + MIB as u64, 9)];
    let mut results = backend.write_many(&requests).await.into_iter();
    results.next().unwrap().unwrap();
    results.for_each(check_full);
    file[100..150].copy_from_slice(&bytes(5, 50));
    check(backend, disk, "file", file).await;
    backend.sync("file").await.unwrap();

    for path in ["new", "other/deeper/new", "folder/new"] {
        check_full(backend.write(path, 0, &large).await);
        // At the most it is there, and empty.
        if backend.exists(path).await.unwrap() {
            check(backend, disk, path, &[]).await;
            backend.delete(path).await.unwrap();
        }
    }
    assert!(!disk.path().join("other").exists(), "no folder is left behind");
}

/// The same on a disk that has room again.
async fn with_room(backend: &DynBackend, disk: &LoopDisk, file: &mut Vec<u8>) {
    let large = bytes(4, 2 * MIB);
    backend.write("file", file.len() as u64 + 7, &large).await.unwrap();
    file.extend([0; 7]);
    file.extend(&large);
    check(backend, disk, "file", file).await;
    backend.sync("file").await.unwrap();
    for path in ["new", "other/deeper/new", "folder/new"] {
        backend.write(path, 0, &large).await.unwrap();
        backend.seal(path).await.unwrap();
        check(backend, disk, path, &large).await;
    }
    backend.seal("file").await.unwrap();
}

async fn on_a_full_disk(open: Open, disk: &LoopDisk) {
    let root: &Path = &disk.path();
    let backend = open(root).unwrap();
    std::fs::remove_dir(root.join("lost+found")).unwrap();
    prepare(&backend).await;
    rustix::fs::syncfs(std::fs::File::open(root).unwrap()).unwrap();
    disk.fill_but(0);
    let mut file = bytes(1, MIB);
    without_room(&backend, disk, &mut file).await;
    for _ in 0..2 {
        refused(&backend, disk, &mut file).await;
        assert_eq!(disk.free_blocks(), 0);
    }
    // As much as is free is taken.
    backend.truncate("ballast 1", (MIB as u64) - 4 * BLOCK_BYTES).await.unwrap();
    let free = usize::try_from(disk.free_blocks() * BLOCK_BYTES).unwrap();
    assert!(free >= 3 * 4096, "{free} bytes are free");
    check_full(backend.write("file", MIB as u64, &bytes(6, free + 4096)).await);
    check(&backend, disk, "file", &file).await;
    backend.write("file", MIB as u64, &bytes(6, 8192)).await.unwrap();
    file.extend(bytes(6, 8192));
    backend.sync("file").await.unwrap();
    check(&backend, disk, "file", &file).await;

    backend.delete("ballast").await.unwrap();
    with_room(&backend, disk, &mut file).await;
    drop(backend);
    let backend = open(root).unwrap();
    check(&backend, disk, "file", &file).await;
    check(&backend, disk, "older", &bytes(1, 5000)).await;
    check(&backend, disk, "folder/new", &bytes(4, 2 * MIB)).await;
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_leaves_everything_as_it_was() {
    for (name, open) in BACKENDS {
        match LoopDisk::new(24, 64) {
            Ok(disk) => on_a_full_disk(open, &disk).await,
            Err(reason) => skip::skipped(&format!("a full disk under {name}"), &reason),
        }
    }
}

#[tokio::test]
async fn a_disk_without_inodes_is_an_error_and_leaves_nothing() {
    for (name, open) in BACKENDS {
        let disk = match LoopDisk::new(8, 16) {
            Ok(disk) => disk,
            Err(reason) => {
                skip::skipped(&format!("a disk without inodes under {name}"), &reason);
                continue;
            }
        };
        let backend = open(&disk.path()).unwrap();
        let mut count = 0;
        let error = loop {
            match backend.write(&format!("file{count}"), 0, b"bytes").await {
                Ok(()) => count += 1,
                Err(error) => break error,
            }
        };
        assert!(count > 0 && count < 16);
        check_full(Err(error));
        check_full(backend.write("folder/file", 0, b"bytes").await);
        assert_eq!(backend.list("").await.unwrap().len(), count);
        assert!(!backend.exists(&format!("file{count}")).await.unwrap());
        backend.delete("file0").await.unwrap();
        backend.write(&format!("file{count}"), 0, b"bytes").await.unwrap();
        for number in 1..=count {
            let path = format!("file{number}");
            backend.sync(&path).await.unwrap();
            check(&backend, &disk, &path, b"bytes").await;
        }
    }
}
