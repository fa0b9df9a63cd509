//! `heatmap` draws what the page cache holds of a file. The files are real, and what is in memory of
//! them is arranged with posix_fadvise(2) and fsync(2).

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, Write},
    num::NonZeroU64,
    os::unix::fs::FileExt,
    path::Path,
};

use rustix::fs::{Advice, fadvise};

use crate::command::{Folder, Ran, run, some_bytes};

const MIB: u64 = 1 << 20;

/// Without a terminal a picture has 64 columns of 20 rows: cells of 16 KiB for this length.
const LEN: usize = 20 << 20;
const CELL: u64 = 16 << 10;

/// The rows of the picture: the place that each begins with, and its cells.
fn rows(ran: &Ran) -> Vec<(&str, Vec<char>)> {
    let told = ran.told().lines();
    let rows = told.skip(1).take_while(|line| !line.starts_with("in memory"));
    rows.map(|row| (row[..11].trim(), row[12..].chars().collect())).collect()
}

fn cells(ran: &Ran) -> Vec<char> {
    rows(ran).into_iter().flat_map(|(_, cells)| cells).collect()
}

fn heatmap(path: &Path) -> Ran {
    run([Path::new("heatmap"), path])
}

/// A file of `LEN` bytes that is on the disk and in memory.
fn clean_file(folder: &Folder) -> (std::path::PathBuf, File) {
    let path = folder.file("bytes", &some_bytes(LEN));
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    file.sync_all().unwrap();
    (path, file)
}

/// Has the kernel drop a part of a file, which begins and ends where no large folio goes across;
/// says loudly where it does not, as on tmpfs.
fn drop_part(file: &File, path: &Path, start: u64, len: u64) -> bool {
    fadvise(file, start, NonZeroU64::new(len), Advice::DontNeed).unwrap();
    let dropped = cells(&heatmap(path))[usize::try_from(start / CELL).unwrap()] == '.';
    if !dropped {
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED: the filesystem of {} keeps files in memory", path.display())
            .unwrap();
    }
    dropped
}

#[test]
fn what_is_in_memory_is_drawn_where_it_lies() {
    let folder = Folder::new();
    let (path, file) = clean_file(&folder);
    let whole = heatmap(&path);
    assert_eq!(cells(&whole), vec!['█'; LEN / 16384], "{whole:?}");
    assert!(whole.done().contains("in memory 20.00 MiB (100 %), not on the disk yet 0 B"));
    assert!(
        whole.told().starts_with(&format!("{}: 20.00 MiB, each cell 16.00 KiB\n", path.display()))
    );
    assert_eq!(rows(&whole)[3].0, "3.00 MiB");
    if !drop_part(&file, &path, 4 * MIB, 12 * MIB) {
        return;
    }
    // A quarter, and three quarters, of a cell each. Read ahead would bring in its neighbours too.
    fadvise(&file, 0, None, Advice::Random).unwrap();
    file.read_exact_at(&mut [0], 6 * MIB).unwrap();
    file.read_exact_at(&mut [0; 3 * 4096], 7 * MIB + CELL).unwrap();
    let half = heatmap(&path);
    let drawn = cells(&half);
    let cell = |place: u64| drawn[usize::try_from(place / CELL).unwrap()];
    assert_eq!((cell(4 * MIB - 1), cell(4 * MIB)), ('█', '.'), "{half:?}");
    assert_eq!((cell(16 * MIB - 1), cell(16 * MIB)), ('.', '█'), "{half:?}");
    assert_eq!((cell(6 * MIB), cell(6 * MIB + CELL)), ('░', '.'), "{half:?}");
    assert_eq!((cell(7 * MIB), cell(7 * MIB + CELL)), ('.', '▓'), "{half:?}");
    assert!(half.done().contains("in memory 8.02 MiB (40 %)"), "{half:?}");
}

#[test]
fn what_is_not_on_the_disk_yet_is_marked() {
    let folder = Folder::new();
    let (path, file) = clean_file(&folder);
    // The kernel may write it back at any moment; it does not within milliseconds.
    file.write_all_at(b"new", 9 * MIB).unwrap();
    let dirty = heatmap(&path);
    assert_eq!(cells(&dirty)[usize::try_from(9 * MIB / CELL).unwrap()], '#', "{dirty:?}");
    assert!(!dirty.done().contains("not on the disk yet 0 B"));
    file.sync_all().unwrap();
    let clean = heatmap(&path);
    assert!(!cells(&clean).contains(&'#'), "{clean:?}");
}

