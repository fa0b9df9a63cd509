//! The backend that fails on purpose: it must fail as told, by the seed alone, and otherwise do
//! what the backend inside does. Time is tokio's paused clock.

use std::{io, time::Duration};

use backends::{
    Fault, FaultPlan, FaultyBackend, Limits, MemoryBackend, Operation, StorageBackend as _,
    StorageError,
};
use tokio::time::Instant;

fn faulty(plan: FaultPlan) -> FaultyBackend<MemoryBackend> {
    let memory = MemoryBackend::with_budget(1 << 24, Limits::default()).unwrap();
    FaultyBackend::new(memory, plan)
}

fn calm() -> FaultyBackend<MemoryBackend> {
    faulty(FaultPlan::seeded(1))
}

/// The error numbers of one hundred reads, and as many writes before, between or after them.
async fn history(seed: u64, writes_first: bool) -> (Vec<Option<i32>>, Vec<Option<i32>>) {
    let plan = FaultPlan::seeded(seed)
        .rate(Operation::Read, 0.3, &[Fault::Interrupted, Fault::TimedOut, Fault::InputOutput])
        .rate_of_all(0.1, &[Fault::NoSpace]);
    let backend = faulty(plan);
    backend.inner().write("file", 0, b"0123").await.unwrap();
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for round in 0..200 {
        if (round < 100) == writes_first {
            writes.push(number(backend.write("file", 0, b"4567").await));
        } else {
            reads.push(number(backend.read("file", 0, 4).await));
        }
    }
    let count = |results: &[Option<i32>]| results.iter().flatten().count() as u64;
    let injected = backend.injected();
    assert_eq!(injected.of(Operation::Read), count(&reads));
    assert_eq!(injected.of(Operation::Write), count(&writes));
    assert_eq!(injected.total(), count(&reads) + count(&writes));
    assert_eq!(backend.calls(Operation::Read), 100);
    (reads, writes)
}

