//! Operations that are given up while a thread is at them, or before.
//!
//! Method: a medium whose writes open their file and then stop at a gate, so each moment at which a
//! future can be dropped is met for sure. Who has to wait is polled once, and is not done.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, mpsc},
};

use backends::{
    BlockingBackend, Limits, Medium, Operation, Result, StorageBackend, StorageError, StoragePath,
    WriteRequest,
};
use bytes::Bytes;
use futures_util::FutureExt;

type File = Arc<Mutex<Vec<u8>>>;

/// Files in memory. A write tells that it has opened its file, and goes on when it is told to.
struct Gated {
    files: Mutex<BTreeMap<String, File>>,
    opened: Mutex<mpsc::Sender<()>>,
    gate: Mutex<mpsc::Receiver<()>>,
}

impl Gated {
    fn file(&self, operation: Operation, path: StoragePath<'_>) -> Result<File> {
        let found = self.files.lock().unwrap().get(path.as_str()).cloned();
        found.ok_or_else(|| StorageError::NotFound { operation, path: path.as_str().to_owned() })
    }
}

impl Medium for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn read(&self, path: StoragePath<'_>, offset: u64, length: usize) -> Result<Bytes> {
        let file = self.file(Operation::Read, path)?;
        let begin = usize::try_from(offset).unwrap();
        let bytes = Bytes::copy_from_slice(&file.lock().unwrap()[begin..begin + length]);
        Ok(bytes)
    }

    /// Whatever is in memory is answered at once.
    fn try_read(&self, path: StoragePath<'_>, offset: u64, length: usize) -> Option<Result<Bytes>> {
        Some(self.read(path, offset, length))
    }

    fn len(&self, path: StoragePath<'_>) -> Result<u64> {
        Ok(self.file(Operation::Examine, path)?.lock().unwrap().len() as u64)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let files = self.files.lock().unwrap();
        Ok(files.keys().filter(|path| path.starts_with(prefix)).cloned().collect())
    }

    fn write(&self, path: StoragePath<'_>, _offset: u64, parts: &[Bytes]) -> Result<()> {
        let file = self.files.lock().unwrap().entry(path.as_str().to_owned()).or_default().clone();
        self.opened.lock().unwrap().send(()).unwrap();
        self.gate.lock().unwrap().recv().unwrap();
        *file.lock().unwrap() = parts.concat();
        Ok(())
    }

    fn rename(&self, from: StoragePath<'_>, to: StoragePath<'_>) -> Result<()> {
        let mut files = self.files.lock().unwrap();
        let file = files.remove(from.as_str()).unwrap();
        files.insert(to.as_str().to_owned(), file);
        Ok(())
    }

    fn sync(&self, path: StoragePath<'_>) -> Result<()> {
        self.file(Operation::Sync, path).map(drop)
    }
}

struct Test {
    backend: BlockingBackend<Gated>,
    opened: mpsc::Receiver<()>,
    gate: mpsc::Sender<()>,
}

impl Test {
    fn new(max_concurrent_ops: usize) -> Self {
        let ((opened, has_opened), (open, gate)) = (mpsc::channel(), mpsc::channel());
        let files = Mutex::default();
        let medium = Gated { files, opened: Mutex::new(opened), gate: Mutex::new(gate) };
        let limits = Limits::default().max_concurrent_ops(max_concurrent_ops);
        let backend = BlockingBackend::new(limits, |_| Ok(medium)).unwrap();
        Self { backend, opened: has_opened, gate: open }
    }

    async fn write(&self, path: &str, data: &[u8]) {
        self.gate.send(()).unwrap();
        self.backend.write(path, 0, data).await.unwrap();
        self.opened.recv().unwrap();
    }

    /// Begins a write, lets it open its file, and gives it up.
    fn give_up_amid(&self, path: &str, data: &[u8]) {
        let mut write = Box::pin(self.backend.write(path, 0, data));
        assert!((&mut write).now_or_never().is_none());
        self.opened.recv().unwrap();
        drop(write);
    }
}

