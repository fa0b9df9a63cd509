//! Which strings are names, and that every one of them works.

use bytes::Bytes;

use super::{Kind, Refusal, refusal, refused, whole};
use storage::{ReadRequest, StorageBackend, WriteRequest};

/// Writes to all of the paths, then reads and lists them, then moves and deletes them.
async fn all_work(kind: Kind, paths: Vec<String>) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    for path in &paths {
        backend.write(path, 0, path.as_bytes()).await.unwrap();
    }
    let mut sorted = paths.clone();
    sorted.sort_unstable();
    assert_eq!(backend.list("").await.unwrap(), sorted);
    for path in &paths {
        assert_eq!(whole(backend, path).await, *path.as_bytes(), "{path:?}");
        assert!(backend.exists(path).await.unwrap());
        let by_prefix = backend.list(path).await.unwrap();
        assert!(by_prefix.contains(path), "{path:?} in {by_prefix:?}");
    }
    for path in &paths {
        backend.rename(path, "moved").await.unwrap();
        assert_eq!(whole(backend, "moved").await, *path.as_bytes());
        assert!(!backend.exists(path).await.unwrap());
        backend.rename("moved", path).await.unwrap();
        backend.delete(path).await.unwrap();
    }
    assert!(backend.list("").await.unwrap().is_empty());
}

/// Each rule, at each operation. Nothing is made on the way.
pub(crate) async fn broken_rules(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("f", 0, b"bytes").await.unwrap();
    let (long_part, too_long) = ("x".repeat(256), vec!["y".repeat(255); 16].join("/") + "z");
    let long_wide_part = "\u{e9}".repeat(128);
    assert_eq!(too_long.len(), 4096);
    let paths = [
        "",
        "/",
        "/f",
        "//f",
        "f/",
        "f//",
        "a//b",
        ".",
        "..",
        "./f",
        "../f",
        "a/.",
        "a/..",
        "a/./b",
        "a/../f",
        "a/b/../../..",
        "\0",
        "f\0",
        "a/\0/b",
        "a/b\0c",
        ".storage-manifest",
        ".storage-",
        ".STORAGE-x/f",
        &long_part,
        &too_long,
        &long_wide_part,
        &format!("a/{long_part}/b"),
    ];
    for path in paths {
        refused(backend.read(path, 0, 1).await, Refusal::Path);
        refused(backend.write(path, 0, b"x").await, Refusal::Path);
        refused(backend.write(path, 0, b"").await, Refusal::Path);
        refused(backend.delete(path).await, Refusal::Path);
        refused(backend.exists(path).await, Refusal::Path);
        refused(backend.len(path).await, Refusal::Path);
        refused(backend.sync(path).await, Refusal::Path);
        refused(backend.rename(path, "g").await, Refusal::Path);
        refused(backend.rename("f", path).await, Refusal::Path);
        refused(backend.rename(path, path).await, Refusal::Path);
        refused(backend.truncate(path, 0).await, Refusal::Path);
        refused(backend.seal(path).await, Refusal::Path);
        let read = backend.read_many(&[ReadRequest { path, offset: 0, length: 1 }]).await;
        assert_eq!(
            read.iter().map(|r| refusal(r.as_ref().unwrap_err())).collect::<Vec<_>>(),
            [Refusal::Path]
        );
        let data = Bytes::from_static(b"x");
        let written = backend.write_many(&[WriteRequest { path, offset: 0, data }]).await;
        assert_eq!(
            written.iter().map(|r| refusal(r.as_ref().unwrap_err())).collect::<Vec<_>>(),
            [Refusal::Path]
        );
        let error = backend.len(path).await.unwrap_err();
        assert_eq!(error.path(), Some(path));
    }
    assert_eq!(backend.list("").await.unwrap(), ["f"]);
    assert_eq!(whole(backend, "f").await, b"bytes"[..]);
}

/// Every character of ASCII but the slash and zero, alone and amid others, as a file and a folder.
pub(crate) async fn every_byte(kind: Kind) {
    let characters = ('\u{1}'..='\u{7f}').filter(|&character| character != '/');
    let paths = characters.flat_map(|character| {
        let alone = (character != '.').then(|| format!("{character}"));
        let folder =
            (character != '.').then(|| format!("folders/{character}/{character}{character}x"));
        let amid = [format!("{character}x"), format!("x{character}"), format!("x{character}y")];
        // `xx` and `.x` come up once only.
        alone.into_iter().chain(folder).chain(amid)
    });
    let unique: std::collections::BTreeSet<String> = paths.collect();
    all_work(kind, unique.into_iter().collect()).await;
}

/// Names that look alike and are not: composed and not, upper and lower case, invisible characters.
pub(crate) async fn lookalikes(kind: Kind) {
    let names = [
        "\u{e9}",
        "e\u{301}",
        "\u{c5}",
        "A\u{30a}",
        "\u{212b}",
        "file",
        "File",
        "FILE",
        "f\u{131}le",
        "a\u{200b}b",
        "ab",
        "a\u{ad}b",
        "\u{202e}cba",
        "\u{feff}x",
        "x",
        "\u{1F468}\u{200D}\u{1F469}",
        "\u{10FFFF}",
        "\u{FFFD}",
        "\u{7FF}",
        "\u{800}",
        "\u{FFFF}",
        "\u{10000}",
        "stra\u{df}e",
        "strasse",
        "\u{fb01}",
        "fi",
        "x ",
        " x",
        "x.",
        "...",
        "..x",
        "x..",
        "\u{85}",
        "\u{2028}",
        "%2e%2e",
        "~",
        "C:\\x",
        "nul",
        "a\\b",
        "*",
        "-rf",
        "$HOME",
        "\u{1b}[2J",
    ];
    all_work(kind, names.iter().map(|&name| name.to_owned()).collect()).await;
}

pub(crate) async fn longest(kind: Kind) {
    let wide = "\u{5b57}".repeat(85);
    let parts = vec!["p".repeat(255); 16].join("/");
    assert_eq!((wide.len(), parts.len()), (255, 4095));
    all_work(kind, vec!["x".repeat(255), wide.clone(), format!("folder/{wide}/{wide}"), parts])
        .await;
}

/// As many folders within folders as a path can name: more than a process may have open.
pub(crate) async fn deepest(kind: Kind) {
    all_work(kind, vec!["a/".repeat(2047) + "a", "b/".repeat(700) + "x"]).await;
}

/// Names that a backend might be tempted to keep for itself.
pub(crate) async fn plain_but_tempting(kind: Kind) {
    let names = [
        ".lock",
        "lock",
        ".tmp",
        "tmp",
        "f.tmp",
        ".f.tmp",
        ".sealed",
        "f.sealed",
        ".storage",
        ".trash",
        ".new",
        "f~",
        ".#f",
        "lost+found",
        ".meta/f",
        ".tmp0/f",
        "f",
        "index",
        ".index",
    ];
    all_work(kind, names.iter().map(|&name| name.to_owned()).collect()).await;
}
