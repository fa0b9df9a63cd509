//! Something that one thread has another one do.

use std::{fmt, ptr::NonNull};

/// What is done: it says whether what it did is to stay, and does not panic.
type Doing<'a, T> = dyn FnMut(&mut T) -> bool + Send + 'a;

/// Something that another thread can do, borrowed from the one that waits until this has been dropped.
pub(super) struct Job<T: 'static> {
    doing: NonNull<Doing<'static, T>>,
}

// SAFETY: it is the one way to a closure that is `Send` itself, as `new` demands.
unsafe impl<T> Send for Job<T> {}

impl<T> Job<T> {
    /// # Safety
    /// Until what is returned has been dropped, the closure lives, and is used by nobody else.
    pub(super) unsafe fn new(doing: &mut Doing<'_, T>) -> Self {
        let doing: NonNull<Doing<'_, T>> = NonNull::from(doing);
        // SAFETY: the two types differ in a lifetime alone, which says for how long the closure lives; by the
        // caller's promise, that is longer than this is there to use it.
        let doing = unsafe {
            std::mem::transmute::<NonNull<Doing<'_, T>>, NonNull<Doing<'static, T>>>(doing)
        };
        Self { doing }
    }

    /// Does it; says whether that is to stay.
    pub(super) fn run(&mut self, with: &mut T) -> bool {
        // SAFETY: by the promise of `new`, the closure lives, and nobody else uses it; `&mut self` shows that
        // nobody does by this.
        let doing = unsafe { self.doing.as_mut() };
        doing(with)
    }
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}
