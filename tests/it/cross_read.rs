//! What one backend wrote, the other reads.
//!
//! Purpose: `PosixBackend` and `MmapBackend` are two ways to the same files: neither keeps anything
//! in them, or beside them, that the other does not understand. Method: random writes, cuts and
//! seals by one, then a look by the other over the same root, and by `std::fs`, against a plain
//! `Vec<u8>`; in both directions.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use storage::{Limits, MmapBackend, PosixBackend, StorageBackend, StorageError};

/// The bytes of files, and whether they are sealed.
type Files = BTreeMap<String, (Vec<u8>, bool)>;

/// Something that is written and looked at by different backends.
trait Open {
    type Backend: StorageBackend<Error = StorageError>;

    fn open(root: &Path) -> Self::Backend;
}

struct Posix;
struct Mapped;

impl Open for Posix {
    type Backend = PosixBackend;

    fn open(root: &Path) -> PosixBackend {
        PosixBackend::open(root, Limits::default()).unwrap()
    }
}

impl Open for Mapped {
    type Backend = MmapBackend;

    fn open(root: &Path) -> MmapBackend {
        MmapBackend::open(root, Limits::default()).unwrap()
    }
}

/// Lengths that end anywhere: within a page, at its border, in the next stripe.
const LENS: [usize; 12] = [0, 1, 7, 4095, 4096, 4097, 8192, 9001, 65_535, 65_536, 70_001, 300_007];

/// Makes files of all these lengths by one backend; every third one is sealed.
async fn write<O: Open>(root: &Path, seed: u64) -> Files {
    let backend = O::open(root);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut files = Files::new();
    for (number, len) in LENS.into_iter().enumerate() {
        let path = format!("folder {}/{number}", number % 2);
        let mut bytes = vec![0; len];
        backend.write(&path, 0, b"").await.unwrap();
        for _ in 0..6 {
            let start = random.usize(..=len);
            let end = random.usize(start..=len);
            random.fill(&mut bytes[start..end]);
            backend.write(&path, start as u64, &bytes[start..end]).await.unwrap();
        }
        backend.truncate(&path, len as u64).await.unwrap();
        if number % 2 == 0 {
            backend.sync(&path).await.unwrap();
        }
        let sealed = number % 3 == 0;
        if sealed {
            backend.seal(&path).await.unwrap();
        }
        files.insert(path, (bytes, sealed));
    }
    files
}

/// Compares all files with what `std::fs` and a backend find.
async fn look<O: Open>(root: &Path, files: &Files) {
    for (path, (bytes, _)) in files {
        assert!(fs::read(root.join(path)).unwrap() == *bytes, "{path}: other bytes on the disk");
    }
    let backend = O::open(root);
    let paths: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(backend.list("").await.unwrap(), paths);
    for (path, (bytes, sealed)) in files {
        assert_eq!(backend.len(path).await.unwrap(), bytes.len() as u64);
        assert!(backend.read(path, 0, bytes.len()).await.unwrap() == *bytes, "{path}");
        let middle = bytes.len() / 3;
        assert_eq!(
            backend.read(path, middle as u64, middle).await.unwrap(),
            bytes[middle..][..middle]
        );
        backend.read(path, 0, bytes.len() + 1).await.unwrap_err();
        let kind = backend.write(path, 0, b"").await.map_err(|error| error.io_kind());
        assert_eq!(kind, if *sealed { Err(io::ErrorKind::PermissionDenied) } else { Ok(()) });
    }
}

/// Goes on with what the other one left.
async fn go_on<O: Open>(root: &Path, files: &mut Files) {
    let backend = O::open(root);
    for (number, (path, (bytes, sealed))) in files.iter_mut().enumerate() {
        if *sealed {
            continue;
        }
        let gap = number * 1000;
        backend.write(path, (bytes.len() + gap) as u64, b"and more").await.unwrap();
        bytes.resize(bytes.len() + gap, 0);
        bytes.extend_from_slice(b"and more");
        if number % 2 == 0 {
            backend.seal(path).await.unwrap();
            *sealed = true;
        }
    }
    let (from, file) = files.pop_first().unwrap();
    backend.rename(&from, "moved/here").await.unwrap();
    files.insert("moved/here".to_owned(), file);
}

/// One writes and the other reads, in turn, each over what both have done so far.
async fn there_and_back<A: Open, B: Open>(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let mut files = write::<A>(&root, seed).await;
    look::<B>(&root, &files).await;
    look::<A>(&root, &files).await;
    go_on::<B>(&root, &mut files).await;
    look::<A>(&root, &files).await;
    look::<B>(&root, &files).await;
}

#[tokio::test]
async fn mappings_read_what_posixio_wrote() {
    for seed in 0..4 {
        there_and_back::<Posix, Mapped>(seed).await;
    }
}

#[tokio::test]
async fn posixio_reads_what_mappings_wrote() {
    for seed in 10..14 {
        there_and_back::<Mapped, Posix>(seed).await;
    }
}

/// A hole stays a hole, and its zeros are read as such by the other one.
async fn sparse<A: Open, B: Open>() {
    const FAR: u64 = 3 << 30;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let writer = A::open(&root);
    writer.write("f", 5, b"near").await.unwrap();
    writer.write("f", FAR, b"far").await.unwrap();
    writer.seal("f").await.unwrap();
    drop(writer);
    let metadata = fs::metadata(root.join("f")).unwrap();
    assert_eq!(metadata.len(), FAR + 3);
    assert!(metadata.blocks() * 512 < 16 << 20, "{} blocks for a hole", metadata.blocks());
    let mut end = [0xFF; 8];
    fs::File::open(root.join("f")).unwrap().read_exact_at(&mut end, FAR - 5).unwrap();
    assert_eq!(end, *b"\0\0\0\0\0far");
    let reader = B::open(&root);
    assert_eq!(reader.len("f").await.unwrap(), FAR + 3);
    assert_eq!(reader.read("f", 0, 12).await.unwrap(), b"\0\0\0\0\0near\0\0\0"[..]);
    assert_eq!(reader.read("f", FAR - 5, 8).await.unwrap(), end[..]);
    assert_eq!(reader.read("f", 1 << 30, 1 << 20).await.unwrap(), vec![0; 1 << 20]);
}

#[tokio::test]
async fn holes_stay_holes() {
    sparse::<Posix, Mapped>().await;
    sparse::<Mapped, Posix>().await;
}

/// Views of one outlive what the other does to the files afterwards.
#[tokio::test]
async fn views_outlive_the_change_of_backends() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = vec![0xA5; 50_000];
    let mapped = Mapped::open(folder.path());
    mapped.write("f", 0, &bytes).await.unwrap();
    mapped.seal("f").await.unwrap();
    let view = mapped.read("f", 0, 50_000).await.unwrap();
    drop(mapped);
    let posix = Posix::open(folder.path());
    let copy = posix.read("f", 0, 50_000).await.unwrap();
    posix.delete("f").await.unwrap();
    posix.write("f", 0, &vec![0; 50_000]).await.unwrap();
    assert_eq!([view, copy], [&bytes[..]; 2]);
}
