//! What was written to blocks that nothing was written to before is there when that was said to be durable, also
//! where the filesystem goes down at that very moment.
//!
//! ext4 notes that such a block has something in its journal, after the bytes were written. Where the journal is
//! aborted in between, it answers fsync(2) and its kin with success, and the bytes are zeros after the next mount.
//!
//! Method: ext4 on a loop device, and an overlay over it. A thread for each kind of file writes to new blocks and makes that durable, piece
//! by piece. At a time by chance the filesystem is shut down, or finds a fault in itself and becomes read-only. It
//! is mounted again, and what was said to be durable is compared.
//!
//! Needs root; without, it says that it was skipped.

use std::{
    fs::{self, File},
    io::{IoSlice, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use pagestore::{Error, PageCount, PageFile, PageId, RawFile, VersionedFile, WithCauses};

use crate::{
    loop_disk::LoopDisk,
    overlay::Overlay,
    power::{self, Journal},
    report::{Random, say, seed},
    skip,
};

const ROUNDS: u32 = 8;
/// The pieces that one thread makes durable at most; and what each is filled with.
const PIECES: u64 = 12;
const PIECE_LEN: usize = 4096;
const FILLING: [u8; PIECE_LEN] = [1; PIECE_LEN];
const VERSIONED_PAGES: u64 = 20;

/// Makes the next piece durable.
type Step = Box<dyn FnMut(u64) -> Result<(), String> + Send>;

/// Files that grow piece by piece: how they begin, and whether a piece is there.
struct Kind {
    name: &'static str,
    begin: fn(&Path) -> Step,
    has: fn(&Path, u64) -> bool,
}

const KINDS: [Kind; 4] = [
    Kind { name: "plain", begin: begin_plain, has: plain_has },
    Kind { name: "pages", begin: begin_pages, has: pages_have },
    Kind { name: "raw", begin: begin_raw, has: plain_has },
    Kind { name: "versioned", begin: begin_versioned, has: versioned_has },
];

fn words(error: &Error) -> String {
    WithCauses(error).to_string()
}

fn begin_plain(path: &Path) -> Step {
    let mut file = File::create_new(path).unwrap();
    file.sync_all().unwrap();
    Box::new(move |piece| {
        let written = file
            .seek(SeekFrom::Start(piece * PIECE_LEN as u64))
            .and_then(|_| file.write_all(&FILLING))
            .and_then(|()| pagestore::sync_file(&file));
        written.map_err(|error| error.to_string())
    })
}

fn plain_has(path: &Path, piece: u64) -> bool {
    let mut file = File::open(path).unwrap();
    let mut found = [0; PIECE_LEN];
    file.seek(SeekFrom::Start(piece * PIECE_LEN as u64)).unwrap();
    file.read_exact(&mut found).is_ok() && found == FILLING
}

fn begin_pages(path: &Path) -> Step {
    let file = PageFile::options().create(path).unwrap();
    file.grow(PageCount::new(PIECES)).unwrap();
    file.flush().unwrap();
    Box::new(move |piece| {
        file.page_mut(PageId::new(piece)).unwrap().fill(1);
        file.flush().map(drop).map_err(|error| words(&error))
    })
}

fn pages_have(path: &Path, piece: u64) -> bool {
    let file = PageFile::options().open(path).unwrap();
    *file.page(PageId::new(piece)).unwrap() == FILLING
}

fn begin_raw(path: &Path) -> Step {
    let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    file.sync_all().unwrap();
    let file = RawFile::open(file, path).unwrap();
    Box::new(move |piece| {
        let written = file.write_at(piece * PIECE_LEN as u64, &[IoSlice::new(&FILLING)]);
        written.and_then(|()| file.sync()).map_err(|error| words(&error))
    })
}

/// A file for each piece: it is the first record of a log that goes to new blocks.
fn begin_versioned(path: &Path) -> Step {
    fs::create_dir(path).unwrap();
    let open = |piece: u64| {
        let options = VersionedFile::options().log_bytes(128 << 10);
        let file = options.create(path.join(piece.to_string())).unwrap();
        file.close().unwrap();
        options.open(path.join(piece.to_string())).unwrap()
    };
    let files: Vec<VersionedFile> = (0..PIECES).map(open).collect();
    Box::new(move |piece| {
        let file = &files[usize::try_from(piece).unwrap()];
        let filled = file.update(|pages| {
            // More than the log has room for, so they are written in place.
            for page in pages.grow(VERSIONED_PAGES)?.iter() {
                pages.page_mut(page)?.fill(1);
            }
            Ok::<_, Error>(())
        });
        filled.map_err(|error| words(&error))
    })
}

fn versioned_has(path: &Path, piece: u64) -> bool {
    let file = VersionedFile::open(path.join(piece.to_string())).unwrap();
    let snapshot = file.snapshot().unwrap();
    snapshot.page_count() == PageCount::new(VERSIONED_PAGES)
        && (0..VERSIONED_PAGES).all(|page| *snapshot.page(page).unwrap() == FILLING)
}

/// Makes pieces durable until one cannot be; gives how many are.
fn fill(mut step: Step, all: &AtomicU64) -> u64 {
    let is_done = |&piece: &u64| match step(piece) {
        Ok(()) => {
            all.fetch_add(1, SeqCst);
            true
        }
        Err(_) => false,
    };
    (0..PIECES).take_while(is_done).count() as u64
}

/// Where the files lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    OnTheDisk,
    OnAnOverlay,
}

/// Goes on writing to new blocks while `end` happens to the filesystem, again and again.
fn check(test: &str, place: Place, end: fn(&LoopDisk)) {
    let seed = seed();
    let (mut random, mut durable) = (Random(seed), 0);
    for round in 0..ROUNDS {
        // A filesystem that has found a fault in itself is not one to begin with.
        let disk = match LoopDisk::with_feature("has_journal", 64, 128) {
            Ok(disk) => disk,
            Err(reason) => return skip::skipped(test, &reason),
        };
        disk.remount("errors=remount-ro").unwrap();
        let is_below = place == Place::OnAnOverlay;
        let overlay = is_below.then(|| Overlay::over(&disk.path()).unwrap());
        let folder = overlay.as_ref().map_or(disk.path(), Overlay::path);
        let found_in = overlay.as_ref().map_or(disk.path(), Overlay::upper);
        let begun = KINDS.iter().map(|kind| (kind, (kind.begin)(&folder.join(kind.name))));
        let begun: Vec<_> = begun.collect();
        File::open(disk.path()).unwrap().sync_all().unwrap();
        let (delay, all) = (Duration::from_micros(random.below(3000)), AtomicU64::new(0));
        let done = thread::scope(|scope| {
            let begin = |(kind, step)| (kind, scope.spawn(|| fill(step, &all)));
            let threads: Vec<(&Kind, _)> = begun.into_iter().map(begin).collect();
            while all.load(SeqCst) == 0 && threads.iter().any(|(_, thread)| !thread.is_finished()) {
                thread::yield_now();
            }
            let started = Instant::now();
            while started.elapsed() < delay {
                std::hint::spin_loop();
            }
            end(&disk);
            let join = |(kind, thread): (_, thread::ScopedJoinHandle<'_, u64>)| {
                (kind, thread.join().unwrap())
            };
            threads.into_iter().map(join).collect::<Vec<_>>()
        });
        drop(overlay);
        disk.mount_again().unwrap();
        let mut lost = Vec::new();
        for (kind, count) in done {
            let path = found_in.join(kind.name);
            let pieces = (0..count).filter(|&piece| !(kind.has)(&path, piece));
            lost.extend(pieces.map(|piece| (kind.name, piece)));
            durable += count;
        }
        assert_eq!(lost, [], "were said to be durable: round {round}, seed {seed}");
    }
    say(&format!("{test}: {durable} pieces in {ROUNDS} rounds"));
    assert!(durable > 0);
}

#[test]
fn what_is_durable_outlives_a_shutdown() {
    let test = "what_is_durable_outlives_a_shutdown";
    check(test, Place::OnTheDisk, |disk| power::cut(disk, Journal::Lost));
}

#[test]
fn what_is_durable_outlives_a_filesystem_that_finds_a_fault_in_itself() {
    let test = "what_is_durable_outlives_a_filesystem_that_finds_a_fault_in_itself";
    check(test, Place::OnTheDisk, |disk| disk.find_a_fault().unwrap());
}

#[test]
fn what_is_durable_on_an_overlay_outlives_a_shutdown_below() {
    let test = "what_is_durable_on_an_overlay_outlives_a_shutdown_below";
    check(test, Place::OnAnOverlay, |disk| power::cut(disk, Journal::Lost));
}
