//! The interface that programs use.

use std::future::Future;

use bytes::Bytes;

use crate::{BackendId, Stats};

/// Files, named by relative paths, that are read and written at byte offsets.
///
/// Share a backend between tasks by reference or in an `Arc`; all methods take `&self`, and all
/// futures are [`Send`]. A program that chooses its backend at run time holds a
/// [`DynBackend`](crate::DynBackend).
///
/// # Paths
/// Relative, UTF-8, parts between single slashes; see [`StoragePath`](crate::StoragePath). Folders
/// are made when a file needs them and go with their last file, so only files can be seen: asking
/// for a folder finds no file, and so does asking for a name beneath a file. A name is either a
/// file's or a folder's. Writing to a folder or renaming onto one fails, as does making a file
/// beneath a file; `StorageError::io_kind` is then
/// [`IsADirectory`](std::io::ErrorKind::IsADirectory) and
/// [`NotADirectory`](std::io::ErrorKind::NotADirectory). An operation that fails leaves no folder
/// behind.
///
/// # What operations promise to each other
/// * *Visibility*: a read that begins after a write has completed sees what was written.
/// * *Atomicity*: one read sees each concurrent write to the same file wholly or not at all, as far
///   as it overlaps it. A write that makes its file may be seen by the file being there, and still
///   empty. Nothing ties two calls together.
/// * *Durability*: none before [`sync`](Self::sync), except where a method says so.
/// * *Cancellation*: a future that is dropped before it is done may or may not have its effect, whole
///   or none. Whatever of it is still to come comes before what begins afterwards and concerns the
///   same path, on whichever runtime: nothing that was `Ok` is undone, and what was once seen stays.
///   It leaves nothing half open, and nothing that it held stays held.
/// * *Progress*: no operation waits for a future, only for what threads do. One that is polled no
///   more, on a runtime that stopped or does something else, holds up nobody.
///
/// Views that were handed out stay valid and unchanged whatever happens to the file afterwards:
/// writing, truncating, renaming over it, deleting it, dropping the backend.
pub trait StorageBackend: Send + Sync {
    /// What goes wrong here.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Reads exactly `length` bytes from byte `offset` on.
    ///
    /// The bytes of a sealed file are a view without a copy where the medium can give one;
    /// otherwise they are a copy in a pooled buffer.
    ///
    /// # Errors
    /// Where there is no such file; where the file ends before `offset + length` (the error says
    /// how long it is), and then nothing is read. Both numbers may be any: nothing is allocated
    /// before they were compared with the file's length. A range of no bytes is held to the same:
    /// it may begin at the end of the file, but not behind it.
    fn read(
        &self,
        path: &str,
        offset: u64,
        length: usize,
    ) -> impl Future<Output = Result<Bytes, Self::Error>> + Send;

