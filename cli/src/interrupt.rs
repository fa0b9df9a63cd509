//! Ctrl-C and requests to end, so that nothing half done stays behind.

use std::{
    fs, io,
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
    /// Listens from now on. A second Ctrl-C ends the process at once. What was ignored when this
    /// process was started stays so: `nohup` means it, and a shell that puts a command into the
    /// background.
    pub(crate) fn listen() -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let ignored = ignored_signals();
        let heeded = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !ignored.has(*signal));
        for signal in heeded {
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

/// Signals, by the bits that stand for them.
struct Signals(u64);

impl Signals {
    fn has(&self, signal: i32) -> bool {
        self.0 & (1 << (signal - 1)) != 0
    }
}

/// The signals that this process ignores (`SigIgn` in proc(5)). None where there is no `/proc`, as
/// in some containers: then all are heeded.
fn ignored_signals() -> Signals {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    Signals(bits.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0))
}
