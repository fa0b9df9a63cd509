//! A filesystem in the memory of its server (FUSE) that fails one chosen operation, once or from
//! then on, and can be thrown back to what was made durable.
//!
//! It is stricter than most: a file's bytes and length are durable after fsync(2) of the file, and
//! its name only after fsync(2) of the folder.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

/// The kernel asks again each time, so what it shows is what is there.
const TTL: Duration = Duration::ZERO;
const ROOT: u64 = 1;
/// What the kernel sends and asks for at most at a time: small, so that there are many operations.
pub(crate) const TRANSFER_BYTES_MAX: u32 = 32 << 10;

/// In the place of an error: the operation succeeds, and somebody cuts the file to half its length
/// before it does.
pub(crate) const CUT_SHORT: i32 = 0;

/// The operations that can be made to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Reads of a file's bytes.
    Read,
    /// Writes of a file's bytes, and fsync of files and of the folder.
    Write,
    /// Everything else that changes something or looks at a file: create, length, reservation of
    /// space, rename, unlink, attributes.
    Other,
    /// Looks for a name, and readings of the folder.
    Look,
    /// All of these.
    Any,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Other, Self::Look, Self::Any];
}

/// What is to fail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// The number of the operation of that kind, from 1 on.
    pub(crate) number: u64,
    /// What to answer; [`CUT_SHORT`] is no failure.
    pub(crate) errno: i32,
    /// Fail only that one, or all from then on.
    pub(crate) once: bool,
}

/// What is in a file: some bytes, and zeros up to its length; and its mode.
#[derive(Clone)]
struct Content {
    bytes: Vec<u8>,
    len: u64,
    mode: u16,
}

impl Default for Content {
    fn default() -> Self {
        Self { bytes: Vec::new(), len: 0, mode: 0o600 }
    }
}

impl Content {
    fn set_len(&mut self, len: u64) {
        self.bytes.truncate(index(len.min(self.bytes.len() as u64)));
        self.len = len;
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let (start, end) = (index(offset), index(offset) + data.len());
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(data);
        self.len = self.len.max(end as u64);
    }

    fn read(&self, offset: u64, size: u32) -> Vec<u8> {
        let end = self.len.min(offset + u64::from(size));
        let place = |offset: u64| index(offset).min(self.bytes.len());
        let mut read = self.bytes[place(offset)..place(end.max(offset))].to_vec();
        read.resize(index(end.saturating_sub(offset)), 0);
        read
    }
}

#[derive(Default, Clone)]
struct Node {
    now: Content,
    durable: Content,
}

/// What the server stores.
#[derive(Default)]
pub(crate) struct Store {
    nodes: BTreeMap<u64, Node>,
    names: BTreeMap<OsString, u64>,
    durable_names: BTreeMap<OsString, u64>,
    node_last: u64,
    fault: Option<Fault>,
    seen: u64,
    fired: u64,
}

impl Store {
    /// Begins to count operations, one of which is to fail.
    pub(crate) fn arm(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.seen = 0;
        self.fired = 0;
    }

    /// Lets everything succeed again; says how many operations failed.
    pub(crate) fn heal(&mut self) -> u64 {
        self.fault = None;
        self.fired
    }

    /// Loses everything that was not made durable.
    pub(crate) fn crash(&mut self) {
        let names = std::mem::take(&mut self.durable_names);
        let old = std::mem::take(&mut self.nodes);
        self.names.clear();
        for (name, number) in names {
            // A new number, so that the kernel's memory of the old one is of no account.
            self.node_last += 1;
            let durable = old.get(&number).map(|node| node.durable.clone()).unwrap_or_default();
            self.nodes.insert(self.node_last, Node { now: durable.clone(), durable });
            self.names.insert(name, self.node_last);
        }
        self.durable_names = self.names.clone();
    }

    /// Removes all files.
    pub(crate) fn clear(&mut self) {
        *self = Self { node_last: self.node_last, ..Self::default() };
    }

    /// Counts an operation, and says whether it is to fail.
    fn failing(&mut self, kind: Kind) -> Option<Errno> {
        let fault = self.fault.filter(|fault| [kind, Kind::Any].contains(&fault.kind))?;
        self.seen += 1;
        let fails = if fault.once { self.seen == fault.number } else { self.seen >= fault.number };
        if !fails {
            return None;
        }
        self.fired += 1;
        if fault.errno == CUT_SHORT {
            for node in self.nodes.values_mut() {
                node.now.set_len(node.now.len / 2);
            }
            return None;
        }
        Some(Errno::from_i32(fault.errno))
    }

    fn find(&self, name: &OsStr) -> Result<u64, Errno> {
        self.names.get(name).copied().ok_or(Errno::ENOENT)
    }

