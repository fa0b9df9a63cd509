//! What must and may be under each name.

use super::{
    calls::{Calls, Content, NAMES, What},
    note::Note,
};

/// For each name, what may be there; the newest is the last one.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    allowed: Vec<Vec<Content>>,
    /// The call that began last.
    pub(crate) last: Option<usize>,
}

impl Expected {
    /// No files.
    pub(crate) fn new() -> Self {
        Self { allowed: vec![vec![Content::Nothing]; NAMES.len()], last: None }
    }

    pub(crate) fn hear(&mut self, note: Note, calls: &Calls, contents: &[Content]) {
        match note {
            Note::Start => {
                for allowed in &mut self.allowed {
                    allowed.drain(..allowed.len() - 1);
                }
            }
            Note::Begun(number) => {
                self.last = Some(number);
                self.allowed[calls.calls[number].name].push(contents[number].clone());
            }
            Note::Returned(number) => {
                // Nobody said that the removal of a name is durable.
                if !matches!(calls.calls[number].what, What::Remove) {
                    self.allowed[calls.calls[number].name] = vec![contents[number].clone()];
                }
            }
        }
    }

    /// What may be under a name.
    pub(crate) fn of(&self, name: usize) -> &[Content] {
        &self.allowed[name]
    }

    /// Judges what a state showed when it was looked at before: digests, by name.
    pub(crate) fn judge(&self, shown: &[u64]) -> Result<(), String> {
        for (name, digest) in shown.iter().enumerate() {
            if !self.allowed[name].iter().any(|content| content.digest() == *digest) {
                return Err(format!("{}: what was there may not be any more", NAMES[name]));
            }
        }
        Ok(())
    }
}
