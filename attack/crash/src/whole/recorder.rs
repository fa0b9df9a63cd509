//! A filesystem in the memory of its server (FUSE) that notes, in order, everything that is done in it.
//!
//! The kernel sends each write at once, and what was stored to a mapping when it is written back; an fsync(2)
//! comes behind all of that. So what is noted before it is what it makes durable.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyWrite, ReplyXattr, Request, WriteFlags,
};

use super::note::{self, Note};
use crate::disk::index;

/// The kernel asks again each time.
const TTL: Duration = Duration::ZERO;
const ROOT: u64 = 1;
/// The most bytes of one write: 32 sectors, so that there are moments between them.
const WRITE_BYTES_MAX: u32 = 16 << 10;

/// A file, whatever its name is.
pub(crate) type Node = u64;

/// What happened to the names of the folder.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A file was made, or got one more name.
    Add { name: OsString, node: Node },
    /// A file got another name, in one step, whatever had that before.
    Move { from: OsString, to: OsString, node: Node },
    /// A name is gone.
    Remove { name: OsString },
}

/// What there is of a file beside its bytes, its length and its names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Attributes {
    pub(crate) mode: u16,
    /// The extended ones.
    pub(crate) extended: BTreeMap<OsString, Vec<u8>>,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { mode: 0o600, extended: BTreeMap::new() }
    }
}

/// One thing that was done.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Write { node: Node, offset: u64, bytes: Vec<u8> },
    SetLen { node: Node, len: u64 },
    SetAttributes { node: Node, attributes: Attributes },
    Sync { node: Node },
    Change(Change),
    SyncFolder,
    Note(Note),
}

/// The files as they are now, and how they became so.
#[derive(Debug, Default)]
pub(crate) struct Store {
    files: BTreeMap<Node, Vec<u8>>,
    attributes: BTreeMap<Node, Attributes>,
    names: BTreeMap<OsString, Node>,
    tape: Vec<Happening>,
}

