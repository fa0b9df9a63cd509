//! A recorder between a versioned file and what it lies on: every write, length and wait, in order.

use std::{
    io::{self, IoSlice},
    sync::{Arc, Mutex, PoisonError},
};

use pagestore::Medium;

/// What a file asks of its disk, and what the workload says meanwhile.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A call begins; until it ends, any part of what it does may have happened.
    Begin {
        /// Pairs it with its end.
        call: u32,
        operation: Operation,
    },
    /// A call has returned.
    End { call: u32 },
    /// The workload knows something.
    Note(Note),
}

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Bytes are written; `is_durable` says whether the call returns only when they are on the disk.
    Write { offset: u64, bytes: Vec<u8>, is_durable: bool },
    /// Everything that was written before is made durable.
    Sync,
    /// The file gets another length.
    SetLen(u64),
}

/// What the user of a file knows of its commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Note {
    /// A commit was begun.
    Committing(u64),
    /// It has returned: it must be there from now on.
    Committed(u64),
    /// The file was opened, and showed this commit.
    Opened(u64),
}

/// What was recorded, and whether there is still current.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    state: Mutex<State>,
}

/// How a file is made longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extend {
    /// As the real medium does it.
    AsItIs,
    /// By its length alone: in memory, space that is reserved is cleared page by page, which takes longer
    /// than all the rest of an opening.
    ByLength,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Event>,
    calls: u32,
    is_off: bool,
}

impl Tape {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes something.
    pub(crate) fn note(&self, note: Note) {
        self.state().events.push(Event::Note(note));
    }

    /// From now on nothing reaches the disk, as if the machine had stopped; whoever writes is told that it
    /// went well, so that the file can be dropped.
    pub(crate) fn switch_off(&self) {
        self.state().is_off = true;
    }

    /// The next open finds the disk in use again.
    pub(crate) fn switch_on(&self) {
        self.state().is_off = false;
    }

    /// How many events were recorded so far.
    pub(crate) fn count(&self) -> usize {
        self.state().events.len()
    }

    /// What was recorded so far.
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.state().events)
    }

    /// The wrapper for [`VersionedFileOptions::medium`](pagestore::VersionedFileOptions::medium).
    pub(crate) fn wrap(
        self: &Arc<Self>,
        extend: Extend,
    ) -> impl Fn(Arc<dyn Medium>) -> Arc<dyn Medium> + Send + Sync + 'static {
        let tape = Arc::clone(self);
        move |real| Arc::new(Recorder { real, tape: Arc::clone(&tape), extend })
    }

    /// Records a call, unless the disk is off.
    fn around(
        &self,
        operation: impl FnOnce() -> Operation,
        call: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let number = {
            let mut state = self.state();
            if state.is_off {
                return Ok(());
            }
            state.calls += 1;
            let number = state.calls;
            state.events.push(Event::Begin { call: number, operation: operation() });
            number
        };
        call()?;
        self.state().events.push(Event::End { call: number });
        Ok(())
    }
}

#[derive(Debug)]
struct Recorder {
    real: Arc<dyn Medium>,
    tape: Arc<Tape>,
    extend: Extend,
}

fn write(offset: u64, parts: &[IoSlice<'_>], is_durable: bool) -> Operation {
    let bytes = parts.iter().fold(Vec::new(), |mut all, part| {
        all.extend_from_slice(part);
        all
    });
    Operation::Write { offset, bytes, is_durable }
}

impl Medium for Recorder {
    fn write(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.tape.around(|| write(offset, parts, false), || self.real.write(offset, parts))
    }

    fn write_durably(&self, offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.tape.around(|| write(offset, parts, true), || self.real.write_durably(offset, parts))
    }

    fn sync(&self) -> io::Result<()> {
        self.tape.around(|| Operation::Sync, || self.real.sync())
    }

    fn start_write_back(&self, _offset: u64, _len: u64) -> io::Result<()> {
        // It makes nothing durable, and whatever is written may reach the disk at any time without it.
        Ok(())
    }

    fn extend(&self, old_len: u64, new_len: u64) -> io::Result<()> {
        let extend = || match self.extend {
            Extend::AsItIs => self.real.extend(old_len, new_len),
            Extend::ByLength => self.real.cut(new_len),
        };
        self.tape.around(|| Operation::SetLen(new_len), extend)
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        self.tape.around(|| Operation::SetLen(len), || self.real.cut(len))
    }
}
