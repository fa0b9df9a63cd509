//! Statistics: what was done is counted, no more and no less.

use super::Kind;
use storage::{OperationStats, ReadRequest, StorageBackend, WriteRequest};

/// Count, errors and bytes since `before`.
fn since(before: &OperationStats, now: &OperationStats) -> (u64, u64, u64) {
    (now.count - before.count, now.errors - before.errors, now.bytes - before.bytes)
}

pub(crate) async fn operations(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    let begin = backend.stats();

    backend.write("f", 0, &[1; 5000]).await.unwrap();
    backend.write("f", 10, &[2; 30]).await.unwrap();
    backend.write("f", 0, b"").await.unwrap();
    let data = bytes::Bytes::from_static(b"12345678");
    let requests = [0, 8, 100].map(|offset| WriteRequest { path: "g", offset, data: data.clone() });
    assert!(backend.write_many(&requests).await.iter().all(Result::is_ok));
    let stats = backend.stats();
    assert_eq!(since(&begin.writes, &stats.writes), (6, 0, 5030 + 24));

    backend.read("f", 0, 5000).await.unwrap();
    backend.read("f", 0, 5001).await.unwrap_err();
    backend.read("none", 0, 1).await.unwrap_err();
    let requests = [3, 200, 5].map(|length| ReadRequest { path: "g", offset: 0, length });
    assert_eq!(backend.read_many(&requests).await.iter().filter(|r| r.is_err()).count(), 1);
    let stats = backend.stats();
    assert_eq!(since(&begin.reads, &stats.reads), (6, 3, 5008));

    backend.sync("f").await.unwrap();
    backend.seal("f").await.unwrap();
    backend.seal("f").await.unwrap();
    backend.sync("none").await.unwrap_err();
    backend.write("f", 0, b"refused").await.unwrap_err();
    let stats = backend.stats();
    assert_eq!(since(&begin.syncs, &stats.syncs), (4, 1, 0));
    assert_eq!(since(&begin.writes, &stats.writes), (7, 1, 5030 + 24));

    backend.len("f").await.unwrap();
    backend.list("").await.unwrap();
    backend.rename("f", "h").await.unwrap();
    backend.truncate("h", 0).await.unwrap_err();
    backend.delete("h").await.unwrap();
    let after = backend.stats();
    assert_eq!(since(&stats.others, &after.others), (5, 1, 0));
    assert_eq!(since(&stats.reads, &after.reads), (0, 0, 0));
    assert!(after.budget_bytes.is_none_or(|budget| after.used_bytes <= budget));
}

/// Calls that were answered at once are among all calls, and among all times.
pub(crate) async fn what_was_at_once(kind: Kind) {
    let subject = kind.with_defaults();
    let backend = subject.backend();
    backend.write("f", 0, &[1; 5000]).await.unwrap();
    backend.seal("f").await.unwrap();
    for _ in 0..50 {
        backend.read("f", 0, 100).await.unwrap();
        backend.read("f", 5000, 1).await.unwrap_err();
    }
    let stats = backend.stats();
    assert_eq!(stats.reads.count, 100);
    for counts in [&stats.reads, &stats.writes, &stats.syncs, &stats.others] {
        assert!(counts.at_once <= counts.count && counts.errors <= counts.count, "{counts:?}");
        let latency = &counts.latency;
        assert_eq!(latency.count(), counts.count, "each call has a time: {counts:?}");
        assert_eq!(latency.quantile(0.5).is_some(), counts.count > 0);
        assert_eq!(latency.sum() > std::time::Duration::ZERO, counts.count > 0, "{counts:?}");
        assert!(latency.longest() <= latency.sum() || counts.at_once > 0, "{counts:?}");
    }
}
