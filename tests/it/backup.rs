//! Backups of versioned files, and files restored from them.
//!
//! Method: a model in memory keeps the pages of every commit; what is restored is compared with it. Backups are
//! damaged, forged and mixed, and must be refused; processes are killed over them, and must leave nothing.

mod killed;
mod model;
mod refused;

use std::{ops::ControlFlow, path::Path};

use storage::{
    PageCount, PageId, VersionedFile,
    backup::{Backup, BackupOptions, BackupProgress},
};

/// Makes a file of so many pages, each filled with its number.
fn file(path: &Path, pages: u64) -> VersionedFile {
    let file = VersionedFile::options().log_bytes(1 << 20).create(path).unwrap();
    file.update(|transaction| {
        transaction.grow(PageCount::new(pages))?;
        for page in 0..pages {
            transaction.page_mut(PageId::new(page))?.fill(page.to_le_bytes()[0]);
        }
        Ok::<_, storage::Error>(())
    })
    .unwrap();
    file
}

/// Fills a page by a commit of its own.
fn fill(file: &VersionedFile, page: u64, byte: u8) {
    file.update(|transaction| transaction.page_mut(PageId::new(page)).map(|page| page.fill(byte)))
        .unwrap();
}

fn go_on(_: BackupProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn whole(file: &VersionedFile, path: &Path) -> Backup {
    BackupOptions::new().create(&file.snapshot().unwrap(), path, go_on).unwrap()
}

fn increment(file: &VersionedFile, since: &Backup, path: &Path) -> Backup {
    let options = BackupOptions::new().since(since);
    options.create(&file.snapshot().unwrap(), path, go_on).unwrap()
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
