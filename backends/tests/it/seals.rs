//! A seal is for good: whoever changes modes afterwards, and whichever backend opens the file next.
//!
//! Method: a file is sealed by one backend, its mode is changed from outside as a pod's `fsGroup`, an
//! archive or a careless `chmod -R` do, and each backend then tries to change the file in every way.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use backends::{Limits, MmapBackend, PosixBackend, StorageBackend, StorageError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Mmap,
    Posixio,
}

const KINDS: [Kind; 2] = [Kind::Mmap, Kind::Posixio];

async fn write_and_seal(kind: Kind, root: &Path) {
    async fn seal<B: StorageBackend<Error = StorageError>>(backend: B) {
        backend.write("a/file", 0, b"sealed bytes").await.unwrap();
        backend.seal("a/file").await.unwrap();
        check_unchangeable(&backend).await;
    }
    match kind {
        Kind::Mmap => seal(MmapBackend::open(root, Limits::default()).unwrap()).await,
        Kind::Posixio => seal(PosixBackend::open(root, Limits::default()).unwrap()).await,
    }
}

async fn check_unchangeable<B: StorageBackend<Error = StorageError>>(backend: &B) {
    assert_eq!(backend.read("a/file", 0, 12).await.unwrap(), b"sealed bytes"[..]);
    let refused = [
        backend.write("a/file", 0, b"x").await.unwrap_err(),
        backend.write("a/file", 12, b"more").await.unwrap_err(),
        backend.truncate("a/file", 3).await.unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, StorageError::Sealed { .. }), "{error}");
    }
    backend.seal("a/file").await.unwrap();
    backend.sync("a/file").await.unwrap();
    assert_eq!(backend.len("a/file").await.unwrap(), 12);
}

async fn check_sealed(kind: Kind, root: &Path) {
    match kind {
        Kind::Mmap => {
            check_unchangeable(&MmapBackend::open(root, Limits::default()).unwrap()).await;
        }
        Kind::Posixio => {
            check_unchangeable(&PosixBackend::open(root, Limits::default()).unwrap()).await;
        }
    }
}

#[tokio::test]
async fn a_seal_outlives_changes_of_the_mode_and_of_the_backend() {
    // On a disk, and in memory.
    for folder in
        [tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")), tempfile::tempdir_in("/dev/shm")]
    {
        let folder = folder.unwrap();
        for (number, (first, second)) in
            KINDS.into_iter().flat_map(|first| KINDS.map(|second| (first, second))).enumerate()
        {
            let root = folder.path().join(number.to_string());
            write_and_seal(first, &root).await;
            check_sealed(second, &root).await;
            for mode in [0o600, 0o640, 0o755, 0o660, 0o777] {
                let file = root.join("a/file");
                fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
                let others_may_write = mode & 0o022 != 0;
                if others_may_write && second == Kind::Mmap {
                    let backend = MmapBackend::open(&root, Limits::default()).unwrap();
                    let error = backend.write("a/file", 0, b"x").await.unwrap_err();
                    let message = pagestore::WithCauses(&error).to_string();
                    assert!(message.contains("chmod go-w"), "{message}");
                    assert!(backend.medium().check_files().is_err());
                } else {
                    check_sealed(second, &root).await;
                }
                assert_eq!(fs::read(&file).unwrap(), b"sealed bytes", "{first:?}, {second:?}");
            }
        }
    }
}

/// A seal goes with the file's name, and is not inherited by what takes its name.
#[tokio::test]
async fn a_seal_goes_with_the_file() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = folder.path().join("root");
    write_and_seal(Kind::Mmap, &root).await;
    fs::set_permissions(root.join("a/file"), Permissions::from_mode(0o600)).unwrap();
    let backend = PosixBackend::open(&root, Limits::default()).unwrap();
    backend.rename("a/file", "b/other").await.unwrap();
    let refused = backend.write("b/other", 0, b"x").await.unwrap_err();
    assert!(matches!(refused, StorageError::Sealed { .. }), "{refused}");
    backend.write("a/file", 0, b"new").await.unwrap();
    backend.write("a/file", 0, b"NEW").await.unwrap();
    backend.delete("b/other").await.unwrap();
    backend.write("b/other", 0, b"new").await.unwrap();
}
