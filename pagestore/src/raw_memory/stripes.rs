//! The lock over the bytes, split so that readers do not disturb each other.

use std::{
    array,
    cell::Cell,
    ptr::NonNull,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{RwLock, RwLockWriteGuard};

use super::range::check_range;
use crate::error::Result;

/// How many locks there are. A reader takes the one of its thread, a writer takes them all.
const STRIPE_COUNT: usize = 8;

/// Where the bytes are. Whoever has a window from under a stripe's lock may read through it.
///
/// Invariant: what [`new`](Self::new) was promised. The windows of a `RawMemory` describe its one reserve.
#[derive(Clone, Copy)]
pub(super) struct Window {
    start: NonNull<u8>,
    len_bytes: u64,
}

// SAFETY: the pointer is to memory that belongs to the process and not to a thread; who may use it
// when is said at `Window`, and is a matter of locks.
unsafe impl Send for Window {}
// SAFETY: as above; through a shared window bytes are only read.
unsafe impl Sync for Window {}

impl Window {
    /// The `len_bytes` bytes from `start` on.
    ///
    /// # Safety
    /// They lie in one mapping of anonymous memory, which is readable and writable. As long as the window is
    /// in a stripe, the mapping moves, shrinks or is written to only while all stripes are held exclusively,
    /// and lives.
    pub(super) unsafe fn new(start: NonNull<u8>, len_bytes: u64) -> Self {
        Self { start, len_bytes }
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Copies bytes out. To be called on a window that is in a stripe, under its lock.
    #[inline]
    pub(super) fn copy_to(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = check_range(offset, buffer.len(), self.len_bytes)?;
        let from = self.start.as_ptr().wrapping_add(start);
        // SAFETY: the range was just checked to lie within the window, hence within the mapping,
        // which is readable and stays where it is as long as the stripe is held. Nobody writes to
        // it meanwhile, since writers hold all stripes. The buffer is borrowed uniquely, so it does
        // not overlap memory that is reached through no reference.
        unsafe { from.copy_to_nonoverlapping(buffer.as_mut_ptr(), buffer.len()) };
        Ok(())
    }

    /// Copies bytes in. `stripes` are those of this window's memory: that nobody reads is shown by
    /// holding them.
    pub(super) fn fill(&mut self, _stripes: &mut Exclusive<'_>, offset: u64, bytes: &[u8]) {
        let start = check_range(offset, bytes.len(), self.len_bytes);
        let start = start.expect("the window was made to hold what is written");
        let to = self.start.as_ptr().wrapping_add(start);
        // SAFETY: the range was just checked to lie within the window, hence within the mapping,
        // which is writable. All stripes are held exclusively, so nobody else reads or writes it;
        // it is not sealed (its reserve is borrowed from the open state), so there is no view of
        // it. The source is a slice that the caller borrowed, and no slice of this memory exists,
        // so they do not overlap.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

/// A stripe has its cache lines (processors fetch pairs) for itself.
#[repr(align(128))]
pub(super) struct Stripe {
    pub(super) window: RwLock<Window>,
    /// The whole memory, once it is sealed. Each stripe has one of its own, so that threads that
    /// take views do not meet at one count of references.
    pub(super) sealed: OnceLock<Bytes>,
}

pub(super) struct Stripes([Stripe; STRIPE_COUNT]);

impl Stripes {
    pub(super) fn new(window: Window) -> Self {
        Self(array::from_fn(|_| Stripe { window: RwLock::new(window), sealed: OnceLock::new() }))
    }

    /// The stripe of this thread.
    #[inline]
    pub(super) fn mine(&self) -> &Stripe {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        let mine = MINE.with(|mine| {
            if mine.get() == usize::MAX {
                mine.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPE_COUNT);
            }
            mine.get()
        });
        &self.0[mine % STRIPE_COUNT]
    }

    /// Lends the bytes out for good, through a value of its own for each stripe.
    pub(super) fn seal(&self, mut lend: impl FnMut() -> Bytes) {
        for stripe in &self.0 {
            stripe.sealed.set(lend()).expect("a memory is sealed once");
        }
    }

    /// Takes all stripes, in the order in which everybody does.
    pub(super) fn exclusive(&self) -> Exclusive<'_> {
        Exclusive(array::from_fn(|i| self.0[i].window.write()))
    }

    /// Takes all stripes, unless one of them is held.
    pub(super) fn try_exclusive(&self) -> Option<Exclusive<'_>> {
        let taken: [_; STRIPE_COUNT] = array::from_fn(|i| self.0[i].window.try_write());
        if taken.iter().any(Option::is_none) {
            return None;
        }
        Some(Exclusive(taken.map(|stripe| stripe.expect("each was taken"))))
    }
}

/// All stripes, held alone.
pub(super) struct Exclusive<'a>([RwLockWriteGuard<'a, Window>; STRIPE_COUNT]);

impl Exclusive<'_> {
    pub(super) fn window(&self) -> &Window {
        &self.0[0]
    }

    /// Shows readers another window of the same reserve.
    pub(super) fn publish(&mut self, window: Window) {
        for held in &mut self.0 {
            **held = window;
        }
    }
}