impl Store {
    /// What happened so far.
    pub(crate) fn take(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.tape)
    }

    fn find(&self, name: &OsStr) -> Result<Node, Errno> {
        self.names.get(name).copied().ok_or(Errno::ENOENT)
    }

    fn file(&mut self, node: Node) -> Result<&mut Vec<u8>, Errno> {
        self.files.get_mut(&node).ok_or(Errno::ENOENT)
    }

    fn create(&mut self, name: &OsStr) -> Result<FileAttr, Errno> {
        let node = ROOT + 1 + self.files.len() as u64;
        self.files.insert(node, Vec::new());
        self.add(name, node)
    }

    fn add(&mut self, name: &OsStr, node: Node) -> Result<FileAttr, Errno> {
        self.names.insert(name.into(), node);
        self.tape.push(Happening::Change(Change::Add { name: name.into(), node }));
        self.attributes(node)
    }

    fn rename(&mut self, from: &OsStr, to: &OsStr, flags: RenameFlags) -> Result<(), Errno> {
        if flags.contains(RenameFlags::RENAME_NOREPLACE) && self.find(to).is_ok() {
            return Err(Errno::EEXIST);
        }
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return Err(Errno::EINVAL);
        }
        let node = self.names.remove(from).ok_or(Errno::ENOENT)?;
        self.names.insert(to.into(), node);
        self.tape.push(Happening::Change(Change::Move { from: from.into(), to: to.into(), node }));
        Ok(())
    }

    fn unlink(&mut self, name: &OsStr) -> Result<(), Errno> {
        // Its bytes stay for those who have it open.
        self.names.remove(name).ok_or(Errno::ENOENT)?;
        self.tape.push(Happening::Change(Change::Remove { name: name.into() }));
        Ok(())
    }

    fn set_len(&mut self, node: Node, len: u64) -> Result<(), Errno> {
        let file = self.file(node)?;
        if file.len() as u64 != len {
            file.resize(index(len), 0);
            self.tape.push(Happening::SetLen { node, len });
        }
        Ok(())
    }

    fn write(&mut self, node: Node, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let end = offset + bytes.len() as u64;
        let len = self.file(node)?.len() as u64;
        self.set_len(node, len.max(end))?;
        self.file(node)?[index(offset)..index(end)].copy_from_slice(bytes);
        self.tape.push(Happening::Write { node, offset, bytes: bytes.into() });
        Ok(())
    }

    fn read(&mut self, node: Node, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let file = self.file(node)?;
        let place = |offset: u64| index(offset).min(file.len());
        Ok(file[place(offset)..place(offset.saturating_add(size.into()))].to_vec())
    }

    fn set_attributes(&mut self, node: Node, set: impl FnOnce(&mut Attributes)) {
        let attributes = self.attributes.entry(node).or_default();
        set(attributes);
        let attributes = attributes.clone();
        self.tape.push(Happening::SetAttributes { node, attributes });
    }

    fn extended(&self, node: Node, name: &OsStr) -> Result<&[u8], Errno> {
        let attributes = self.attributes.get(&node).ok_or(Errno::ENODATA)?;
        attributes.extended.get(name).map(Vec::as_slice).ok_or(Errno::ENODATA)
    }

    fn attributes(&self, node: Node) -> Result<FileAttr, Errno> {
        let (kind, perm, size) = if node == ROOT {
            (FileType::Directory, 0o700, 0)
        } else {
            let file = self.files.get(&node).ok_or(Errno::ENOENT)?;
            let mode = self.attributes.get(&node).map_or(0o600, |attributes| attributes.mode);
            (FileType::RegularFile, mode, file.len() as u64)
        };
        Ok(FileAttr {
            ino: INodeNo(node),
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

/// What the filesystem makes of a rename that may replace nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoReplace {
    Known,
    /// It is refused, so that a link has to do.
    Unknown,
}

/// The filesystem over a store that its server keeps a hand on.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) store: Arc<Mutex<Store>>,
    pub(crate) no_replace: NoReplace,
}

impl Recorder {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

fn attributes(result: Result<FileAttr, Errno>, reply: ReplyAttr) {
    match result {
        Ok(attributes) => reply.attr(&TTL, &attributes),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Recorder {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let refused = |_| std::io::ErrorKind::Unsupported.into();
        config.set_max_write(WRITE_BYTES_MAX).map(drop).map_err(refused)
    }

    fn lookup(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut store = self.store();
        if let Some(note) = note::hear(name) {
            store.tape.push(Happening::Note(note));
        }
        entry(store.find(name).and_then(|node| store.attributes(node)), reply);
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        attributes(self.store().attributes(node.0), reply);
    }

    fn setattr(
        &self,
        _request: &Request,
        node: INodeNo,
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
        let set = size.map_or(Ok(()), |len| store.set_len(node.0, len));
        if let Some(mode) = mode.and_then(|mode| u16::try_from(mode & 0o7777).ok()) {
            store.set_attributes(node.0, |attributes| attributes.mode = mode);
        }
        attributes(set.and_then(|()| store.attributes(node.0)), reply);
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
        match self.store().create(name) {
            Ok(attributes) => {
                let (handle, flags) = (FileHandle(0), FopenFlags::empty());
                reply.created(&TTL, &attributes, Generation(0), handle, flags);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn link(&self, _: &Request, node: INodeNo, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut store = self.store();
        let added = match store.find(name) {
            Ok(_) => Err(Errno::EEXIST),
            Err(_) => store.add(name, node.0),
        };
        entry(added, reply);
    }

    fn unlink(&self, _request: &Request, _parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.store().unlink(name), reply);
    }

    fn rename(
        &self,
        _request: &Request,
        _parent: INodeNo,
        from: &OsStr,
        _new_parent: INodeNo,
        to: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() && self.no_replace == NoReplace::Unknown {
            return reply.error(Errno::EINVAL);
        }
        done(self.store().rename(from, to, flags), reply);
    }

    fn open(&self, _request: &Request, _node: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.store().read(node.0, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.store().write(node.0, offset, bytes) {
            Ok(()) => reply.written(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
            Err(errno) => reply.error(errno),
        }
    }

    fn fallocate(
        &self,
        _request: &Request,
        node: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let mut store = self.store();
        let len = store.file(node.0).map(|file| (file.len() as u64).max(offset + length));
        done(len.and_then(|len| store.set_len(node.0, len)), reply);
    }

    fn setxattr(
        &self,
        _request: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        self.store().set_attributes(node.0, |attributes| {
            attributes.extended.insert(name.into(), value.into());
        });
        reply.ok();
    }

    fn getxattr(&self, _: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.store().extended(node.0, name) {
            Ok(value) if size == 0 => reply.size(u32::try_from(value.len()).unwrap_or(u32::MAX)),
            Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
            Ok(value) => reply.data(value),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.store().tape.push(Happening::Sync { node: node.0 });
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.store().tape.push(Happening::SyncFolder);
        reply.ok();
    }
}
