//! The one way by which a versioned file is written: every byte, every length, every wait for the disk.
//!
//! A recorder that stands in between sees all of it, in order (feature `testing`).

use std::{
    fmt,
    fs::File,
    io::{self, IoSlice},
    sync::Arc,
};

use rustix::{
    fs::FallocateFlags,
    io::{Errno, ReadWriteFlags},
};

use super::backing::Backing;
use crate::{
    file::{disk, durable},
    kernel::{calls, hint::Hint},
};

/// What a versioned file asks of what it lies on. All offsets count from the file's beginning.
///
/// The calls of commits, of opening and of closing come one after the other, but for two kinds that may come
/// at the same time from other threads: those of a checkpoint ([`sync`](Self::sync),
/// [`start_write_back`](Self::start_write_back) and the superblock's [`write_durably`](Self::write_durably)), and
/// those by which a commit of many pages is written into its places ([`write`](Self::write)), after it was made
/// durable in the log and before the next one is written to its places.
#[cfg_attr(
    not(feature = "testing"),
    expect(unreachable_pub, reason = "public for a test that stands in between")
)]
pub trait Medium: fmt::Debug + Send + Sync {
    /// Writes all bytes of `parts`, one behind the other, from `offset` on. A crash may leave any part
    /// of them, by sectors, until a [`sync`](Self::sync) has returned.
    ///
    /// # Errors
    /// The operating system's. Any part of the bytes may have been written.
    fn write(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Does what [`write`](Self::write) does, and returns when these bytes are durable. It says nothing
    /// of others.
    ///
    /// # Errors
    /// As [`write`](Self::write). Whether the bytes are durable is unknown then.
    fn write_durably(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()>;

    /// Makes everything durable that was written before, and the file's length.
    ///
    /// # Errors
    /// The operating system's. What is durable is unknown then, for good.
    fn sync(&self) -> io::Result<()>;

    /// Has the disk begin to write a range, without waiting for it. It makes nothing durable.
    ///
    /// # Errors
    /// The operating system's.
    fn start_write_back(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Makes the file longer, from `old_len` to `new_len`, by zeros that have their place on the disk.
    ///
    /// # Errors
    /// The operating system's; the file is as long as before.
    fn extend(&self, old_len: u64, new_len: u64) -> io::Result<()>;

    /// Cuts the file.
    ///
    /// # Errors
    /// The operating system's.
    fn cut(&self, len: u64) -> io::Result<()>;
}

/// Makes a medium of the real one.
pub(super) type WrapMedium = Arc<dyn Fn(Arc<dyn Medium>) -> Arc<dyn Medium> + Send + Sync>;

/// The real medium: the file itself.
#[derive(Debug)]
pub(super) struct FileMedium(pub(super) Arc<Backing>);

/// The vectors that one system call takes (`IOV_MAX`).
pub(super) const PARTS_MAX: usize = 1024;

/// A system call that writes parts at an offset.
type Write = fn(&File, &[IoSlice<'_>], u64) -> rustix::io::Result<usize>;

fn plainly(file: &File, parts: &[IoSlice<'_>], offset: u64) -> rustix::io::Result<usize> {
    rustix::io::pwritev(file, parts, offset)
}

fn durably(file: &File, parts: &[IoSlice<'_>], offset: u64) -> rustix::io::Result<usize> {
    rustix::io::pwritev2(file, parts, offset, ReadWriteFlags::DSYNC)
}

impl FileMedium {
    fn write_all(&self, offset: u64, parts: &[IoSlice<'_>], write: Write) -> io::Result<()> {
        let mut offset = offset;
        for parts in parts.chunks(PARTS_MAX) {
            offset = self.write_some(offset, parts, write)?;
        }
        Ok(())
    }

    /// Writes parts of which one call takes all, and gives the offset behind them.
    fn write_some(&self, mut offset: u64, parts: &[IoSlice<'_>], write: Write) -> io::Result<u64> {
        let file = self.0.file();
        let whole: usize = parts.iter().map(|part| part.len()).sum();
        let mut written = loop {
            match write(file, parts, offset) {
                Err(Errno::INTR) => {}
                written => break written?,
            }
        };
        if written == whole {
            return Ok(offset + whole as u64);
        }
        // The rest, which only a disk that is full or fails leaves: it says so the next time.
        let mut rest = parts.to_vec();
        let mut rest = &mut rest[..];
        while written > 0 {
            IoSlice::advance_slices(&mut rest, written);
            offset += written as u64;
            if rest.is_empty() {
                return Ok(offset);
            }
            written = match write(file, rest, offset) {
                Err(Errno::INTR) => continue,
                written => written?,
            };
        }
        Err(io::ErrorKind::WriteZero.into())
    }

    fn is_memory(&self) -> bool {
        matches!(*self.0, Backing::Memory(_))
    }
}

impl Medium for FileMedium {
    fn write(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.write_all(offset, parts, plainly)
    }

    fn write_durably(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        let at_once = self.write_all(offset, parts, durably);
        // A write that failed may say the same as a filter. To write once more and sync would use up what the
        // kernel has to say of other writes, so the call itself is asked, with nothing to write.
        // Linux 4.6, which has the call without the flag, answers that as no write that failed does.
        let lacks_the_flag =
            |error: &io::Error| error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error());
        let is_refused = at_once.as_ref().is_err_and(|error| {
            lacks_the_flag(error) || durably(self.0.file(), &[], offset).is_err()
        });
        if !is_refused {
            return at_once;
        }
        Hint::WriteDurably.unless_refused(at_once).unwrap_or_else(|| {
            self.write(offset, parts)?;
            self.sync()
        })
    }

    fn sync(&self) -> io::Result<()> {
        durable::sync_data(self.0.file())
    }

    fn start_write_back(&self, offset: u64, len: u64) -> io::Result<()> {
        calls::start_write_back(self.0.file(), offset, len)
    }

    fn extend(&self, old_len: u64, new_len: u64) -> io::Result<()> {
        disk::check_limit(new_len)?;
        let file = self.0.file();
        if self.is_memory() {
            // Memory is taken when it is written to.
            return file.set_len(new_len);
        }
        let refusal = loop {
            let len = new_len - old_len;
            match rustix::fs::fallocate(file, FallocateFlags::empty(), old_len, len) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => break io::Error::from(errno),
            }
        };
        // A failed one leaves part of the space behind on ext4.
        file.set_len(old_len)?;
        Err(refusal)
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.0.file().set_len(len)
    }
}