    /// Writes all of `data` from byte `offset` on. Makes the file where there is none, and
    /// extends it with zeros where it ends before `offset`. Writing nothing at all still makes the
    /// file, and extends nothing, whatever `offset` is.
    ///
    /// # Errors
    /// Where the file is sealed, even if nothing is to be written, or there is no room. Part of `data` may then be written, and the
    /// file may have grown; nothing outside of the range has changed but for zeros.
    fn write(
        &self,
        path: &str,
        offset: u64,
        data: &[u8],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Removes a file, sealed or not. Not durable by itself: after a crash of the machine the file
    /// may be back.
    ///
    /// # Errors
    /// Where there is no such file.
    fn delete(&self, path: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Whether there is such a file.
    ///
    /// # Errors
    /// Where that cannot be found out.
    fn exists(&self, path: &str) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// How many bytes the file has.
    ///
    /// # Errors
    /// Where there is no such file.
    fn len(&self, path: &str) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// The paths of all files that begin with `prefix` (by characters, not by folders; `""` is all),
    /// in ascending byte order. A prefix need not be a path: `a/` is one, and where no path can begin
    /// with it, as with `../`, no file does. Files that come or go meanwhile may be there or not.
    ///
    /// What else lies in a folder on a disk is left out and named in the log: symlinks, sockets and the
    /// like, names that are not UTF-8, and folders of other users that this one may not look into, as
    /// `lost+found`.
    ///
    /// # Errors
    /// Where a folder cannot be read that belongs to this user, or that `prefix` itself leads into.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>, Self::Error>> + Send;

    /// Makes durable what was written to the file before, its length, and its name.
    ///
    /// # Errors
    /// Where the medium cannot. If it was asked to write by then, what is on the disk is unknown and
    /// the file is poisoned: each later operation on it fails but [`delete`](Self::delete) and
    /// renaming another one over it. A failed sync must not be tried again, since the kernel reports it once and would let the next
    /// one succeed.
    fn sync(&self, path: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Gives a file another path, in one step: a file that has that path already is replaced, and
    /// whoever asks finds either the old or the new one. The new name is durable afterwards; the
    /// content as far as it was synced. A seal goes with the file. Renaming a file to the path that
    /// it has does nothing.
    ///
    /// # Errors
    /// Where there is no file `from`, `to` is a folder (also the one that `from` lies in), or `to`
    /// lies beneath a file (also `from` itself). Nothing has changed then. Where only the new name
    /// cannot be made durable, the file has it all the same.
    fn rename(&self, from: &str, to: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Sets the file's length: cuts it, or extends it with zeros.
    ///
    /// # Errors
    /// Where there is no such file, it is sealed (even if it has that length), or there is no room.
    /// The file is then as it was.
    fn truncate(
        &self,
        path: &str,
        len: u64,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Makes the file durable and unchangeable, for good and across restarts: no more `write` or
    /// `truncate`, while `delete` and `rename` go on working. Sealing a sealed file does nothing.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    fn seal(&self, path: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Reads many ranges; each has its own result, in the order of the requests. A medium may read
    /// them in any order and merge neighbours; one over a disk begins to read all of them before it
    /// waits for the first.
    fn read_many(
        &self,
        requests: &[ReadRequest<'_>],
    ) -> impl Future<Output = Vec<Result<Bytes, Self::Error>>> + Send {
        async move {
            let mut results = Vec::with_capacity(requests.len());
            for request in requests {
                results.push(self.read(request.path, request.offset, request.length).await);
            }
            results
        }
    }

    /// Writes many ranges; each has its own result, in the order of the requests. Requests for the
    /// same file that follow one another without a gap may be written by one system call; the file
    /// holds the same as if they had been written one after the other.
    fn write_many(
        &self,
        requests: &[WriteRequest<'_>],
    ) -> impl Future<Output = Vec<Result<(), Self::Error>>> + Send {
        async move {
            let mut results = Vec::with_capacity(requests.len());
            for request in requests {
                results.push(self.write(request.path, request.offset, &request.data).await);
            }
            results
        }
    }

    /// Has the medium begin to read ranges of a file, each given as its first byte and how many there
    /// are, and does not wait for the bytes: a disk gets as many requests together as it takes.
    ///
    /// It is a hint, and costs one hop to another thread. What the file does not have is left out,
    /// and a medium that has nothing to begin does nothing, whatever the path. There is no need to
    /// call it before [`read_many`](Self::read_many), which does the same by itself.
    ///
    /// # Errors
    /// Where the file cannot be opened, or the medium refuses.
    fn prefetch(
        &self,
        _path: &str,
        _ranges: &[(u64, usize)],
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        async { Ok(()) }
    }

    /// Which backend this is: the same for all clones, and for layers that show the same files.
    fn id(&self) -> BackendId;

    /// What was done so far, and what is held now.
    fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Whether reads of this file are views, as those of a sealed file are where the medium can give
    /// one: reading again costs next to nothing then, and a cache on top would hold the same bytes twice.
    ///
    /// This does not wait, so it tells what is known: `false` also of a file that is not open, which each
    /// read and [`prefetch`](Self::prefetch) makes it. Once true of a file, it stays so.
    fn reads_are_views(&self, _path: &str) -> bool {
        false
    }
}

/// One range to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadRequest<'a> {
    /// The file.
    pub path: &'a str,
    /// The first byte.
    pub offset: u64,
    /// How many bytes.
    pub length: usize,
}

/// One range to write. The data is shared, not copied, on its way to the medium.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriteRequest<'a> {
    /// The file.
    pub path: &'a str,
    /// Where the first byte goes.
    pub offset: u64,
    /// What to write.
    pub data: Bytes,
}

/// Forwards every method to what a pointer points to.
macro_rules! forward {
    () => {
        fn read(
            &self,
            path: &str,
            offset: u64,
            length: usize,
        ) -> impl Future<Output = Result<Bytes, Self::Error>> + Send {
            (**self).read(path, offset, length)
        }
        fn write(
            &self,
            path: &str,
            offset: u64,
            data: &[u8],
        ) -> impl Future<Output = Result<(), Self::Error>> + Send {
            (**self).write(path, offset, data)
        }
        fn delete(&self, path: &str) -> impl Future<Output = Result<(), Self::Error>> + Send {
            (**self).delete(path)
        }
        fn exists(&self, path: &str) -> impl Future<Output = Result<bool, Self::Error>> + Send {
            (**self).exists(path)
        }
        fn len(&self, path: &str) -> impl Future<Output = Result<u64, Self::Error>> + Send {
            (**self).len(path)
        }
        fn list(
            &self,
            prefix: &str,
        ) -> impl Future<Output = Result<Vec<String>, Self::Error>> + Send {
            (**self).list(prefix)
        }
        fn sync(&self, path: &str) -> impl Future<Output = Result<(), Self::Error>> + Send {
            (**self).sync(path)
        }
        fn rename(
            &self,
            from: &str,
            to: &str,
        ) -> impl Future<Output = Result<(), Self::Error>> + Send {
            (**self).rename(from, to)
        }
        fn truncate(
            &self,
            path: &str,
            len: u64,
        ) -> impl Future<Output = Result<(), Self::Error>> + Send {
            (**self).truncate(path, len)
        }
        fn seal(&self, path: &str) -> impl Future<Output = Result<(), Self::Error>> + Send {
            (**self).seal(path)
        }
        fn read_many(
            &self,
            requests: &[ReadRequest<'_>],
        ) -> impl Future<Output = Vec<Result<Bytes, Self::Error>>> + Send {
            (**self).read_many(requests)
        }
        fn write_many(
            &self,
            requests: &[WriteRequest<'_>],
        ) -> impl Future<Output = Vec<Result<(), Self::Error>>> + Send {
            (**self).write_many(requests)
        }
        fn prefetch(
            &self,
            path: &str,
            ranges: &[(u64, usize)],
        ) -> impl Future<Output = Result<(), Self::Error>> + Send {
            (**self).prefetch(path, ranges)
        }
        fn id(&self) -> BackendId {
            (**self).id()
        }
        fn stats(&self) -> Stats {
            (**self).stats()
        }
        fn reads_are_views(&self, path: &str) -> bool {
            (**self).reads_are_views(path)
        }
    };
}

impl<B: StorageBackend + ?Sized> StorageBackend for &B {
    type Error = B::Error;
    forward!();
}

impl<B: StorageBackend + ?Sized> StorageBackend for std::sync::Arc<B> {
    type Error = B::Error;
    forward!();
}