    fn node(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    fn attributes(&self, number: u64) -> Result<FileAttr, Errno> {
        let (kind, perm, size) = if number == ROOT {
            (FileType::Directory, 0o700, 0)
        } else {
            let node = self.nodes.get(&number).ok_or(Errno::ENOENT)?;
            (FileType::RegularFile, node.now.mode, node.now.len)
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
            nlink: 1,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }
}

/// The filesystem over a store that its server keeps a hand on.
pub(crate) struct FailingFs {
    pub(crate) store: Arc<Mutex<Store>>,
    /// Whether the kernel may keep what is written by write(2) and send it later.
    pub(crate) write_back_cache: bool,
}

impl FailingFs {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// The store, unless the operation is to fail.
    fn operate(&self, kind: Kind) -> Result<MutexGuard<'_, Store>, Errno> {
        let mut store = self.store();
        match store.failing(kind) {
            Some(errno) => Err(errno),
            None => Ok(store),
        }
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl Filesystem for FailingFs {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let refused = |_| std::io::ErrorKind::Unsupported;
        config.set_max_write(TRANSFER_BYTES_MAX).map_err(refused)?;
        config.set_max_readahead(TRANSFER_BYTES_MAX).map_err(refused)?;
        if self.write_back_cache {
            let refused = |_| std::io::ErrorKind::Unsupported;
            config.add_capabilities(InitFlags::FUSE_WRITEBACK_CACHE).map_err(refused)?;
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.operate(Kind::Look).and_then(|store| {
            let number = store.find(name)?;
            store.attributes(number)
        });
        match found {
            Ok(attributes) => reply.entry(&TTL, &attributes, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        // Looks at the folder come and go as the kernel pleases.
        let store = if number.0 == ROOT { Ok(self.store()) } else { self.operate(Kind::Other) };
        match store.and_then(|store| store.attributes(number.0)) {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
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
        let set = || {
            let mut store = match (size, mode) {
                (None, None) => self.store(),
                _ => self.operate(Kind::Other)?,
            };
            if let Some(size) = size {
                store.node(number.0)?.now.set_len(size);
            }
            if let Some(mode) = mode {
                let permissions = u16::try_from(mode & 0o7777).unwrap();
                store.node(number.0)?.now.mode = permissions;
            }
            store.attributes(number.0)
        };
        match set() {
            Ok(attributes) => reply.attr(&TTL, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn create(
        &self,
        _request: &Request,
        _parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let create = || {
            let mut store = self.operate(Kind::Other)?;
            store.node_last = store.node_last.max(ROOT) + 1;
            let number = store.node_last;
            store.nodes.insert(number, Node::default());
            store.names.insert(name.into(), number);
            store.attributes(number)
        };
        match create() {
            Ok(attributes) => {
                let (handle, flags) = (FileHandle(0), FopenFlags::empty());
                reply.created(&TTL, &attributes, Generation(0), handle, flags);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn unlink(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        // Its node stays for those who have it open.
        let unlinked = self.operate(Kind::Other).map(|mut store| store.names.remove(name));
        done(unlinked.map(drop), reply);
    }

    fn rename(
        &self,
        _request: &Request,
        _parent: INodeNo,
        name: &OsStr,
        _newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let rename = || {
            let mut store = self.operate(Kind::Other)?;
            if flags.contains(RenameFlags::RENAME_NOREPLACE) && store.find(newname).is_ok() {
                return Err(Errno::EEXIST);
            }
            let number = store.names.remove(name).ok_or(Errno::ENOENT)?;
            store.names.insert(newname.into(), number);
            Ok(())
        };
        done(rename(), reply);
    }

    fn open(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // Without `FOPEN_KEEP_CACHE`, the kernel drops what it has of the file.
        match self.store().node(number.0) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = || {
            let mut store = self.operate(Kind::Read)?;
            Ok::<_, Errno>(store.node(number.0)?.now.read(offset, size))
        };
        match read() {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let write = || {
            let mut store = self.operate(Kind::Write)?;
            store.node(number.0)?.now.write(offset, data);
            Ok::<_, Errno>(())
        };
        match write() {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap()),
            Err(errno) => reply.error(errno),
        }
    }

    fn fallocate(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let extend = || {
            let mut store = self.operate(Kind::Other)?;
            if mode != 0 {
                return Err(Errno::EOPNOTSUPP);
            }
            let content = &mut store.node(number.0)?.now;
            content.len = content.len.max(offset + length);
            Ok(())
        };
        done(extend(), reply);
    }

    fn flush(
        &self,
        _request: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn fsync(
        &self,
        _request: &Request,
        number: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let sync = || {
            let mut store = self.operate(Kind::Write)?;
            let node = store.node(number.0)?;
            node.durable.clone_from(&node.now);
            Ok(())
        };
        done(sync(), reply);
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let synced =
            self.operate(Kind::Write).map(|mut store| store.durable_names = store.names.clone());
        done(synced, reply);
    }

    fn readdir(
        &self,
        _request: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let store = match self.operate(Kind::Look) {
            Ok(store) => store,
            Err(errno) => return reply.error(errno),
        };
        for (place, (name, &number)) in store.names.iter().enumerate().skip(index(offset)) {
            if reply.add(INodeNo(number), place as u64 + 1, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }
}

fn done(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}
