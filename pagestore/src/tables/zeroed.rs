//! Tables that are all zeros at first, and take memory only where they are changed.
//!
//! What is kept of a file is kept by page, and a file can be far longer than what anybody touches of it:
//! sparse, or reserved for what may come. So a large table is a mapping of its own, which the kernel fills page
//! by page when something is stored there. A load takes nothing either: it sees the page of zeros that all
//! share. The heap gives no such promise: what it used before it fills with zeros itself.

#[cfg(not(loom))]
pub(crate) use real::{Blank, Zeroed};

#[cfg(loom)]
pub(crate) use model::{Blank, Zeroed};

#[cfg(not(loom))]
#[expect(unsafe_code, reason = "turns a mapping into a table")]
mod real {
    use std::{io, ops::Deref, slice};

    use bytemuck::{Zeroable, allocation::try_zeroed_slice_box};
    use memmap2::{Advice, MmapOptions, MmapRaw};

    use crate::error::{
        Error, Result,
        address_limit::{self, AddressLimit, Counted},
    };

    /// Smaller tables are of the heap: a mapping takes whole pages and a place in the kernel's list of
    /// mappings, of which a process can have 65,530.
    const MAPPED_BYTES_MIN: usize = 64 << 10;

    /// What is new when it is all zeros.
    pub(crate) trait Blank: Zeroable {}

    impl<T: Zeroable> Blank for T {}

    /// A table of a fixed length.
    pub(crate) struct Zeroed<T> {
        memory: Memory<T>,
    }

    enum Memory<T> {
        Heap(Box<[T]>),
        /// Invariant: `len` entries fit the mapping, which is private, writable, and used by nobody else.
        Mapped {
            mapping: MmapRaw,
            len: usize,
        },
    }

    impl<T: Blank> Zeroed<T> {
        /// # Errors
        /// [`Error::AddressSpace`].
        pub(crate) fn new(len: usize) -> Result<Self> {
            const {
                assert!(!std::mem::needs_drop::<T>(), "nothing is dropped one by one");
                assert!(align_of::<T>() <= 4096, "a mapping begins where a page does");
            }
            let refused = |source| {
                let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
                let limit = address_limit::met(bytes, Counted::Memory);
                Error::AddressSpace { bytes, limit: limit.unwrap_or(AddressLimit::Unknown), source }
            };
            let no_memory = || refused(io::Error::from_raw_os_error(libc::ENOMEM));
            let bytes = len.checked_mul(size_of::<T>()).ok_or_else(no_memory)?;
            if bytes < MAPPED_BYTES_MIN {
                let entries = try_zeroed_slice_box(len).map_err(|()| no_memory())?;
                return Ok(Self { memory: Memory::Heap(entries) });
            }
            let mapped = MmapOptions::new().len(bytes).no_reserve_swap().map_anon();
            let mapping = MmapRaw::from(mapped.map_err(refused)?);
            // Otherwise one store may take 2 MiB. A kernel without huge pages answers EINVAL.
            let _small = mapping.advise(Advice::NoHugePage);
            Ok(Self { memory: Memory::Mapped { mapping, len } })
        }

        /// The same; `make` makes an entry that is blank, for models.
        pub(crate) fn try_made(len: usize, _make: impl FnMut() -> T) -> Result<Self> {
            Self::new(len)
        }

        /// The same where nothing can be refused: of the heap, where the kernel gives no mapping. `make`
        /// makes an entry that is blank.
        pub(crate) fn made(len: usize, make: impl FnMut() -> T) -> Self {
            Self::new(len).unwrap_or_else(|_refused| Self {
                memory: Memory::Heap(std::iter::repeat_with(make).take(len).collect()),
            })
        }
    }

    impl<T> Deref for Zeroed<T> {
        type Target = [T];

        #[inline]
        fn deref(&self) -> &[T] {
            match &self.memory {
                Memory::Heap(entries) => entries,
                // SAFETY: by the invariant, `len` entries lie inside the mapping, which lives as long as
                // `self`, and nobody has a `&mut` to them. It begins at a page, so `T` is aligned (asserted
                // in `new`). The kernel gave zeros, which are values of `T` (`Zeroable`, by `new`), and what
                // was stored since was stored through `&T`. Its length is at most `isize::MAX`, as of every
                // mapping of memmap2.
                Memory::Mapped { mapping, len } => unsafe {
                    slice::from_raw_parts(mapping.as_ptr().cast(), *len)
                },
            }
        }
    }

    // SAFETY: a `Zeroed` is the one owner of its entries, of which it gives `&T`, as a `Box<[T]>` is.
    unsafe impl<T: Send> Send for Zeroed<T> {}
    // SAFETY: as above.
    unsafe impl<T: Sync> Sync for Zeroed<T> {}

    #[cfg(test)]
    mod tests {
        use std::sync::atomic::{AtomicU64, Ordering};

        use super::*;

        #[test]
        fn it_is_zeros_whatever_its_length_and_keeps_what_is_stored() {
            for len in [0, 1, 100, 8191, 8192, 1 << 20] {
                let table = Zeroed::<AtomicU64>::new(len).expect("there is room");
                assert_eq!(table.len(), len);
                assert!(table.iter().all(|word| word.load(Ordering::Relaxed) == 0));
                if let Some(last) = table.last() {
                    last.store(7, Ordering::Relaxed);
                    assert_eq!(table[len - 1].load(Ordering::Relaxed), 7);
                }
            }
        }

        #[test]
        fn what_no_machine_has_is_an_error() {
            assert!(Zeroed::<u64>::new(usize::MAX).is_err());
            assert!(Zeroed::<u64>::new(1 << 50).is_err());
        }
    }
}

#[cfg(loom)]
mod model {
    use std::ops::Deref;

    use crate::error::Result;

    /// What loom makes is not made of zeros.
    pub(crate) trait Blank {}

    impl<T> Blank for T {}

    /// A table of a fixed length, as loom can explore it.
    pub(crate) struct Zeroed<T>(Box<[T]>);

    impl<T: Default> Zeroed<T> {
        pub(crate) fn new(len: usize) -> Result<Self> {
            Ok(Self::made(len, T::default))
        }
    }

    impl<T> Zeroed<T> {
        pub(crate) fn try_made(len: usize, make: impl FnMut() -> T) -> Result<Self> {
            Ok(Self::made(len, make))
        }

        pub(crate) fn made(len: usize, make: impl FnMut() -> T) -> Self {
            Self(std::iter::repeat_with(make).take(len).collect())
        }
    }

    impl<T> Deref for Zeroed<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            &self.0
        }
    }
}
