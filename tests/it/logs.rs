//! What is logged: levels and fields of the events.
//!
//! A small subscriber keeps the events of one thread. Errors come from a scripted backend, and time
//! is tokio's paused clock, so the times in the events are compared exactly.

use std::{io::ErrorKind, sync::Mutex, time::Duration};

use storage::{
    Operation, ReadRequest, StorageBackend, StorageConfig,
    backend::{Breaker, Layered, Log, Retry},
    config::{BreakerConfig, RetryConfig},
};
use tracing::Level;

use crate::{
    listening::{Told, listen_to},
    scripted::{Scripted, Step, broken, io_error, transient},
};

fn layers(inner: &Scripted) -> impl StorageBackend<Error = storage::StorageError> {
    let retry = RetryConfig { attempts_max: 3, ..Default::default() };
    let breaker = BreakerConfig { failures_max: 1, ..Default::default() };
    let inner = Layered::new(Retry::new(retry).unwrap(), inner.clone());
    Layered::new(Log, Layered::new(Breaker::new(breaker).unwrap(), inner))
}

/// Level, message and path, for comparing the run of events.
fn summary(events: &Mutex<Vec<Told>>) -> Vec<(Level, String)> {
    let events = events.lock().unwrap();
    events.iter().map(|told| (told.level, told.get("message").to_owned())).collect()
}

fn told(level: Level, message: &str) -> (Level, String) {
    (level, message.to_owned())
}

#[tokio::test(start_paused = true)]
async fn attempts_are_warnings_and_giving_up_is_an_error() {
    let (events, _guard) = listen_to(Level::TRACE);
    let attempt = || Step::FailAfter(Duration::from_millis(5), transient(Operation::Write));
    let inner = Scripted::new([attempt(), attempt(), attempt()]);
    let began = tokio::time::Instant::now();
    layers(&inner).write("f", 16, b"four").await.unwrap_err();
    let passed = began.elapsed();
    assert_eq!(
        summary(&events),
        [
            told(Level::WARN, "trying again"),
            told(Level::WARN, "trying again"),
            told(Level::WARN, "giving up"),
            told(Level::WARN, "circuit breaker changed"),
            told(Level::ERROR, "failed"),
        ]
    );
    let events = events.lock().unwrap().clone();
    for (index, event) in events.iter().enumerate().filter(|(index, _)| *index != 3) {
        assert_eq!(event.get("operation"), "Write");
        assert_eq!(event.get("path"), "f");
        assert_eq!((event.get("offset"), event.get("length")), ("16", "4"));
        assert!(event.get("error").contains("cannot write to \"f\""), "{event:?}");
        if index < 3 {
            assert_eq!(event.get("attempt"), (index + 1).to_string());
        }
    }
    assert_eq!(events[4].get("elapsed"), format!("{passed:?}"), "all attempts and delays");
    assert!(!events[0].get("delay").is_empty() && !events[2].get("elapsed").is_empty());
}

#[tokio::test(start_paused = true)]
async fn changes_of_the_breaker_are_warnings_and_refusals_are_not() {
    let (events, _guard) = listen_to(Level::DEBUG);
    let inner = Scripted::new([Step::Fail(broken(Operation::Read))]);
    let backend = layers(&inner);
    backend.read("f", 0, 1).await.unwrap_err();
    backend.read("f", 0, 1).await.unwrap_err();
    tokio::time::advance(BreakerConfig::default().open_for).await;
    backend.read("f", 0, 1).await.unwrap();
    assert_eq!(
        summary(&events),
        [
            told(Level::WARN, "circuit breaker changed"),
            told(Level::ERROR, "failed"),
            told(Level::DEBUG, "not possible"),
            told(Level::WARN, "circuit breaker changed"),
            told(Level::WARN, "circuit breaker changed"),
        ]
    );
    let events = events.lock().unwrap().clone();
    let change = |index: usize| {
        let event: &Told = &events[index];
        [event.get("circuit"), event.get("from"), event.get("to")].map(str::to_owned)
    };
    assert_eq!(change(0), ["reads", "Closed", "Open"]);
    assert_eq!(change(3), ["reads", "Open", "HalfOpen"]);
    assert_eq!(change(4), ["reads", "HalfOpen", "Closed"]);
}

