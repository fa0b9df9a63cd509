//! Paths: nothing that a path or the files beneath the root can be made to say leads out of the
//! root, hangs, or makes a file that somebody else can open.
//!
//! Method: a root and, beside it, an outside with a canary: files whose names, bytes, modes and
//! times are compared before and after. Symlinks, FIFOs, sockets and devices are planted in the
//! root, and every operation is tried on and through each of them; then another thread swaps a
//! folder with a symlink to the outside while files are used through it. Names take every character
//! that UTF-8 has below 256. The modes under other umasks are looked at in a child process, since
//! the umask belongs to the whole process.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use backends::{Limits, Operation, PATH_LEN_MAX, PosixBackend, StorageBackend, StorageError};
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};
use tempfile::TempDir;

use crate::{child, skip};

/// A root, and an outside that must never change.
struct Places {
    folder: TempDir,
    before: Vec<String>,
}

impl Places {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir_all(outside.join("deep")).unwrap();
        fs::write(outside.join("canary"), "sings").unwrap();
        fs::write(outside.join("deep/canary"), "sings").unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        let before = picture(&outside);
        Self { folder, before }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    fn backend(&self) -> PosixBackend {
        PosixBackend::open(self.root(), Limits::default()).unwrap()
    }

    #[track_caller]
    fn check_outside(&self) {
        assert_eq!(picture(&self.outside()), self.before, "something outside of the root changed");
    }
}

/// Everything about the files in a folder that an operation could change.
fn picture(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let bytes = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        lines.push(format!("{path:?} {:o} {} {times:?} {bytes:?}", meta.mode(), meta.ino()));
        if meta.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    lines.sort();
    lines
}

/// Tries every operation that names `path`, and gives the errors.
async fn every_operation(backend: &PosixBackend, path: &str) -> Vec<(Operation, StorageError)> {
    backend.write("good", 0, b"good").await.unwrap();
    let tried = [
        (Operation::Read, backend.read(path, 0, 1).await.map(drop)),
        (Operation::Write, backend.write(path, 0, b"breach").await),
        (Operation::Examine, backend.len(path).await.map(drop)),
        (Operation::Examine, backend.exists(path).await.map(|exists| assert!(!exists))),
        (Operation::Sync, backend.sync(path).await),
        (Operation::Truncate, backend.truncate(path, 0).await),
        (Operation::Seal, backend.seal(path).await),
        (Operation::Rename, backend.rename(path, "elsewhere").await),
        (Operation::Rename, backend.rename("good", path).await),
        (Operation::Delete, backend.delete(path).await),
    ];
    tried.into_iter().filter_map(|(operation, result)| Some((operation, result.err()?))).collect()
}

#[tokio::test]
async fn hostile_paths_are_refused_by_every_operation() {
    let places = Places::new();
    let backend = places.backend();
    let outside = places.outside();
    let long_part = "x".repeat(256);
    let long = format!("{}x", "x/".repeat(PATH_LEN_MAX / 2 + 1));
    let hostile = [
        "",
        "/",
        "//",
        ".",
        "..",
        "./a",
        "../outside/canary",
        "a/..",
        "a/../..",
        "a/../../outside",
        "a/./b",
        "a//b",
        "a/",
        "/etc/passwd",
        "a\0b",
        "\0",
        "a/\0",
        "../../../../../../etc/passwd",
        outside.to_str().unwrap(),
        &long_part,
        &long,
    ];
    for path in hostile {
        let errors = every_operation(&backend, path).await;
        assert_eq!(errors.len(), 10, "every operation refuses {path:?}");
        for (operation, error) in errors {
            assert!(matches!(error, StorageError::Path { .. }), "{operation} {path:?}: {error}");
        }
    }
    places.check_outside();
    assert_eq!(backend.list("").await.unwrap(), ["good"]);
}

#[tokio::test]
async fn prefixes_that_no_path_can_have_list_nothing() {
    let places = Places::new();
    let backend = places.backend();
    backend.write("a/b", 0, b"x").await.unwrap();
    for prefix in ["/", "..", "../", "../outside/", "a/../", "a//", "./", "a/b/", "\0", "b/a"] {
        assert!(backend.list(prefix).await.unwrap().is_empty(), "{prefix:?}");
    }
}

