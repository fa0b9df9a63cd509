//! A control group of its own with a limit on memory, version 1 or 2.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// Removed on drop, when no process is in it any more.
pub(crate) struct Cgroup {
    path: PathBuf,
    files: &'static Files,
}

/// The most that the kernel had charged to a group at one time. What a process asks of its files one by one,
/// while pages come and go, can be more: what has come is counted, and what had to go for it was before.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "not every suite asks for it")]
pub(crate) struct Seen {
    /// Pages of files.
    pub(crate) files_most_bytes: u64,
    /// Those and the memory of the processes.
    pub(crate) all_most_bytes: u64,
    pub(crate) looks: u64,
}

/// What the files of a version are called.
struct Files {
    limit: &'static str,
    peak: &'static str,
    /// Pages of files, and memory of processes, in `memory.stat`.
    kinds: [&'static str; 2],
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    peak: "memory.max_usage_in_bytes",
    kinds: ["cache", "rss"],
};
const V2: Files = Files { limit: "memory.max", peak: "memory.peak", kinds: ["file", "anon"] };

impl Cgroup {
    /// A group limited to so many bytes; the error says what is missing here.
    pub(crate) fn new(name: &str, limit_bytes: u64) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("making a cgroup needs root".into());
        }
        let (parent, files) = parent()?;
        let path = parent.join(format!("{name}-{}", process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let group = Self { path, files };
        let limited = fs::write(group.path.join(files.limit), limit_bytes.to_string());
        limited.map_err(|error| format!("{}: {error}", group.path.display()))?;
        Ok(group)
    }

    /// The words of a shell that move it into the group.
    pub(crate) fn enter(&self) -> String {
        format!("echo $$ > {} &&", self.path.join("cgroup.procs").display())
    }

    /// What its processes have now, in bytes: pages of files, and memory of their own.
    #[allow(dead_code, reason = "not every suite asks for it")]
    pub(crate) fn memory_bytes(&self) -> [u64; 2] {
        let stat = fs::read_to_string(self.path.join("memory.stat")).unwrap_or_default();
        self.files.kinds.map(|kind| {
            let line = stat.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
            line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
        })
    }

    /// Looks at it all the time while `work` is done in it.
    #[allow(dead_code, reason = "not every suite asks for it")]
    pub(crate) fn watch(&self, work: impl FnOnce()) -> Seen {
        /// Says so when the work is done, also where it panics.
        struct Done<'flag>(&'flag AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let is_done = AtomicBool::new(false);
        thread::scope(|scope| {
            let seen = scope.spawn(|| {
                let mut seen = Seen::default();
                while !is_done.load(Ordering::Acquire) {
                    let [files, own] = self.memory_bytes();
                    seen.files_most_bytes = seen.files_most_bytes.max(files);
                    seen.all_most_bytes = seen.all_most_bytes.max(files + own);
                    seen.looks += 1;
                    thread::sleep(Duration::from_millis(1));
                }
                seen
            });
            let done = Done(&is_done);
            work();
            drop(done);
            seen.join().unwrap()
        })
    }

    /// The most that its processes ever had, in bytes, where the kernel tells.
    pub(crate) fn peak_bytes(&self) -> Option<u64> {
        fs::read_to_string(self.path.join(self.files.peak)).ok()?.trim().parse().ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _removed = fs::remove_dir(&self.path);
    }
}

/// Where a group can be made: beside this process in version 1, at the top in version 2, since a
/// group with processes can have none below it.
fn parent() -> Result<(PathBuf, &'static Files), String> {
    let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    let in_v1 = own.lines().find_map(|line| line.split_once(":memory:/")).map(|(_, path)| path);
    if let Some(path) = in_v1 {
        return Ok((Path::new("/sys/fs/cgroup/memory").join(path), &V1));
    }
    let top = Path::new("/sys/fs/cgroup");
    let given_down = fs::read_to_string(top.join("cgroup.subtree_control")).unwrap_or_default();
    if given_down.split_whitespace().any(|controller| controller == "memory") {
        return Ok((top.into(), &V2));
    }
    Err("there is no memory controller to be had".into())
}
