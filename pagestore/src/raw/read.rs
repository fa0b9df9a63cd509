//! Reading by copying, under the latches of the range.

use std::{io, ops::ControlFlow, sync::Arc};

use crate::{
    error::Result,
    raw::{file::RawFile, poison, span::Span, stripes::Stripes, window::Window},
    residency::budget::Charged,
};

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    Waits,
    AtOnce,
}

/// Why a copy could not be taken yet.
enum Missing {
    /// A mapping that reaches far enough.
    Window,
    /// Pages, which would have to be waited for.
    Pages,
}

impl RawFile {
    /// Fills `buffer` with a copy of the bytes from `offset` on, of a mutable or a sealed file.
    ///
    /// Latches keep writers of the same bytes out while it copies, so the copy has each concurrent write whole
    /// or not at all. Afterwards the call checks that all bytes were there: it never returns `Ok` for zeros
    /// that stand in for bytes which were cut off or could not be read. One gap remains: a file that another
    /// program cuts *and extends again* during the call has zeros there, and nothing tells them from written
    /// ones.
    ///
    /// # Errors
    /// [`Error::PastEnd`](crate::Error::PastEnd) where the file has not all of them, and then
    /// nothing is read; [`Error::Io`](crate::Error::Io) where the disk cannot read them;
    /// [`Error::RawPoisoned`](crate::Error::RawPoisoned);
    /// [`Error::AddressSpace`](crate::Error::AddressSpace) where the file cannot be mapped. What
    /// `buffer` holds after an error is not said.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let span = self.span_to_read(offset, buffer.len())?;
        loop {
            if let Some(sealed) = self.sealed.get() {
                let len = buffer.len() as u64;
                return sealed
                    .read(offset, buffer, |file_len| self.past_end(offset, len, file_len));
            }
            let window = self.window.shared(Stripes::of(span));
            match self.copy(window.as_deref(), span, buffer, Patience::Waits) {
                ControlFlow::Break(result) => return result,
                ControlFlow::Continue(_) => {
                    drop(window);
                    self.map()?;
                }
            }
        }
    }

    /// Like [`read_at`](Self::read_at), if that needs no wait: nobody is writing to the range, and it is in
    /// memory.
    ///
    /// It finds out whether the pages are in memory as [`try_view`](Self::try_view) does. If the kernel evicts
    /// one within those milliseconds, or while it copies, the call waits for it.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub fn try_read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<Result<()>> {
        let span = match self.span_to_read(offset, buffer.len()) {
            Ok(span) => span,
            Err(error) => return Some(Err(error)),
        };
        if let Some(sealed) = self.sealed.get() {
            let len = buffer.len() as u64;
            return sealed
                .try_read(offset, buffer, |file_len| self.past_end(offset, len, file_len));
        }
        let window = self.window.try_shared(Stripes::of(span))?;
        self.copy(window.as_deref(), span, buffer, Patience::AtOnce).break_value()
    }

    /// The span that somebody wants to read, if any file could have it.
    fn span_to_read(&self, offset: u64, len: usize) -> Result<Span> {
        let span = Span::new(offset, len as u64);
        span.ok_or_else(|| self.past_end(offset, len as u64, self.current_len()))
    }

    /// Copies a span, whose latches the caller shares.
    fn copy(
        &self,
        window: Option<&Window>,
        span: Span,
        buffer: &mut [u8],
        patience: Patience,
    ) -> ControlFlow<Result<()>, Missing> {
        if let Err(error) = self.check() {
            return ControlFlow::Break(Err(error));
        }
        let len = self.current_len();
        if span.end > len {
            return ControlFlow::Break(Err(self.past_end(span.start, span.len(), len)));
        }
        if span.is_empty() {
            return ControlFlow::Break(Ok(()));
        }
        let Some(window) = window.filter(|window| window.covers(span.end)) else {
            return ControlFlow::Continue(Missing::Window);
        };
        let mut rest = buffer;
        for piece in self.backing.pieces(span) {
            let held = match patience {
                Patience::Waits => Some(self.hold(window, piece, len)),
                Patience::AtOnce => self.try_hold(window, piece),
            };
            let _held = match held {
                Some(Ok(held)) => held,
                Some(Err(error)) => return ControlFlow::Break(Err(error)),
                None => return ControlFlow::Continue(Missing::Pages),
            };
            // SAFETY: the file has the bytes (`len`, which does not fall while a latch is held) and
            // the window covers them. Nobody writes to them: writers of this file take the exclusive
            // latches of what they write, of which one is shared here where the ranges overlap, and
            // the claim vouches for everybody else.
            let bytes = unsafe { window.bytes(piece) };
            let (now, later) = rest.split_at_mut(bytes.len());
            now.copy_from_slice(bytes);
            rest = later;
        }
        ControlFlow::Break(self.check_whole(Some(window)))
    }

    /// Has the pages of a piece in memory, from the disk if need be. Where they had to be charged for
    /// that, they stay as long as what is returned lives.
    fn hold(&self, window: &Window, piece: Span, file_len: u64) -> Result<Option<Charged<'_>>> {
        self.backing.reference(piece);
        // What the kernel took back, this thread may wait for.
        if window.is_present(piece) {
            return Ok(None);
        }
        let charged = self.backing.charge(piece, file_len)?;
        self.brought_in(window, self.backing.bring_in(window, piece))?;
        Ok(charged)
    }

    /// The same, if it takes no waiting.
    fn try_hold(&self, window: &Window, piece: Span) -> Option<Result<Option<Charged<'_>>>> {
        self.backing.reference(piece);
        if window.is_resident(piece) {
            return Some(Ok(None));
        }
        if !window.finds(piece) {
            return None;
        }
        let charged = self.backing.try_charge(piece)?;
        Some(self.brought_in(window, window.bring_in(piece)).map(|()| charged))
    }

    /// Judges an attempt to bring pages in.
    fn brought_in(&self, window: &Window, outcome: io::Result<()>) -> Result<()> {
        outcome.or_else(|source| {
            self.check_whole(Some(window))?;
            Err(poison::unreadable(self.claim(), source))
        })
    }

    /// Makes a mapping that reaches to the file's end, if there is none.
    #[cold]
    fn map(&self) -> Result<()> {
        let mut window = self.window.all();
        self.check()?;
        let len = self.current_len();
        if self.sealed.get().is_some() || window.as_ref().is_some_and(|window| window.covers(len)) {
            return Ok(());
        }
        // A fault in the old mapping must not be forgotten with it.
        self.check_whole(window.as_deref())?;
        let larger = Arc::new(Window::with_headroom(self.claim(), len, |mapping| {
            self.backing.advise_all(mapping);
        })?);
        self.backing.read_through(&larger, window.as_deref());
        *window = Some(larger);
        Ok(())
    }
}
