//! Standard input and output: can they do what a command is about to ask of them?
//!
//! Asked before anything is touched. A standard stream that was closed looks like an empty input, or
//! like an output that takes everything; one of the wrong kind fails after all the work.

use std::{
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, OFlags, fcntl_getfl, fstat},
};
use storage::StandardStream;

use crate::error::{Error, Result};

/// What messages call them.
pub(crate) const INPUT: &str = "standard input";
pub(crate) const OUTPUT: &str = "standard output";
pub(crate) const ERROR: &str = "standard error";

/// Fails where standard input cannot be read.
pub(crate) fn check_input() -> Result<()> {
    if StandardStream::Input.was_closed() {
        return Err(Error::Closed {
            stream: INPUT,
            instead: "name a file to read, or `/dev/null`",
        });
    }
    match access_of(io::stdin().as_fd(), INPUT)? {
        Access::Read | Access::Both => Ok(()),
        Access::Write | Access::None => Err(Error::WrongWay { stream: INPUT, way: "reading" }),
    }
}

/// Fails where nothing can be written to standard output. That nobody reads it is left to
/// [`check_reader`].
pub(crate) fn check_output() -> Result<()> {
    if StandardStream::Output.was_closed() {
        return Err(Error::Closed { stream: OUTPUT, instead: "send it to a file or `/dev/null`" });
    }
    let stdout = io::stdout();
    match access_of(stdout.as_fd(), OUTPUT)? {
        Access::Write | Access::Both => {}
        Access::Read | Access::None => {
            return Err(Error::WrongWay { stream: OUTPUT, way: "writing" });
        }
    }
    let metadata = fstat(&stdout).map_err(Error::io_of("look at", OUTPUT))?;
    if FileType::from_raw_mode(metadata.st_mode).is_char_device() {
        // Devices answer such a write by what they would say to any: `/dev/full`, a terminal that
        // hung up. (To a socket it could be a message.)
        rustix::io::write(&stdout, &[]).map_err(Error::io_of("write to", OUTPUT))?;
    }
    Ok(())
}

/// Fails where nobody reads standard output any more.
pub(crate) fn check_reader() -> Result<()> {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    poll(&mut polled, Some(&Timespec::default())).map_err(Error::io_of("look at", OUTPUT))?;
    if polled[0].revents().contains(PollFlags::ERR) { Err(Error::ReaderGone) } else { Ok(()) }
}

/// The error for a write to standard output that failed.
pub(crate) fn output_failed(source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::BrokenPipe => Error::ReaderGone,
        _ => Error::io_of("write to", OUTPUT)(source),
    }
}

/// Writes text to standard output at once. That nobody reads it (`storage inspect x | head -0`) is
/// no failure.
pub(crate) fn print(text: std::fmt::Arguments<'_>) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_fmt(text).and_then(|()| stdout.flush()).map_err(output_failed) {
        Err(Error::ReaderGone) => Ok(()),
        printed => printed,
    }
}

/// What a descriptor was opened for.
enum Access {
    Read,
    Write,
    Both,
    /// It is only a name for the file (open(2), `O_PATH`).
    None,
}

fn access_of(stream: BorrowedFd<'_>, name: &'static str) -> Result<Access> {
    let flags = fcntl_getfl(stream).map_err(Error::io_of("look at", name))?;
    Ok(match flags & OFlags::RWMODE {
        _ if flags.contains(OFlags::PATH) => Access::None,
        OFlags::RDONLY => Access::Read,
        OFlags::WRONLY => Access::Write,
        _ => Access::Both,
    })
}
