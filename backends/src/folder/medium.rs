//! The public face of a folder's medium.

/// Makes a public medium of the name `$name` over [`FolderMedium`](super::FolderMedium): a type of
/// its own, so that how files are reached stays private and the documentation shows one plain type.
macro_rules! folder_medium {
    ($(#[$attribute:meta])* $name:ident over $file:ty) => {
        $(#[$attribute])*
        pub struct $name($crate::folder::FolderMedium<$file>);

        impl $crate::BlockingBackend<$name> {
            /// Opens a folder as a backend. The folder, and those that it lies in, are made where
            /// they are missing, for this user only (mode 0700).
            ///
            /// A folder is for one backend at a time: files stay open after use, and what somebody
            /// else renames or deletes beneath the root meanwhile goes unnoticed for open files.
            ///
            /// The files hold what is written to them. A folder that says otherwise, as that of a
            /// compressed store does, is refused; one that says nothing stays so.
            ///
            /// # Errors
            /// [`StorageError::Io`](crate::StorageError::Io) where the folder cannot be made or
            /// opened, [`StorageError::StoredOtherwise`](crate::StorageError::StoredOtherwise)
            /// where its files hold something else,
            /// [`StorageError::Config`](crate::StorageError::Config) where a limit is not possible.
            pub fn open(
                root: impl AsRef<::std::path::Path>,
                limits: $crate::Limits,
            ) -> $crate::Result<Self> {
                let plain = $crate::StoredContent::Plain;
                Self::over(limits, || $crate::root::Root::open_files(root.as_ref(), plain))
            }

            /// Opens a folder as a store, for a layer whose files hold `content`. The folder says so
            /// from then on, in a small file that no name leads to (`docs/store.md`). Where it says
            /// nothing yet, all files in it are looked at.
            ///
            /// # Errors
            /// As [`open`](Self::open);
            /// [`StorageError::StoredOtherwise`](crate::StorageError::StoredOtherwise) also where a
            /// file looks otherwise.
            pub fn open_store(
                root: impl AsRef<::std::path::Path>,
                content: $crate::StoredContent,
                limits: $crate::Limits,
            ) -> $crate::Result<Self> {
                Self::over(limits, || $crate::root::Root::open_store(root.as_ref(), content))
            }

            fn over(
                limits: $crate::Limits,
                open: impl FnOnce() -> $crate::Result<$crate::root::Root>,
            ) -> $crate::Result<Self> {
                let budget = limits.residency_budget.clone();
                Self::new(limits, |buffers| {
                    Ok($name($crate::folder::FolderMedium::new(open()?, buffers, budget)))
                })
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl $crate::Medium for $name {
            fn name(&self) -> &'static str {
                <$file as $crate::folder::FolderFile>::NAME
            }
            #[inline]
            fn try_read(
                &self,
                path: $crate::StoragePath<'_>,
                offset: u64,
                length: usize,
            ) -> Option<$crate::Result<::bytes::Bytes>> {
                self.0.try_read(path, offset, length)
            }
            fn read(
                &self,
                path: $crate::StoragePath<'_>,
                offset: u64,
                length: usize,
            ) -> $crate::Result<::bytes::Bytes> {
                self.0.read(path, offset, length)
            }
            fn prefetch(
                &self,
                path: $crate::StoragePath<'_>,
                ranges: &[(u64, usize)],
            ) -> $crate::Result<()> {
                self.0.prefetch(path, ranges)
            }
            fn reads_begun_together(&self) -> usize {
                $crate::folder::READS_BEGUN_TOGETHER
            }
            fn len(&self, path: $crate::StoragePath<'_>) -> $crate::Result<u64> {
                self.0.len(path)
            }
            fn list(&self, prefix: &str) -> $crate::Result<Vec<String>> {
                self.0.list(prefix)
            }
            fn write(
                &self,
                path: $crate::StoragePath<'_>,
                offset: u64,
                parts: &[::bytes::Bytes],
            ) -> $crate::Result<()> {
                self.0.write(path, offset, parts)
            }
            fn delete(&self, path: $crate::StoragePath<'_>) -> $crate::Result<()> {
                self.0.delete(path)
            }
            fn sync(&self, path: $crate::StoragePath<'_>) -> $crate::Result<()> {
                self.0.sync(path)
            }
            fn rename(
                &self,
                from: $crate::StoragePath<'_>,
                to: $crate::StoragePath<'_>,
            ) -> $crate::Result<()> {
                self.0.rename(from, to)
            }
            fn truncate(&self, path: $crate::StoragePath<'_>, len: u64) -> $crate::Result<()> {
                self.0.truncate(path, len)
            }
            fn seal(&self, path: $crate::StoragePath<'_>) -> $crate::Result<()> {
                self.0.seal(path)
            }
            fn fill_stats(&self, stats: &mut $crate::Stats) {
                self.0.fill_stats(stats);
            }
            fn reads_are_views(&self, path: $crate::StoragePath<'_>) -> bool {
                self.0.reads_are_views(path)
            }
        }
    };
}

pub(crate) use folder_medium;
