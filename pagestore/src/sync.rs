//! The one seam between this crate and what synchronises its threads: parking_lot and the standard
//! library's atomics, or loom's models of them under `--cfg loom`.

#[cfg(loom)]
pub(crate) use model::{Condvar, Gate, Held, Latch, Mutex, ReadGuard, RwLock, pause};
#[cfg(not(loom))]
pub(crate) use real::{Condvar, Gate, Held, Latch, Mutex, ReadGuard, RwLock, pause};

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

/// A share of something; under loom, one whose count loom explores.
#[cfg(loom)]
pub(crate) use loom::sync::Arc as Shared;
#[cfg(not(loom))]
pub(crate) use std::sync::Arc as Shared;

#[cfg(not(loom))]
mod real {
    use std::{
        marker::PhantomData,
        mem::{ManuallyDrop, MaybeUninit},
    };

    use std::time::Duration;

    use lock_api::RawRwLock as _;
    use parking_lot::RawRwLock;
    use parking_lot::RwLockWriteGuard as WriteGuard;
    pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard as ReadGuard};

    /// Where threads wait for what others change under a lock.
    #[derive(Debug, Default)]
    pub(crate) struct Condvar(parking_lot::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self::default()
        }

        /// Lets the lock go until somebody notifies.
        pub(crate) fn wait<'lock, T>(
            &self,
            mut guard: MutexGuard<'lock, T>,
        ) -> MutexGuard<'lock, T> {
            self.0.wait(&mut guard);
            guard
        }

        /// Lets the lock of `_mutex` go until somebody notifies, or for so long.
        pub(crate) fn wait_for<'lock, T>(
            &self,
            _mutex: &'lock Mutex<T>,
            mut guard: MutexGuard<'lock, T>,
            duration: Duration,
        ) -> MutexGuard<'lock, T> {
            // The caller looks at what it waits for in either case.
            let _timed_out = self.0.wait_for(&mut guard, duration);
            guard
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// How long to wait for something of which nobody tells when it is done: about as long as the
    /// disk takes for one page.
    const PAUSE: Duration = Duration::from_micros(50);

    pub(crate) fn pause() {
        std::thread::sleep(PAUSE);
    }

    /// What parking_lot gives for each hold and wants back. It has no size: it only keeps the
    /// holder on its thread.
    type Token = <RawRwLock as lock_api::RawRwLock>::SharedGuard;
    const _: () = assert!(size_of::<Token>() == 0);

    /// Stands in the holder of a latch for the tokens that were put aside there: it makes the holder
    /// as little `Send` as they are.
    pub(crate) type Held = PhantomData<Token>;

    /// The latch of one page: many readers or one writer. One word; waiting threads sleep.
    ///
    /// The token of a hold is put aside (`ManuallyDrop`) when it is given and made anew when it is
    /// wanted back, so that who holds a million latches keeps no list of them.
    pub(crate) struct Latch(RawRwLock);

    /// A lock around nothing, of which all zeros are a free one.
    pub(crate) struct Gate(RwLock<()>);

    // Fails to compile where a free one is not all zeros.
    const _: () = {
        // SAFETY: a number can have any bits, and all bytes of the lock are initialised: it is as large as
        // its one field with a size, an atomic number.
        let bits = unsafe { std::mem::transmute::<RwLock<()>, usize>(RwLock::new(())) };
        assert!(bits == 0, "a free lock is all zeros");
    };

    // SAFETY: all zeros are a free one, as asserted above.
    unsafe impl bytemuck::Zeroable for Gate {}

    impl Gate {
        pub(crate) fn new() -> Self {
            Self(RwLock::new(()))
        }

        pub(crate) fn read(&self) -> ReadGuard<'_, ()> {
            self.0.read()
        }

        pub(crate) fn write(&self) -> WriteGuard<'_, ()> {
            self.0.write()
        }

        pub(crate) fn try_read(&self) -> Option<ReadGuard<'_, ()>> {
            self.0.try_read()
        }

        pub(crate) fn try_write(&self) -> Option<WriteGuard<'_, ()>> {
            self.0.try_write()
        }
    }

    // Fails to compile where a free latch is not all zeros.
    const _: () = {
        // SAFETY: a number can have any bits, and the bytes of a latch are initialised: it is as large as
        // its one field, an atomic number.
        let bits = unsafe { std::mem::transmute::<RawRwLock, usize>(RawRwLock::INIT) };
        assert!(bits == 0, "a free latch is all zeros");
    };

    // SAFETY: all zeros are a free latch, as asserted above.
    unsafe impl bytemuck::Zeroable for Latch {}

    impl Latch {
        pub(crate) fn new() -> Self {
            Self(RawRwLock::INIT)
        }

        #[inline]
        pub(crate) fn lock_shared(&self) {
            let _put_aside = ManuallyDrop::new(self.0.lock_shared());
        }

        #[inline]
        pub(crate) fn try_lock_shared(&self) -> bool {
            self.0.try_lock_shared().map(ManuallyDrop::new).is_some()
        }

        /// Gives back a shared hold.
        ///
        /// # Safety
        /// This thread took a shared hold of this latch that was not given back yet.
        #[inline]
        pub(crate) unsafe fn unlock_shared(&self) {
            // SAFETY: by the caller's promise, a hold was taken whose token was put aside and not
            // used since; the token has no size (asserted above), so making it anew is to take it
            // up again.
            let token: Token = unsafe { MaybeUninit::uninit().assume_init() };
            // SAFETY: the token is that of a shared hold of this latch, on the thread that took it.
            unsafe { self.0.unlock_shared(token) }
        }

        #[inline]
        pub(crate) fn lock_exclusive(&self) {
            let _put_aside = ManuallyDrop::new(self.0.lock_exclusive());
        }

        #[inline]
        pub(crate) fn try_lock_exclusive(&self) -> bool {
            self.0.try_lock_exclusive().map(ManuallyDrop::new).is_some()
        }

        /// Gives back an exclusive hold.
        ///
        /// # Safety
        /// This thread took the exclusive hold of this latch and has not given it back yet.
        #[inline]
        pub(crate) unsafe fn unlock_exclusive(&self) {
            // SAFETY: as in `unlock_shared`.
            let token: Token = unsafe { MaybeUninit::uninit().assume_init() };
            // SAFETY: the token is that of the exclusive hold of this latch, on the thread that
            // took it.
            unsafe { self.0.unlock_exclusive(token) }
        }
    }
}

