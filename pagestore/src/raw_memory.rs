//! Bytes in anonymous memory, within a budget.
//!
//! A read sees each write whole or not at all. Pages are counted against a [`MemoryBudget`] before they take memory.
//! Sealed bytes are lent without a copy, and live as long as the last view of them.

mod budget;
mod range;
mod reserve;
mod sealed;
mod stripes;
mod touched;

use std::{fmt, sync::Arc};

use bytes::Bytes;

pub use self::budget::MemoryBudget;
use self::{
    budget::Charge,
    range::{check_range, name},
    reserve::Reserve,
    stripes::{Exclusive, Stripes},
};
use crate::{
    error::{Error, Result},
    sync::Mutex,
};

/// Bytes in anonymous memory that are used like a file: read and written at offsets, resized, and perhaps
/// sealed in the end, and then lent without a copy.
///
/// Nothing outlives the process. Memory is taken page by page when it is first written to. It is counted
/// against a [`MemoryBudget`] *before* that, so that the budget refuses it, and not the kernel. Reading what
/// was never written takes no memory.
///
/// A memory of 16 MiB and more that was written without a gap goes on in huge pages (2 MiB), which are usually
/// filled about twice as fast. It is counted in huge pages from then on.
///
/// All methods take `&self`. A read sees each write whole or not at all. Reads share a lock, split so that
/// threads that read at the same time do not disturb each other; a write has it alone. Each memory is one
/// mapping, of which a process may have about 65,000 (`vm.max_map_count`); neighbours usually merge.
pub struct RawMemory {
    stripes: Stripes,
    /// Whoever changes anything holds this, and then takes the stripes.
    state: Mutex<State>,
}

enum State {
    Open(Reserve),
    /// The bytes belong to the views now.
    Sealed,
}

