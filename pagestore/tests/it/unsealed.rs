//! A step that fails at the end takes nothing away: the writer is given back, or the file is whole and
//! where the error says.
//!
//! Method: the last steps are made to fail one by one: somebody has a copy of the writer's descriptor, as
//! a forked child has; there is no descriptor, no address space, no right to give a name. Limits and
//! filters (seccomp) hold for a process, so those cases are children.

use std::{
    fs::{self, OpenOptions},
    os::fd::AsRawFd as _,
    path::Path,
};

use pagestore::{
    Error, Existing, PageId, PageWriter, ResidencyBudget, SealedFile, TempWriter, Unsealed,
};
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{
    address_limit::without_address_space,
    child,
    filter::{Call, refuse},
    nameless::the_nameless_in,
};

const BYTES: &[u8] = &[7; 300_000];

fn writer(path: &Path) -> PageWriter {
    let mut writer = PageWriter::options().existing(Existing::Replace).create(path).unwrap();
    writer.append(BYTES).unwrap();
    writer
}

#[track_caller]
fn check_whole(path: &Path) {
    let sealed = SealedFile::open(path).unwrap();
    assert_eq!(sealed.payload_len(), 300_000);
    assert!(sealed.pages(..).unwrap().starts_with(BYTES));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Runs the rest of a test in a child, in a folder that it gets.
fn in_child(test: &str, run: impl FnOnce(&Path)) {
    if let Some(folder) = child::path() {
        run(&folder);
        return child::done();
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    child::check(&mut child::command("", test, folder.path()));
}

#[test]
fn a_file_that_somebody_could_still_write_to_is_sealed_but_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for budget in [None, Some(ResidencyBudget::new(1 << 20).unwrap())] {
        let options = PageWriter::options().existing(Existing::Replace);
        let options = budget.iter().fold(options, |options, budget| options.budget(budget));
        let mut writer = options.create(&path).unwrap();
        writer.append(BYTES).unwrap();
        let copy = OpenOptions::new().write(true).open(the_nameless_in(folder.path())).unwrap();
        let (error, writer) = writer.seal().unwrap_err().into_parts();
        assert!(
            matches!(&error, Error::SealedNotOpened { source, .. }
            if matches!(**source, Error::Locked { .. })),
            "{error}"
        );
        assert!(error.to_string().contains("is sealed, whole and durable"), "{error}");
        assert!(writer.is_none());
        drop(copy);
        check_whole(&path);
        assert_eq!(names(folder.path()), ["file"]);
    }
}

#[test]
fn without_a_free_descriptor_a_file_is_sealed_all_the_same() {
    in_child("without_a_free_descriptor_a_file_is_sealed_all_the_same", |folder| {
        let path = folder.join("file");
        let writer = writer(&path);
        let limit = |current| Rlimit { current: Some(current), maximum: Some(1 << 10) };
        let lowest_free = fs::File::open("/dev/null").unwrap().as_raw_fd();
        setrlimit(Resource::Nofile, limit(u64::from(lowest_free.unsigned_abs()))).unwrap();
        assert!(fs::File::open("/dev/null").is_err(), "none is free");
        let sealed = writer.seal().unwrap();
        assert!(sealed.pages(..).unwrap().starts_with(BYTES));
        setrlimit(Resource::Nofile, limit(1 << 10)).unwrap();
        drop(sealed);
        check_whole(&path);
    });
}

#[test]
fn without_address_space_a_file_is_sealed_and_closed() {
    in_child("without_address_space_a_file_is_sealed_and_closed", |folder| {
        let (opened, closed) = (folder.join("opened"), folder.join("closed"));
        let writers = [writer(&opened), writer(&closed)];
        let mut temporary = TempWriter::create_in(folder).unwrap();
        temporary.append(BYTES).unwrap();
        let [first, second] = writers;
        let (sealed, finished, temporary) =
            without_address_space(|| (first.seal(), second.seal_and_close(), temporary.finish()));
        let error = sealed.unwrap_err().into_error();
        assert!(
            matches!(&error, Error::SealedNotOpened { source, .. }
            if matches!(**source, Error::AddressSpace { .. })),
            "{error}"
        );
        finished.unwrap();
        [opened, closed].iter().for_each(|path| check_whole(path));
        // A temporary file has no name to find it by: the writer has it still.
        let (error, temporary) = temporary.unwrap_err().into_parts();
        assert!(matches!(error, Error::AddressSpace { .. }), "{error}");
        let mut temporary = temporary.unwrap();
        assert!(matches!(temporary.append(b"more"), Err(Error::Sealed { .. })));
        let sealed = temporary.finish().unwrap();
        assert_eq!(sealed.page(PageId::new(0)).unwrap(), &BYTES[..4096]);
        assert_eq!(sealed.payload_len(), 300_000);
    });
}

#[test]
fn a_finished_file_that_cannot_get_its_name_is_kept_under_another() {
    in_child("a_finished_file_that_cannot_get_its_name_is_kept_under_another", |folder| {
        let path = folder.join("file");
        let writer = writer(&path);
        // What root may not do: a filter stands for a folder that somebody else changed.
        refuse(Call::all("renameat", libc::SYS_renameat), libc::EACCES);
        let error = writer.seal().unwrap_err().into_error();
        let Error::NotNamed { kept_as, .. } = &error else { panic!("{error}") };
        assert!(error.to_string().contains(kept_as.to_str().unwrap()), "{error}");
        check_whole(kept_as);
        assert!(!path.exists());
        assert_eq!(names(folder).len(), 1);
    });
}

#[test]
fn a_seal_can_be_called_again_when_what_was_in_the_way_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let mut writer = PageWriter::create(&path).unwrap();
    writer.append(BYTES).unwrap();
    fs::write(&path, "somebody was faster").unwrap();
    let mut unsealed: Unsealed<PageWriter> = writer.seal().unwrap_err();
    for _ in 0..3 {
        let (error, writer) = unsealed.into_parts();
        assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
        let mut writer = writer.unwrap();
        assert_eq!(writer.payload_len(), 300_000);
        assert!(matches!(writer.append(b"more"), Err(Error::Sealed { .. })), "it is finished");
        unsealed = writer.seal().unwrap_err();
    }
    fs::remove_file(&path).unwrap();
    drop(unsealed.into_parts().1.unwrap().seal().unwrap());
    check_whole(&path);
    assert_eq!(names(folder.path()), ["file"]);
}
