//! Operations on a backend, each of which is held to what the model says may come of it.

use std::path::Path;

use backends::{DynBackend, ReadRequest, Result, StorageBackend as _, StorageError, WriteRequest};
use bytes::Bytes;
use tokio::runtime::Runtime;

use super::{
    filesystem::{Fault, Kind},
    model::{Id, Model, Sealed},
    sheet::Grows,
};

/// How a kind of backend is opened.
pub(crate) type Open = fn(&Path) -> Result<DynBackend>;

/// What is known of a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    Disk,
    Poisoned,
    NotFound,
    Sealed,
}

/// What the interface answered so far.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Answers {
    pub(crate) errors: u64,
    /// Syncs and seals that failed before they asked the disk to write, or after it had.
    pub(crate) syncs_without_poison: u64,
    /// Renames that failed and were done.
    pub(crate) renames_done_with_an_error: u64,
}

pub(crate) struct Session<'a> {
    runtime: &'a Runtime,
    pub(crate) backend: DynBackend,
    pub(crate) model: &'a mut Model,
    /// What fails meanwhile; without it, only what failed before may still show.
    pub(crate) fault: Option<Fault>,
    /// The folder may not have been made durable, so no name can be any more.
    pub(crate) names_lost: bool,
    pub(crate) answers: Answers,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        runtime: &'a Runtime,
        backend: DynBackend,
        model: &'a mut Model,
        fault: Option<Fault>,
    ) -> Self {
        let answers = Answers::default();
        Self { runtime, backend, model, fault, names_lost: false, answers }
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Whether it is writes and syncs that fail, and nothing else.
    fn only_writes_fail(&self) -> bool {
        self.fault.is_some_and(|fault| fault.kind == Kind::Write)
    }

    /// Whether writes and syncs may fail.
    fn writes_fail(&self) -> bool {
        self.fault.is_some_and(|fault| [Kind::Write, Kind::Any].contains(&fault.kind))
    }

    /// Whether a file says that it is poisoned. Asks no disk where the file is open.
    fn says_poisoned(&self, name: &'static str) -> bool {
        matches!(self.wait(self.backend.len(name)), Err(StorageError::Poisoned { .. }))
    }

    /// Holds an error to what may be.
    #[track_caller]
    fn refused(&mut self, name: &'static str, file: Option<Id>, error: &StorageError) -> Refusal {
        self.answers.errors += 1;
        assert_eq!(error.path(), Some(name), "{error}");
        match error {
            StorageError::Io { source, .. } => {
                let fault = self.fault.expect("nothing fails any more");
                let told = source.raw_os_error().unwrap_or_else(|| panic!("{source:?}"));
                assert!(told == fault.errno || told == UNREADABLE, "{error}");
                Refusal::Disk
            }
            StorageError::Poisoned { .. } => {
                let known = file.is_some_and(|file| self.model.files[file].poisoned);
                if known {
                    return Refusal::Poisoned;
                }
                if self.says_poisoned(name) {
                    assert!(self.fault.is_some(), "poisoned without a reason: {error}");
                    let file = file.expect("what is poisoned is there");
                    self.model.files[file].poisoned = true;
                } else {
                    assert!(self.names_lost, "not poisoned, though it says so: {error}");
                }
                Refusal::Poisoned
            }
            StorageError::NotFound { .. } => {
                let name = self.model.name(name);
                assert!(name.may_be_missing(), "false NotFound: {error}");
                Refusal::NotFound
            }
            StorageError::Sealed { .. } => {
                let sealed = file.map_or(Sealed::No, |file| self.model.files[file].sealed);
                assert_ne!(sealed, Sealed::No, "{error}");
                Refusal::Sealed
            }
            other => panic!("a failing disk is told as {other:?}"),
        }
    }

    /// Something succeeded that the file must be there and usable for.
    #[track_caller]
    fn used(&mut self, name: &'static str, file: Id) {
        assert!(!self.model.files[file].poisoned, "{name} is poisoned, and was used all the same");
        self.model.name(name).live = vec![Some(file)];
    }

    /// Finds out which of several files each name names, by what is in it.
    #[track_caller]
    pub(crate) fn learn_names(&mut self) {
        let names: Vec<&'static str> = self.model.names.keys().copied().collect();
        for name in names {
            let entry = self.model.name(name).clone();
            if entry
                .live
                .iter()
                .flatten()
                .all(|file| Some(file) == entry.live.iter().flatten().next())
            {
                continue;
            }
            let found = match self.wait(self.backend.len(name)) {
                Ok(len) => {
                    let len = usize::try_from(len).unwrap();
                    let found = self.wait(self.backend.read(name, 0, len)).unwrap();
                    let fits = |file: &Id| {
                        let sheet = &self.model.files[*file].live;
                        sheet.lens().contains(&len) && sheet.wrong_byte(0, &found).is_none()
                    };
                    let file = entry.live.iter().copied().flatten().find(fits);
                    Some(file.unwrap_or_else(|| panic!("{name} is none of {entry:?}")))
                }
                Err(StorageError::NotFound { .. }) if entry.may_be_missing() => None,
                Err(error) => panic!("{error}"),
            };
            self.model.name(name).live = vec![found];
        }
    }

    #[track_caller]
    pub(crate) fn write(&mut self, name: &'static str, offset: usize, data: &[u8]) {
        let result = self.wait(self.backend.write(name, offset as u64, data));
        self.written(name, offset, data, result);
    }

    #[track_caller]
    fn written(&mut self, name: &'static str, offset: usize, data: &[u8], result: Result<()>) {
        let file = self.model.file_or_new(name);
        let refusal = result.err().map(|error| self.refused(name, Some(file), &error));
        match refusal {
            None => {
                assert_ne!(self.model.files[file].sealed, Sealed::Yes, "{name} is sealed");
                let is_new = self.model.name(name).may_be_missing();
                self.used(name, file);
                if is_new {
                    self.model.name(name).durable.push(Some(file));
                }
                let file = &mut self.model.files[file];
                file.sealed = Sealed::No;
                file.live.write(offset, data);
                file.durable.doubt_write(offset, data, Grows::Perhaps);
            }
            Some(Refusal::Disk | Refusal::Poisoned) => {
                let grows = if self.only_writes_fail() { Grows::No } else { Grows::Perhaps };
                let entry = self.model.name(name);
                if entry.file().is_none() {
                    entry.live.push(Some(file));
                    entry.durable.push(Some(file));
                }
                let file = &mut self.model.files[file];
                file.live.doubt_write(offset, data, grows);
                file.durable.doubt_write(offset, data, Grows::Perhaps);
            }
            Some(Refusal::Sealed) => {}
            Some(Refusal::NotFound) => panic!("a write makes the file"),
        }
    }

    #[track_caller]
    pub(crate) fn write_many(&mut self, writes: &[(&'static str, usize, Vec<u8>)]) {
        let requests: Vec<WriteRequest<'_>> = writes
            .iter()
            .map(|(path, offset, data)| WriteRequest {
                path,
                offset: *offset as u64,
                data: Bytes::copy_from_slice(data),
            })
            .collect();
        let results = self.wait(self.backend.write_many(&requests));
        assert_eq!(results.len(), writes.len());
        for ((name, offset, data), result) in writes.iter().zip(results) {
            self.written(name, *offset, data, result);
        }
    }

    #[track_caller]
    pub(crate) fn read(&mut self, name: &'static str, offset: usize, length: usize) {
        let result = self.wait(self.backend.read(name, offset as u64, length));
        self.was_read(name, offset, length, result);
    }

    #[track_caller]
    fn was_read(&mut self, name: &'static str, offset: usize, len: usize, result: Result<Bytes>) {
        let file = self.model.name(name).file();
        let found = match result {
            Ok(found) => found,
            Err(StorageError::PastEnd { file_len, .. }) => {
                self.answers.errors += 1;
                let lens = self.model.files[file.unwrap()].live.lens();
                let file_len = usize::try_from(file_len).unwrap();
                let right = lens.contains(&file_len) && file_len < offset + len;
                return assert!(right, "{name} has {lens:?} bytes, not {file_len}");
            }
            Err(error) => {
                self.refused(name, file, &error);
                return;
            }
        };
        let file = file.expect("what is read is there");
        self.used(name, file);
        assert_eq!(found.len(), len);
        let sheet = &self.model.files[file].live;
        assert!(offset + len <= *sheet.lens().end(), "{name} has no more than {:?}", sheet.lens());
        if let Some(place) = sheet.wrong_byte(offset, &found) {
            panic!("false Ok: byte {place} of {name} is {}", found[place - offset]);
        }
    }

    #[track_caller]
    pub(crate) fn read_many(&mut self, reads: &[(&'static str, usize, usize)]) {
        let requests: Vec<ReadRequest<'_>> = reads
            .iter()
            .map(|&(path, offset, length)| ReadRequest { path, offset: offset as u64, length })
            .collect();
        let results = self.wait(self.backend.read_many(&requests));
        assert_eq!(results.len(), reads.len());
        for (&(name, offset, length), result) in reads.iter().zip(results) {
            self.was_read(name, offset, length, result);
        }
    }

    /// Asks for the length, and reads that many bytes.
    #[track_caller]
    pub(crate) fn read_all(&mut self, name: &'static str) {
        if let Some(len) = self.len(name) {
            self.read(name, 0, len);
        }
    }

    #[track_caller]
    pub(crate) fn len(&mut self, name: &'static str) -> Option<usize> {
        let file = self.model.name(name).file();
        match self.wait(self.backend.len(name)) {
            Ok(len) => {
                let (file, len) = (file.expect("it is there"), usize::try_from(len).unwrap());
                self.used(name, file);
                let sheet = &mut self.model.files[file].live;
                let lens = sheet.lens();
                assert!(lens.contains(&len), "{name} has {len} bytes, which should be {lens:?}");
                sheet.learn_len(len);
                Some(len)
            }
            Err(error) => {
                self.refused(name, file, &error);
                None
            }
        }
    }

    #[track_caller]
    pub(crate) fn exists(&mut self, name: &'static str) -> Option<bool> {
        let file = self.model.name(name).file();
        match self.wait(self.backend.exists(name)) {
            Ok(exists) => {
                let entry = self.model.name(name);
                let right = if exists { file.is_some() } else { entry.may_be_missing() };
                assert!(right, "false Ok: {name} exists: {exists}, which should be {entry:?}");
                entry.live = vec![file.filter(|_| exists)];
                Some(exists)
            }
            Err(error) => {
                self.refused(name, file, &error);
                None
            }
        }
    }

    #[track_caller]
    pub(crate) fn list(&mut self) {
        match self.wait(self.backend.list("")) {
            Ok(listed) => {
                for (name, entry) in &self.model.names {
                    let is_listed = listed.iter().any(|listed| listed == name);
                    let right =
                        if is_listed { entry.file().is_some() } else { entry.may_be_missing() };
                    assert!(right, "false Ok: {name} is in {listed:?}, which should be {entry:?}");
                }
                let known = |name: &String| self.model.names.contains_key(name.as_str());
                assert!(listed.iter().all(known), "{listed:?}");
            }
            Err(StorageError::Io { .. }) if self.fault.is_some() => self.answers.errors += 1,
            Err(error) => panic!("{error}"),
        }
    }

    #[track_caller]
    pub(crate) fn truncate(&mut self, name: &'static str, len: usize) {
        let file = self.model.name(name).file();
        match self.wait(self.backend.truncate(name, len as u64)) {
            Ok(()) => {
                let file = file.expect("what is cut is there");
                self.used(name, file);
                let file = &mut self.model.files[file];
                assert_ne!(file.sealed, Sealed::Yes);
                file.live.set_len(len);
                file.durable.doubt_len(len);
            }
            // The file is as it was.
            Err(error) => _ = self.refused(name, file, &error),
        }
    }

    #[track_caller]
    pub(crate) fn sync(&mut self, name: &'static str) {
        let result = self.wait(self.backend.sync(name));
        self.made_durable(name, result);
    }

    #[track_caller]
    pub(crate) fn seal(&mut self, name: &'static str) {
        let result = self.wait(self.backend.seal(name));
        let before = self.model.name(name).file();
        let was_poisoned = before.is_some_and(|file| self.model.files[file].poisoned);
        let sealed = self.made_durable(name, result);
        if let Some(file) = self.model.name(name).file().filter(|_| !was_poisoned) {
            let file = &mut self.model.files[file];
            if sealed {
                (file.sealed, file.durably_sealed) = (Sealed::Yes, Sealed::Yes);
            } else if file.sealed != Sealed::Yes && file.durably_sealed != Sealed::Yes {
                (file.sealed, file.durably_sealed) = (Sealed::Perhaps, Sealed::Perhaps);
            }
        }
    }

    /// Says whether the file is durable.
    #[track_caller]
    fn made_durable(&mut self, name: &'static str, result: Result<()>) -> bool {
        let file = self.model.name(name).file();
        let Err(error) = result else {
            let file = file.expect("what is synced is there");
            self.used(name, file);
            self.model.name(name).set_durable(Some(file));
            let file = &mut self.model.files[file];
            file.durable = file.live.clone();
            return true;
        };
        let file = match file {
            Some(file) if !self.model.files[file].poisoned => file,
            missing_or_poisoned => {
                self.refused(name, missing_or_poisoned, &error);
                return false;
            }
        };
        if self.says_poisoned(name) {
            self.answers.errors += 1;
            assert!(self.fault.is_some(), "poisoned without a reason: {error}");
            self.model.files[file].poisoned = true;
            self.names_lost |= self.writes_fail();
            return false;
        }
        let was_lost = self.names_lost;
        let refusal = self.refused(name, Some(file), &error);
        self.answers.syncs_without_poison += u64::from(refusal == Refusal::Disk);
        let lost = refusal == Refusal::Poisoned && was_lost;
        assert!(lost || !self.only_writes_fail(), "a failed sync does not poison: {error}");
        false
    }

    #[track_caller]
    pub(crate) fn delete(&mut self, name: &'static str) {
        let file = self.model.name(name).file();
        match self.wait(self.backend.delete(name)) {
            Ok(()) => self.model.name(name).set(None),
            // A poisoned file can be deleted.
            Err(error) => {
                let refusal = self.refused(name, file, &error);
                assert!(matches!(refusal, Refusal::Disk | Refusal::NotFound), "{error}");
            }
        }
    }

    #[track_caller]
    pub(crate) fn rename(&mut self, from: &'static str, to: &'static str) {
        let (file, old) = (self.model.name(from).file(), self.model.name(to).file());
        match self.wait(self.backend.rename(from, to)) {
            Ok(()) => {
                let file = file.expect("what is renamed is there");
                assert!(!self.model.files[file].poisoned, "a poisoned file was renamed");
                self.model.name(from).set_durable(None);
                self.model.name(to).set_durable(Some(file));
            }
            Err(error) => {
                let about = error.path().unwrap().to_owned();
                let about = if about == to { (to, old) } else { (from, file) };
                // The old file may be poisoned, which is no reason.
                let refusal = self.refused(about.0, about.1.filter(|_| about.0 == from), &error);
                if refusal != Refusal::Disk || !self.writes_fail() {
                    return;
                }
                // Perhaps the folder could not be synced. What names what is certain all the same.
                self.names_lost = true;
                let old_is_poisoned = old.is_some_and(|old| self.model.files[old].poisoned);
                let moved_and_poisoned = !old_is_poisoned && self.says_poisoned(to);
                let is_there = self.wait(self.backend.exists(from)).unwrap_or(!moved_and_poisoned);
                self.model.name(from).durable.push(None);
                self.model.name(to).durable.push(file);
                if !is_there {
                    self.answers.renames_done_with_an_error += 1;
                    self.model.name(from).live = vec![None];
                    self.model.name(to).live = vec![file];
                    let poisoned = self.says_poisoned(to);
                    self.model.files[file.unwrap()].poisoned |= poisoned;
                }
            }
        }
    }
}

/// What is told of a page that could not be brought into memory, whatever the reason was.
const UNREADABLE: i32 = rustix::io::Errno::IO.raw_os_error();
