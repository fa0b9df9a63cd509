//! What is known of a file, part by part.

use indicatif::{HumanBytes, HumanCount};
use storage::{Residency, ResidencyMap};

/// One part of a file, as it is drawn.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Cell {
    /// Some page of it does not match its checksum.
    Damaged,
    /// Some of it is not on the disk yet.
    Dirty,
    /// The share of it that is in memory, from 0 to 1.
    InMemory(f64),
}

/// A file, part by part.
pub(super) struct Heat<'a> {
    pub(super) map: &'a ResidencyMap,
    pub(super) cells: Vec<Cell>,
    /// How many pages were found damaged; `None` where nobody looked.
    pub(super) damaged_pages: Option<u64>,
}

impl<'a> Heat<'a> {
    /// Puts together what is known. `damaged` has the first bytes of damaged pages.
    pub(super) fn new(map: &'a ResidencyMap, damaged: Option<&[u64]>) -> Self {
        let starts = (0..map.parts.len() as u64).map(|part| part * map.part_len);
        let cells = starts.zip(&map.parts).map(|(start, part)| {
            let bytes = start..start + map.part_len;
            if damaged.is_some_and(|pages| pages.iter().any(|page| bytes.contains(page))) {
                Cell::Damaged
            } else if part.dirty_bytes > 0 {
                Cell::Dirty
            } else {
                // The last part may reach past the end; the page cache counts whole pages.
                let len = map.part_len.min(map.file_len - start);
                Cell::InMemory((part.resident_bytes as f64 / len as f64).min(1.0))
            }
        });
        let cells = cells.collect();
        Self { map, cells, damaged_pages: damaged.map(|pages| pages.len() as u64) }
    }

    /// What all of it comes to, in a sentence.
    pub(super) fn summary(&self) -> String {
        let sum = |bytes: fn(&Residency) -> u64| self.map.parts.iter().map(bytes).sum();
        let resident: u64 = sum(|part| part.resident_bytes);
        let dirty: u64 = sum(|part| part.dirty_bytes);
        let percent = match self.map.file_len {
            0 => 0.0,
            len => (resident as f64 / len as f64 * 100.0).min(100.0),
        };
        let damage = match self.damaged_pages {
            None => String::new(),
            Some(0) => "; all pages match their checksums".to_owned(),
            Some(1) => "; 1 page is DAMAGED".to_owned(),
            Some(count) => format!("; {} pages are DAMAGED", HumanCount(count)),
        };
        let (resident, dirty) = (HumanBytes(resident), HumanBytes(dirty));
        format!("in memory {resident} ({percent:.0} %), not on the disk yet {dirty}{damage}")
    }
}
