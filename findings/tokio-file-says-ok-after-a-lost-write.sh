#!/usr/bin/env bash
# tokio's `File` answers `Ok` to `sync_all` after a write that failed in the background.
#
# Guess, before it was run: `write_all` hands the bytes to another thread and says `Ok`; the next call that
# waits for that thread, `sync_all` for one, hands on its error, as the error of a durable write must be.
# Seen: `sync_all`, `set_len` and `metadata` wait for the thread and say `Ok`. The error comes only by `flush`
# or by the next write. A program that writes and syncs, as it would with std, never hears of it.
#
# Needs: Linux (a limit on the length of files stands in for a full disk), cargo.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2021"
[workspace]
[dependencies]
libc = "=0.2.180"
tokio = { version = "=1.54.1", features = ["fs", "io-util", "rt"] }
TOML
cat >src/main.rs <<'RUST'
use std::io::Write as _;
use tokio::io::AsyncWriteExt as _;

fn main() {
    // No file of this process may be longer than 4 KiB; without the signal, a write past that is EFBIG.
    let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) }, 0);
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let page = [7_u8; 4096];

    let mut plain = std::fs::File::create("plain").unwrap();
    plain.write_all(&page).unwrap();
    let write = plain.write_all(&page).map_err(|e| e.kind());
    println!("std    write_all past the limit: {write:?}");
    assert!(write.is_err());

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut file = tokio::fs::File::create("tokio").await.unwrap();
        file.write_all(&page).await.unwrap();
        file.flush().await.unwrap();
        let write = file.write_all(&page).await.map_err(|e| e.kind());
        let sync = file.sync_all().await.map_err(|e| e.kind());
        let len = file.metadata().await.unwrap().len();
        let flush = file.flush().await.map_err(|e| e.kind());
        println!("tokio  write_all past the limit: {write:?}");
        println!("tokio  sync_all: {sync:?}; the file has {len} bytes of the 8192");
        println!("tokio  flush after it: {flush:?}");
        assert_eq!((write, sync, len), (Ok(()), Ok(()), 4096), "this has changed");
        assert!(flush.is_err(), "this has changed");
    });
}
RUST
cargo run --quiet
echo "tokio 1.54.1, $(uname -sr)"