#[tokio::test]
async fn every_odd_name_works() {
    let places = Places::new();
    let backend = places.backend();
    let mut names: BTreeSet<String> = (1..256)
        .filter_map(char::from_u32)
        .filter(|c| !matches!(c, '/' | '.'))
        .flat_map(|c| [c.to_string(), format!("{c}{c}"), format!("a{c}b"), format!(".{c}")])
        .collect();
    names.extend(
        [
            "-rf", "--", "-", "...", ".hidden", "..a", "a..", "~", "$HOME", "*", "a b", " ",
            "\u{202e}",
        ]
        .map(str::to_owned),
    );
    names.extend(["x".repeat(255), "é".repeat(127), "\u{10ffff}".repeat(63)]);
    for name in &names {
        let nested = format!("in/{name}/{name}");
        backend.write(name, 0, name.as_bytes()).await.unwrap();
        backend.write(&nested, 0, name.as_bytes()).await.unwrap();
        assert_eq!(backend.read(&nested, 0, name.len()).await.unwrap(), name.as_bytes());
    }
    let listed: BTreeSet<String> = backend.list("").await.unwrap().into_iter().collect();
    let nested = names.iter().map(|name| format!("in/{name}/{name}"));
    assert_eq!(listed, names.iter().cloned().chain(nested).collect());
    drop(backend);
    let backend = places.backend();
    for name in &names {
        assert_eq!(backend.read(name, 0, name.len()).await.unwrap(), name.as_bytes());
        backend.rename(name, "moved").await.unwrap();
        backend.rename("moved", name).await.unwrap();
        backend.delete(name).await.unwrap();
        backend.delete(&format!("in/{name}/{name}")).await.unwrap();
    }
    assert_eq!(fs::read_dir(places.root()).unwrap().count(), 0, "folders went with their files");
}

