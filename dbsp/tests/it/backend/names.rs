//! Names: listing, deleting, and that none leads out of the folder.

use std::{fs, io::ErrorKind, os::unix::fs::symlink, path::Path, sync::Arc, thread};

use feldera_storage::{DirEntry, StorageFileType, StoragePath, error::StorageError};
use storage_dbsp::MappedStorage;

use super::files::{self, Backend, keep, names_on_disk};

/// What a listing gives, sorted.
fn list(backend: &Backend, parent: &str) -> Vec<(String, Option<StorageFileType>)> {
    let mut found = Vec::new();
    backend
        .list(&parent.into(), &mut |DirEntry { name, file_type }| {
            found.push((name.to_string(), file_type.ok()));
        })
        .unwrap();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn file(name: &str, size: u64) -> (String, Option<StorageFileType>) {
    (name.into(), Some(StorageFileType::File { size }))
}

fn folder(name: &str) -> (String, Option<StorageFileType>) {
    (name.into(), Some(StorageFileType::Directory))
}

#[test]
fn a_listing_has_one_folder_and_no_names_that_merely_begin_alike() {
    let (root, backend) = files::backend();
    for (name, len) in [("a", 1), ("ab", 2), ("d/a", 3), ("d/e/f", 4), ("dd/x", 5)] {
        keep(&backend, name, &vec![0; len]);
    }
    symlink("a", root.path().join("link")).unwrap();
    let other = ("link".into(), Some(StorageFileType::Other));
    let all = [file("a", 1), file("ab", 2), folder("d"), folder("dd"), other];
    assert_eq!(list(&backend, ""), all);
    assert_eq!(list(&backend, "d"), [file("d/a", 3), folder("d/e")]);
    assert_eq!(list(&backend, "d/e"), [file("d/e/f", 4)]);
    let error = |parent: &str| backend.list(&parent.into(), &mut |_| {}).unwrap_err().kind();
    assert_eq!(error("nowhere"), ErrorKind::NotFound);
    assert_eq!(error("a"), ErrorKind::NotADirectory);
    assert!(files::built_in(root.path()).exists(&"dd/x".into()).unwrap());
    // The built-in backend lists the same.
    assert_eq!(list(&files::built_in(root.path()), "d"), list(&backend, "d"));
}

#[test]
fn listing_while_files_come_and_go_finds_those_that_stay() {
    let (_root, backend) = files::backend();
    (0..50).for_each(|i| keep(&backend, &format!("stays-{i}"), b"x"));
    thread::scope(|scope| {
        for writer in 0..2 {
            let backend = Arc::clone(&backend);
            scope.spawn(move || {
                for i in 0..200 {
                    let name = StoragePath::from(format!("goes-{writer}-{i}"));
                    drop(files::write(&backend, &name, b"yy", &[2]));
                }
            });
        }
        for _ in 0..100 {
            let found = list(&backend, "");
            let stays = found.iter().filter(|(name, _)| name.starts_with("stays-"));
            assert_eq!(stays.count(), 50);
            assert!(found.iter().all(|(_, kind)| kind.is_some()), "{found:?}");
        }
    });
}

#[test]
fn deleting() {
    let (root, backend) = files::backend();
    keep(&backend, "a", b"1");
    keep(&backend, "d/b", b"2");
    keep(&backend, "d/e/c", b"3");
    let kind = |result: Result<(), StorageError>| result.unwrap_err().kind();
    assert_eq!(kind(backend.delete(&"nowhere".into())), ErrorKind::NotFound);
    assert_eq!(kind(backend.delete(&"no/where".into())), ErrorKind::NotFound);
    assert_eq!(kind(backend.delete(&"d".into())), ErrorKind::IsADirectory);
    assert_eq!(kind(backend.delete(&"a/b".into())), ErrorKind::NotADirectory);
    backend.delete_if_exists(&"nowhere".into()).unwrap();
    backend.delete_recursive(&"nowhere".into()).unwrap();
    backend.delete_recursive(&"no/where".into()).unwrap();
    backend.delete_recursive(&"d".into()).unwrap();
    backend.delete_recursive(&"a".into()).unwrap();
    assert_eq!(names_on_disk(root.path()), Vec::<String>::new());
}

#[test]
fn a_file_that_is_deleted_is_read_to_its_end_by_who_has_it_open() {
    let (root, backend) = files::backend();
    let bytes = files::random(1, 3 << 20);
    keep(&backend, "d/file", &bytes);
    let reader = backend.open(&"d/file".into()).unwrap();
    backend.delete_recursive(&"d".into()).unwrap();
    assert_eq!(names_on_disk(root.path()), Vec::<String>::new());
    assert_eq!(files::read(reader.as_ref(), 0, 3 << 20).unwrap(), bytes);
    // One that would be removed on drop, but is gone by then, is nobody's trouble.
    let reader = files::write(&backend, &"e".into(), b"x", &[1]);
    backend.delete(&"e".into()).unwrap();
    drop(reader);
}

#[test]
fn no_name_leads_out_of_the_folder() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    fs::create_dir(outside.path().join("inside")).unwrap();
    let backend = files::open(&outside.path().join("inside"));
    // DBSP's path type lets these through where they come as parsed parts.
    for hostile in ["", "..", "../secret", ".", "a/../../secret", "./../secret"] {
        let Ok(name) = StoragePath::parse(hostile) else { continue };
        let refused = [
            backend.open(&name).map(drop),
            backend.create_named(&name).map(drop),
            backend.delete(&name),
            backend.delete_recursive(&name),
        ];
        assert!(refused.iter().all(Result::is_err), "{hostile:?}");
    }
    let inside = outside.path().join("inside");
    symlink(outside.path(), inside.join("door")).unwrap();
    symlink(outside.path().join("secret"), inside.join("hole")).unwrap();
    for name in ["door/secret", "hole"] {
        assert!(backend.open(&name.into()).is_err(), "{name}");
    }
    assert!(backend.create_named(&"door/new".into()).is_err());
    assert!(backend.delete(&"door/secret".into()).is_err());
    assert!(backend.delete_recursive(&"door/secret".into()).is_err());
    assert!(backend.list(&"door".into(), &mut |_| {}).is_err());
    assert!(backend.fsync_dir(&"door".into()).is_err());
    // The doors go themselves, and what is behind them stays.
    backend.delete_recursive(&"door".into()).unwrap();
    keep(&backend, "hole", b"filled");
    assert_eq!(names_on_disk(&inside), ["hole"]);
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
    assert_eq!(names_on_disk(outside.path()), ["inside", "secret"]);
}

