//! A filesystem in the memory of its server (FUSE) that lacks what real ones lack: modes that can be
//! changed, attributes of files, links, renaming only where the new name is free.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::{self, BufRead, Write as _},
    path::Path,
    sync::{Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, ReplyXattr, Request, WriteFlags,
};

const TTL: Duration = Duration::ZERO;
const ROOT: u64 = 1;

/// What begins the server's one line, among what else comes on its standard output.
pub(crate) const ANSWER: &str = "answer: ";

/// What a filesystem has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Habits {
    pub(crate) modes: bool,
    pub(crate) attributes: bool,
    pub(crate) links: bool,
    pub(crate) rename_flags: bool,
}

impl Habits {
    /// As one word, for the server's environment.
    pub(crate) fn word(self) -> String {
        let all = [self.modes, self.attributes, self.links, self.rename_flags];
        all.map(|has| if has { '1' } else { '0' }).iter().collect()
    }

    fn from_word(word: &str) -> Self {
        let has = |index| word.as_bytes()[index] == b'1';
        Self { modes: has(0), attributes: has(1), links: has(2), rename_flags: has(3) }
    }
}

struct Node {
    bytes: Vec<u8>,
    mode: u16,
    links: u32,
    attributes: BTreeMap<OsString, Vec<u8>>,
}

#[derive(Default)]
struct Store {
    nodes: BTreeMap<u64, Node>,
    names: BTreeMap<OsString, u64>,
}

impl Store {
    fn find(&self, name: &OsStr) -> Result<u64, Errno> {
        self.names.get(name).copied().ok_or(Errno::ENOENT)
    }

    fn node(&mut self, number: INodeNo) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number.0).ok_or(Errno::ENOENT)
    }

    fn look(&self, number: u64) -> Result<FileAttr, Errno> {
        let (kind, perm, size, nlink) = match self.nodes.get(&number) {
            _ if number == ROOT => (FileType::Directory, 0o700, 0, 2),
            Some(node) => (FileType::RegularFile, node.mode, node.bytes.len() as u64, node.links),
            None => return Err(Errno::ENOENT),
        };
        Ok(FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn unlink(&mut self, name: &OsStr) -> Result<(), Errno> {
        let number = self.names.remove(name).ok_or(Errno::ENOENT)?;
        self.node(INodeNo(number))?.links -= 1;
        Ok(())
    }
}

struct OddFs {
    store: Mutex<Store>,
    habits: Habits,
}

impl OddFs {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

fn done(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

fn entry(result: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match result {
        Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for OddFs {
    fn lookup(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let store = self.store();
        entry(store.find(name).and_then(|number| store.look(number)), reply);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.store().look(number.0) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<fuser::TimeOrNow>,
        _mtime: Option<fuser::TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut store = self.store();
        let set = store.node(number).map(|node| {
            if let Some(size) = size {
                node.bytes.resize(index(size), 0);
            }
            // Where modes are fixed, changing one succeeds without effect.
            if let Some(mode) = mode.filter(|_| self.habits.modes) {
                node.mode = u16::try_from(mode & 0o7777).unwrap();
            }
        });
        match set.and_then(|()| store.look(number.0)) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn create(
        &self,
        _: &Request,
        _parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let mut store = self.store();
        let number = store.nodes.keys().last().map_or(ROOT, |last| *last) + 1;
        let node = Node { bytes: Vec::new(), mode: 0o600, links: 1, attributes: BTreeMap::new() };
        store.nodes.insert(number, node);
        store.names.insert(name.into(), number);
        let attributes = store.look(number).unwrap();
        reply.created(&TTL, &attributes, Generation(0), FileHandle(0), FopenFlags::empty());
    }

    fn unlink(&self, _: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.store().unlink(name), reply);
    }

    fn link(
        &self,
        _: &Request,
        number: INodeNo,
        _parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let mut store = self.store();
        let mut link = || {
            if !self.habits.links {
                return Err(Errno::EPERM);
            }
            if store.find(name).is_ok() {
                return Err(Errno::EEXIST);
            }
            store.node(number)?.links += 1;
            store.names.insert(name.into(), number.0);
            store.look(number.0)
        };
        entry(link(), reply);
    }

    fn rename(
        &self,
        _: &Request,
        _parent: INodeNo,
        name: &OsStr,
        _new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mut store = self.store();
        let mut rename = || {
            if !flags.is_empty() && !self.habits.rename_flags {
                return Err(Errno::EINVAL);
            }
            if store.find(new_name).is_ok() {
                if flags.contains(RenameFlags::RENAME_NOREPLACE) {
                    return Err(Errno::EEXIST);
                }
                store.unlink(new_name)?;
            }
            let number = store.names.remove(name).ok_or(Errno::ENOENT)?;
            store.names.insert(new_name.into(), number);
            Ok(())
        };
        done(rename(), reply);
    }

    fn open(&self, _: &Request, _number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.store().node(number) {
            Ok(node) => {
                let start = index(offset).min(node.bytes.len());
                let end = (start + size as usize).min(node.bytes.len());
                reply.data(&node.bytes[start..end]);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.store().node(number) {
            Ok(node) => {
                let (start, end) = (index(offset), index(offset) + data.len());
                let len = node.bytes.len().max(end);
                node.bytes.resize(len, 0);
                node.bytes[start..end].copy_from_slice(data);
                reply.written(u32::try_from(data.len()).unwrap());
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        _mode: i32,
        reply: ReplyEmpty,
    ) {
        let extended = self.store().node(number).map(|node| {
            let len = node.bytes.len().max(index(offset + length));
            node.bytes.resize(len, 0);
        });
        done(extended, reply);
    }

    fn setxattr(
        &self,
        _: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        if !self.habits.attributes {
            return reply.error(Errno::ENOSYS);
        }
        let set = self.store().node(number).map(|node| {
            node.attributes.insert(name.into(), value.into());
        });
        done(set, reply);
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        if !self.habits.attributes {
            return reply.error(Errno::ENOSYS);
        }
        let mut store = self.store();
        match store.node(number).map(|node| node.attributes.get(name)) {
            Ok(Some(value)) if size == 0 => reply.size(u32::try_from(value.len()).unwrap()),
            Ok(Some(value)) => reply.data(value),
            Ok(None) => reply.error(Errno::ENODATA),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(
        &self,
        _: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        for (place, (name, &number)) in self.store().names.iter().enumerate().skip(index(offset)) {
            if reply.add(INodeNo(number), place as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }
}

/// The server's part: mounts at `path`, and ends with its standard input.
pub(crate) fn serve(path: &Path, habits: &str) {
    let filesystem = OddFs { store: Mutex::default(), habits: Habits::from_word(habits) };
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("odd_filesystem".into())];
    match fuser::spawn_mount(filesystem, path, &config) {
        Ok(session) => {
            answer("mounted");
            let mut nothing = String::new();
            io::stdin().lock().read_line(&mut nothing).unwrap();
            drop(session.umount_and_join());
        }
        Err(error) => answer(&format!("cannot mount: {error}")),
    }
}

fn answer(words: &str) {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "\n{ANSWER}{words}").unwrap();
    stdout.flush().unwrap();
}
