//! One rule says what may grow without breaking those who use it.
//!
//! * An enum is `#[non_exhaustive]`, unless its meaning leaves room for no other variant.
//! * A struct with public fields is `#[non_exhaustive]` where this workspace makes it and others read it: reports,
//!   statistics, errors. One that is built by a literal is not: configurations, and records of plain data.
//!
//! Method: the sources of all libraries are read line by line. What is `pub` there, and not hidden in a crate, either
//! has the attribute or is in the lists below, which say why not; and the lists name nothing else.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const LIBRARIES: [&str; 5] = ["layout/src", "pagestore/src", "backends/src", "src", "dbsp/src"];

/// Enums with no room for another variant.
const CLOSED: &[(&str, &str)] = &[
    ("AppendOrder", "in order, or not"),
    ("Checkpoints", "by a thread, or by who commits"),
    ("Existing", "refused, or replaced"),
    ("FlushTarget", "a file, or memory"),
    ("Guard", "installed, or off"),
    ("LogHalf", "the format has two"),
    ("LogState", "clean, or needed"),
    ("PageSource", "in the record, or in place"),
    ("Picked", "all, or some"),
    ("Slot", "the format has two"),
    ("StandardStream", "there are three"),
    ("Writers", "held up, or let in"),
];

/// Structs that users build by a literal.
const BUILT_BY_LITERAL: &[(&str, &str)] = &[
    ("BreakerConfig", "a configuration"),
    ("ColumnEntry", "a record of the format"),
    ("CommitHead", "a record of the format"),
    ("CommitMark", "a record of the format"),
    ("Features", "two words of the format"),
    ("Group", "a place in the format"),
    ("PageChange", "a record of the format"),
    ("PageStamp", "a record of the format"),
    ("ReadRequest", "what is asked of a backend"),
    ("Record", "a key, a value and a weight"),
    ("RetryConfig", "a configuration"),
    ("StorageConfig", "a configuration"),
    ("VersionedContent", "what a file is asked to be"),
    ("VersionedState", "a record of the format"),
    ("WriteRequest", "what is asked of a backend"),
];

#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Kind {
    Enum,
    Struct,
}

/// What is public in a source and has no attribute.
fn without_attribute(source: &str) -> Vec<(Kind, String)> {
    let lines: Vec<&str> = source.lines().collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let (kind, rest) = if let Some(rest) = line.strip_prefix("pub enum ") {
            (Kind::Enum, rest)
        } else if let Some(rest) = line.strip_prefix("pub struct ") {
            (Kind::Struct, rest)
        } else {
            continue;
        };
        let body = lines[number + 1..].iter().take_while(|line| **line != "}");
        let has_fields =
            line.ends_with('{') && body.clone().any(|line| line.starts_with("    pub "));
        if kind == Kind::Struct && !has_fields {
            continue;
        }
        let above = lines[..number].iter().rev();
        let mut attributes = above
            .take_while(|line| !line.is_empty() && !line.starts_with('}') && !line.ends_with(';'));
        if !attributes.any(|line| line.contains("#[non_exhaustive]")) {
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            found.push((kind, name.to_owned()));
        }
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn what_may_grow_is_non_exhaustive_and_all_else_is_listed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    LIBRARIES.iter().for_each(|library| sources(&root.join(library), &mut paths));
    assert!(paths.len() > 50, "the sources are found");
    let mut found = BTreeSet::new();
    for path in paths {
        let source = fs::read_to_string(&path).unwrap();
        found.extend(without_attribute(&source));
    }
    let enums = CLOSED.iter().map(|(name, _why)| (Kind::Enum, (*name).to_owned()));
    let structs = BUILT_BY_LITERAL.iter().map(|(name, _why)| (Kind::Struct, (*name).to_owned()));
    let listed: BTreeSet<_> = enums.chain(structs).collect();
    let unlisted: Vec<_> = found.difference(&listed).collect();
    assert!(unlisted.is_empty(), "neither `#[non_exhaustive]` nor listed here: {unlisted:?}");
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "listed here, but non-exhaustive or not there: {gone:?}");
}

#[test]
fn the_attribute_is_found_where_it_stands() {
    let source = "/// Words.\n#[derive(Debug)]\npub enum Open {\n    A,\n}\n\n#[non_exhaustive]\npub struct \
                  Report {\n    pub field: u8,\n}\n\npub struct Plain {\n    pub field: u8,\n}\n\npub struct \
                  Opaque {\n    field: u8,\n}\n";
    let expected = [(Kind::Enum, "Open".to_owned()), (Kind::Struct, "Plain".to_owned())];
    assert_eq!(without_attribute(source), expected);
}
