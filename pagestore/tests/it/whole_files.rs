//! The power goes while files are made that appear whole: sealed ones, restored ones, new versioned ones. Under
//! each name there is the old file whole, or the new one, and what had returned is there.
//!
//! Method: ext4 with a journal and without, and XFS, each on a loop device. A thread makes one file after the
//! other under the same names, each generation filled with its number, until the filesystem is shut down at a
//! time by chance. It is mounted again, and what is there is verified and compared.
//!
//! `POWER_CUTS=1000` makes it so many cuts on each filesystem. Needs root; without, it says that it was
//! skipped.

use std::{
    fs,
    ops::ControlFlow,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
    time::Duration,
};

use layout::{PageHasher, PageStamp};
use pagestore::{
    CommitId, Error, Existing, PageCount, PageId, PageWriter, SealedFile, VersionedContent,
    VersionedFile,
};
use uuid::Uuid;

use crate::{
    loop_disk::{LoopDisk, XFS_MIB_MIN},
    power::{self, Journal},
    report::{Random, say, seed},
    skip,
};

const CUTS: u64 = 12;
const PAGES: u64 = 24;
const PAGE_LEN: usize = 4096;

/// Files that are made: how, and which generation is there.
struct Kind {
    name: &'static str,
    make: fn(&Path, u64) -> Result<(), Error>,
    /// The generation of a file that is there; panics where it is not whole.
    generation: fn(&Path) -> u64,
}

const KINDS: [Kind; 3] = [
    Kind { name: "sealed", make: seal, generation: sealed_generation },
    Kind { name: "restored", make: restore, generation: versioned_generation },
    Kind { name: "created", make: create, generation: versioned_generation },
];

fn bytes(generation: u64) -> Vec<u8> {
    generation.to_le_bytes().repeat(PAGE_LEN / 8)
}

fn seal(path: &Path, generation: u64) -> Result<(), Error> {
    let mut writer = PageWriter::options().existing(Existing::Replace).create(path)?;
    for _ in 0..PAGES {
        writer.append(&bytes(generation))?;
    }
    writer.seal().map_err(|unsealed| unsealed.into_error())?;
    Ok(())
}

fn sealed_generation(path: &Path) -> u64 {
    let file = SealedFile::open(path).unwrap();
    assert!(file.verify(|_| ControlFlow::Continue(())).unwrap().is_ok());
    assert_eq!(file.payload_len(), PAGES * PAGE_LEN as u64);
    of_one(file.pages(..).unwrap())
}

fn restore(path: &Path, generation: u64) -> Result<(), Error> {
    let uuid = Uuid::from_u128(generation.into());
    let (commit, page_count) = (CommitId::new(generation), PageCount::new(PAGES));
    let content = VersionedContent { file_uuid: uuid, commit, page_count };
    let options = VersionedFile::options().log_bytes(128 << 10);
    let mut writer = options.write(path, Existing::Replace, &content)?;
    let hasher = PageHasher::new(uuid);
    for page in (0..PAGES).map(PageId::new) {
        let checksum = hasher.versioned(page, commit, &bytes(generation));
        writer.append(page, &[PageStamp { commit, checksum }], &bytes(generation))?;
    }
    writer.publish()
}

/// A new file under its own name, which is removed first.
fn create(path: &Path, generation: u64) -> Result<(), Error> {
    if path.exists() {
        fs::remove_file(path).map_err(|source| Error::Io {
            operation: "remove",
            path: path.into(),
            source,
        })?;
    }
    let file = VersionedFile::options().log_bytes(128 << 10).create(path)?;
    let mut transaction = file.begin()?;
    transaction.grow(PageCount::new(PAGES))?;
    for page in 0..PAGES {
        transaction.page_mut(page)?.copy_from_slice(&bytes(generation));
    }
    transaction.commit()?;
    file.close()
}

/// Zero where the first commit is not there.
fn versioned_generation(path: &Path) -> u64 {
    let file = VersionedFile::open(path).unwrap();
    let snapshot = file.snapshot().unwrap();
    if snapshot.page_count() == PageCount::ZERO {
        return 0;
    }
    assert_eq!(snapshot.page_count().get(), PAGES);
    of_one(snapshot.pages(..).unwrap())
}

/// The generation that all of some bytes are of.
fn of_one(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    assert!(words.iter().all(|word| *word == words[0]), "pages of several generations");
    u64::from_le_bytes(words[0])
}

/// The generation of each kind that was begun, and the one that has returned.
#[derive(Default)]
struct Notes {
    begun: [AtomicU64; KINDS.len()],
    returned: [AtomicU64; KINDS.len()],
    is_cut: AtomicBool,
}

