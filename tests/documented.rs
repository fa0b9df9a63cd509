//! What is shown to a user names the crate that they depend on.
//!
//! Method: the lines of documentation of the crates below are read; what they import is `storage::`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::Path};

fn look(folder: &Path, found: &mut Vec<String>) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += look(&path, found);
            continue;
        }
        files += 1;
        for line in fs::read_to_string(&path).unwrap().lines() {
            let line = line.trim_start();
            let shown = line.strip_prefix("/// use ").or_else(|| line.strip_prefix("//! use "));
            let crates = ["pagestore::", "backends::", "layout::"];
            if shown.is_some_and(|used| crates.iter().any(|name| used.starts_with(name))) {
                found.push(format!("{}: {line}", path.display()));
            }
        }
    }
    files
}

#[test]
fn examples_use_the_crate_that_a_user_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let files: usize = ["pagestore/src", "backends/src", "layout/src", "src"]
        .iter()
        .map(|folder| look(&root.join(folder), &mut found))
        .sum();
    assert!(files > 100, "{files}");
    assert!(
        found.is_empty(),
        "write `# extern crate ... as storage;` and `use storage::`: {found:#?}"
    );
}
