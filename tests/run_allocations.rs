//! Going through a run allocates nothing, and what it gives lies in the mapping. A program of its own,
//! since the count is that of the whole process.
//!
//! Method: an allocator that counts, and `/proc/self/maps`.

use std::{alloc::System, hint::black_box};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use storage::run::{Run, RunWriter};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn records_are_borrowed_and_nothing_is_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("run");
    let mut writer = RunWriter::create(&path).unwrap();
    for key in 0..500_000_u64 {
        let weight = 1 + i64::from(key.is_multiple_of(2));
        writer.push_weighted(&(2 * key), &[key, 1], weight).unwrap();
    }
    writer.seal().unwrap();
    let run = Run::<u64, [u64; 2]>::open(&path).unwrap();

    // The first pass verifies each page, the second finds all verified.
    for pass in 0..2 {
        let region = Region::new(ALLOCATOR);
        let mut sum = 0_u64;
        let mut cursor = run.cursor();
        for record in &mut cursor {
            let record = record.unwrap();
            sum = sum.wrapping_add(*record.key + record.value[0]);
        }
        for key in 0..10_000 {
            black_box(cursor.seek(&(key * 7919 % 1_000_003)).unwrap());
            black_box(cursor.seek_exact(&(key * 100)).unwrap());
        }
        let change = region.change();
        assert_eq!(sum, 3 * (499_999 * 500_000 / 2));
        assert_eq!((change.allocations, change.reallocations), (0, 0), "pass {pass}");
    }

    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let number = |hex| usize::from_str_radix(hex, 16).unwrap();
    let mapped: Vec<_> = maps
        .lines()
        .filter(|line| line.ends_with(path.to_str().unwrap()))
        .map(|line| line.split_once(' ').unwrap().0.split_once('-').unwrap())
        .map(|(start, end)| number(start)..number(end))
        .collect();
    let mut cursor = run.cursor();
    cursor.seek(&777_776).unwrap();
    for record in cursor.take(1000) {
        let record = record.unwrap();
        for address in [std::ptr::from_ref(record.key).addr(), record.value.as_ptr().addr()] {
            assert!(mapped.iter().any(|range| range.contains(&address)), "{address:#x}");
        }
    }
}
