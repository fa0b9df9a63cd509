//! How much of a circuit's state is on the disk.

use std::{fs, path::Path};

/// The bytes of the files in a folder: of those that have a name there, and of what this process has
/// mapped of those that have none (any more).
pub(crate) fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    // One that was just removed has nothing.
    let named: u64 = entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
    let folder = format!("{}/", folder.to_str().unwrap());
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let nameless =
        maps.lines().filter(|line| line.contains(&folder) && line.ends_with("(deleted)"));
    named + nameless.map(len_of).sum::<u64>()
}

/// The length of a mapping: `start-end ...`, in hexadecimal.
fn len_of(line: &str) -> u64 {
    let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
    let number = |hex| u64::from_str_radix(hex, 16).unwrap();
    number(end) - number(start)
}
