//! Opens a crash state with the real code and compares what it shows with what must and may be there.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use pagestore::{
    Checkpoints, PageCount, PageId, Snapshot, VersionedFile, VersionedFileOptions, WithCauses,
};

use crate::{
    model::{Content, Model, Page},
    record::{Event, Extend, Note, Tape},
};

/// Which commits a state may show: those whose call has returned must be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Expected {
    pub(crate) least: u64,
    pub(crate) most: u64,
}

impl Expected {
    pub(crate) fn hear(&mut self, note: Note) {
        match note {
            Note::Committing(commit) => self.most = self.most.max(commit),
            Note::Committed(commit) => self.least = self.least.max(commit),
            // What one open has shown, the next one shows too.
            Note::Opened(commit) => (self.least, self.most) = (commit, commit),
        }
    }

    pub(crate) fn has(&self, commit: u64) -> bool {
        (self.least..=self.most).contains(&commit)
    }
}

/// What opening a state gave.
pub(crate) struct Opened {
    pub(crate) commit: u64,
    /// How many of the events belong to the opening and the commit that follows on it.
    pub(crate) events: usize,
    /// What the commit that was made then left.
    pub(crate) next: Content,
}

/// How a state is looked at, beyond opening it, reading every page, and committing once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// No further: that takes half of the time.
    Quick,
    /// A snapshot is held across the commit, which also adds a page.
    Thorough,
    /// And the file is opened once more afterwards.
    Again(Again),
}

/// How the file ends before it is opened once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Again {
    /// After its process died.
    Killed,
    /// After it was closed.
    Closed,
}

pub(crate) fn options(tape: &Arc<Tape>) -> VersionedFileOptions {
    let medium = tape.wrap(Extend::ByLength);
    VersionedFile::options().checkpoints(Checkpoints::WhenFull).medium(medium)
}

/// Opens a state and looks at everything. What is wrong is the error; what was written is given in any case.
pub(crate) fn check(
    path: &Path,
    model: &Model,
    expected: Expected,
    how: Look,
) -> (Result<Opened, String>, Vec<Event>) {
    let tape = Arc::new(Tape::default());
    let looked = catch_unwind(AssertUnwindSafe(|| look(path, &tape, model, expected, how)));
    let looked = looked.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|&said| said.to_owned()));
        Err(format!("a panic: {}", said.unwrap_or_default()))
    });
    (looked, tape.take())
}

/// An error with its causes.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` has it")]
pub(crate) fn tell_error(error: pagestore::Error) -> String {
    WithCauses(&error).to_string()
}

fn look(
    path: &Path,
    tape: &Arc<Tape>,
    model: &Model,
    expected: Expected,
    how: Look,
) -> Result<Opened, String> {
    let file = options(tape)
        .open(path)
        .map_err(|error| format!("it does not open: {}", tell_error(error)))?;
    let looked = look_at(&file, tape, model, expected, how);
    match how {
        Look::Again(Again::Closed) if looked.is_ok() => {
            file.close().map_err(|error| format!("it does not close: {error}"))?;
        }
        _ => {
            tape.switch_off();
            drop(file);
            tape.switch_on();
        }
    }
    let opened = looked?;
    if let Look::Again(again) = how {
        let file = options(tape).open(path);
        let file = file.map_err(|error| format!("it does not open again: {error}"))?;
        let snapshot = file.snapshot().map_err(tell_error)?;
        let shown = compare(&snapshot, &opened.next)
            .map_err(|error| format!("opened again, {again:?}: {error}"));
        drop(snapshot);
        tape.switch_off();
        drop(file);
        shown?;
    }
    Ok(opened)
}

fn look_at(
    file: &VersionedFile,
    tape: &Arc<Tape>,
    model: &Model,
    expected: Expected,
    how: Look,
) -> Result<Opened, String> {
    let commit = file.commit_id().get();
    if !expected.has(commit) {
        let Expected { least, most } = expected;
        return Err(format!("it shows commit {commit}; there must be {least} to {most}"));
    }
    tape.note(Note::Opened(commit));
    let before = file.snapshot().map_err(tell_error)?;
    let content = model.get(commit).ok_or_else(|| format!("commit {commit} was never made"))?;
    let content = &content.content;
    compare(&before, content).map_err(|error| format!("commit {commit}: {error}"))?;
    // A mapping that nobody has is the transaction's.
    let before = (how != Look::Quick).then_some(before);
    tape.note(Note::Committing(commit + 1));
    let next = commit_once_more(file, content, how)
        .map_err(|error| format!("the next: {}", tell_error(error)))?;
    tape.note(Note::Committed(commit + 1));
    let after = file.snapshot().map_err(tell_error)?;
    if after.commit().get() != commit + 1 {
        return Err(format!("the next commit is {}", after.commit()));
    }
    compare(&after, &next).map_err(|error| format!("the next commit: {error}"))?;
    if let Some(before) = before {
        compare(&before, content).map_err(|error| format!("the snapshot before it: {error}"))?;
    }
    Ok(Opened { commit, events: tape.count(), next })
}

/// Changes the first page, and may add one.
fn commit_once_more(
    file: &VersionedFile,
    content: &Content,
    how: Look,
) -> pagestore::Result<Content> {
    let mut next = content.clone();
    let mut transaction = file.begin()?;
    let grows = how != Look::Quick || content.is_empty();
    if grows {
        transaction.grow(PageCount::new(1))?;
    }
    let page = transaction.page_mut(PageId::new(0))?;
    page[1000..1008].copy_from_slice(b"the next");
    let page = Page::new(&*page);
    if grows {
        next.push(Page::new(vec![0; page.bytes.len()]));
    }
    next[0] = page;
    transaction.commit()?;
    Ok(next)
}

/// Reads all pages.
pub(crate) fn compare(snapshot: &Snapshot, content: &Content) -> Result<(), String> {
    let count = snapshot.page_count().get();
    if count != content.len() as u64 {
        return Err(format!("it has {count} pages, not {}", content.len()));
    }
    if count == 0 {
        return Ok(());
    }
    let bytes = snapshot.pages(..).map_err(tell_error)?;
    let page_len = bytes.len() / content.len();
    for (number, (found, expected)) in bytes.chunks_exact(page_len).zip(content).enumerate() {
        if *found != *expected.bytes {
            let (found, expected) = (tell(found), tell(&expected.bytes));
            return Err(format!("page {number} is {found}, not {expected}"));
        }
    }
    snapshot.still_valid().map_err(tell_error)
}

/// What a page was filled with.
fn tell(page: &[u8]) -> String {
    let mut words: Vec<u64> =
        page.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
    words.dedup();
    let many = words.len();
    words.truncate(3);
    format!("{words:x?}{}", if many > 3 { " and others" } else { "" })
}
