#!/usr/bin/env bash
# memmap2's `flush_async` starts no write-back on Linux.
#
# Guess, before it was run: `MmapMut::flush_async` begins to write the dirty pages, so a second later most of
# them are clean or on their way, as after sync_file_range(2).
# Seen: after one second every page is still dirty and none is under write-back. msync(2) with MS_ASYNC only
# checks its arguments on Linux since 2.6.19. Who relies on `flush_async` to spread writes over time gets all
# of them at the next `flush`.
#
# Needs: Linux 6.5 or newer (cachestat), a folder on a disk (not tmpfs), cargo.
set -euo pipefail
work=$(mktemp -d "${FINDINGS_DIR:-$PWD}/.finding-XXXXXX")
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
memmap2 = "=0.9.12"
libc = "=0.2.180"
TOML
cat >src/main.rs <<'RUST'
use std::os::fd::AsRawFd;

/// (cached, dirty, under write-back) pages of the first `len` bytes, as cachestat(2) counts them.
fn cachestat(file: &std::fs::File, len: u64) -> [u64; 3] {
    let range = [0_u64, len];
    let mut stat = [0_u64; 5];
    let done = unsafe { libc::syscall(451, file.as_raw_fd(), range.as_ptr(), stat.as_mut_ptr(), 0) };
    assert_eq!(done, 0, "cachestat: {}", std::io::Error::last_os_error());
    [stat[0], stat[1], stat[2]]
}

fn main() {
    let file = std::fs::File::options().read(true).write(true).create_new(true).open("data").unwrap();
    let len = 16_u64 << 20;
    file.set_len(len).unwrap();
    let mut map = unsafe { memmap2::MmapMut::map_mut(&file) }.unwrap();
    map.fill(7);
    map.flush_async().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let [_, dirty, writing] = cachestat(&file, len);
    println!("a second after flush_async: {dirty} of 4096 pages dirty, {writing} under write-back");
    map.flush().unwrap();
    let [_, after, _] = cachestat(&file, len);
    println!("after flush: {after} dirty");
    assert_eq!((dirty, writing, after), (4096, 0, 0), "this has changed");
}
RUST
cargo run --quiet
echo "memmap2 0.9.12, $(uname -sr), $(stat -f -c %T .)"
