//! The failing filesystem, mounted: its server is a process of its own, as a process that waits for
//! a page which one of its own threads is to bring can wait for ever.

use std::{
    io::{self, BufRead, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
};

use fuser::{Config, MountOption};
use tempfile::TempDir;

use super::filesystem::{FailingFs, Fault, Kind, Store, TRANSFER_BYTES_MAX};
use crate::child;

/// What begins an answer of the server, among what else comes on its standard output.
const ANSWER: &str = "answer: ";

/// Whether the kernel keeps what is written and sends it later, or sends it at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Writes {
    Through,
    Back,
}

/// A mounted filesystem that can be told to fail.
pub(crate) struct FailingDisk {
    server: Child,
    to_server: ChildStdin,
    from_server: BufReader<ChildStdout>,
    folder: TempDir,
}

impl FailingDisk {
    /// Mounts it, with a server that is the test `server_test` of the calling module; the error says
    /// what is missing here.
    #[track_caller]
    pub(crate) fn new(server_test: &str, writes: Writes) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting a FUSE filesystem needs root".into());
        }
        if !Path::new("/dev/fuse").exists() {
            return Err("there is no /dev/fuse".into());
        }
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mounted = folder.path().join(format!("{writes:?}"));
        std::fs::create_dir(&mounted).map_err(|error| error.to_string())?;
        let mut server = child::command("", server_test, &mounted)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let to_server = server.stdin.take().unwrap();
        let from_server = BufReader::new(server.stdout.take().unwrap());
        let mut disk = Self { server, to_server, from_server, folder };
        match disk.answer().as_deref() {
            Some("mounted") => Ok(disk),
            Some(refused) => Err(refused.into()),
            None => Err("the FUSE server ended".into()),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        let mut entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries.next().unwrap().unwrap().path()
    }

    fn answer(&mut self) -> Option<String> {
        let lines = self.from_server.by_ref().lines();
        lines.map_while(Result::ok).find_map(|line| line.strip_prefix(ANSWER).map(str::to_owned))
    }

    fn tell(&mut self, command: &str) -> u64 {
        writeln!(self.to_server, "{command}").unwrap();
        self.answer().expect("the server lives").parse().unwrap()
    }

    /// Has one operation fail, or all from one on.
    pub(crate) fn arm(&mut self, fault: &Fault) {
        let kind = Kind::ALL.iter().position(|&kind| kind == fault.kind).unwrap();
        let Fault { number, errno, once, .. } = fault;
        self.tell(&format!("arm {kind} {number} {errno} {}", u8::from(*once)));
    }

    /// Lets everything succeed again; says how many operations failed.
    pub(crate) fn heal(&mut self) -> u64 {
        self.tell("heal")
    }

    /// Loses everything that is not durable. Nobody may have a file of it open.
    pub(crate) fn crash(&mut self) {
        self.tell("crash");
    }

    /// Removes all files.
    pub(crate) fn clear(&mut self) {
        self.tell("clear");
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        let path = self.path();
        let _ending = writeln!(self.to_server, "end");
        let unmounted = self.answer();
        if unmounted.is_none() {
            let _lazily = Command::new("umount").arg("-l").arg(path).output();
        }
        let _gone = self.server.kill();
        let _reaped = self.server.wait();
    }
}

/// The server's part: mounts at `path`, and does what its standard input says.
pub(crate) fn serve(path: &Path) {
    let store = Arc::new(Mutex::new(Store::default()));
    let write_back_cache = path.ends_with(format!("{:?}", Writes::Back));
    let filesystem = FailingFs { store: Arc::clone(&store), write_back_cache };
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("failing_disk".into()),
        MountOption::CUSTOM(format!("max_read={TRANSFER_BYTES_MAX}")),
    ];
    let session = match fuser::spawn_mount(filesystem, path, &config) {
        Ok(session) => session,
        Err(error) => return answer(&format!("cannot mount: {error}")),
    };
    answer("mounted");
    for line in io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let mut store = store.lock().unwrap();
        let number = match words[..] {
            ["arm", kind, number, errno, once] => {
                store.arm(Fault {
                    kind: Kind::ALL[kind.parse::<usize>().unwrap()],
                    number: number.parse().unwrap(),
                    errno: errno.parse().unwrap(),
                    once: once == "1",
                });
                0
            }
            ["heal"] => store.heal(),
            ["crash"] => {
                store.crash();
                0
            }
            ["clear"] => {
                store.clear();
                0
            }
            _ => break,
        };
        drop(store);
        answer(&number.to_string());
    }
    drop(session.umount_and_join());
    answer("0");
}

fn answer(words: &str) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "\n{ANSWER}{words}").unwrap();
    stdout.flush().unwrap();
}
