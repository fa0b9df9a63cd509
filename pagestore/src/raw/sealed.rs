//! A sealed file in memory: read without a latch, and lent without a copy.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    error::{Error, FaultCause, RawPoisonCause, Result},
    raw::{backing::Backing, poison, span::Span, window::Window},
    residency::budget::{Charged, Held},
};

/// The whole of a sealed file, in memory as far as it was asked for.
pub(super) struct Sealed {
    /// None where the file is empty, which cannot be mapped.
    map: Option<Arc<Map>>,
    /// All bytes of the mapping. Views are slices of it, so making one allocates nothing.
    whole: Bytes,
    len: u64,
}

/// A window that reaches just to the end of a sealed file.
///
/// Invariant: the claim in the window is on a sealed file of `len` bytes.
struct Map {
    window: Arc<Window>,
    len: u64,
    /// Behind the window, which maps the file.
    backing: Held<Backing>,
}

/// What keeps the mapping and the lock on the file alive as long as there are views.
struct Owner(Arc<Map>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        let span = Span { start: 0, end: self.0.len };
        // SAFETY: the file had `len` bytes when it was sealed or opened, and the window was made
        // for as many. Nobody writes to them: this crate never writes to a sealed file, and the
        // claim in the window vouches for everybody else.
        unsafe { self.0.window.bytes(span) }
    }
}

impl Sealed {
    /// Maps a file that is sealed, or is so before this is used.
    pub(super) fn new(backing: &Held<Backing>, len: u64) -> Result<Self> {
        if len == 0 {
            return Ok(Self { map: None, whole: Bytes::new(), len });
        }
        let window =
            Arc::new(Window::exact(backing.claim(), len, |mapping| backing.advise_all(mapping))?);
        let map = Arc::new(Map { window, len, backing: backing.clone() });
        let whole = Bytes::from_owner(Owner(Arc::clone(&map)));
        Ok(Self { map: Some(map), whole, len })
    }

    /// Has the file be read through this from now on. `before` is what it was read through until now.
    pub(super) fn read_through(&self, before: Option<&Window>) {
        if let Some(map) = &self.map {
            map.backing.read_through(&map.window, before);
        }
    }

    /// The mapping and the checked span; `None` for an empty one. `past_end` makes the error for a file that has
    /// so many bytes and not those.
    #[inline]
    fn resolve(
        &self,
        offset: u64,
        len: usize,
        past_end: impl FnOnce(u64) -> Error,
    ) -> Result<Option<(&Map, Span)>> {
        self.check()?;
        let span = Span::new(offset, len as u64).filter(|span| span.end <= self.len);
        let span = span.ok_or_else(|| past_end(self.len))?;
        Ok(self.map.as_deref().filter(|_| !span.is_empty()).map(|map| (map, span)))
    }

    /// The view of a span that was resolved, which is therefore inside `whole`.
    #[inline]
    fn slice(&self, span: Span) -> Bytes {
        self.whole.slice(index(span.start)..index(span.end))
    }

    pub(super) fn view(
        &self,
        offset: u64,
        len: usize,
        past_end: impl FnOnce(u64) -> Error,
    ) -> Result<Bytes> {
        let Some((map, span)) = self.resolve(offset, len, past_end)? else {
            return Ok(Bytes::new());
        };
        map.backing.pieces(span).try_for_each(|piece| map.hold(piece).map(drop))?;
        Ok(self.slice(span))
    }

    pub(super) fn view_in_memory(
        &self,
        offset: u64,
        len: usize,
        past_end: impl FnOnce(u64) -> Error,
    ) -> Result<Bytes> {
        let Some((map, span)) = self.resolve(offset, len, past_end)? else {
            return Ok(Bytes::new());
        };
        map.backing.pieces(span).try_for_each(|piece| map.bring_in(piece).map(drop))?;
        Ok(self.slice(span))
    }

    #[inline]
    pub(super) fn try_view(
        &self,
        offset: u64,
        len: usize,
        past_end: impl FnOnce(u64) -> Error,
    ) -> Option<Result<Bytes>> {
        match self.resolve(offset, len, past_end) {
            Ok(Some((map, span))) => {
                let there = map.try_bring_in(span)?;
                Some(there.map(|()| self.slice(span)))
            }
            Ok(None) => Some(Ok(Bytes::new())),
            Err(error) => Some(Err(error)),
        }
    }

