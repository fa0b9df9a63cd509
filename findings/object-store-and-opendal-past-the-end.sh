#!/usr/bin/env bash
# One trait, one file, one range past its end: object_store's local store and opendal behind the same trait differ.
#
# Guess, before it was run: both cut the range short and give the six bytes that are there, since the caller
# sees only `dyn ObjectStore` and the bridge must keep to its contract.
# Seen: a range over the end is cut short by both. One that begins at the end is an error of the local store and
# `Ok` with no bytes behind the bridge. A reader that pages through an object until it gets nothing ends well
# on one and fails on the other; a store of one's own has to choose.
#
# Needs: cargo, a C linker.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src root
printf 0123456789 >root/object
cat >Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[workspace]
[dependencies]
bytes = "=1.12.2"
object_store = "=0.14.2"
object_store_opendal = "=0.60.5"
opendal = { version = "=0.59.5", default-features = false, features = ["services-fs"] }
tokio = { version = "=1.54.1", features = ["macros", "rt"] }
TOML
cat >src/main.rs <<'RUST'
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path};

async fn ask(name: &str, store: &dyn ObjectStore, range: std::ops::Range<u64>) -> String {
    let at = Path::from("object");
    let answer = match store.get_range(&at, range.clone()).await {
        Ok(bytes) => format!("{:?}", std::str::from_utf8(&bytes).unwrap()),
        Err(error) => format!("error: {}", error.to_string().lines().next().unwrap_or_default().chars().take(90).collect::<String>()),
    };
    println!("{name:8} {range:?}: {answer}");
    answer
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let local = object_store::local::LocalFileSystem::new_with_prefix("root").unwrap();
    let fs = opendal::Operator::new(opendal::services::Fs::default().root(&format!("{}/root", std::env::current_dir().unwrap().display()))).unwrap();
    #[allow(clippy::useless_conversion)]
    let bridged = object_store_opendal::OpendalStore::new(fs.into());
    for range in [4..10, 4..20, 10..12] {
        let a = ask("local", &local, range.clone()).await;
        let b = ask("opendal", &bridged, range.clone()).await;
        println!("         the same: {}", a == b);
        assert_eq!(a == b, range.start < 10, "this has changed");
    }
}
RUST
cargo run --quiet
echo "object_store 0.14.2, object_store_opendal 0.60.5, opendal 0.59.5"
