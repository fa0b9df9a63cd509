//! No hint of the kernel is needed by a whole store either: what is refused is done without.
//!
//! Method: a child process has one system call refused to it (seccomp(2)), opens each backend as a
//! configuration describes it, and reads what it wrote: in files that change and that are sealed, through a
//! buffer and compressed, under a budget, in spilled records and sorted runs. The same calls as
//! `pagestore`'s suite of that name, and those that only this crate makes.

use std::{env, io::Write as _, path::Path, process::Command, thread};

use storage::{
    AsyncFile, FileBuffer, ResidencyBudget, StorageBackend, StorageConfig, backend,
    config::{BackendKind, CompressionConfig, Degrade},
    run::{Run, RunWriter},
    spill::{SpillMerge, SpillOptions},
};

use crate::filter::{Call, REFUSALS, refuse};

/// Tells a child which call is refused, and with which answer.
const CASE: &str = "STORAGE_TEST_REFUSED";
/// What a child says when it is done.
const DONE: &str = "the child's part is done";

const CALLS: [Call; 14] = [
    Call::all("posix_fadvise", libc::SYS_fadvise64),
    Call::all("sync_file_range", libc::SYS_sync_file_range),
    Call::all("mincore", libc::SYS_mincore),
    Call::all("cachestat", 451),
    Call::all("madvise", libc::SYS_madvise),
    Call::with("MADV_POPULATE_READ", libc::SYS_madvise, 2, 22),
    Call::with("F_SETLEASE", libc::SYS_fcntl, 1, 1024),
    Call::all("linkat", libc::SYS_linkat),
    Call::all("renameat2", libc::SYS_renameat2),
    Call::all("openat2", libc::SYS_openat2),
    Call::all("statx", libc::SYS_statx),
    Call::all("preadv2", libc::SYS_preadv2),
    Call::all("fsetxattr", libc::SYS_fsetxattr),
    Call::all("fremovexattr", libc::SYS_fremovexattr),
];

fn run_child(test: &str, call: Call, answer: &str, errno: i32) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("refused_calls::{test}"), "--nocapture", "--test-threads", "1"])
        .env(CASE, format!("{} {errno}", call.name))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = text + &String::from_utf8_lossy(&output.stderr);
    let right = output.status.success() && text.contains(DONE);
    assert!(right, "{} refused with {answer}:\n{text}", call.name);
}

#[test]
fn a_store_works_whatever_hint_is_refused() {
    let Ok(case) = env::var(CASE) else {
        return thread::scope(|scope| {
            for (answer, errno) in REFUSALS {
                scope.spawn(move || {
                    let test = "a_store_works_whatever_hint_is_refused";
                    CALLS.iter().for_each(|&call| run_child(test, call, answer, errno));
                });
            }
        });
    };
    let (name, errno) = case.split_once(' ').unwrap();
    let call = CALLS.iter().find(|call| call.name == name).unwrap();
    refuse(*call, errno.parse().unwrap());
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // Its threads are started by this one, so the same is refused to them.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(backends(folder.path()));
    spilled(folder.path());
    sorted(folder.path());
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\n{DONE}").unwrap();
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

async fn backends(folder: &Path) {
    let bytes = content(700_000);
    for (number, (kind, compression, budget)) in [
        (BackendKind::Mmap, CompressionConfig::None, None),
        (BackendKind::Mmap, CompressionConfig::None, Some(1 << 20)),
        (BackendKind::Mmap, CompressionConfig::Lz4, None),
        (BackendKind::Posixio, CompressionConfig::None, None),
        (BackendKind::Memory, CompressionConfig::None, None),
    ]
    .into_iter()
    .enumerate()
    {
        let config = StorageConfig {
            root: folder.join(number.to_string()),
            backend: kind,
            compression,
            residency_budget_bytes: budget,
            degrade: Degrade::Never,
            ..Default::default()
        };
        let backend = backend::open(&config).unwrap();
        for name in ["a/mutable", "b/sealed"] {
            backend.write(name, 0, &bytes).await.unwrap();
        }
        backend.sync("a/mutable").await.unwrap();
        backend.seal("b/sealed").await.unwrap();
        backend.prefetch("b/sealed", &[(0, 100_000)]).await.unwrap();
        for name in ["a/mutable", "b/sealed"] {
            for start in (0..600_000).step_by(50_000) {
                let read = backend.read(name, start as u64, 60_000).await.unwrap();
                assert!(read == bytes[start..start + 60_000], "{kind:?} {name}");
            }
        }
        backend.rename("a/mutable", "c/moved").await.unwrap();
        assert_eq!(backend.list("").await.unwrap(), ["b/sealed", "c/moved"]);
        let file = AsyncFile::new(backend.clone(), "d/buffered").unwrap();
        let buffer = FileBuffer::new(file, (&config).into()).await.unwrap();
        buffer.write_at(10_000, &bytes[..50_000]).await.unwrap();
        buffer.flush().await.unwrap();
        assert!(backend.read("d/buffered", 10_000, 50_000).await.unwrap() == bytes[..50_000]);
        backend.delete("d/buffered").await.unwrap();
    }
}

fn spilled(folder: &Path) {
    let budget = ResidencyBudget::new(1 << 20).unwrap();
    let mut spill = SpillOptions::new(folder).budget(&budget).create().unwrap();
    for record in 0..40_000_u64 {
        spill.append_record(&(2 * record).to_be_bytes()).unwrap();
    }
    let second = spill.position();
    for record in 0..40_000_u64 {
        spill.append_record(&(2 * record + 1).to_be_bytes()).unwrap();
    }
    let reader = spill.finish().unwrap();
    let runs = vec![reader.run(..second).unwrap().cursor(), reader.run(second..).unwrap().cursor()];
    let mut merge = SpillMerge::new(runs, |a: &[u8], b: &[u8]| a.cmp(b)).unwrap();
    for expected in 0..80_000_u64 {
        assert_eq!(merge.next().unwrap().unwrap(), expected.to_be_bytes());
    }
    assert!(merge.next().unwrap().is_none());
}

fn sorted(folder: &Path) {
    let path = folder.join("run");
    let mut writer = RunWriter::create(&path).unwrap();
    for key in 0..20_000_u64 {
        writer.push(&key, &u32::try_from(key).unwrap()).unwrap();
    }
    writer.seal().unwrap();
    let run = Run::<u64, u32>::open(&path).unwrap();
    let mut cursor = run.cursor();
    cursor.seek(&12_345).unwrap();
    let record = cursor.next().unwrap().unwrap();
    assert_eq!((*record.key, *record.value), (12_345, 12_345));
}