#[cfg(loom)]
mod model {
    use super::atomic::{AtomicUsize, Ordering};

    /// Stands in the holder of a latch; see the real one.
    pub(crate) type Held = std::marker::PhantomData<*const ()>;

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
            while !self.try_lock_shared() {
                loom::thread::yield_now();
            }
        }

        pub(crate) fn try_lock_shared(&self) -> bool {
            let taken = self.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, |state| {
                (state != WRITER).then(|| state + 1)
            });
            taken.is_ok()
        }

        pub(crate) unsafe fn unlock_shared(&self) {
            self.0.fetch_sub(1, Ordering::Release);
        }

        pub(crate) fn lock_exclusive(&self) {
            while !self.try_lock_exclusive() {
                loom::thread::yield_now();
            }
        }

        pub(crate) fn try_lock_exclusive(&self) -> bool {
            let taken = self.0.compare_exchange(FREE, WRITER, Ordering::Acquire, Ordering::Relaxed);
            taken.is_ok()
        }

        pub(crate) unsafe fn unlock_exclusive(&self) {
            self.0.store(FREE, Ordering::Release);
        }
    }

    pub(crate) use loom::{
        sync::{MutexGuard, RwLockReadGuard as ReadGuard},
        thread::yield_now as pause,
    };

    /// loom's, as the real one.
    #[derive(Debug)]
    pub(crate) struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        pub(crate) fn wait<'lock, T>(&self, guard: MutexGuard<'lock, T>) -> MutexGuard<'lock, T> {
            self.0.wait(guard).expect("a model does not panic while it holds the lock")
        }

        /// A wait that ends by itself, at any moment: others run meanwhile, or not.
        pub(crate) fn wait_for<'lock, T>(
            &self,
            mutex: &'lock Mutex<T>,
            guard: MutexGuard<'lock, T>,
            _duration: std::time::Duration,
        ) -> MutexGuard<'lock, T> {
            drop(guard);
            loom::thread::yield_now();
            mutex.lock()
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// loom's lock, as parking_lot's.
    pub(crate) struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }

        pub(crate) fn read(&self) -> ReadGuard<'_, T> {
            self.0.read().expect("a model does not panic while it holds the lock")
        }

        pub(crate) fn write(&self) -> loom::sync::RwLockWriteGuard<'_, T> {
            self.0.write().expect("a model does not panic while it holds the lock")
        }

        pub(crate) fn try_read(&self) -> Option<ReadGuard<'_, T>> {
            self.0.try_read().ok()
        }

        pub(crate) fn try_write(&self) -> Option<loom::sync::RwLockWriteGuard<'_, T>> {
            self.0.try_write().ok()
        }
    }

    /// A lock around nothing.
    pub(crate) struct Gate(RwLock<()>);

    impl Gate {
        pub(crate) fn new() -> Self {
            Self(RwLock::new(()))
        }

        pub(crate) fn read(&self) -> ReadGuard<'_, ()> {
            self.0.read()
        }

        pub(crate) fn write(&self) -> loom::sync::RwLockWriteGuard<'_, ()> {
            self.0.write()
        }

        pub(crate) fn try_read(&self) -> Option<ReadGuard<'_, ()>> {
            self.0.try_read()
        }

        pub(crate) fn try_write(&self) -> Option<loom::sync::RwLockWriteGuard<'_, ()>> {
            self.0.try_write()
        }
    }

    /// loom's mutex without the poisoning that parking_lot's does not have.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("a model does not panic while it holds the lock")
        }

        pub(crate) fn try_lock(&self) -> Option<loom::sync::MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().expect("a model does not panic while it holds the lock")
        }
    }
}
