//! The file or pipe that a command reads.

use std::{
    fs::{File, Metadata},
    io::{self, ErrorKind, Read},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use storage::{BufferPool, FBuf};

use crate::{
    error::{Error, Result},
    interrupt::Interrupt,
    streams,
};

/// How long to wait for a pipe before asking again whether to go on.
const PIPE_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A buffer to read into, of whole pages: how long reading takes depends on where in a page it begins
/// (`docs/facts.md`).
pub(crate) fn read_buffer(len: usize) -> Result<FBuf> {
    let pool = BufferPool::new(len.next_power_of_two() as u64);
    pool.take_zeroed(len).ok_or(Error::Memory { bytes: len })
}

/// Where the bytes come from.
pub(crate) struct Input {
    file: File,
    /// `None` for standard input.
    path: Option<PathBuf>,
    /// How many bytes will come, where that is known. It only scales the progress bar.
    len_bytes: Option<u64>,
}

impl Input {
    /// Opens a file or pipe, or standard input for `-`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (file, path_of_file) = if path == Path::new("-") {
            streams::check_input()?;
            // A descriptor of our own, without the buffer of `io::Stdin`: what is ready to be read
            // must not lie in there while we ask the kernel.
            let stdin = io::stdin().as_fd().try_clone_to_owned();
            (File::from(stdin.map_err(Error::io_of("open", streams::INPUT))?), None)
        } else {
            (File::open(path).map_err(Error::io("open", path))?, Some(path.to_path_buf()))
        };
        let metadata = file.metadata().map_err(Error::io("look at", path))?;
        if metadata.is_dir() {
            return Err(Error::InputFolder { name: name(path).to_string() });
        }
        let len_bytes = metadata.is_file().then_some(metadata.len());
        Ok(Self { file, path: path_of_file, len_bytes })
    }

    /// How many bytes will come, where that is known.
    pub(crate) fn len_bytes(&self) -> Option<u64> {
        self.len_bytes
    }

    /// Whether `path` names the very file that is read here.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let id = |metadata: io::Result<Metadata>| metadata.ok().map(|own| (own.dev(), own.ino()));
        let own = id(self.file.metadata());
        own.is_some() && own == id(path.symlink_metadata())
    }

    /// Reads some bytes; none at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8], interrupt: &Interrupt) -> Result<usize> {
        loop {
            interrupt.check()?;
            if self.len_bytes.is_none() && !self.is_ready()? {
                continue;
            }
            match self.file.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result.map_err(|source| self.refused(source)),
            }
        }
    }

    /// Waits until a read would not wait, but not for long: a read that waits for a pipe cannot be
    /// interrupted.
    fn is_ready(&self) -> Result<bool> {
        let mut polled = [PollFd::new(&self.file, PollFlags::IN)];
        match poll(&mut polled, Some(&PIPE_WAIT)) {
            Ok(count) => Ok(count > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(self.refused(errno.into())),
        }
    }

    fn refused(&self, source: io::Error) -> Error {
        match &self.path {
            Some(path) => Error::io("read", path)(source),
            None => Error::io_of("read", streams::INPUT)(source),
        }
    }
}

/// What messages call the input at a path.
pub(crate) fn name(path: &Path) -> std::path::Display<'_> {
    if path == Path::new("-") { Path::new(streams::INPUT).display() } else { path.display() }
}