/// Asserts that a future waits, opens the gate, and gives what comes of it.
macro_rules! waits {
    ($test:expr, $future:expr) => {{
        let mut future = Box::pin($future);
        assert!(
            (&mut future).now_or_never().is_none(),
            "it does not wait: {}",
            stringify!($future)
        );
        $test.gate.send(()).unwrap();
        future.await
    }};
}

#[tokio::test]
async fn what_begins_later_waits_where_it_concerns_the_same() {
    let test = Test::new(4);
    let backend = &test.backend;
    for (round, value) in (b'a'..b'k').enumerate() {
        test.write("d/f", b"-").await;
        test.write("other", b"-").await;
        test.give_up_amid("d/f", &[value]);
        // What concerns other files does not.
        assert_eq!(backend.read("other", 0, 1).now_or_never().unwrap().unwrap(), b"-"[..]);
        assert_eq!(backend.list("o").await.unwrap(), ["other"]);
        match round % 5 {
            0 => assert_eq!(waits!(test, backend.read("d/f", 0, 1)).unwrap(), [value][..]),
            1 => assert_eq!(waits!(test, backend.len("d/f")).unwrap(), 1),
            2 => assert_eq!(waits!(test, backend.list("d/")).unwrap(), ["d/f"]),
            3 => assert!(!waits!(test, backend.exists("d")).unwrap()),
            _ => {
                let request = WriteRequest { path: "d/f", offset: 0, data: Bytes::from("z") };
                assert!(backend.write_many(&[request]).now_or_never().is_none(), "and given up");
                waits!(test, backend.sync("d/f")).unwrap();
            }
        }
        while test.opened.try_recv().is_ok() {}
    }
}

#[tokio::test]
async fn a_write_that_has_not_begun_is_taken_back() {
    let test = Test::new(1);
    test.write("f", b"old").await;
    let mut first = Box::pin(test.backend.write("f", 0, b"new"));
    assert!((&mut first).now_or_never().is_none());
    test.opened.recv().unwrap();
    let behind = test.backend.write("f", 0, b"never");
    assert!(behind.now_or_never().is_none(), "the only thread is at the first, and it is dropped");
    test.gate.send(()).unwrap();
    first.await.unwrap();
    // Lets it through, if it is there all the same.
    test.gate.send(()).unwrap();
    assert_eq!(test.backend.len("f").await.unwrap(), 3);
    assert_eq!(test.backend.read("f", 0, 3).await.unwrap(), b"new"[..]);
    assert!(test.opened.try_recv().is_err(), "nobody wrote again");
}

/// The write has the file open, which gets another name, and only then is it given up.
#[tokio::test]
async fn a_file_that_was_renamed_meanwhile_is_the_same_file() {
    let test = Test::new(4);
    test.write("f", b"old").await;
    let mut write = Box::pin(test.backend.write("f", 0, b"new"));
    assert!((&mut write).now_or_never().is_none());
    test.opened.recv().unwrap();
    test.backend.rename("f", "g").await.unwrap();
    test.backend.rename("g", "h").await.unwrap();
    drop(write);
    assert_eq!(waits!(test, test.backend.read("h", 0, 3)).unwrap(), b"new"[..]);
}

#[tokio::test]
#[should_panic(expected = "a medium that panics")]
async fn a_panic_comes_to_who_waits() {
    struct Panics;
    impl Medium for Panics {
        fn name(&self) -> &'static str {
            "panics"
        }
        fn read(&self, _: StoragePath<'_>, _: u64, _: usize) -> Result<Bytes> {
            panic!("a medium that panics")
        }
        fn len(&self, _: StoragePath<'_>) -> Result<u64> {
            Ok(0)
        }
        fn list(&self, _: &str) -> Result<Vec<String>> {
            Ok(Vec::new())
        }
    }
    let limits = Limits::default().max_concurrent_ops(1);
    let backend = BlockingBackend::new(limits, |_| Ok(Panics)).unwrap();
    let reader = backend.clone();
    let panicked = tokio::spawn(async move { reader.read("f", 0, 1).await }).await.unwrap_err();
    assert_eq!(backend.len("f").await.unwrap(), 0, "its thread goes on");
    std::panic::resume_unwind(panicked.into_panic());
}
