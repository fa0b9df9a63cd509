//! What a store's bytes mean stands in the store (`docs/store.md`).
//!
//! Purpose: no root is ever read or written with another setting than it was made with. Method: stores
//! of every medium and compression are made, and opened by every other; what is refused must name both
//! settings and leave every byte in the root as it was, and the right setting must read everything
//! afterwards. Manifests are damaged, forged, taken away and replaced by things that are no files; roots
//! are read-only, full, and opened by many at the same time. The openers share no state within a
//! process, so threads race as processes do.

mod naming;

use std::{
    collections::BTreeMap,
    error::Error as _,
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
    sync::Barrier,
    thread,
};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use storage::{
    BufferPool, Compressed, DynBackend, Limits, MmapBackend, PosixBackend, StorageBackend,
    StorageConfig, StorageError, StoragePath, StoredContent, backend,
    config::{BackendKind, CompressionConfig},
};

use crate::skip;

const MANIFEST: &str = ".storage-manifest";
const MEDIA: [BackendKind; 2] = [BackendKind::Mmap, BackendKind::Posixio];
const COMPRESSIONS: [CompressionConfig; 2] = [CompressionConfig::None, CompressionConfig::Lz4];

fn config(root: &Path, medium: BackendKind, compression: CompressionConfig) -> StorageConfig {
    StorageConfig { root: root.into(), backend: medium, compression, ..Default::default() }
}

fn open(
    root: &Path,
    medium: BackendKind,
    compression: CompressionConfig,
) -> Result<DynBackend, StorageError> {
    backend::open(&config(root, medium, compression))
}

/// All files of the root by their paths, with their bytes.
fn picture(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut waiting) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                files.insert(path, bytes);
            }
        }
    }
    files
}

/// Lines that LZ4 makes smaller.
fn text(len: usize) -> Vec<u8> {
    (0_u64..).flat_map(|i| format!("line {i} of the table\n").into_bytes()).take(len).collect()
}

async fn fill(store: &DynBackend) {
    store.write("folder/sealed", 0, &text(300_000)).await.unwrap();
    store.seal("folder/sealed").await.unwrap();
    store.write("mutable", 0, &text(100_000)).await.unwrap();
    store.sync("mutable").await.unwrap();
}

