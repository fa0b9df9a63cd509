//! A process that can start no thread any more: operations are errors or slow, and nothing panics.
//!
//! Method: a child becomes an ordinary user, whose processes and threads are limited to those that there are
//! (RLIMIT_NPROC; root has no such limit).

use std::{io, path::Path, thread};

use rustix::{
    process::{Resource, Rlimit, setrlimit},
    thread::set_thread_res_uid,
};
use storage::{
    AsyncFile, BufferPool, Caching, Compressed, FileBuffer, FileBufferOptions, Limits,
    MemoryBackend, PosixBackend, StorageBackend, StorageError,
};

use crate::{child, skip};

/// Nobody else uses it here, so no thread of another test counts.
const USER: u32 = 64_123;

/// Makes this thread one of an ordinary user, and all that it starts.
fn become_user() {
    let user = rustix::process::Uid::from_raw(USER);
    set_thread_res_uid(user, user, user).unwrap();
}

/// From now on this user can start no more threads.
fn no_more_threads() {
    let limit = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Nproc, limit).unwrap();
    let refused = thread::Builder::new().spawn(|| {}).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock, "{refused}");
}

/// Runs the rest of a test in a child, in a folder that it gets.
fn in_child(test: &str, run: impl FnOnce(&Path)) {
    if let Some(folder) = child::path() {
        run(&folder);
        return child::done();
    }
    if !skip::is_root_or_skipped(test) {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    child::check(&mut child::command("", test, folder.path()));
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// An error that says which limit to raise.
#[track_caller]
fn says_so<T>(done: Result<T, StorageError>) {
    let Err(error) = done else { panic!("no thread could have done it") };
    let told = storage::WithCauses(&error).to_string();
    assert!(told.contains("no thread could be started") && told.contains("ulimit -u"), "{told}");
}

#[test]
fn what_needs_the_first_thread_says_that_there_is_none() {
    in_child("what_needs_the_first_thread_says_that_there_is_none", |folder| {
        let backend = PosixBackend::open(folder.join("root"), Limits::default()).unwrap();
        let packed = Compressed::new(backend.clone(), 4096, BufferPool::new(1 << 20)).unwrap();
        become_user();
        block_on(async {
            let below = MemoryBackend::with_budget(1 << 20, Limits::default()).unwrap();
            let file = AsyncFile::new(below, "f").unwrap();
            let options = FileBufferOptions::default().caching(Caching::Buffered);
            let buffer = FileBuffer::new(file, options).await.unwrap();
            no_more_threads();
            for _ in 0..3 {
                says_so(backend.write("f", 0, b"x").await);
                says_so(packed.write("f", 0, b"x").await);
                says_so(packed.read("f", 0, 1).await);
                buffer.write_at(0, b"in memory").await.unwrap();
                says_so(buffer.flush().await);
            }
        });
    });
}

/// The threads of a backend, and that of the process, are there; none can be added to compress.
#[test]
fn long_blocks_are_compressed_by_the_threads_that_there_are() {
    in_child("long_blocks_are_compressed_by_the_threads_that_there_are", |_| {
        const LEN: usize = 3 << 20;
        become_user();
        let below = MemoryBackend::with_budget(64 << 20, Limits::default()).unwrap();
        let packed = Compressed::new(below, 1 << 20, BufferPool::new(64 << 20)).unwrap();
        block_on(async {
            packed.write("f", 0, b"a thread of each is started").await.unwrap();
            packed.sync("f").await.unwrap();
            no_more_threads();
            packed.write("f", 0, &[7; LEN]).await.unwrap();
            assert_eq!(packed.read("f", 0, LEN).await.unwrap(), [7; LEN][..]);
        });
    });
}
