//! Reading: odd lengths, past the end, many threads, and what an asynchronous read owes its caller.

use std::{
    io::ErrorKind,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use feldera_storage::{StoragePath, fbuf::FBuf};

use super::files::{self, block, keep, read, read_async};

#[test]
fn lengths_that_are_no_multiple_of_anything() {
    let (folder, backend) = files::backend();
    for len in [1, 2, 511, 513, 4095, 4097, 65_537, 1_048_577] {
        let bytes = files::random(len as u64, len);
        let name = StoragePath::from(format!("odd-{len}"));
        let reader = files::write(&backend, &name, &bytes, &[len / 2, len - len / 2]);
        reader.mark_for_checkpoint();
        assert_eq!(reader.get_size().unwrap(), len as u64);
        assert_eq!(read(reader.as_ref(), 0, len).unwrap(), bytes);
        assert_eq!(read(reader.as_ref(), len as u64 - 1, 1).unwrap(), bytes[len - 1..]);
        assert_eq!(backend.read(&name).unwrap().as_slice(), bytes);
        assert_eq!(std::fs::read(folder.path().join(name.as_ref())).unwrap(), bytes);
    }
}

#[test]
fn reads_past_the_end_are_errors_and_give_nothing() {
    let (_folder, backend) = files::backend();
    keep(&backend, "file", &files::random(1, 10_000));
    let reader = backend.open(&"file".into()).unwrap();
    let bad =
        [(10_000, 1), (9_999, 2), (0, 10_001), (u64::MAX, 1), (u64::MAX - 511, 512), (1 << 62, 9)];
    for (offset, size) in bad {
        let error = read(reader.as_ref(), offset, size).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{size} bytes at {offset}");
    }
    assert_eq!(read(reader.as_ref(), 10_000, 0).unwrap(), b"");
    // The good ones among them are answered all the same, each in its place.
    let blocks: Vec<_> = (0..10_001).step_by(1000).map(|offset| block(offset, 1000)).collect();
    let results = read_async(reader.as_ref(), blocks);
    let kinds: Vec<_> =
        results.iter().map(|result| result.as_ref().err().map(|e| e.kind())).collect();
    let mut expected = vec![None; 10];
    expected.push(Some(ErrorKind::UnexpectedEof));
    assert_eq!(kinds, expected);
}

#[test]
fn many_threads_read_one_file() {
    let (_folder, backend) = files::backend();
    let bytes = files::random(1, 4 << 20);
    keep(&backend, "file", &bytes);
    let reader = backend.open(&"file".into()).unwrap();
    thread::scope(|scope| {
        for thread in 0..8_usize {
            let (reader, bytes) = (Arc::clone(&reader), &bytes);
            scope.spawn(move || {
                for i in 0..500 {
                    let offset = (i * 7919 + thread * 104_729) % (bytes.len() - 9000);
                    let found = read(reader.as_ref(), offset as u64, 9000).unwrap();
                    assert_eq!(found, bytes[offset..offset + 9000]);
                    if i % 50 == 0 {
                        let blocks = (0..40).map(|k| block(k * 100_000, 8192)).collect();
                        for (k, result) in
                            read_async(reader.as_ref(), blocks).into_iter().enumerate()
                        {
                            let start = k * 100_000;
                            assert_eq!(result.unwrap().as_slice(), &bytes[start..start + 8192]);
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn large_asynchronous_reads_do_not_hold_the_caller_up() {
    let (_folder, backend) = files::backend();
    let bytes = files::random(1, 8 << 20);
    keep(&backend, "file", &bytes);
    let reader = backend.open(&"file".into()).unwrap();
    // The first four receivers block all threads that there are; whoever asks is free all the same.
    let (go, gates): (Vec<_>, Vec<_>) = (0..4).map(|_| mpsc::channel::<()>()).unzip();
    let (sender, receiver) = mpsc::channel();
    for gate in gates {
        let sender = sender.clone();
        reader.read_async(
            vec![block(0, 8 << 20)],
            Box::new(move |_| {
                gate.recv().unwrap();
                sender.send(thread::current().id()).unwrap();
            }),
        );
    }
    reader.read_async(
        vec![block(1, 8 << 19)],
        Box::new(move |_| sender.send(thread::current().id()).unwrap()),
    );
    assert!(receiver.recv_timeout(Duration::from_millis(50)).is_err(), "all of them wait");
    go.iter().for_each(|go| go.send(()).unwrap());
    let threads: Vec<_> = receiver.iter().take(5).collect();
    assert!(!threads.contains(&thread::current().id()));
    let distinct: std::collections::HashSet<_> = threads.iter().collect();
    assert!(distinct.len() <= 4, "a bounded number of threads");
}

#[test]
fn a_receiver_that_panics_leaves_the_others_alone() {
    let (_folder, backend) = files::backend();
    keep(&backend, "file", &files::random(1, 1 << 20));
    let reader = backend.open(&"file".into()).unwrap();
    for _ in 0..16 {
        reader.read_async(vec![block(0, 1 << 20)], Box::new(|_| panic!("on purpose")));
    }
    let results = read_async(reader.as_ref(), vec![block(0, 1 << 20)]);
    assert!(results[0].is_ok());
}

#[test]
fn what_was_asked_for_is_answered_after_reader_and_backend_are_gone() {
    let (folder, backend) = files::backend();
    let bytes = files::random(1, 2 << 20);
    // Not marked, so its name goes with the reader.
    let reader = files::write(&backend, &"file".into(), &bytes, &[2 << 20]);
    let (sender, receiver) = mpsc::channel();
    for _ in 0..20 {
        let sender = sender.clone();
        let last_user = Arc::clone(&reader);
        reader.read_async(
            vec![block(0, 2 << 20)],
            Box::new(move |mut results| {
                // Which may be the last to hold the file, and with it the threads it runs on.
                drop(last_user);
                sender.send(results.remove(0)).unwrap();
            }),
        );
    }
    drop((reader, backend, sender));
    let mut answers = 0;
    for result in receiver {
        assert_eq!(result.unwrap().as_slice(), bytes);
        answers += 1;
    }
    assert_eq!(answers, 20);
    // The last one drops the file after it has sent; give it the time.
    let gone = || files::names_on_disk(folder.path()).is_empty();
    assert!((0..100).any(|_| gone() || {
        thread::sleep(Duration::from_millis(10));
        false
    }));
}

#[test]
fn either_backend_reads_what_the_other_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (files::open(folder.path()), files::built_in(folder.path()));
    let bytes = files::random(1, 1_000_003);
    keep(&ours, "by-us", &bytes);
    keep(&theirs, "deep/by-them", &bytes);
    for name in ["by-us", "deep/by-them"] {
        for backend in [&ours, &theirs] {
            let reader = backend.open(&name.into()).unwrap();
            assert_eq!(reader.get_size().unwrap(), bytes.len() as u64);
            assert_eq!(read(reader.as_ref(), 5, 999_998).unwrap(), bytes[5..]);
            let results = read_async(reader.as_ref(), vec![block(512, 512), block(0, 900_000)]);
            assert_eq!(results[0].as_ref().unwrap().as_slice(), &bytes[512..1024]);
            assert_eq!(results[1].as_ref().unwrap().as_slice(), &bytes[..900_000]);
            let past_end = read(reader.as_ref(), 1_000_000, 4).unwrap_err();
            assert_eq!(past_end.kind(), ErrorKind::UnexpectedEof);
            reader.commit().unwrap();
        }
    }
    let mut theirs_again = theirs.create_named(&"by-us".into()).unwrap();
    theirs_again.write_block(FBuf::from_slice(b"replaced")).unwrap();
    theirs_again.complete().unwrap().mark_for_checkpoint();
    assert_eq!(ours.read(&"by-us".into()).unwrap().as_slice(), b"replaced");
}
