//! Writing by system calls, under the latches of the range.

use std::{
    io::{self, IoSlice},
    os::fd::AsFd,
};

use rustix::io::Errno;

use crate::{
    error::{Error, RawPoisonCause, Result},
    file::disk,
    raw::{file::RawFile, span::Span, stripes::Stripes, window::Window},
    residency::budget::EXTENT_PAGES,
    sync::atomic::Ordering,
};

/// The most buffers that one system call takes (`IOV_MAX` of limits.h).
const IOV_MAX: usize = 1024;

impl RawFile {
    /// Writes all of `parts`, one behind the other, from `offset` on. The file grows if need be;
    /// what lies between its old end and `offset` reads as zeros. Writing no bytes does nothing.
    ///
    /// # Errors
    /// * [`Error::Sealed`], also where the file was sealed while this waited for its turn.
    /// * [`Error::Io`]: the disk is full or fails, or the file would be longer than a file can be, or may be
    ///   (`ulimit -f`). The file is as long as before. Some of the bytes that it had in the range may be the
    ///   new ones; nothing outside of the range has changed.
    /// * [`Error::RawPoisoned`].
    pub fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> Result<()> {
        self.check_writable()?;
        let len = parts.iter().try_fold(0_u64, |len, part| len.checked_add(part.len() as u64));
        if len == Some(0) {
            return Ok(());
        }
        let span = len.and_then(|len| Span::new(offset, len)).ok_or_else(|| self.too_long())?;
        disk::check_limit(span.end).map_err(Error::io("write to", self.path()))?;
        // One that grows the file has to be alone with its length. Whether this is one can change
        // as long as no latch is held; then it is tried again.
        loop {
            let grows = span.end > self.current_len();
            let growth = grows.then(|| self.growth.lock());
            let window = self.window.exclusive(Stripes::of(span));
            self.check_writable()?;
            let old_len = self.current_len();
            if span.end > old_len && growth.is_none() {
                continue;
            }
            // Growing a file that somebody cut would make it look whole again.
            self.check_whole(window.as_deref())?;
            let (written, outcome) = self.write_pieces(window.as_deref(), parts, span);
            if let Err(error) = outcome {
                self.unsynced.note_bytes(written);
                if span.end > old_len {
                    self.cut_back(old_len)?;
                }
                return Err(error);
            }
            if span.end > old_len {
                self.len.store(span.end, Ordering::Release);
                self.unsynced.note_length();
            }
            self.unsynced.note_bytes(written);
            return Ok(());
        }
    }

    /// Sets the file's length: cuts it, or extends it with zeros that take no room on the disk yet.
    ///
    /// # Errors
    /// [`Error::Sealed`]; [`Error::Io`], and then the length is as before;
    /// [`Error::RawPoisoned`].
    pub fn set_len(&self, len: u64) -> Result<()> {
        let _alone = self.growth.lock();
        let mut window = self.window.all();
        self.check_writable()?;
        let old_len = self.current_len();
        if len == old_len {
            return Ok(());
        }
        self.check_whole(window.as_deref())?;
        if Span::new(0, len).is_none() {
            return Err(self.too_long());
        }
        if len > old_len {
            disk::check_limit(len).map_err(Error::io("set the length of", self.path()))?;
        }
        disk::truncate(self.claim(), len)?;
        if len < old_len {
            // With the mapping goes what was known of the pages behind the new end. The next read
            // makes one that fits.
            *window = None;
        }
        self.len.store(len, Ordering::Release);
        self.unsynced.note_length();
        drop(window);
        self.backing.give_back(len..old_len)
    }

    /// Writes all parts, under a budget piece by piece, each when there is room for it. Says how many
    /// bytes were written, whatever came of it. The caller holds the latches of the span exclusively.
    fn write_pieces(
        &self,
        window: Option<&Window>,
        parts: &[IoSlice<'_>],
        span: Span,
    ) -> (u64, Result<()>) {
        let mut parts = parts.to_vec();
        let mut left = &mut parts[..];
        let mut written = 0;
        let mut write_piece = |piece: Span| {
            let charged = self.backing.charge_to_write(piece)?;
            let step = if charged.is_some() { EXTENT_PAGES * page_bytes() } else { u64::MAX };
            for part in piece.pieces(step) {
                let outcome = write_all(self.claim().file(), &mut left, part, &mut written);
                outcome.map_err(Error::io("write to", self.path()))?;
            }
            if let Some(window) = window {
                window.note_present(piece);
            }
            Ok(())
        };
        let outcome = self.backing.pieces(span).try_for_each(&mut write_piece);
        (written, outcome)
    }

    /// Fails where the file takes no writes any more.
    fn check_writable(&self) -> Result<()> {
        self.check()?;
        if self.is_sealed() {
            return Err(Error::Sealed { path: self.path().into() });
        }
        Ok(())
    }

    /// Takes away what a failed write left behind the end; a later write behind it would else show
    /// it in the place of zeros.
    #[cold]
    fn cut_back(&self, old_len: u64) -> Result<()> {
        disk::truncate(self.claim(), old_len).map_err(|error| {
            self.poison(RawPoisonCause::Write(crate::error::WithCauses(&error).to_string()))
        })
    }

    #[cold]
    fn too_long(&self) -> Error {
        Error::io("write to", self.path())(io::Error::from(Errno::FBIG))
    }
}

/// Writes the first bytes of `left`, as many as `span` has, to the file, and adds to `written` what
/// was.
fn write_all(
    file: impl AsFd,
    left: &mut &mut [IoSlice<'_>],
    span: Span,
    written: &mut u64,
) -> io::Result<()> {
    let mut offset = span.start;
    while offset < span.end {
        let batch = first_bytes(left, span.end - offset);
        match rustix::io::pwritev(&file, &batch, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                offset += count as u64;
                *written += count as u64;
                IoSlice::advance_slices(left, count);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The first `len` bytes of buffers, or those of as many buffers as one system call takes.
fn first_bytes<'bytes>(parts: &'bytes [IoSlice<'_>], len: u64) -> Vec<IoSlice<'bytes>> {
    let mut left = usize::try_from(len).unwrap_or(usize::MAX);
    let parts = parts.iter().filter(|part| !part.is_empty()).take(IOV_MAX);
    parts
        .map_while(|part| {
            let now = &part[..part.len().min(left)];
            left -= now.len();
            (!now.is_empty()).then(|| IoSlice::new(now))
        })
        .collect()
}

fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}
