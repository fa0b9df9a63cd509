//! Who has a file under a budget open, told from who only evicts something of it.

use std::{ops::Deref, sync::Arc};

use super::{core::Core, member::Member};
use crate::sync::pause;

/// A handle's share of an open file. Who evicts has another for a moment, which the budget makes.
///
/// With the last of these the file is closed when its drop returns: lock, mapping and descriptor are gone, and
/// what was charged is given back. So the drop waits for who is evicting something of the file, which waits
/// for nothing but the disk and those who are bringing pages in, and these have a handle.
pub(crate) struct Held<S> {
    file: Arc<S>,
    /// What the budget knows of the file, where there is one.
    core: Option<Arc<Core>>,
}

impl<S> Held<S> {
    /// The first handle of a file that knows its `member`, if it is one. All others are clones of it, so
    /// `file` has no other owner but who evicts.
    pub(crate) fn new(file: Arc<S>, member: impl FnOnce(&S) -> Option<&Member>) -> Self {
        let core = member(&file).map(|member| Arc::clone(&member.core));
        Self::first(file, core)
    }

    /// The same of one that does not.
    pub(crate) fn of_member(file: Arc<S>, member: &Member) -> Self {
        Self::first(file, Some(Arc::clone(&member.core)))
    }

    fn first(file: Arc<S>, core: Option<Arc<Core>>) -> Self {
        if let Some(core) = &core {
            core.add_handle();
        }
        Self { file, core }
    }
}

impl<S> Clone for Held<S> {
    fn clone(&self) -> Self {
        if let Some(core) = &self.core {
            core.add_handle();
        }
        Self { file: Arc::clone(&self.file), core: self.core.clone() }
    }
}

impl<S> Deref for Held<S> {
    type Target = S;

    #[inline]
    fn deref(&self) -> &S {
        &self.file
    }
}

impl<S> Drop for Held<S> {
    fn drop(&mut self) {
        let Some(core) = &self.core else { return };
        if core.remove_handle() {
            while Arc::strong_count(&self.file) > 1 {
                pause();
            }
        }
    }
}