#[tokio::test]
async fn the_longest_paths_work() {
    let places = Places::new();
    let backend = places.backend();
    let wide = vec!["y".repeat(255); 15].join("/") + "/" + &"z".repeat(255);
    let deep = "folders-in-here/".repeat(PATH_LEN_MAX / 16) + "the-file-itself";
    let deepest = "d/".repeat(PATH_LEN_MAX / 2) + "f";
    backend.write(&deepest, 0, b"far away").await.unwrap();
    backend.delete(&deepest).await.unwrap();
    for path in [&wide, &deep] {
        assert_eq!(path.len(), PATH_LEN_MAX);
        backend.write(path, 0, b"far away").await.unwrap();
        backend.sync(path).await.unwrap();
        assert_eq!(backend.list("").await.unwrap(), [path.as_str()]);
        assert_eq!(backend.list(path).await.unwrap(), [path.as_str()]);
        backend.rename(path, "near").await.unwrap();
        assert_eq!(fs::read_dir(places.root()).unwrap().count(), 1);
        backend.rename("near", path).await.unwrap();
        drop(places.backend());
        assert_eq!(backend.read(path, 4, 4).await.unwrap(), &b"away"[..]);
        backend.delete(path).await.unwrap();
        assert_eq!(fs::read_dir(places.root()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn planted_symlinks_lead_nowhere() {
    let places = Places::new();
    let (root, outside) = (places.root(), places.outside());
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir_all(root.join("real/deep")).unwrap();
    fs::write(root.join("real/canary"), "sings").unwrap();
    fs::write(root.join("real/deep/canary"), "sings").unwrap();
    let plant = |to: &Path, at: &str| symlink(to, root.join(at)).unwrap();
    for (name, prefix) in [("", ""), ("a/", "../"), ("a/b/", "../../")] {
        plant(&outside.join("canary"), &format!("{name}file"));
        plant(&outside, &format!("{name}folder"));
        plant(Path::new(&format!("{prefix}../outside/canary")), &format!("{name}near_file"));
        plant(Path::new(&format!("{prefix}../outside")), &format!("{name}near_folder"));
        plant(&outside.join("nothing"), &format!("{name}dangling"));
        plant(Path::new("self"), &format!("{name}self"));
        // Not out of the root, but to a file by a second name.
        plant(Path::new(&format!("{prefix}real")), &format!("{name}inside"));
        plant(Path::new("/proc/self/cwd"), &format!("{name}magic"));
    }
    let backend = places.backend();
    for at in ["", "a/", "a/b/"] {
        let in_folders = ["folder", "near_folder", "self", "magic", "dangling", "file", "inside"];
        let through = in_folders.iter().flat_map(|folder| {
            ["canary", "deep/canary", "new", "deep/new"].map(|name| format!("{at}{folder}/{name}"))
        });
        let direct = ["file", "folder", "near_file", "near_folder", "dangling", "self", "magic"];
        for path in through.chain(direct.iter().map(|name| format!("{at}{name}"))) {
            let errors = every_operation(&backend, &path).await;
            assert_eq!(errors.len(), 10, "every operation refuses {path:?}");
            for (operation, error) in errors {
                let message = pagestore::WithCauses(&error).to_string();
                assert!(message.contains("is a symlink"), "{operation} {path:?}: {message}");
                assert_eq!(error.io_kind(), ErrorKind::InvalidInput, "{message}");
            }
            assert!(backend.list(&path).await.unwrap().is_empty());
            assert!(backend.list(&format!("{path}/")).await.unwrap().is_empty());
        }
    }
    places.check_outside();
    assert_eq!(backend.list("").await.unwrap(), ["good", "real/canary", "real/deep/canary"]);
    assert!(fs::symlink_metadata(root.join("file")).unwrap().file_type().is_symlink());
}

#[tokio::test]
async fn special_files_are_refused_and_hang_nothing() {
    let places = Places::new();
    let root = places.root();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _listener = UnixListener::bind(root.join("socket")).unwrap();
    let mut kinds = vec![("fifo", "is a FIFO"), ("socket", "is a socket")];
    if skip::is_root_or_skipped("refusing devices") {
        let zero = makedev(1, 5);
        let device = FileType::CharacterDevice;
        mknodat(CWD, root.join("device"), device, Mode::RUSR | Mode::WUSR, zero).unwrap();
        kinds.push(("device", "is a device"));
    }
    let backend = places.backend();
    for (name, expected) in kinds {
        for path in [name.to_owned(), format!("{name}/x")] {
            let errors = every_operation(&backend, &path).await;
            assert_eq!(errors.len(), 10, "every operation refuses {path:?}");
            for (operation, error) in errors {
                let message = pagestore::WithCauses(&error).to_string();
                assert!(message.contains(expected), "{operation} {path:?}: {message}");
            }
        }
        assert!(!fs::symlink_metadata(root.join(name)).unwrap().file_type().is_dir());
    }
    assert!(fs::symlink_metadata(root.join("fifo")).unwrap().file_type().is_fifo());
    assert_eq!(backend.list("").await.unwrap(), ["good"]);
}

#[tokio::test]
async fn names_that_are_not_utf8_are_not_listed() {
    use std::os::unix::ffi::OsStrExt;
    let places = Places::new();
    let odd = |bytes| places.root().join(std::ffi::OsStr::from_bytes(bytes));
    fs::create_dir(odd(b"folder\xff")).unwrap();
    fs::write(odd(b"folder\xff/file"), "x").unwrap();
    fs::write(odd(b"file\xc3\x28"), "x").unwrap();
    fs::write(places.root().join("fine"), "x").unwrap();
    let backend = places.backend();
    assert_eq!(backend.list("").await.unwrap(), ["fine"]);
    assert_eq!(backend.list("f").await.unwrap(), ["fine"]);
}

/// Swaps two names in the root until told to stop; says how often.
fn swap(root: &Path, a: &str, b: &str, done: &Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    let (a, b, done) = (root.join(a), root.join(b), Arc::clone(done));
    std::thread::spawn(move || {
        let mut swaps = 0;
        while !done.load(Ordering::Relaxed) {
            renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
            swaps += 1;
        }
        swaps
    })
}

/// Uses files through `door/`, which is now a folder and now a symlink to the outside. Gives how
/// many of the operations succeeded.
async fn use_the_door(backend: PosixBackend, worker: usize, round_count: usize) -> usize {
    let mut through = 0;
    for round in 0..round_count {
        let (path, other) = (format!("door/{worker}"), format!("door/deep/{worker}"));
        let results = [
            backend.write(&path, 0, b"breach").await,
            backend.write("door/canary", 0, b"breach").await,
            backend.read("door/canary", 0, 5).await.map(|read| {
                assert_ne!(read, b"sings"[..], "the canary outside was read");
            }),
            backend.truncate("door/deep/canary", round as u64).await,
            backend.rename(&path, &other).await,
            backend.rename(&other, &format!("inside{worker}")).await,
            backend.rename(&format!("inside{worker}"), &path).await,
            backend.delete(&path).await,
            backend.delete("door/canary").await,
            backend.list("door/").await.map(|listed| {
                assert!(!listed.iter().any(|path| path == "door/deep/canary"), "{listed:?}");
            }),
        ];
        through += results.iter().filter(|result| result.is_ok()).count();
    }
    through
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_folder_that_is_swapped_with_a_symlink_never_leads_outside() {
    const ROUND_COUNT: usize = 1500;
    let places = Places::new();
    symlink(places.outside(), places.root().join("spare")).unwrap();
    // With a file that stays, or the folder would go with its last file.
    fs::create_dir(places.root().join("door")).unwrap();
    fs::write(places.root().join("door/stays"), "").unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let swapper = swap(&places.root(), "door", "spare", &done);
    let backend = places.backend();
    let workers =
        (0..4).map(|worker| tokio::spawn(use_the_door(backend.clone(), worker, ROUND_COUNT)));
    let mut through = 0;
    for worker in workers.collect::<Vec<_>>() {
        through += worker.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    let swaps = swapper.join().unwrap();
    assert!(swaps > 100 && through > 100, "{swaps} swaps, {through} operations got through");
    places.check_outside();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_swapped_with_a_symlink_never_leads_outside() {
    const ROUND_COUNT: usize = 3000;
    let places = Places::new();
    symlink(places.outside().join("canary"), places.root().join("spare")).unwrap();
    fs::write(places.root().join("file"), "inside").unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let swapper = swap(&places.root(), "file", "spare", &done);
    let mut through = 0;
    let mut rounds = 0;
    while rounds < ROUND_COUNT || through < 200 {
        rounds += 1;
        // A new one each time, or the file would be open already.
        let backend = places.backend();
        match backend.read("file", 0, 5).await {
            Ok(read) => assert_eq!(read, b"insid"[..], "the canary outside was read"),
            Err(error) => assert_eq!(error.io_kind(), ErrorKind::InvalidInput, "{error}"),
        }
        drop(backend);
        let backend = places.backend();
        through += u32::from(backend.write("file", 0, b"inside").await.is_ok());
    }
    done.store(true, Ordering::Relaxed);
    let swaps = swapper.join().unwrap();
    assert!(swaps > 100 && through > 100, "{swaps} swaps, {through} operations got through");
    places.check_outside();
}

#[tokio::test]
async fn child_makes_files_under_its_umask() {
    let Some(root) = child::path() else { return };
    let backend = PosixBackend::open(root.join("made/root"), Limits::default()).unwrap();
    backend.write("a/b/file", 0, b"x").await.unwrap();
    backend.write("moved", 0, b"x").await.unwrap();
    backend.rename("moved", "c/moved").await.unwrap();
    backend.write("sealed", 0, b"x").await.unwrap();
    backend.seal("sealed").await.unwrap();
    child::done();
}

#[test]
fn files_and_folders_are_for_this_user_only() {
    for umask in ["umask 0;", "umask 077;", "umask 022;"] {
        let folder = tempfile::tempdir().unwrap();
        let test = "child_makes_files_under_its_umask";
        child::check(&mut child::command(umask, test, folder.path()));
        let expected = [
            ("made", 0o700),
            ("made/root", 0o700),
            ("made/root/a", 0o700),
            ("made/root/a/b", 0o700),
            ("made/root/c", 0o700),
            ("made/root/a/b/file", 0o600),
            ("made/root/c/moved", 0o600),
            ("made/root/sealed", 0o400),
        ];
        for (path, mode) in expected {
            let found = fs::metadata(folder.path().join(path)).unwrap().permissions().mode();
            assert_eq!(found & 0o7777, mode, "{path} under {umask}");
        }
    }
}
