//! Read leases: while a sealed file is read, the kernel keeps those out who want to write to it.

use std::{
    fs::File,
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::{
    error::{Error, Result},
    kernel::{
        calls,
        hint::{Hint, is_refusal},
    },
};

/// Whether the kernel keeps writers away from a sealed file that is open here (the read lease of fcntl(2),
/// `F_SETLEASE`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Lease {
    /// The kernel keeps writers out. Nobody has had the file open for writing since it was opened
    /// here, and nobody asks to.
    Held,
    /// Somebody asked to open the file for writing, or to truncate it. The kernel makes them wait until this
    /// handle, its clones and its views are dropped, for at most `/proc/sys/fs/lease-break-time` seconds (45 by
    /// default). Until then the file stays as it was; afterwards it may change without notice. The lease does
    /// not become [`Held`](Self::Held) again. While they wait, nobody else can open the file as a sealed one. A
    /// request with `O_NONBLOCK` is refused at once, and counts as waiting too.
    WriterWaits,
    /// There is no lease: the filesystem has none, or only the file's owner may take one, or the file was
    /// opened by `open_shared` or with [`Writers::LetIn`]. Only the lock keeps writers out, and only those who
    /// ask for it.
    Unavailable,
}

/// What happens to a program that asks to write to a sealed file while it is open here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Writers {
    /// It waits, in open(2) or truncate(2), until the file is closed here, for at most
    /// `/proc/sys/fs/lease-break-time` seconds (45 by default): a [`Lease`] of the kernel holds it up. So an
    /// accident, like `>> file` in a shell, cannot change borrowed bytes as long as somebody watches
    /// [`SealedFile::lease`](crate::SealedFile::lease).
    #[default]
    HeldUp,
    /// It is let in at once, as with any other file. Opening the file here still checks that nobody has it open
    /// for writing. From then on this user and root, who alone may write to it, have to leave it alone: what
    /// they write shows in borrowed bytes.
    LetIn,
}

/// The first wait for somebody to close the file. Each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(1);

/// Takes a read lease on a file that is open to read only; `path` names it in errors. Returns whether
/// there is one now: not every filesystem has leases, and only a file's owner may take one.
///
/// A lease cannot be had while the file is open for writing anywhere. That is waited for, up to
/// `patience`: a child that another thread is just starting has a copy of every descriptor until
/// it calls exec(2).
///
/// # Errors
/// [`Error::Locked`] where it is still open for writing after that.
pub(crate) fn take(file: &File, path: &Path, patience: Duration) -> Result<bool> {
    let deadline = Instant::now() + patience;
    let mut wait = FIRST_WAIT;
    loop {
        match calls::take_read_lease(file) {
            Ok(()) if calls::has_read_lease(file) => return Ok(true),
            // It cannot be asked for what became of it, so it would tell nothing.
            Ok(()) => {
                calls::give_lease_back(file);
                return Ok(false);
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                if is_refusal(&error) {
                    Hint::Lease.note(&error);
                }
                return Ok(false);
            }
            Err(_) if Instant::now() >= deadline => {
                let holder = "it is open for writing somewhere, or somebody waits to write to it";
                return Err(Error::Locked { path: path.into(), holder });
            }
            Err(_) => thread::sleep(wait),
        }
        wait *= 2;
    }
}

/// What has become of a lease that was taken.
pub(crate) fn look(file: &File) -> Lease {
    if calls::has_read_lease(file) { Lease::Held } else { Lease::WriterWaits }
}
