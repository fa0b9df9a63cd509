//! A file that is whole is read, whatever became of its seal, and wherever it cannot be mapped.
//!
//! Method: modes are changed from outside, as a pod's `fsGroup` does; the kernel is had to pass over a change
//! of mode in silence, as NTFS and FUSE do (seccomp(2), on a thread of its own); and a process takes all
//! of its descriptors.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
};

use feldera_storage::fbuf::FBuf;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::files::{self, keep, names_on_disk, read, read_async};
use crate::{
    filter::{self, Call},
    process::{self, Process},
};

fn is_mapped(path: &Path) -> bool {
    fs::read_to_string("/proc/self/maps").unwrap().contains(path.to_str().unwrap())
}

#[test]
fn a_seal_outlives_changes_of_the_mode() {
    // On a disk, and in memory.
    for place in [env!("CARGO_TARGET_TMPDIR"), "/dev/shm"] {
        let folder = tempfile::tempdir_in(place).unwrap();
        let backend = files::open(folder.path());
        let bytes = files::random(1, 100_000);
        keep(&backend, "file", &bytes);
        let path = folder.path().join("file");
        // Who alone may write to it has sealed it; what others may write to is read without a mapping.
        for (mode, can_be_mapped) in
            [(0o400, true), (0o600, true), (0o755, true), (0o660, false), (0o666, false)]
        {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let reader = backend.open(&"file".into()).unwrap();
            assert_eq!(read(reader.as_ref(), 0, bytes.len()).unwrap(), bytes, "{mode:o}");
            assert_eq!(is_mapped(&path), can_be_mapped, "{mode:o} in {place}");
            reader.commit().unwrap();
        }
    }
}

#[test]
fn a_file_is_read_where_the_filesystem_keeps_no_seal() {
    let on_such_a_filesystem = || {
        filter::refuse(Call::all("fchmod", libc::SYS_fchmod), 0);
        filter::refuse(Call::all("fsetxattr", libc::SYS_fsetxattr), libc::EOPNOTSUPP);
        let (folder, backend) = files::backend();
        let bytes = files::random(2, 1 << 20);
        let written = files::write(&backend, &"file".into(), &bytes, &[bytes.len()]);
        written.mark_for_checkpoint();
        let opened = backend.open(&"file".into()).unwrap();
        for reader in [written, opened] {
            assert_eq!(read(reader.as_ref(), 0, bytes.len()).unwrap(), bytes);
            let blocks = vec![files::block(512, 4096), files::block(0, 1 << 20)];
            let found = read_async(reader.as_ref(), blocks);
            assert_eq!(found[0].as_ref().unwrap().as_slice(), &bytes[512..4608]);
            assert_eq!(found[1].as_ref().unwrap().as_slice(), bytes);
            reader.commit().unwrap();
        }
        assert_eq!(names_on_disk(folder.path()), ["file"]);
    };
    thread::spawn(on_such_a_filesystem).join().unwrap();
}

/// Takes every descriptor that this process may have.
fn take_all_descriptors() -> Vec<File> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(200);
    setrlimit(Resource::Nofile, limit).unwrap();
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[test]
fn a_file_is_completed_where_no_descriptor_is_free() {
    let test = "backend::sealing::a_file_is_completed_where_no_descriptor_is_free";
    if process::passed().is_none() {
        let mut child = Process::start(test, "");
        assert_eq!(child.hear().as_deref(), Some("all of it was read"));
        return;
    }
    let (folder, backend) = files::backend();
    let bytes = files::random(3, 3 << 20);
    let mut writer = backend.create_named(&"file".into()).unwrap();
    writer.write_block(FBuf::from_slice(&bytes)).unwrap();
    let taken = take_all_descriptors();
    assert!(!taken.is_empty());
    let reader = writer.complete().unwrap();
    reader.mark_for_checkpoint();
    assert_eq!(read(reader.as_ref(), 0, bytes.len()).unwrap(), bytes);
    drop(taken);
    assert_eq!(names_on_disk(folder.path()), ["file"]);
    assert_eq!(backend.read(&"file".into()).unwrap().as_slice(), bytes);
    process::tell("all of it was read");
}
