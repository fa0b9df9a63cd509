//! What is logged: levels and fields of the events.
//!
//! A small subscriber keeps the events of one thread. Errors come from a scripted backend, and time
//! is tokio's paused clock, so the times in the events are compared exactly.

use std::{io::ErrorKind, sync::Mutex, time::Duration};

use storage::{
    Operation, ReadRequest, StorageBackend,
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