#[test]
fn what_is_no_file_is_not_opened() {
    let (root, backend) = files::backend();
    fs::create_dir(root.path().join("folder")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.path().join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let kind = |name: &str| backend.open(&name.into()).unwrap_err().kind();
    assert_eq!(kind("folder"), ErrorKind::IsADirectory);
    assert_eq!(kind("fifo"), ErrorKind::InvalidInput);
}

#[test]
fn folders_are_synced_by_name() {
    let (root, backend) = files::backend();
    keep(&backend, "d/file", b"x");
    backend.fsync_dir(&StoragePath::default()).unwrap();
    backend.fsync_dir(&"d".into()).unwrap();
    let kind = |name: &str| backend.fsync_dir(&name.into()).unwrap_err().kind();
    assert_eq!(kind("nowhere"), ErrorKind::NotFound);
    assert_eq!(kind("d/file"), ErrorKind::NotADirectory);
    assert_eq!(backend.file_system_path(), Some(root.path()));
}

#[test]
fn a_folder_is_made_where_it_is_missing_and_only_a_folder_will_do() {
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("not/there/yet");
    keep(&files::open(&deep), "file", b"x");
    assert_eq!(names_on_disk(&deep), ["file"]);
    let error = MappedStorage::open(deep.join("file")).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
    let config = MappedStorage::open(&deep).unwrap().into_config();
    assert_eq!(config.config.path(), Path::new(&deep));
}
