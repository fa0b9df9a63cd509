//! What is done on the failing disk.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use backends::Result;
use tokio::runtime::Runtime;

use super::{
    disk::{FailingDisk, Writes},
    filesystem::Fault,
    model::{Left, Model, Sealed},
    session::{Answers, Open, Session},
};
use crate::report::say;

/// Something that is done on the disk.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// The ways of the kernel to try it with.
    pub(crate) writes: &'static [Writes],
    /// Prepares files, while the disk works.
    prepare: fn(&mut Session<'_>),
    /// By whom the rest is done.
    by: By,
    /// Works while the disk fails.
    work: fn(&mut Session<'_>),
}

/// Which backend works while the disk fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    /// The one that prepared, whose files are open.
    TheSame,
    /// A new one, and the kernel has nothing of the files in memory.
    ANewOne,
}

/// What a run of a workload came to.
#[derive(Default, Debug)]
pub(crate) struct Case {
    /// Operations that failed.
    pub(crate) fired: u64,
    pub(crate) answers: Answers,
}

const BOTH: &[Writes] = &[Writes::Through, Writes::Back];
/// A file that no workload uses, to see that the rest of the store goes on.
const BYSTANDER: &str = "bystander";

pub(crate) const WORKLOADS: [Workload; 9] = [
    Workload {
        name: "create, write ranges, sync",
        writes: BOTH,
        prepare: |_| (),
        by: By::TheSame,
        work: |session| {
            session.write("new", 0, &bytes(1, 100_000));
            session.write("new", 50_000, &bytes(2, 9000));
            session.write("new", 150_000, &bytes(3, 5000));
            session.sync("new");
            session.read_all("new");
            session.write("other", 3, &bytes(4, 10));
            session.write("new", 4096, &bytes(5, 4096));
            session.read_all("new");
            session.sync("new");
            session.sync("other");
            session.write("new", 160_000, &bytes(6, 70_000));
            session.read_all("new");
            session.read_all("other");
        },
    },
    Workload {
        name: "append pieces of 1 MiB",
        // What is sent later comes page by page and takes long to fail.
        writes: &[Writes::Through],
        prepare: |_| (),
        by: By::TheSame,
        work: |session| {
            session.write("log", 0, &bytes(1, MIB));
            session.sync("log");
            session.write("log", MIB, &bytes(2, MIB));
            session.write("log", 2 * MIB, &bytes(3, 100));
            session.sync("log");
            session.read_all("log");
        },
    },
    Workload {
        name: "overwrite, sync",
        writes: BOTH,
        prepare: |session| prepared(session, "file", 1, 200_000),
        by: By::TheSame,
        work: |session| {
            session.write("file", 10_000, &bytes(2, 70_000));
            session.read("file", 0, 150_000);
            session.sync("file");
            session.write("file", 0, &bytes(3, 5000));
            session.write("file", 180_000, &bytes(4, 100));
            session.sync("file");
            session.write("file", 100_000, &bytes(5, 40_000));
            session.read_all("file");
        },
    },
    Workload {
        name: "truncate",
        writes: BOTH,
        prepare: |session| prepared(session, "file", 1, 100_000),
        by: By::TheSame,
        work: |session| {
            session.truncate("file", 50_001);
            session.read_all("file");
            session.sync("file");
            session.truncate("file", 90_000);
            session.write("file", 120_000, &bytes(2, 70_000));
            session.read_all("file");
            session.sync("file");
            session.truncate("file", 7);
            session.write("file", 5000, &bytes(3, 10));
            session.read_all("file");
            session.sync("file");
        },
    },
    Workload {
        name: "write, seal, read",
        writes: BOTH,
        prepare: |session| prepared(session, "old", 1, 60_000),
        by: By::TheSame,
        work: |session| {
            session.write("new", 0, &bytes(2, 100_000));
            session.seal("new");
            session.read("new", 10, 90_000);
            session.seal("old");
            session.seal("old");
            session.read_all("old");
            session.write("old", 0, &bytes(3, 10));
            session.read_all("new");
            session.rename("new", "old");
            session.read_all("old");
        },
    },
    Workload {
        name: "reopen, read, overwrite",
        writes: BOTH,
        prepare: |session| {
            prepared(session, "file", 1, 300_000);
            prepared(session, "sealed", 2, 300_000);
            session.seal("sealed");
        },
        by: By::ANewOne,
        work: |session| {
            session.exists("file");
            session.len("sealed");
            for name in ["file", "sealed"] {
                session.read(name, 100_000, 3);
                session.read(name, 0, 5000);
                session.read(name, 90_000, 100_000);
                session.read_all(name);
            }
            session.write("file", 200_000, &bytes(3, 10_000));
            session.write("sealed", 0, &bytes(3, 10));
            session.read_all("file");
            session.sync("file");
            session.list();
        },
    },
    Workload {
        name: "rename over",
        writes: BOTH,
        prepare: |session| {
            prepared(session, "current", 1, 50_000);
            prepared(session, "older", 2, 20_000);
        },
        by: By::TheSame,
        work: |session| {
            session.write("next", 0, &bytes(3, 70_000));
            session.sync("next");
            session.rename("current", "older");
            session.rename("next", "current");
            session.read_all("current");
            session.read_all("older");
            session.exists("next");
            session.list();
            session.rename("older", "oldest");
            session.read_all("oldest");
        },
    },
    Workload {
        name: "delete, list",
        writes: BOTH,
        prepare: |session| {
            prepared(session, "a", 1, 50_000);
            prepared(session, "b", 2, 50_000);
            prepared(session, "c", 3, 50_000);
        },
        by: By::ANewOne,
        work: |session| {
            session.list();
            session.delete("a");
            session.exists("a");
            session.list();
            session.write("a", 0, &bytes(4, 40_000));
            session.read("b", 0, 100);
            session.delete("b");
            session.exists("b");
            session.sync("a");
            session.exists("c");
            session.read_all("a");
            session.read_all("c");
            session.list();
        },
    },
    Workload {
        name: "read many, write many",
        writes: BOTH,
        prepare: |session| {
            prepared(session, "a", 1, 120_000);
            prepared(session, "b", 2, 120_000);
        },
        by: By::ANewOne,
        work: |session| {
            session.read_many(&[("a", 0, 40_000), ("b", 5, 5), ("a", 40_000, 80_000)]);
            session.write_many(&[
                ("a", 110_000, bytes(3, 20_000)),
                ("a", 130_000, bytes(4, 20_000)),
                ("a", 150_000, bytes(5, 20_000)),
                ("b", 0, bytes(6, 40_000)),
                ("new", 10, bytes(7, 10)),
            ]);
            session.read_many(&[("a", 100_000, 70_000), ("new", 0, 20), ("b", 30_000, 20_000)]);
            session.sync("a");
            session.sync("b");
            session.sync("new");
            session.read_all("a");
        },
    },
];