impl RawMemory {
    /// Makes an empty memory.
    ///
    /// # Errors
    /// [`Error::AddressSpace`] where the kernel gives no more mappings.
    pub fn new(budget: Arc<MemoryBudget>) -> Result<Self> {
        let reserve = Reserve::new(Charge::none(budget))?;
        let stripes = Stripes::new(reserve.window(0));
        Ok(Self { stripes, state: Mutex::new(State::Open(reserve)) })
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.stripes.mine().window.read().len_bytes()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::PastEnd`] where there are not as many; the buffer is as it was then.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.stripes.mine().window.read().copy_to(offset, buffer)
    }

    /// The same, or `None` if it would have to wait for a writer.
    #[inline]
    pub fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<()>> {
        Some(self.stripes.mine().window.try_read()?.copy_to(offset, buffer))
    }

    /// Writes `parts`, one behind the other, from `offset` on. What lies between the end and
    /// `offset` becomes zeros, which take no memory. Writing nothing changes nothing.
    ///
    /// # Errors
    /// [`Error::Sealed`]; [`Error::BudgetExceeded`]; [`Error::AddressSpace`] where the kernel gives
    /// no addresses, or where the end were past 64 TiB. Nothing has changed then.
    pub fn write_at(&self, offset: u64, parts: &[impl AsRef<[u8]>]) -> Result<()> {
        let mut state = self.state.lock();
        let reserve = state.open()?;
        let Some(end) = end_of(offset, parts)? else { return Ok(()) };
        write(reserve, self.stripes.exclusive(), offset, end, parts)
    }

    /// The same, or `None` if it would have to wait for readers or other writers, or to move the bytes to
    /// another address.
    #[inline]
    pub fn try_write_at(&self, offset: u64, parts: &[impl AsRef<[u8]>]) -> Option<Result<()>> {
        let mut state = self.state.try_lock()?;
        let (end, reserve) = match (end_of(offset, parts), state.open()) {
            (Ok(Some(end)), Ok(reserve)) => (end, reserve),
            (Ok(None), Ok(_)) => return Some(Ok(())),
            (Err(error), _) | (_, Err(error)) => return Some(Err(error)),
        };
        if end > reserve.capacity_bytes() {
            return None;
        }
        let stripes = self.stripes.try_exclusive()?;
        Some(write(reserve, stripes, offset, end, parts))
    }

    /// Cuts the bytes, or extends them with zeros. What is cut off is given back to the kernel and
    /// to the budget; extending takes nothing.
    ///
    /// # Errors
    /// [`Error::Sealed`]; [`Error::AddressSpace`] as in [`write_at`](Self::write_at); [`Error::Io`]
    /// where the kernel does not take pages back, as when the process keeps all its memory locked
    /// (mlockall(2)). Nothing has changed then.
    pub fn set_len(&self, len_bytes: u64) -> Result<()> {
        let mut state = self.state.lock();
        let reserve = state.open()?;
        let mut stripes = self.stripes.exclusive();
        let len_before = stripes.window().len_bytes();
        if len_bytes < len_before {
            reserve.cut(&stripes, len_bytes, len_before)?;
        } else {
            reserve.grow(&stripes, len_bytes)?;
        }
        stripes.publish(reserve.window(len_bytes));
        Ok(())
    }

    /// Makes the bytes unchangeable, for good. Sealing what is sealed does nothing.
    pub fn seal(&self) {
        let mut state = self.state.lock();
        if let State::Open(_) = *state {
            let State::Open(reserve) = std::mem::replace(&mut *state, State::Sealed) else {
                unreachable!("it was open, and the lock is held");
            };
            sealed::seal(&self.stripes, reserve, self.len());
        }
    }

    /// Whether the bytes are sealed.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.sealed().is_some()
    }

    /// Bytes of a sealed memory, without a copy and without an allocation. The memory, and its charge, stay
    /// until the last view is dropped, even if this value is dropped before.
    ///
    /// # Errors
    /// [`Error::NotSealed`]; [`Error::PastEnd`].
    #[inline]
    pub fn view(&self, offset: u64, len: usize) -> Result<Bytes> {
        let sealed = self.sealed().ok_or_else(|| Error::NotSealed { path: name() })?;
        slice(sealed, offset, len)
    }

    /// The same, or `None` if this thread cannot tell without waiting that the bytes are sealed.
    #[inline]
    pub fn try_view(&self, offset: u64, len: usize) -> Option<Result<Bytes>> {
        Some(slice(self.stripes.mine().sealed.get()?, offset, len))
    }

    #[inline]
    fn sealed(&self) -> Option<&Bytes> {
        let sealed = &self.stripes.mine().sealed;
        sealed.get().or_else(|| {
            // Another thread may have sealed, or be about to: it does so under the lock.
            let _state = self.state.lock();
            sealed.get()
        })
    }
}

impl State {
    fn open(&mut self) -> Result<&mut Reserve> {
        match self {
            Self::Open(reserve) => Ok(reserve),
            Self::Sealed => Err(Error::Sealed { path: name() }),
        }
    }
}

impl fmt::Debug for RawMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawMemory")
            .field("len", &self.len())
            .field("is_sealed", &self.is_sealed())
            .finish_non_exhaustive()
    }
}

fn write(
    reserve: &mut Reserve,
    mut stripes: Exclusive<'_>,
    offset: u64,
    end: u64,
    parts: &[impl AsRef<[u8]>],
) -> Result<()> {
    let len_before = stripes.window().len_bytes();
    reserve.touch(&stripes, offset..end, len_before)?;
    let mut window = reserve.window(len_before.max(end));
    let mut at = offset;
    for part in parts {
        window.fill(&mut stripes, at, part.as_ref());
        at += part.as_ref().len() as u64;
    }
    stripes.publish(window);
    Ok(())
}

/// Where `parts` would end; `None` where they are empty.
fn end_of(offset: u64, parts: &[impl AsRef<[u8]>]) -> Result<Option<u64>> {
    let mut end = offset;
    for part in parts {
        let len = part.as_ref().len() as u64;
        end = end.checked_add(len).ok_or_else(|| reserve::too_large(u64::MAX))?;
    }
    Ok((end > offset).then_some(end))
}

#[inline]
fn slice(sealed: &Bytes, offset: u64, len: usize) -> Result<Bytes> {
    let start = check_range(offset, len, sealed.len() as u64)?;
    Ok(sealed.slice(start..start + len))
}
