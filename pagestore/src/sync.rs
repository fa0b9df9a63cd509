//! The one seam between this crate and what synchronises its threads: parking_lot and the standard
//! library's atomics, or loom's models of them under `--cfg loom`.

#[cfg(loom)]
pub(crate) use model::{Latch, Mutex, Token};
#[cfg(not(loom))]
pub(crate) use real::{Latch, Mutex, Token};

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

#[cfg(not(loom))]
mod real {
    use lock_api::RawRwLock as _;
    pub(crate) use parking_lot::Mutex;
    use parking_lot::RawRwLock;

    /// What the holder of a latch owns until it gives the latch back. It has no size; it keeps the
    /// guards around it on their thread, as parking_lot asks for.
    pub(crate) type Token = <RawRwLock as lock_api::RawRwLock>::SharedGuard;

    /// The latch of one page: many readers or one writer. One word; waiting threads sleep.
    pub(crate) struct Latch(RawRwLock);

    impl Latch {
        pub(crate) fn new() -> Self {
            Self(RawRwLock::INIT)
        }

        #[inline]
        pub(crate) fn lock_shared(&self) -> Token {
            self.0.lock_shared()
        }

        #[inline]
        pub(crate) fn try_lock_shared(&self) -> Option<Token> {
            self.0.try_lock_shared()
        }

        /// Gives back a shared hold.
        ///
        /// # Safety
        /// `token` comes from `lock_shared` or `try_lock_shared` of this latch.
        #[inline]
        pub(crate) unsafe fn unlock_shared(&self, token: Token) {
            // SAFETY: the caller hands over the token of a shared hold of this latch; the token
            // is consumed, so the hold is given back once, and on the thread that took it,
            // because the token is not `Send`.
            unsafe { self.0.unlock_shared(token) }
        }

        #[inline]
        pub(crate) fn lock_exclusive(&self) -> Token {
            self.0.lock_exclusive()
        }

        #[inline]
        pub(crate) fn try_lock_exclusive(&self) -> Option<Token> {
            self.0.try_lock_exclusive()
        }

        /// Gives back an exclusive hold.
        ///
        /// # Safety
        /// `token` comes from `lock_exclusive` or `try_lock_exclusive` of this latch.
        #[inline]
        pub(crate) unsafe fn unlock_exclusive(&self, token: Token) {
            // SAFETY: the caller hands over the token of an exclusive hold of this latch; it is
            // consumed, so the hold is given back once, and on the thread that took it.
            unsafe { self.0.unlock_exclusive(token) }
        }
    }
}

#[cfg(loom)]
mod model {
    use super::atomic::{AtomicUsize, Ordering};

    pub(crate) type Token = ();

    const FREE: usize = 0;
    const WRITER: usize = usize::MAX;

    /// A latch as loom can explore it: the same promises as parking_lot's (acquire on taking,
    /// release on giving back), with yielding in the place of sleeping.
    pub(crate) struct Latch(AtomicUsize);

    impl Latch {
        pub(crate) fn new() -> Self {
            Self(AtomicUsize::new(FREE))
        }

        pub(crate) fn lock_shared(&self) {
            while self.try_lock_shared().is_none() {
                loom::thread::yield_now();
            }
        }

        pub(crate) fn try_lock_shared(&self) -> Option<()> {
            let taken = self.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, |state| {
                (state != WRITER).then(|| state + 1)
            });
            taken.ok().map(drop)
        }

        pub(crate) unsafe fn unlock_shared(&self, (): ()) {
            self.0.fetch_sub(1, Ordering::Release);
        }

        pub(crate) fn lock_exclusive(&self) {
            while self.try_lock_exclusive().is_none() {
                loom::thread::yield_now();
            }
        }

        pub(crate) fn try_lock_exclusive(&self) -> Option<()> {
            let taken = self.0.compare_exchange(FREE, WRITER, Ordering::Acquire, Ordering::Relaxed);
            taken.ok().map(drop)
        }

        pub(crate) unsafe fn unlock_exclusive(&self, (): ()) {
            self.0.store(FREE, Ordering::Release);
        }
    }

    /// loom's mutex without the poisoning that parking_lot's does not have.
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("a model does not panic while it holds the lock")
        }
    }
}