fn number<T>(result: Result<T, StorageError>) -> Option<i32> {
    match result {
        Ok(_) => None,
        Err(StorageError::Io { source, .. }) => Some(source.raw_os_error().unwrap()),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn the_seed_decides_and_not_the_order() {
    let first = history(7, true).await;
    assert_eq!(first, history(7, true).await);
    assert_eq!(first, history(7, false).await, "reads and writes do not disturb each other");
    assert_ne!(first, history(8, true).await);
    let (reads, writes) = first;
    let share = reads.iter().flatten().count();
    assert!((20..55).contains(&share), "{share} of 100 reads failed");
    assert!(writes.iter().flatten().all(|number| *number == 28), "{writes:?}");
    for number in [4, 110, 5] {
        assert!(reads.contains(&Some(number)), "each kind is drawn: {reads:?}");
    }
}

#[tokio::test]
async fn errors_say_what_was_tried_on_which_file() {
    let backend = calm();
    backend.write("file", 0, b"0123").await.unwrap();
    let faults = [
        (Fault::Interrupted, io::ErrorKind::Interrupted, true),
        (Fault::WouldBlock, io::ErrorKind::WouldBlock, true),
        (Fault::TimedOut, io::ErrorKind::TimedOut, true),
        (Fault::AnswerLost, io::ErrorKind::TimedOut, true),
        (Fault::PermissionDenied, io::ErrorKind::PermissionDenied, false),
        (Fault::NoSpace, io::ErrorKind::StorageFull, false),
        (Fault::PartialWrite, io::ErrorKind::StorageFull, false),
    ];
    for (fault, kind, transient) in faults {
        backend.fail_next(Operation::Read, fault);
        let error = backend.read("file", 0, 4).await.unwrap_err();
        let told = pagestore::WithCauses(&error).to_string();
        assert!(told.starts_with("cannot read \"file\""), "{told}");
        assert_eq!((error.io_kind(), error.is_transient()), (kind, transient), "{fault:?}");
        assert_eq!(error.path(), Some("file"));
        assert_eq!(backend.injected().count(Operation::Read, fault), 1);
    }
    assert_eq!(backend.read("file", 0, 4).await.unwrap(), "0123");
}

#[tokio::test]
async fn a_script_names_the_operation_by_its_number() {
    let plan = FaultPlan::seeded(1).nth(Operation::Read, 2, Fault::Interrupted).nth(
        Operation::Examine,
        1,
        Fault::PermissionDenied,
    );
    let backend = faulty(plan);
    backend.write("file", 0, b"0123").await.unwrap();
    assert!(backend.exists("file").await.is_err());
    assert!(backend.exists("file").await.unwrap());
    let results = [
        backend.read("file", 0, 1).await.is_ok(),
        backend.read("file", 0, 1).await.is_ok(),
        backend.read("file", 0, 1).await.is_ok(),
    ];
    assert_eq!(results, [true, false, true]);
    backend.fail_next(Operation::Read, Fault::Interrupted);
    backend.fail_next(Operation::Read, Fault::TimedOut);
    assert_eq!(number(backend.read("file", 0, 1).await), Some(4));
    assert_eq!(number(backend.read("file", 0, 1).await), Some(110));
    assert_eq!(number(backend.read("file", 0, 1).await), None);
}

#[tokio::test]
async fn an_outage_lasts_until_it_is_ended() {
    let backend = calm();
    backend.write("file", 0, b"0123").await.unwrap();
    backend.begin_outage(Fault::InputOutput);
    backend.begin_outage_of(Operation::List, Fault::PermissionDenied);
    for _ in 0..3 {
        assert_eq!(number(backend.read("file", 0, 1).await), Some(5));
        assert_eq!(number(backend.rename("file", "other").await), Some(5));
        assert_eq!(number(backend.list("").await), Some(13));
    }
    backend.end_outage();
    assert_eq!(backend.list("").await.unwrap(), ["file"], "nothing was renamed");
}

#[tokio::test]
async fn a_partial_write_is_less_than_all_and_a_lost_answer_is_all() {
    let backend = faulty(FaultPlan::seeded(3).rate(Operation::Write, 1.0, &[Fault::PartialWrite]));
    let mut lens = Vec::new();
    for file in 0..50 {
        let path = format!("{file}");
        assert_eq!(number(backend.write(&path, 0, &[1; 1000]).await), Some(28));
        lens.push(backend.len(&path).await.unwrap());
    }
    assert!(lens.iter().all(|len| *len < 1000), "{lens:?}");
    assert!(lens.iter().any(|len| *len < 400) && lens.iter().any(|len| *len > 600), "{lens:?}");

    let backend = calm();
    backend.fail_next(Operation::Write, Fault::AnswerLost);
    assert_eq!(number(backend.write("file", 0, b"0123").await), Some(110));
    assert_eq!(backend.read("file", 0, 4).await.unwrap(), "0123");
}

#[tokio::test]
async fn a_failed_sync_poisons_the_file() {
    let backend = calm();
    for path in ["file", "other", "new"] {
        backend.write(path, 0, b"0123").await.unwrap();
    }
    backend.fail_next(Operation::Sync, Fault::InputOutput);
    assert!(!backend.sync("file").await.unwrap_err().is_transient());
    for result in [backend.sync("file").await, backend.write("file", 0, b"x").await] {
        assert!(matches!(result, Err(StorageError::Poisoned { .. })), "{result:?}");
    }
    let moved = backend.rename("file", "elsewhere").await;
    assert!(matches!(moved, Err(StorageError::Poisoned { .. })), "{moved:?}");
    backend.sync("other").await.unwrap();
    backend.rename("new", "file").await.unwrap();
    backend.sync("file").await.unwrap();

    backend.fail_next(Operation::Seal, Fault::Interrupted);
    assert!(backend.seal("other").await.is_err());
    assert!(matches!(backend.len("other").await, Err(StorageError::Poisoned { .. })));
    backend.delete("other").await.unwrap();
    backend.write("other", 0, b"0123").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn delays_pass_on_tokios_clock_and_come_on_top_of_faults() {
    let (least, most) = (Duration::from_secs(60), Duration::from_secs(90));
    let backend = faulty(FaultPlan::seeded(5).delay(Operation::Read, 0.5, least..=most));
    backend.write("file", 0, b"0123").await.unwrap();
    let mut delayed = 0;
    for _ in 0..40 {
        let begin = Instant::now();
        backend.read("file", 0, 4).await.unwrap();
        let took = begin.elapsed();
        if took > Duration::ZERO {
            assert!((least..most + Duration::from_secs(1)).contains(&took), "{took:?}");
            delayed += 1;
        }
    }
    assert!((8..32).contains(&delayed), "{delayed} of 40 reads were delayed");
    assert_eq!(backend.injected().of(Operation::Read), delayed);

    let backend = faulty(FaultPlan::seeded(5).delay_of_all(1.0, least..=least));
    backend.fail_next(Operation::Write, Fault::NoSpace);
    let begin = Instant::now();
    assert_eq!(number(backend.write("file", 0, b"0123").await), Some(28));
    assert!(begin.elapsed() >= least);
    let begin = Instant::now();
    backend.fail_next(Operation::Write, Fault::Delay(least));
    backend.write("file", 0, b"0123").await.unwrap();
    assert!(begin.elapsed() >= 2 * least);
}

#[test]
fn a_failing_test_shows_the_seed() {
    let backend = faulty(FaultPlan::seeded(123_456_789));
    assert!(format!("{backend:?}").contains("seed: 123456789"));
    assert_eq!(backend.plan().seed(), 123_456_789);
}