#[test]
fn damaged_pages_are_marked_where_asked() {
    let folder = Folder::new();
    let packed = folder.packed("packed", &some_bytes(LEN), "4KiB");
    let good = run([Path::new("heatmap"), Path::new("--verify"), &packed]);
    assert!(good.done().contains("; all pages match their checksums"), "{good:?}");
    assert!(!cells(&good).contains(&'!'));
    let file = OpenOptions::new().read(true).write(true).open(&packed).unwrap();
    let place = 8 * MIB + 5000;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ 1], place).unwrap();
    file.sync_all().unwrap();
    let unaware = heatmap(&packed);
    assert!(!unaware.done().contains("DAMAGED") && !cells(&unaware).contains(&'!'));
    drop(file);
    let aware = run([Path::new("heatmap"), Path::new("--verify"), &packed]);
    aware.damaged(&["; 1 page is DAMAGED", "! damaged"]);
    // The file is a little longer than its payload, and so are its cells.
    let part = fs::metadata(&packed).unwrap().len().div_ceil(64 * 20).next_multiple_of(4096);
    let marked: Vec<_> = cells(&aware).iter().map(|cell| *cell == '!').collect();
    let at = usize::try_from(place / part).unwrap();
    assert_eq!(marked.iter().position(|marked| *marked), Some(at), "{aware:?}");
    assert_eq!(marked.iter().filter(|marked| **marked).count(), 1);
}

#[test]
fn pictures_show_the_same() {
    let folder = Folder::new();
    let (path, file) = clean_file(&folder);
    let (svg, png) = (folder.join("heat.svg"), folder.join("heat.png"));
    if !drop_part(&file, &path, 0, 4 * MIB) {
        return;
    }
    let args = ["heatmap".as_ref(), path.as_os_str(), "--svg".as_ref(), svg.as_os_str()];
    let args = args.into_iter().chain(["--png".as_ref(), png.as_os_str()]);
    let args: Vec<_> = args.collect();
    run(&args).done();

    // 20 MiB in cells of 4 KiB: 128 in a row of half a MiB, of 8 pixels each.
    let decoder = png::Decoder::new(BufReader::new(File::open(&png).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((frame.width, frame.height), (128 * 8, 40 * 8));
    let colour = |row: usize| &pixels[(row * 8 * 1024 + 2) * 3..][..3];
    let (absent, present) = (colour(0), colour(39));
    assert_ne!(absent, present);
    assert!((0..8).all(|row| colour(row) == absent) && (8..40).all(|row| colour(row) == present));

    let drawn = fs::read_to_string(&svg).unwrap();
    assert_eq!(drawn.matches(": 0 % in memory").count(), 1024);
    assert_eq!(drawn.matches(": 100 % in memory").count(), 4096);
    assert!(drawn.contains("bytes 4194304 to 4198400: 100 % in memory"));

    let names = folder.names();
    run(&args).refused(&["heat.svg exists already", "--force"]);
    assert_eq!(folder.names(), names, "nothing is left behind");
    run(args.iter().copied().chain(["--force".as_ref()])).done();
}

#[test]
fn files_that_cannot_be_drawn_are_refused() {
    let folder = Folder::new();
    heatmap(&folder.join("missing")).refused(&["missing"]);
    heatmap(folder.path()).refused(&["is a folder"]);
    let raw = folder.file("raw", b"no page file");
    run([Path::new("heatmap"), Path::new("--verify"), &raw]).refused(&["raw"]);
    let empty = folder.file("empty", b"");
    assert!(heatmap(&empty).done().contains("0 B (0 %)"));
    let (svg, png) = (folder.join("empty.svg"), folder.join("empty.png"));
    let args = ["heatmap".as_ref(), empty.as_os_str(), "--svg".as_ref(), svg.as_os_str()];
    run(args.into_iter().chain(["--png".as_ref(), png.as_os_str()])).done();
    let nowhere = folder.join("no folder/heat.png");
    let args = ["heatmap".as_ref(), raw.as_os_str(), "--png".as_ref(), nowhere.as_os_str()];
    run(args).refused(&["no folder"]);
}