const MIB: usize = 1 << 20;

/// Bytes that tell their places, none of them zero, and other ones for each seed.
fn bytes(seed: u8, len: usize) -> Vec<u8> {
    let mut period: Vec<u8> = (1..=251).collect();
    period.rotate_left(37 * usize::from(seed) % 251);
    let mut bytes = period.repeat(len.div_ceil(period.len()));
    bytes.truncate(len);
    bytes
}

fn prepared(session: &mut Session<'_>, name: &'static str, seed: u8, len: usize) {
    session.write(name, 0, &bytes(seed, len));
    session.sync(name);
}

/// Where a case is run.
pub(crate) struct Place<'a> {
    pub(crate) disk: &'a mut FailingDisk,
    pub(crate) writes: Writes,
    pub(crate) backend: &'static str,
    pub(crate) open: Open,
    pub(crate) runtime: &'a Runtime,
}

impl<'a> Place<'a> {
    /// Opens the store anew.
    fn session<'m>(&self, model: &'m mut Model, fault: Option<Fault>) -> Result<Session<'m>>
    where
        'a: 'm,
    {
        let backend = (self.open)(&self.disk.path())?;
        Ok(Session::new(self.runtime, backend, model, fault))
    }
}

impl Workload {
    /// Runs it once, with one failure, and holds everything to what was promised.
    pub(crate) fn run(&self, place: &mut Place<'_>, fault: Fault) -> Case {
        place.disk.clear();
        let (mut model, mut case) = (Model::default(), Case::default());
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.fail(place, &mut model, fault, &mut case);
            let left = match place.writes {
                Writes::Through => Left::Whole,
                Writes::Back => Left::Unsynced,
            };
            model.reopen(left);
            look_at_all(&mut place.session(&mut model, None).unwrap());
            place.disk.crash();
            model.reopen(Left::Crashed);
            let mut session = place.session(&mut model, None).unwrap();
            look_at_all(&mut session);
            go_on(&mut session);
        }));
        if let Err(panic) = outcome {
            place.disk.heal();
            let (name, writes, backend) = (self.name, place.writes, place.backend);
            say(&format!("failing disk, {backend}, {name}, {writes:?}: {fault:?}, {case:?}"));
            resume_unwind(panic);
        }
        case
    }

    /// The part during which the disk fails, and the same backend's way on when it does no more.
    fn fail(&self, place: &mut Place<'_>, model: &mut Model, fault: Fault, case: &mut Case) {
        let mut preparing = place.session(model, None).unwrap();
        prepared(&mut preparing, BYSTANDER, 9, 10_000);
        (self.prepare)(&mut preparing);
        let backend = (self.by == By::TheSame).then_some(preparing.backend);
        place.disk.arm(&fault);
        let opened = match backend {
            Some(backend) => Ok(Session::new(place.runtime, backend, model, Some(fault))),
            None => place.session(model, Some(fault)),
        };
        let mut session = match opened {
            Ok(session) => session,
            Err(error) => {
                let injected = std::io::Error::from_raw_os_error(fault.errno);
                assert_eq!(error.io_kind(), injected.kind(), "{error}");
                case.fired = place.disk.heal();
                case.answers.errors = 1;
                return;
            }
        };
        (self.work)(&mut session);
        session.fault = None;
        case.fired = place.disk.heal();
        case.answers = session.answers;
        session.write(BYSTANDER, 5000, &bytes(10, 10_000));
        session.read_all(BYSTANDER);
        if self.by == By::TheSame {
            // Its name is durable, so the folder is not synced, nor what else is named there.
            session.sync(BYSTANDER);
        }
        look_at_all(&mut session);
        // What comes now syncs the folder, so that the crash would show less.
        if fault.number % 2 == u64::from(fault.errno == NO_SPACE) {
            sync_the_rest(&mut session);
            replace_the_poisoned(&mut session, fault.number % 4 < 2);
        }
    }
}

