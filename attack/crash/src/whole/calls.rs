//! Calls that make whole files, and what each leaves under its name.

use std::hash::{DefaultHasher, Hash, Hasher};

use pagestore::Existing;

use super::source::{self, Word, bytes_of, mix};

/// The names that calls give to files, by number.
pub(crate) const NAMES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

/// A number in [`NAMES`].
pub(crate) type Name = usize;

/// What a call does.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A sealed file of so many bytes, which the call opens.
    Seal(usize),
    /// The same, not opened.
    SealAndClose(usize),
    /// A file of any bytes, so many.
    Bytes(usize),
    /// A file of any bytes under its own name, which is sealed when it is written.
    SealRaw(usize),
    /// A page file without pages.
    PageFile,
    /// A versioned file without pages, closed.
    Create,
    /// A versioned file that has the pages of one of the source's states from the beginning.
    Copy(usize),
    /// The last commit of the source, written elsewhere.
    Rescue,
    /// A backup of one of the source's states: a whole one, or an increment to the backup of that name.
    Backup { state: usize, since: Option<Name> },
    /// A versioned file out of the backups of these names.
    Restore(Vec<Name>),
    /// A commit to the versioned file that is there, and its end.
    Commit,
    /// The name goes. Nothing makes that durable.
    Remove,
}

/// A call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: Name,
    pub(crate) existing: Existing,
    pub(crate) what: What,
}

/// What is under a name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Content {
    Nothing,
    Sealed(Vec<u8>),
    Bytes(Vec<u8>),
    /// Where it is not sealed, nothing is there yet.
    SealedRaw(Vec<u8>),
    PageFile,
    Versioned {
        commit: u64,
        pages: Vec<Word>,
    },
    /// Of a state of the source, whole or since an earlier one.
    Backup {
        state: usize,
        since: Option<usize>,
    },
}

impl Content {
    /// Tells it from others.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// A workload: calls, of which the first ones were made long ago.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    pub(crate) calls: Vec<Call>,
    /// How many of them are durable when the recording begins.
    pub(crate) before: usize,
    /// What the bytes follow from.
    pub(crate) seed: u64,
}

impl Calls {
    /// The bytes of a file that the call of this number makes.
    pub(crate) fn bytes(&self, number: usize, len: usize) -> Vec<u8> {
        bytes_of(mix(self.seed, number as u64), len)
    }

    /// What the first page has after a commit by the call of this number.
    pub(crate) fn word(&self, number: usize) -> u64 {
        mix(self.seed, number as u64 + 1000)
    }

    /// What is under the name of each call when it has returned.
    pub(crate) fn contents(&self) -> Vec<Content> {
        let states = source::states(self.seed);
        let versioned = |state: usize| Content::Versioned {
            commit: source::commit_of(state),
            pages: states[state].clone(),
        };
        let mut contents: Vec<Content> = Vec::new();
        for (number, call) in self.calls.iter().enumerate() {
            let last = |name| {
                let earlier = self.calls[..number].iter().rposition(|call| call.name == name);
                earlier.map_or(&Content::Nothing, |earlier| &contents[earlier])
            };
            let state_of = |name| match last(name) {
                Content::Backup { state, .. } => *state,
                other => unreachable!("{name} is no backup but {other:?}"),
            };
            let content = match &call.what {
                What::Seal(len) | What::SealAndClose(len) => {
                    Content::Sealed(self.bytes(number, *len))
                }
                What::Bytes(len) => Content::Bytes(self.bytes(number, *len)),
                What::SealRaw(len) => Content::SealedRaw(self.bytes(number, *len)),
                What::PageFile => Content::PageFile,
                What::Create => Content::Versioned { commit: 0, pages: Vec::new() },
                What::Copy(state) => versioned(*state),
                What::Rescue => versioned(states.len() - 1),
                What::Backup { state, since } => {
                    Content::Backup { state: *state, since: since.map(state_of) }
                }
                What::Restore(chain) => versioned(chain.last().map_or(0, |&name| state_of(name))),
                What::Commit => match last(call.name) {
                    Content::Versioned { commit, pages } => {
                        let mut pages = pages.clone();
                        pages.resize(pages.len().max(1), None);
                        pages[0] = Some(self.word(number));
                        Content::Versioned { commit: commit + 1, pages }
                    }
                    other => unreachable!("a commit to {other:?}"),
                },
                What::Remove => Content::Nothing,
            };
            contents.push(content);
        }
        contents
    }
}