#[track_caller]
fn assert_names_both(error: &StorageError, stored: CompressionConfig, root: &Path) {
    let StorageError::StoredOtherwise { stored: found, asked, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(*found, StoredContent::from(stored), "{error}");
    assert_ne!(found, asked, "{error}");
    let message = error.to_string();
    for part in ["`compression = \"none\"`", "`compression = \"lz4\"`", "another root"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert_eq!(error.path(), root.to_str());
    assert!(!error.is_transient());
}

async fn assert_filled(store: &DynBackend) {
    assert_eq!(store.list("").await.unwrap(), ["folder/sealed", "mutable"]);
    assert_eq!(store.len("folder/sealed").await.unwrap(), 300_000);
    assert_eq!(store.read("folder/sealed", 0, 300_000).await.unwrap(), text(300_000));
    assert_eq!(store.read("mutable", 0, 100_000).await.unwrap(), text(100_000));
}

/// What happens to a store that was made one way and is opened another way; `meddle` runs between.
async fn every_pair(meddle: fn(&Path)) {
    for (maker, made) in MEDIA.into_iter().flat_map(|m| COMPRESSIONS.map(|c| (m, c))) {
        for (medium, compression) in MEDIA.into_iter().flat_map(|m| COMPRESSIONS.map(|c| (m, c))) {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().join("root");
            fill(&open(&root, maker, made).unwrap()).await;
            meddle(&root);
            let before = picture(&root);
            match open(&root, medium, compression) {
                Ok(store) => {
                    assert_eq!(compression, made, "opened as {compression:?}, made as {made:?}");
                    assert_filled(&store).await;
                    // It goes on as the store that it was.
                    store.write("mutable", 50_000, &text(70_000)).await.unwrap();
                    store.sync("mutable").await.unwrap();
                }
                Err(error) => {
                    assert_ne!(compression, made, "{medium:?}: {error}");
                    assert_names_both(&error, made, &root);
                    assert_eq!(picture(&root), before, "a refusal changes nothing");
                    assert_filled(&open(&root, medium, made).unwrap()).await;
                }
            }
            assert!(root.join(MANIFEST).is_file(), "it says so from now on");
        }
    }
}

#[tokio::test]
async fn every_store_opened_as_every_other() {
    every_pair(|_| {}).await;
}

/// As those that other programs made, or that layers were put on by hand.
#[tokio::test]
async fn a_root_that_says_nothing_is_what_its_files_look_like() {
    every_pair(|root| fs::remove_file(root.join(MANIFEST)).unwrap()).await;
}

/// A crash while the manifest was made.
#[tokio::test]
async fn what_is_left_of_making_a_manifest_is_not_in_the_way() {
    let leftover = |root: &Path| {
        fs::remove_file(root.join(MANIFEST)).unwrap();
        fs::write(root.join(".storage-manifest-0.tmp"), b"half").unwrap();
    };
    every_pair(leftover).await;
}

#[tokio::test]
async fn a_medium_that_is_opened_by_hand_asks_the_root_too() {
    for made in COMPRESSIONS {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fill(&open(root, BackendKind::Posixio, made).unwrap()).await;
        let before = picture(root);
        let plain = [
            MmapBackend::open(root, Limits::default())
                .map(|b| std::sync::Arc::new(b) as DynBackend),
            PosixBackend::open(root, Limits::default())
                .map(|b| std::sync::Arc::new(b) as DynBackend),
        ];
        for opened in plain {
            match (made, opened) {
                (CompressionConfig::None, Ok(files)) => assert_filled(&files).await,
                (_, Err(error)) => assert_names_both(&error, made, root),
                (_, Ok(_)) => panic!("the bytes of containers would be read as content"),
            }
        }
        assert_eq!(picture(root), before);
    }
}

/// The same store as `backend::open` makes, put together by hand.
#[tokio::test]
async fn a_layer_that_is_put_on_by_hand_tells_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let medium =
        MmapBackend::open_store(root, StoredContent::Lz4Blocks, Limits::default()).unwrap();
    let layer = Compressed::new(medium, 4096, BufferPool::new(64 << 20)).unwrap();
    fill(&(std::sync::Arc::new(layer) as DynBackend)).await;
    let error = open(root, BackendKind::Posixio, CompressionConfig::None).err().unwrap();
    assert_names_both(&error, CompressionConfig::Lz4, root);
    // Blocks of another size than the configuration's: files say it themselves.
    assert_filled(&open(root, BackendKind::Posixio, CompressionConfig::Lz4).unwrap()).await;
}

#[tokio::test]
async fn files_keep_the_block_size_that_they_were_made_with() {
    let folder = tempfile::tempdir().unwrap();
    let of_size = |block_size_bytes| StorageConfig {
        block_size_bytes,
        ..config(folder.path(), BackendKind::Mmap, CompressionConfig::Lz4)
    };
    for (round, size) in [4 << 10, 64 << 10, 2 << 20, 4 << 10].into_iter().enumerate() {
        let mut config = of_size(size);
        config.cache_size_bytes = 64 << 20;
        let store = backend::open(&config).unwrap();
        store.write(&format!("round {round}"), 0, &text(200_000)).await.unwrap();
        for earlier in 0..=round {
            let path = format!("round {earlier}");
            let at = 1000 * round as u64;
            store.write(&path, at, b"changed").await.unwrap();
            store.sync(&path).await.unwrap();
            let mut expected = text(200_000);
            for round in earlier..=round {
                expected[1000 * round..][..7].copy_from_slice(b"changed");
            }
            assert_eq!(store.read(&path, 0, 200_000).await.unwrap(), expected, "{path}");
        }
    }
}

/// A file that was copied from a store of the other kind, past the store.
#[tokio::test]
async fn a_file_that_was_copied_between_stores() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, lz4) = (folder.path().join("plain"), folder.path().join("lz4"));
    fill(&open(&plain, BackendKind::Mmap, CompressionConfig::None).unwrap()).await;
    fill(&open(&lz4, BackendKind::Mmap, CompressionConfig::Lz4).unwrap()).await;
    fs::copy(plain.join("mutable"), lz4.join("copy")).unwrap();
    fs::copy(lz4.join("mutable"), plain.join("copy")).unwrap();

    let store = open(&lz4, BackendKind::Mmap, CompressionConfig::Lz4).unwrap();
    let error = store.read("copy", 0, 10).await.unwrap_err();
    assert!(matches!(error, StorageError::Unsupported { .. }), "{error}");
    for part in ["`compression = \"lz4\"`", "`compression = \"none\"`"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    store.write("copy", 0, b"x").await.unwrap_err();
    assert_eq!(fs::read(lz4.join("copy")).unwrap(), text(100_000), "nothing was done to it");

    // A plain store holds whatever bytes it was given, also these.
    let store = open(&plain, BackendKind::Mmap, CompressionConfig::None).unwrap();
    let len = usize::try_from(store.len("copy").await.unwrap()).unwrap();
    let stored = fs::read(lz4.join("mutable")).unwrap();
    assert_eq!(store.read("copy", 0, len).await.unwrap(), stored);
    drop(store);
    // Where no manifest vouches for that, it is what its files look like: no store of either kind.
    fs::remove_file(plain.join(MANIFEST)).unwrap();
    let error = open(&plain, BackendKind::Mmap, CompressionConfig::None).err().unwrap();
    assert!(error.to_string().contains("its file \"copy\" begins"), "{error}");
    open(&plain, BackendKind::Mmap, CompressionConfig::Lz4).err().unwrap();
}

