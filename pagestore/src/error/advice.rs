//! What the user can do about a failure, in the words of its message.

use std::{io, time::Duration};

use layout::CommitId;

/// Who keeps pages in memory.
pub(super) fn holders(snapshots: usize, oldest: Option<(CommitId, Duration)>) -> String {
    match oldest {
        None => "no snapshot keeps any, only the transaction".to_owned(),
        Some((commit, age)) => {
            format!(
                "there are snapshots of {snapshots} commits, the oldest of commit {commit}, {age:?} old"
            )
        }
    }
}

/// What the user can do about the usual operating-system errors.
pub(super) fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => " (check the path)",
        io::ErrorKind::PermissionDenied => {
            " (check that this user may do so, by the owner and the mode of the file and of its folder, and \
             that no filter of system calls (seccomp) is in the way)"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => " (free some space)",
        io::ErrorKind::FileTooLarge if are_files_limited() => {
            " (raise the limit on this process's files: ulimit -f)"
        }
        io::ErrorKind::FileTooLarge => {
            " (its filesystem takes no longer files: choose another, like xfs, or write several)"
        }
        _ if source.raw_os_error() == Some(libc::EMFILE) => {
            " (close files, or raise the limit on open files of this process: ulimit -n)"
        }
        _ if source.raw_os_error() == Some(libc::ENFILE) => {
            " (close files, or raise the system's limit on open files: sysctl fs.file-max)"
        }
        io::ErrorKind::ReadOnlyFilesystem => " (choose a folder on a writable filesystem)",
        io::ErrorKind::Unsupported => {
            " (this filesystem, or this kernel or a filter of its system calls, cannot do it: choose a \
             filesystem like ext4, xfs, btrfs or tmpfs, or allow the call, see docs/system-calls.md)"
        }
        _ => "",
    }
}

/// Whether this process has a limit on the length of its files.
fn are_files_limited() -> bool {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current.is_some()
}
