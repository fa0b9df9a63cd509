//! Finding out whether files can be mapped, and doing without where they cannot.

use std::path::Path;

use backends::{
    Limits, Medium, MmapBackend, MmapMedium, Operation, PosixBackend, Result, StorageError,
    StoragePath, StoredContent,
};
use pagestore::WithCauses;
use tracing::{debug, warn};

use crate::config::Degrade;

/// What came of asking for mapped files.
pub(super) enum Chosen {
    /// Mapped files, as asked.
    Mapped(MmapBackend),
    /// The same files by positioned system calls.
    Positioned(PosixBackend),
}

/// Opens mapped files under `root`, or the same files without mapping them.
///
/// A file is made, written, read, sealed, read again and deleted by way of the mapping. Where that
/// fails, the same is tried by system calls: only if these get further is the mapping to blame, and
/// not a disk that is full or cannot be written to. Then the files that are there already are looked at,
/// since one that others could write to is not mapped.
pub(super) fn open_mapped(
    root: &Path,
    content: StoredContent,
    limits: Limits,
    degrade: Degrade,
) -> Result<Chosen> {
    let (mapped, failed) = match MmapBackend::open_store(root, content, limits.clone()) {
        Err(error) => (None, Failed { at: Step::Open, error }),
        Ok(mapped) => match probe(mapped.medium()).and_then(|()| look_around(mapped.medium())) {
            Ok(()) => return Ok(Chosen::Mapped(mapped)),
            Err(failed) => (Some(mapped), failed),
        },
    };
    let positioned = match PosixBackend::open_store(root, content, limits) {
        Ok(positioned) => match probe(positioned.medium()) {
            Err(also) if also.at <= failed.at => None,
            _ => Some(positioned),
        },
        Err(_) => None,
    };
    let Failed { at, error } = failed;
    match (degrade, positioned, mapped) {
        (Degrade::ToPosixio, Some(positioned), _) => {
            warn!(
                target: "storage", root = %root.display(), step = ?at, error = %WithCauses(&error),
                "files cannot be mapped here; using positioned reads and writes instead"
            );
            Ok(Chosen::Positioned(positioned))
        }
        (Degrade::Never, Some(_), _) | (_, None, None) => Err(error),
        (_, None, Some(mapped)) => {
            debug!(
                target: "storage", root = %root.display(), step = ?at, error = %WithCauses(&error),
                "could not find out whether files can be mapped here, since they cannot be written"
            );
            Ok(Chosen::Mapped(mapped))
        }
    }
}

/// Looks at the files that are there already: one that others could write to may not be mapped.
fn look_around(medium: &MmapMedium) -> Result<(), Failed> {
    match medium.check_files() {
        // A folder that cannot be listed tells that whoever lists it.
        Err(StorageError::Io { operation: Operation::List, .. }) | Ok(()) => Ok(()),
        Err(error) => Err(Failed { at: Step::Others, error }),
    }
}

/// What is tried, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Step {
    Open,
    Write,
    Read,
    Seal,
    ReadSealed,
    /// Using what is there.
    Others,
}

struct Failed {
    at: Step,
    error: StorageError,
}

/// Tries everything on a file that is gone afterwards.
fn probe(medium: &impl Medium) -> Result<(), Failed> {
    let name = format!(".storage-probe-{}-{:016x}", std::process::id(), fastrand::u64(..));
    let path = StoragePath::reserved(&name);
    let result = probe_at(medium, path);
    if let Err(error) = medium.delete(path)
        && result.is_ok()
    {
        // Nothing that mapping could be blamed for, and the backend works.
        debug!(target: "storage", path = name, error = %WithCauses(&error), "the probe's file stays behind");
    }
    result
}

fn probe_at(medium: &impl Medium, path: StoragePath<'_>) -> Result<(), Failed> {
    // More than one page, and no two pages alike.
    let content: Vec<u8> = (0..=u8::MAX).cycle().take(8192 + 4099).collect();
    let failed = |at| move |error| Failed { at, error };
    let read = |at| match medium.read(path, 0, content.len()) {
        Ok(bytes) if bytes == content => Ok(()),
        Ok(_) => Err(failed(at)(StorageError::Corrupt {
            operation: backends::Operation::Read,
            path: path.as_str().to_owned(),
            offset: 0,
            reason: "what was written a moment ago reads differently".to_owned(),
        })),
        Err(error) => Err(failed(at)(error)),
    };
    medium.write(path, 0, &[content.clone().into()]).map_err(failed(Step::Write))?;
    read(Step::Read)?;
    medium.seal(path).map_err(failed(Step::Seal))?;
    read(Step::ReadSealed)
}