#[test]
fn many_that_make_a_store_at_once_agree_on_one() {
    for round in 0..40 {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let begin = Barrier::new(8);
        let open = |number: usize| {
            let (medium, compression) = (MEDIA[number % 2], COMPRESSIONS[number / 2 % 2]);
            begin.wait();
            (compression, open(&root, medium, compression))
        };
        let open = &open;
        let opened: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|i| scope.spawn(move || open(i))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let won: Vec<_> = opened.iter().filter(|(_, o)| o.is_ok()).map(|(c, _)| *c).collect();
        assert!(!won.is_empty() && won.iter().all(|c| *c == won[0]), "round {round}: {won:?}");
        for (compression, opened) in &opened {
            match opened {
                Ok(_) => {}
                Err(error) => {
                    assert_ne!(*compression, won[0], "{error}");
                    assert_names_both(error, won[0], &root);
                }
            }
        }
        let left: Vec<_> = picture(&root).into_keys().collect();
        assert_eq!(left, [root.join(MANIFEST)], "nothing else is left");
    }
}

/// An error's message, and those of what caused it.
fn with_causes(error: &StorageError) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told += &format!(": {error}");
        cause = error.source();
    }
    told
}

fn forged(offset: usize, value: u8) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), BackendKind::Posixio, CompressionConfig::Lz4).unwrap();
    let mut bytes = fs::read(folder.path().join(MANIFEST)).unwrap();
    bytes[offset] = value;
    let crc = !bytes[..60].iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    });
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_manifest_that_cannot_be_read_is_an_error_and_stays() {
    let good = forged(12, 2);
    let mut damaged = good.clone();
    damaged[12] = 1;
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("empty", vec![], "it has 0 bytes"),
        ("short", good[..63].to_vec(), "it has 63 bytes"),
        ("long", [&good[..], b"x"].concat(), "more than 64 bytes"),
        ("foreign", vec![b'x'; 64], "it begins with"),
        ("damaged", damaged, "its checksum is"),
        ("newer", forged(8, 2), "its version is 2, which this build does not know; use a newer"),
        ("another layer", forged(12, 77), "its content is 77"),
        ("more features", forged(24, 1), "its features is 1"),
    ];
    for (name, bytes, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join(MANIFEST);
        fs::write(&manifest, &bytes).unwrap();
        let mut errors = vec![MmapBackend::open(folder.path(), Limits::default()).err().unwrap()];
        for (medium, compression) in MEDIA.into_iter().flat_map(|m| COMPRESSIONS.map(|c| (m, c))) {
            errors.push(open(folder.path(), medium, compression).err().unwrap());
        }
        for error in errors {
            assert!(error.to_string().contains(expected), "{name}: {error}");
            assert!(error.to_string().contains(MANIFEST), "{name}: {error}");
        }
        assert_eq!(fs::read(&manifest).unwrap(), bytes, "{name}");
    }
}

#[test]
fn a_manifest_that_is_no_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    fs::write(&outside, forged(12, 2)).unwrap();
    type Make<'a> = &'a dyn Fn(&Path);
    let make: [(&str, Make<'_>); 5] = [
        ("a symlink", &|path| symlink(&outside, path).unwrap()),
        ("a symlink", &|path| symlink("nowhere", path).unwrap()),
        ("a FIFO", &|path| {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, makedev(0, 0)).unwrap();
        }),
        ("a socket", &|path| drop(UnixListener::bind(path).unwrap())),
        ("folder", &|path| fs::create_dir(path).unwrap()),
    ];
    for (number, (name, make)) in make.into_iter().enumerate() {
        let root = folder.path().join(number.to_string());
        fs::create_dir(&root).unwrap();
        make(&root.join(MANIFEST));
        for (medium, compression) in MEDIA.into_iter().flat_map(|m| COMPRESSIONS.map(|c| (m, c))) {
            let error = open(&root, medium, compression).err().unwrap();
            let told = with_causes(&error);
            assert!(told.contains(name), "{told}");
        }
    }
}