const NO_SPACE: i32 = rustix::io::Errno::NOSPC.raw_os_error();

fn names(session: &Session<'_>) -> Vec<&'static str> {
    session.model.names.keys().copied().collect()
}

/// Asks everything that there is to ask about each file.
fn look_at_all(session: &mut Session<'_>) {
    session.learn_names();
    for name in names(session) {
        session.exists(name);
        session.read_all(name);
    }
    session.list();
}

/// A sync that succeeds now is believed, also of a file whose sync failed and did not poison it.
fn sync_the_rest(session: &mut Session<'_>) {
    for name in names(session) {
        let file = session.model.name(name).file();
        if file.is_some_and(|file| !session.model.files[file].poisoned) {
            session.sync(name);
        }
    }
}

/// Poisoned files are of no more use but to be deleted or replaced, and then the name is as good as
/// any.
fn replace_the_poisoned(session: &mut Session<'_>, by_a_rename: bool) {
    for name in names(session) {
        let file = session.model.name(name).file();
        if !file.is_some_and(|file| session.model.files[file].poisoned) {
            continue;
        }
        for _ in 0..2 {
            session.read(name, 0, 1);
            session.read_many(&[(name, 0, 1)]);
            session.write(name, 0, b"again");
            session.truncate(name, 3);
            session.sync(name);
            session.seal(name);
            session.rename(name, "elsewhere");
            session.exists(name);
        }
        if by_a_rename {
            session.write("replacement", 0, &bytes(7, 5000));
            session.rename("replacement", name);
        } else {
            session.delete(name);
            session.write(name, 0, &bytes(8, 5000));
        }
        session.read_all(name);
    }
}

/// On a disk that works, every file can be used, but for what a seal forbids.
fn go_on(session: &mut Session<'_>) {
    for name in names(session) {
        session.write(name, 20, &bytes(11, 5000));
        session.read_all(name);
        session.sync(name);
        let file = session.model.name(name).file().unwrap();
        if session.model.files[file].sealed == Sealed::No {
            session.truncate(name, 100);
            session.seal(name);
        }
        session.read_all(name);
        session.rename(name, "elsewhere");
        session.read_all("elsewhere");
        session.delete("elsewhere");
        assert_eq!(session.exists(name), Some(false));
    }
}
