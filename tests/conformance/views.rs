//! Views that were handed out: valid and unchanged, whatever happens to the file.

use std::sync::Arc;

use super::{Kind, pattern, whole};
use storage::StorageBackend;

pub(crate) async fn stay_as_they_were(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let bytes = pattern(30, 100_000);
    let mut views = Vec::new();
    let mut file = async |path: &'static str| {
        backend.write(path, 0, &bytes).await.unwrap();
        views.push(whole(backend, path).await);
        views.push(backend.read(path, 4095, 3).await.unwrap());
        path
    };
    let path = file("written").await;
    backend.write(path, 0, &[0; 100_000]).await.unwrap();
    let path = file("cut").await;
    backend.truncate(path, 0).await.unwrap();
    backend.truncate(path, 100_000).await.unwrap();
    let path = file("replaced").await;
    backend.write("replacement", 0, &[1; 100_000]).await.unwrap();
    backend.rename("replacement", path).await.unwrap();
    backend.write(path, 0, &[2; 100_000]).await.unwrap();
    let path = file("synced and sealed").await;
    backend.sync(path).await.unwrap();
    backend.seal(path).await.unwrap();
    let path = file("moved").await;
    backend.rename(path, "elsewhere").await.unwrap();
    backend.write("elsewhere", 0, &[3; 200_000]).await.unwrap();
    for view in views.chunks(2) {
        assert_eq!(view[0], bytes);
        assert_eq!(view[1], bytes[4095..4098]);
    }
}

pub(crate) async fn of_deleted_files(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let mut views = Vec::new();
    for round in 0..20 {
        let bytes = pattern(round, 50_000);
        backend.write("f", 0, &bytes).await.unwrap();
        if round % 2 == 0 {
            backend.seal("f").await.unwrap();
        }
        views.push((whole(backend, "f").await, bytes));
        if round % 3 == 0 {
            backend.write("other", 0, &[0xEE; 50_000]).await.unwrap();
            backend.rename("other", "f").await.unwrap();
        }
        backend.delete("f").await.unwrap();
        // What reuses memory or disk of the file that is gone.
        backend.write("next", 0, &vec![0xFF; 50_000]).await.unwrap();
        backend.delete("next").await.unwrap();
    }
    for (view, bytes) in views {
        assert_eq!(view, bytes);
    }
}

pub(crate) async fn outlive_the_backend(kind: Kind) {
    let bytes = pattern(31, 80_000);
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("open", 0, &bytes).await.unwrap();
    backend.write("sealed", 0, &bytes).await.unwrap();
    backend.seal("sealed").await.unwrap();
    let views = [whole(backend, "open").await, whole(backend, "sealed").await];
    let parts = [views[0].slice(10..20), views[1].slice(70_000..)];
    drop(subject);
    // Another backend, which may be given the memory of the first.
    let other = kind.with_defaults();
    other.backend().write("open", 0, &[0xFF; 80_000]).await.unwrap();
    assert_eq!(views, [&bytes[..]; 2]);
    drop(views);
    assert_eq!(parts, [&bytes[10..20], &bytes[70_000..]]);
}

/// Views are sent away, and dropped where and when it pleases.
pub(crate) async fn go_to_other_threads(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let bytes = Arc::new(pattern(32, 30_000));
    backend.write("f", 0, &bytes).await.unwrap();
    backend.seal("f").await.unwrap();
    let threads: Vec<_> = futures_util::future::join_all((0..8).map(|_| whole(backend, "f")))
        .await
        .into_iter()
        .map(|view| {
            let bytes = Arc::clone(&bytes);
            std::thread::spawn(move || assert_eq!(view, *bytes))
        })
        .collect();
    backend.delete("f").await.unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
}
