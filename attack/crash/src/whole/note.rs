//! What whoever makes calls tells the recorder, in order with what the calls do.
//!
//! It looks for a name that is not there. The kernel asks the filesystem each time, and waits for the answer.

use std::{ffi::OsStr, fs, path::Path};

/// What is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Note {
    /// All that was done until now is durable.
    Start,
    /// A call begins, by its number.
    Begun(usize),
    /// It has returned, and was a success.
    Returned(usize),
}

const PREFIX: &str = "note:";

/// Tells the filesystem that `folder` is in.
pub(crate) fn tell(folder: &Path, note: Note) {
    let (word, number) = match note {
        Note::Start => ("start", 0),
        Note::Begun(number) => ("begun", number),
        Note::Returned(number) => ("returned", number),
    };
    let found = fs::symlink_metadata(folder.join(format!("{PREFIX}{word}:{number}")));
    debug_assert!(found.is_err(), "no file is called so");
}

/// What is told by looking for a name; `None` where the name is one of a file.
pub(crate) fn hear(name: &OsStr) -> Option<Note> {
    let (word, number) = name.to_str()?.strip_prefix(PREFIX)?.split_once(':')?;
    let number = number.parse().ok()?;
    match word {
        "start" => Some(Note::Start),
        "begun" => Some(Note::Begun(number)),
        "returned" => Some(Note::Returned(number)),
        _ => None,
    }
}
