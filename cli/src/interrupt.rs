//! Ctrl-C and requests to end, so that nothing half done stays behind.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use crate::error::{Error, Result};

/// Remembers that this process was asked to end. Work that leaves something behind when it is
/// killed [asks](Self::check) now and then, and returns; dropping what it holds cleans up.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens from now on. A second Ctrl-C ends the process at once.
    pub(crate) fn listen() -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: at the first signal the shutdown does not find the flag set.
            flag::register_conditional_shutdown(signal, 130, Arc::clone(&asked))
                .and_then(|_| flag::register(signal, Arc::clone(&asked)))
                .map_err(|error: io::Error| Error::io_of("listen to", "signals")(error))?;
        }
        Ok(Self { asked })
    }

    /// Fails where this process was asked to end.
    pub(crate) fn check(&self) -> Result<()> {
        if self.asked.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}