/// What the store keeps for itself cannot be reached by a name, whichever medium and layer.
#[tokio::test]
async fn no_name_leads_to_the_manifest() {
    let media = [BackendKind::Memory, BackendKind::Mmap, BackendKind::Posixio];
    for (medium, compression) in media.into_iter().flat_map(|m| COMPRESSIONS.map(|c| (m, c))) {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), medium, compression).unwrap();
        store.write("f", 0, b"good").await.unwrap();
        let before = fs::read(folder.path().join(MANIFEST)).ok();
        for path in [MANIFEST, ".STORAGE-manifest", ".storage-manifest/x", ".storage-probe-1-1"] {
            let errors = [
                store.read(path, 0, 1).await.map(drop),
                store.write(path, 0, b"breach").await,
                store.len(path).await.map(drop),
                store.exists(path).await.map(drop),
                store.sync(path).await,
                store.truncate(path, 0).await,
                store.seal(path).await,
                store.rename(path, "elsewhere").await,
                store.rename("f", path).await,
                store.delete(path).await,
            ];
            for error in errors.map(Result::unwrap_err) {
                assert!(matches!(error, StorageError::Path { .. }), "{medium:?} {path}: {error}");
                assert!(error.to_string().contains("choose another"), "{error}");
            }
        }
        assert_eq!(store.list("").await.unwrap(), ["f"]);
        assert!(store.list(".storage-").await.unwrap().is_empty());
        assert_eq!(fs::read(folder.path().join(MANIFEST)).ok(), before);
        // Elsewhere it is a name like any other.
        store.write("folder/.storage-manifest", 0, b"mine").await.unwrap();
        assert_eq!(store.list("folder/.storage").await.unwrap(), ["folder/.storage-manifest"]);
    }
    assert!(StoragePath::new("x.storage-manifest").is_ok() && StoragePath::new(".storage").is_ok());
}

/// A filesystem in memory, mounted at a folder until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", options, "none", at.to_str().unwrap()]);
        Self(at.to_owned())
    }

    fn make_read_only(&self) {
        run("mount", &["-o", "remount,ro", self.0.to_str().unwrap()]);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[self.0.to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).status().unwrap().success(), "{arguments:?}");
}

#[tokio::test]
async fn a_root_that_cannot_be_written_to_is_known_all_the_same() {
    if !skip::is_root_or_skipped("a_root_that_cannot_be_written_to_is_known_all_the_same") {
        return;
    }
    for made in COMPRESSIONS {
        for manifest_stays in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let mounted = Mounted::new(&folder.path().join("disk"), "size=64m");
            let root = mounted.0.join("root");
            let store = open(&root, BackendKind::Posixio, made).unwrap();
            store.write("sealed", 0, &text(100_000)).await.unwrap();
            store.seal("sealed").await.unwrap();
            drop(store);
            if !manifest_stays {
                fs::remove_file(root.join(MANIFEST)).unwrap();
            }
            mounted.make_read_only();
            for medium in MEDIA {
                for compression in COMPRESSIONS {
                    match open(&root, medium, compression) {
                        Ok(store) => {
                            assert_eq!(compression, made);
                            let read = store.read("sealed", 0, 100_000).await.unwrap();
                            assert_eq!(read, text(100_000));
                        }
                        Err(error) => {
                            assert_ne!(compression, made, "{error}");
                            assert_names_both(&error, made, &root);
                        }
                    }
                }
            }
        }
    }
}

/// Files can still be read and deleted then.
#[tokio::test]
async fn a_full_disk_keeps_nobody_from_opening() {
    if !skip::is_root_or_skipped("a_full_disk_keeps_nobody_from_opening") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // No more inodes than the root, one file and one folder have.
    let mounted = Mounted::new(&folder.path().join("disk"), "size=1m,nr_inodes=2");
    fs::write(mounted.0.join("old"), b"hello").unwrap();
    let store = open(&mounted.0, BackendKind::Posixio, CompressionConfig::None).unwrap();
    assert_eq!(store.read("old", 0, 5).await.unwrap(), b"hello"[..]);
    store.delete("old").await.unwrap();
    drop(store);
    open(&mounted.0, BackendKind::Posixio, CompressionConfig::None).unwrap();
    assert!(mounted.0.join(MANIFEST).is_file());
}