/// Makes files until the power is gone; what fails before is a fault.
fn make_until_cut(folder: &Path, first: u64, notes: &Notes) {
    for generation in first.. {
        for (number, kind) in KINDS.iter().enumerate() {
            notes.begun[number].store(generation, SeqCst);
            if let Err(error) = (kind.make)(&folder.join(kind.name), generation) {
                assert!(notes.is_cut.load(SeqCst), "{}, with power: {error}", kind.name);
                return;
            }
            notes.returned[number].store(generation, SeqCst);
        }
    }
}

/// Cuts the power so many times; gives how many generations were made.
fn cut(disk: &LoopDisk, name: &str, cuts: u64) -> u64 {
    let folder = disk.path();
    let (seed, mut next) = (seed(), 1);
    let mut random = Random(seed);
    let mut there = [0; KINDS.len()];
    for number in 0..cuts {
        let notes = Notes::default();
        thread::scope(|scope| {
            scope.spawn(|| make_until_cut(&folder, next, &notes));
            thread::sleep(Duration::from_micros(random.below(150_000)));
            notes.is_cut.store(true, SeqCst);
            let journal = if random.one_in(2) { Journal::Lost } else { Journal::Written };
            power::cut(disk, journal);
        });
        disk.mount_again().unwrap();
        for (at, kind) in KINDS.iter().enumerate() {
            let (begun, returned) = (notes.begun[at].load(SeqCst), notes.returned[at].load(SeqCst));
            let what = format!("{name}, seed {seed}, cut {number}: {}", kind.name);
            let path = folder.join(kind.name);
            let is_there = path.exists();
            let found = if is_there { (kind.generation)(&path) } else { 0 };
            // A new file is not there, or without pages, between its generations.
            let replaces = kind.name != "created";
            let whole = begun == returned || replaces;
            let least = if whole { returned.max(there[at]) } else { 0 };
            let is_right = found >= least && (found <= begun.max(there[at]));
            assert!(is_right, "{what}: {found}; returned {returned}, begun {begun}, {there:?}");
            there[at] = found;
            next = next.max(begun + 1);
        }
        // A crash between the two steps of a replacement, or while a versioned file is made, leaves a
        // temporary name, and no more.
        let others =
            disk.names().into_iter().filter(|name| KINDS.iter().all(|kind| kind.name != name));
        let others: Vec<String> = others.collect();
        assert!(others.len() <= 1, "{name}: {others:?}");
        for other in others {
            assert!(other.starts_with('.') && other.ends_with(".tmp"), "{name}: {other}");
            fs::remove_file(folder.join(other)).unwrap();
        }
    }
    next - 1
}

fn cut_all(test: &str, name: &str, disk: Result<LoopDisk, String>) {
    let disk = match disk {
        Ok(disk) => disk,
        Err(reason) => return skip::skipped(test, &reason),
    };
    let cuts = std::env::var("POWER_CUTS").map_or(CUTS, |cuts| cuts.parse().unwrap());
    let generations = cut(&disk, name, cuts);
    say(&format!("{name}: {cuts} power cuts, {generations} generations of whole files"));
    assert!(generations >= cuts, "{name}: {generations} generations");
}

#[test]
fn whole_files_survive_power_cuts_on_ext4() {
    let disk = LoopDisk::with_feature("has_journal", 64, 64);
    cut_all("whole_files_survive_power_cuts_on_ext4", "ext4", disk);
}

#[test]
fn whole_files_survive_power_cuts_on_ext4_without_a_journal() {
    let test = "whole_files_survive_power_cuts_on_ext4_without_a_journal";
    cut_all(test, "ext4 without a journal", LoopDisk::new(64, 64));
}

#[test]
fn whole_files_survive_power_cuts_on_xfs() {
    cut_all("whole_files_survive_power_cuts_on_xfs", "xfs", LoopDisk::xfs(XFS_MIB_MIN));
}

/// XFS answers the fsync(2) of a folder with success after it has shut itself down, and the name is lost.
#[test]
fn names_of_a_filesystem_without_power_are_not_called_durable() {
    let disks = [
        ("ext4", LoopDisk::with_feature("has_journal", 64, 64)),
        ("xfs", LoopDisk::xfs(XFS_MIB_MIN)),
    ];
    for (name, disk) in disks {
        let disk = match disk {
            Ok(disk) => disk,
            Err(reason) => {
                skip::skipped(&format!("names without power on {name}"), &reason);
                continue;
            }
        };
        let (old, new) = (disk.path().join("old"), disk.path().join("new"));
        let file = fs::File::create(&old).unwrap();
        file.sync_all().unwrap();
        let folder = fs::File::open(disk.path()).unwrap();
        pagestore::sync_folder(&folder).unwrap();
        fs::rename(&old, &new).unwrap();
        power::cut(&disk, Journal::Lost);
        assert!(pagestore::sync_folder(&folder).is_err(), "{name}");
        drop((file, folder));
        disk.mount_again().unwrap();
        assert!(old.exists() && !new.exists(), "{name}: a power cut that lost nothing");
    }
}
