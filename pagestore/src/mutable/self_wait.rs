//! Finding out, in debug builds, that a thread is about to wait for itself.
//!
//! Guards stay on the thread that took them, so each thread keeps a list of its own, and looks at it
//! before it waits for a latch: what it holds of the same page it will never give back while it waits.
//! That is so also where it holds a page to read and wants to read it again, since it waits then for a
//! writer who waits for the first guard.
//!
//! Release builds keep no list: the types here have no size there, and a [`SelfWait`] cannot exist.

use std::fmt;

/// How pages are held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Shared,
    Exclusive,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "read",
            Self::Exclusive => "write",
        })
    }
}

#[cfg(not(all(debug_assertions, not(loom))))]
pub(crate) use absent::{Noted, Owner, SelfWait, must_wait};
#[cfg(all(debug_assertions, not(loom)))]
pub(crate) use present::{Noted, Owner, SelfWait, must_wait};

#[cfg(all(debug_assertions, not(loom)))]
mod present {
    use std::{
        cell::RefCell,
        panic::Location,
        path::Path,
        sync::atomic::{AtomicU64, Ordering},
    };

    use layout::{PageId, PageRange};

    use super::Mode;

    /// Numbers for owners and holds; none comes twice, and 0 never.
    static NEXT: AtomicU64 = AtomicU64::new(1);

    thread_local! {
        static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
    }

    struct Held {
        number: u64,
        owner: u64,
        range: PageRange,
        mode: Mode,
        taken_at: &'static Location<'static>,
    }

    /// Whose latches they are.
    pub(crate) struct Owner(u64);

    impl Owner {
        pub(crate) fn new() -> Self {
            Self(NEXT.fetch_add(1, Ordering::Relaxed))
        }

        /// Notes that this thread holds pages.
        #[track_caller]
        pub(crate) fn note(&self, range: PageRange, mode: Mode) -> Noted {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let taken_at = Location::caller();
            let held = Held { number, owner: self.0, range, mode, taken_at };
            HELD.with_borrow_mut(|list| list.push(held));
            Noted(number)
        }

        /// Fails where this thread holds the page, which it would wait for in vain.
        pub(crate) fn check(&self, page: PageId) -> Result<(), SelfWait> {
            HELD.with_borrow(|list| {
                let holds = |held: &&Held| {
                    let range = held.range;
                    held.owner == self.0 && range.start() <= page && page < range.end()
                };
                list.iter().find(holds).map_or(Ok(()), |held| {
                    Err(SelfWait { page, mode: held.mode, taken_at: held.taken_at })
                })
            })
        }
    }

    /// In the list as long as this lives; 0 is not in it.
    pub(crate) struct Noted(u64);

    impl Noted {
        pub(crate) fn none() -> Self {
            Self(0)
        }
    }

    impl Drop for Noted {
        fn drop(&mut self) {
            if self.0 == 0 {
                return;
            }
            let remove = |list: &RefCell<Vec<Held>>| {
                let mut list = list.borrow_mut();
                // What was taken last mostly goes first.
                if let Some(index) = list.iter().rposition(|held| held.number == self.0) {
                    list.swap_remove(index);
                }
            };
            // A thread that ends has no list any more, and asks for no latch.
            let _ended = HELD.try_with(remove);
        }
    }

    /// A thread was about to wait for itself.
    #[derive(Debug)]
    pub(crate) struct SelfWait {
        page: PageId,
        mode: Mode,
        taken_at: &'static Location<'static>,
    }

    impl SelfWait {
        /// Says so, of a file.
        #[track_caller]
        pub(crate) fn panic(&self, path: &Path, wanted: Mode) -> ! {
            let Self { page, mode, taken_at } = self;
            panic!(
                "page {page} of {} is wanted to {wanted}, but this thread holds a guard to {mode} it, \
                 taken at {taken_at}, and would wait for itself for ever: drop that guard first",
                path.display()
            )
        }
    }

    /// Takes a latch if that needs no waiting; says whether it has still to be waited for.
    pub(crate) fn must_wait(try_take: impl FnOnce() -> bool) -> bool {
        !try_take()
    }
}

#[cfg(not(all(debug_assertions, not(loom))))]
mod absent {
    use std::path::Path;

    use layout::{PageId, PageRange};

    use super::Mode;

    /// Whose latches they are.
    pub(crate) struct Owner;

    impl Owner {
        pub(crate) fn new() -> Self {
            Self
        }

        #[inline]
        pub(crate) fn note(&self, _range: PageRange, _mode: Mode) -> Noted {
            Noted
        }

        #[inline]
        pub(crate) fn check(&self, _page: PageId) -> Result<(), SelfWait> {
            Ok(())
        }
    }

    /// Nothing.
    pub(crate) struct Noted;

    impl Noted {
        #[inline]
        pub(crate) fn none() -> Self {
            Self
        }
    }

    /// Cannot exist.
    #[derive(Debug)]
    pub(crate) enum SelfWait {}

    impl SelfWait {
        pub(crate) fn panic(&self, _path: &Path, _wanted: Mode) -> ! {
            match *self {}
        }
    }

    /// Every latch is waited for.
    #[inline]
    pub(crate) fn must_wait(_try_take: impl FnOnce() -> bool) -> bool {
        true
    }
}
