//! What must be in a file, commit by commit.

use std::{
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

/// A page's bytes, and a hash of them.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) bytes: Arc<[u8]>,
    hash: u64,
}

impl Page {
    pub(crate) fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        Self { hash: hasher.finish(), bytes }
    }
}

/// The pages of one commit.
pub(crate) type Content = Vec<Page>;

/// What a commit left.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) content: Content,
    /// Tells it apart from what other workloads have under the same number.
    pub(crate) digest: u32,
}

impl Commit {
    pub(crate) fn new(content: Content) -> Arc<Self> {
        let mut hasher = DefaultHasher::new();
        content.iter().for_each(|page| hasher.write_u64(page.hash));
        let bytes = hasher.finish().to_le_bytes();
        let digest = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Arc::new(Self { content, digest })
    }
}

/// What each commit left, counted from the file as it was made.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    commits: Vec<Arc<Commit>>,
}

impl Model {
    /// A file as it is made: without pages.
    pub(crate) fn new() -> Self {
        Self { commits: vec![Commit::new(Content::new())] }
    }

    /// The number of the last commit.
    pub(crate) fn last(&self) -> u64 {
        self.commits.len() as u64 - 1
    }

    pub(crate) fn last_content(&self) -> &Content {
        &self.commits.last().expect("the file as it was made is the first").content
    }

    pub(crate) fn push(&mut self, content: Content) {
        self.commits.push(Commit::new(content));
    }

    pub(crate) fn pop(&mut self) {
        self.commits.pop();
    }

    pub(crate) fn get(&self, commit: u64) -> Option<&Arc<Commit>> {
        self.commits.get(usize::try_from(commit).ok()?)
    }

    /// The model of a file that shows a commit and goes on from there.
    pub(crate) fn from(&self, commit: u64, next: Content) -> Self {
        let mut commits = self.commits[..=crate::disk::index(commit)].to_vec();
        commits.push(Commit::new(next));
        Self { commits }
    }
}