    /// Copies what a view shows, and makes sure of it.
    pub(super) fn read(
        &self,
        offset: u64,
        buffer: &mut [u8],
        past_end: impl FnOnce(u64) -> Error,
    ) -> Result<()> {
        let Some((map, span)) = self.resolve(offset, buffer.len(), past_end)? else {
            return Ok(());
        };
        let mut rest = buffer;
        for piece in map.backing.pieces(span) {
            let _held = map.hold(piece)?;
            let (now, later) = rest.split_at_mut(index(piece.len()));
            now.copy_from_slice(&self.whole[index(piece.start)..index(piece.end)]);
            rest = later;
        }
        self.check_whole()
    }

    /// The same, if it takes no waiting.
    pub(super) fn try_read(
        &self,
        offset: u64,
        buffer: &mut [u8],
        past_end: impl FnOnce(u64) -> Error,
    ) -> Option<Result<()>> {
        let view = self.try_view(offset, buffer.len(), past_end)?;
        Some(view.and_then(|view| {
            buffer.copy_from_slice(&view);
            self.check_whole()
        }))
    }

    /// Fails where a page fault was caught.
    #[inline]
    pub(super) fn check(&self) -> Result<()> {
        match self.map.as_deref().and_then(|map| map.window.fault_offset()) {
            None => Ok(()),
            Some(offset) => Err(self.poisoned(offset)),
        }
    }

    #[cold]
    fn poisoned(&self, offset: u64) -> Error {
        let map = self.map.as_deref().expect("a fault is in a mapping");
        let claim = map.backing.claim();
        let cause = match claim.len_bytes() {
            Ok(file_len) if file_len < self.len => FaultCause::CutShort { file_len },
            _ => FaultCause::Disk,
        };
        poison::poisoned(claim, RawPoisonCause::Fault { offset, cause })
    }

    /// Fails where a page fault was caught, or the file is shorter than it was.
    pub(super) fn check_whole(&self) -> Result<()> {
        if let Some(map) = &self.map {
            map.check_len()?;
        }
        self.check()
    }
}

impl Map {
    /// Has the pages of a piece in memory, as far as is known of them. Where they had to be charged
    /// for that, they stay as long as what is returned lives.
    fn hold(&self, piece: Span) -> Result<Option<Charged<'_>>> {
        self.backing.reference(piece);
        if self.window.is_present(piece) {
            return Ok(None);
        }
        self.bring_in(piece)
    }

    /// The same whatever is known of them: from the disk, if need be.
    fn bring_in(&self, piece: Span) -> Result<Option<Charged<'_>>> {
        let charged = self.backing.charge(piece, self.len)?;
        self.brought_in(self.backing.bring_in(&self.window, piece))?;
        Ok(charged)
    }

    /// Makes sure that a span is in memory, if it takes no waiting.
    #[inline]
    fn try_bring_in(&self, span: Span) -> Option<Result<()>> {
        self.backing.reference(span);
        if self.window.is_resident(span) {
            return Some(Ok(()));
        }
        if !self.window.finds(span) {
            return None;
        }
        let _charged = self.backing.try_charge(span)?;
        Some(self.brought_in(self.window.bring_in(span)))
    }

    /// Judges an attempt to bring pages in. It is the moment to look whether the file is still
    /// whole, since it is seldom and costs more than the look.
    fn brought_in<T>(&self, outcome: std::io::Result<T>) -> Result<T> {
        self.check_len()?;
        outcome.map_err(|source| poison::unreadable(self.backing.claim(), source))
    }

    /// Fails where the file is shorter than it was, and poisons it.
    fn check_len(&self) -> Result<()> {
        let file_len = self.backing.claim().len_bytes()?;
        if file_len >= self.len {
            return Ok(());
        }
        self.window.note_fault(file_len);
        let cause = FaultCause::CutShort { file_len };
        let offset = file_len;
        Err(poison::poisoned(self.backing.claim(), RawPoisonCause::Fault { offset, cause }))
    }
}

/// A length or place inside what is mapped.
#[inline]
fn index(number: u64) -> usize {
    usize::try_from(number).expect("what is mapped fits a usize")
}
