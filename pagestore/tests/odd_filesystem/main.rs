//! Filesystems that lack what ext4 has: a seal is one for good or an error, and a finished file gets its
//! name.
//!
//! Method: a FUSE server in a process of its own, which takes changes of the mode without effect, has no
//! attributes of files, no links, or no flags of renameat2(2), as NTFS, FAT, mergerfs, GlusterFS and
//! older ZFS do. What was sealed is opened again, and written to.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../child/mod.rs"]
#[expect(dead_code, reason = "the one child is a server")]
mod child;
mod server;
#[path = "../skip/mod.rs"]
#[expect(dead_code, reason = "mounting asks for root itself")]
mod skip;

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader, IoSlice, Read as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use pagestore::{Error, Existing, PageCount, PageFile, PageWriter, RawFile, SealedFile, has_seal};
use server::Habits;
use tempfile::TempDir;

const HABITS: &str = "PAGESTORE_TEST_HABITS";
const ALL: Habits = Habits { modes: true, attributes: true, links: true, rename_flags: true };

/// A mounted filesystem.
struct Odd {
    server: Child,
    /// Kept open, since the server says something more when it ends.
    _output: BufReader<ChildStdout>,
    folder: TempDir,
}

impl Odd {
    fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        // It unmounts when its input ends.
        drop(self.server.stdin.take());
        let ended = self.server.wait();
        if !ended.is_ok_and(|status| status.success()) {
            let _lazily = Command::new("umount").arg("-l").arg(self.path()).output();
        }
    }
}

/// The server's part, and nothing else.
#[test]
fn server() {
    if let Some(path) = child::path() {
        server::serve(&path, &std::env::var(HABITS).unwrap());
    }
}

fn mount(habits: Habits) -> Result<Odd, String> {
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/fuse").exists() {
        return Err("mounting a FUSE filesystem needs root and /dev/fuse".into());
    }
    let folder = tempfile::tempdir().unwrap();
    let mounted = folder.path().join("mounted");
    fs::create_dir(&mounted).unwrap();
    let mut server = child::command("", "server", &mounted)
        .env(HABITS, habits.word())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(server.stdout.take().unwrap());
    let answer = output
        .by_ref()
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix(server::ANSWER).map(str::to_owned));
    let odd = Odd { server, _output: output, folder };
    match answer {
        Some(answer) if answer == "mounted" => Ok(odd),
        answer => Err(answer.unwrap_or_else(|| "the FUSE server ended".into())),
    }
}

/// Runs a test on a filesystem, or says that it was skipped.
fn on(test: &str, habits: Habits, run: impl FnOnce(&Odd)) {
    match mount(habits) {
        Ok(odd) => run(&odd),
        Err(reason) => skip::skipped(test, &reason),
    }
}

fn make(path: &Path) -> RawFile {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = RawFile::open(options.open(path).unwrap(), path).unwrap();
    file.write_at(0, &[IoSlice::new(b"finished")]).unwrap();
    file
}

fn open_to_write(path: &Path) -> RawFile {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    RawFile::open(file, path).unwrap()
}

/// Sealed here, and sealed when it is opened again, by whatever descriptor.
fn check_sealed_for_good(path: &Path) {
    let check = |file: &RawFile| {
        assert!(file.is_sealed());
        let written = file.write_at(0, &[IoSlice::new(b"F")]);
        assert!(matches!(written, Err(Error::Sealed { .. })));
        assert_eq!(file.view(0, 8).unwrap(), "finished");
    };
    let file = make(path);
    file.seal().unwrap();
    check(&file);
    drop(file);
    check(&open_to_write(path));
    check(&RawFile::open(File::open(path).unwrap(), path).unwrap());
    assert!(has_seal(&File::open(path).unwrap()).unwrap());
}

#[test]
fn where_modes_are_fixed_a_seal_stands_in_an_attribute() {
    let test = "where_modes_are_fixed_a_seal_stands_in_an_attribute";
    on(test, Habits { modes: false, ..ALL }, |odd| {
        let path = odd.path().join("file");
        check_sealed_for_good(&path);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    });
}

#[test]
fn without_attributes_a_seal_stands_in_the_mode() {
    let test = "without_attributes_a_seal_stands_in_the_mode";
    on(test, Habits { attributes: false, ..ALL }, |odd| {
        check_sealed_for_good(&odd.path().join("file"));
    });
}

#[test]
fn a_seal_that_would_not_last_is_refused_and_the_file_goes_on() {
    let test = "a_seal_that_would_not_last_is_refused_and_the_file_goes_on";
    on(test, Habits { modes: false, attributes: false, ..ALL }, |odd| {
        let path = odd.path().join("file");
        let file = make(&path);
        let error = file.seal().unwrap_err();
        assert!(matches!(error, Error::SealNotKept { .. }), "{error}");
        assert!(error.to_string().contains("choose another filesystem"), "{error}");
        assert!(!file.is_sealed());
        file.write_at(0, &[IoSlice::new(b"F")]).unwrap();
        drop(file);
        let mut buffer = [0; 8];
        open_to_write(&path).read_at(0, &mut buffer).unwrap();
        assert_eq!(&buffer, b"Finished");
        // The seal of a page file stands in its bytes.
        drop(PageWriter::create(odd.path().join("pages")).unwrap().seal().unwrap());
        SealedFile::open(odd.path().join("pages")).unwrap();
    });
}

#[test]
fn a_finished_file_gets_its_name_without_rename_flags_and_replaces_none() {
    let test = "a_finished_file_gets_its_name_without_rename_flags_and_replaces_none";
    for links in [true, false] {
        on(test, Habits { rename_flags: false, links, ..ALL }, |odd| {
            let path = odd.path().join("sealed");
            let writers = ["first", "later"].map(|bytes| {
                let mut writer = PageWriter::create(&path).unwrap();
                writer.append(bytes.as_bytes()).unwrap();
                writer
            });
            let [first, later] = writers;
            let first = first.seal().unwrap();
            assert!(first.pages(..).unwrap().starts_with(b"first"));
            // The name is taken, and then it is free.
            let (error, later) = later.seal().unwrap_err().into_parts();
            assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
            drop(first);
            fs::remove_file(&path).unwrap();
            let later = later.unwrap().seal().unwrap();
            assert!(later.pages(..).unwrap().starts_with(b"later"));
            drop(later);
            let replacing = PageWriter::options().existing(Existing::Replace);
            drop(replacing.create(&path).unwrap().seal().unwrap());

            let mutable = odd.path().join("mutable");
            PageFile::create(&mutable).unwrap().grow(PageCount::new(1)).unwrap();
            assert!(matches!(PageFile::create(&mutable), Err(Error::AlreadyExists { .. })));
            assert_eq!(odd.names(), ["mutable", "sealed"], "links: {links}");
        });
    }
}