#[tokio::test(start_paused = true)]
async fn successes_are_told_by_how_long_they_took() {
    let (events, _guard) = listen_to(Level::TRACE);
    let inner = Scripted::new([Step::Succeed, Step::SucceedAfter(Duration::from_millis(250))]);
    let backend = layers(&inner);
    backend.read("f", 1, 2).await.unwrap();
    backend.truncate("g", 77).await.unwrap();
    assert_eq!(summary(&events), [told(Level::TRACE, "done at once"), told(Level::DEBUG, "done")]);
    let events = events.lock().unwrap().clone();
    assert_eq!((events[0].get("offset"), events[0].get("length")), ("1", "2"));
    assert_eq!((events[1].get("operation"), events[1].get("path")), ("Truncate", "g"));
    assert_eq!((events[1].get("length"), events[1].get("elapsed")), ("77", "250ms"));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_possible_as_asked_is_no_error() {
    let (events, _guard) = listen_to(Level::TRACE);
    let inner = Scripted::new([Step::Fail(io_error(Operation::Read, ErrorKind::NotFound))]);
    layers(&inner).read("f", 0, 1).await.unwrap_err();
    assert_eq!(summary(&events), [told(Level::DEBUG, "not possible")]);
}

#[tokio::test(start_paused = true)]
async fn each_failure_of_a_batch_is_told() {
    let (events, _guard) = listen_to(Level::WARN);
    let inner = Scripted::new([
        Step::Succeed,
        Step::Fail(broken(Operation::Read)),
        Step::Succeed,
        Step::Fail(broken(Operation::Read)),
    ]);
    let request = |offset| ReadRequest { path: "f", offset, length: 1 };
    let requests = [request(0), request(1), request(2), request(3)];
    Layered::new(Log, inner).read_many(&requests).await;
    assert_eq!(summary(&events), [told(Level::ERROR, "failed"), told(Level::ERROR, "failed")]);
    let events = events.lock().unwrap().clone();
    assert_eq!((events[0].get("offset"), events[1].get("offset")), ("1", "3"));
}

/// Each method in turn; the events that tell of it are within its span, and so are those of the layers
/// inside.
#[tokio::test(start_paused = true)]
async fn each_operation_is_a_span_with_its_name() {
    let (events, _guard) = listen_to(Level::TRACE);
    let inner = Scripted::new([
        Step::FailAfter(Duration::from_millis(5), transient(Operation::Write)),
        Step::Succeed,
    ]);
    let backend = layers(&inner);
    backend.write("folder/f", 16, b"four").await.unwrap();
    let told = events.lock().unwrap().clone();
    assert_eq!(told.len(), 2, "a retry, and the end: {told:?}");
    for event in told {
        let span = event.span.as_ref().unwrap();
        assert_eq!((span.name, span.level), ("write", Level::DEBUG));
        assert_eq!(span.get("path"), "folder/f");
        assert_eq!((span.get("offset"), span.get("length")), ("16", "4"));
    }
    events.lock().unwrap().clear();

    backend.read("f", 1, 2).await.unwrap();
    backend.len("f").await.unwrap();
    backend.exists("f").await.unwrap();
    backend.list("").await.unwrap();
    backend.rename("f", "g").await.unwrap();
    backend.truncate("g", 77).await.unwrap();
    backend.sync("g").await.unwrap();
    backend.seal("g").await.unwrap();
    backend.delete("g").await.unwrap();
    let request = ReadRequest { path: "f", offset: 3, length: 1 };
    backend.read_many(&[request, request]).await;
    let told = events.lock().unwrap().clone();
    let names: Vec<_> = told.iter().map(|event| event.span.as_ref().unwrap().name).collect();
    let expected = [
        "read",
        "examine",
        "examine",
        "list",
        "rename",
        "truncate",
        "sync",
        "seal",
        "delete",
        "read_many",
        "read_many",
    ];
    assert_eq!(names, expected);
    let last = told.last().unwrap().span.clone().unwrap();
    assert_eq!((last.get("path"), last.get("count")), ("f", "2"));
}

/// What a medium says on a thread of its own belongs to the operation too. The subscriber is the
/// process's, so this is a process of its own.
#[test]
fn what_a_medium_says_on_its_threads_is_within_the_span() {
    const TEST: &str = "logs::what_a_medium_says_on_its_threads_is_within_the_span";
    if std::env::var_os("STORAGE_TEST_LOGS").is_none() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST])
            .env("STORAGE_TEST_LOGS", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let events = crate::listening::listen_everywhere(Level::DEBUG);
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("stray")).unwrap();
    let config = StorageConfig { root: folder.path().into(), ..Default::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = storage::backend::open(&config).unwrap();
        events.lock().unwrap().clear();
        store.list("").await.unwrap();
    });
    let events = events.lock().unwrap().clone();
    let stray = events.iter().find(|event| event.get("path").contains("stray")).unwrap();
    assert_eq!(stray.span.as_ref().unwrap().name, "list", "{stray:?}");
}
