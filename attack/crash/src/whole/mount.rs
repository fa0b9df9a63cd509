//! Records what the real code does: it runs in a process of its own, in a folder whose filesystem is the
//! recorder.

use std::{
    env,
    error::Error,
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use fuser::{BackgroundSession, Config, MountOption};
use tempfile::TempDir;

use super::{
    WholeFiles,
    maker::{Maker, tell},
    recorder::{Happening, NoReplace, Recorder, Store},
};

/// What begins the arguments of a process that makes calls.
pub(crate) const MAKE: &str = "make";

/// Why nothing can be recorded here, if so.
#[must_use]
pub fn unavailable() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting a FUSE filesystem needs root".into());
    }
    if !Path::new("/dev/fuse").exists() {
        return Some("there is no /dev/fuse".into());
    }
    Mounted::new(NoReplace::Known)
        .err()
        .map(|error| format!("cannot mount a FUSE filesystem: {error}"))
}

/// A mounted recorder, empty at first.
struct Mounted {
    // Before the folder, which can be removed only when it is unmounted.
    session: Option<BackgroundSession>,
    store: Arc<Mutex<Store>>,
    folder: TempDir,
}

impl Mounted {
    fn new(no_replace: NoReplace) -> std::io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = Arc::new(Mutex::new(Store::default()));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("crash".into())];
        let recorder = Recorder { store: Arc::clone(&store), no_replace };
        let session = fuser::spawn_mount(recorder, folder.path(), &config)?;
        Ok(Self { session: Some(session), store, folder })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            drop(session.umount_and_join());
        }
    }
}

/// Has a workload run, and gives what it did.
///
/// # Errors
/// A call that failed; a filesystem that cannot be mounted.
pub(crate) fn record(workload: WholeFiles) -> Result<Vec<Happening>, String> {
    let mounted =
        Mounted::new(workload.no_replace()).map_err(|error| format!("cannot mount: {error}"))?;
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.arg(MAKE).args(workload.words()).arg(mounted.folder.path());
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("without a crash: {said} ({})", output.status));
    }
    let mut store = mounted.store.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(store.take())
}

/// The part of the process that makes the calls.
///
/// # Errors
/// A call that failed; arguments that [`record`] does not give.
pub(crate) fn make(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [kind, number, folder] = arguments else {
        return Err("whoever makes calls has three arguments".into());
    };
    let workload = WholeFiles::from_words([kind, number]).ok_or("there is no such workload")?;
    let maker = Maker::new(workload.calls())?;
    let folder = fs::canonicalize(folder)?;
    maker.make_all(&folder).map_err(|error| tell(&error).into())
}
