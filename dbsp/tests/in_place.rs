//! What "read in place" means: references point into a mapping of the file, and reading on takes no
//! memory. A program of its own, since it counts what its allocator is asked for.
//!
//! The address of a key is looked up in what the kernel says is mapped (`/proc/self/maps`), and an
//! allocator that counts stands under a whole scan.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    panic::AssertUnwindSafe,
};

use dbsp::{
    algebra::F64,
    dynamic::{DowncastTrait, DynData, DynUnit},
    trace::{BatchLocation, BatchReader, Builder, Cursor},
    utils::{Tup2, Tup3},
};
use storage_dbsp::{Mappable, MappedBatchBuilder, MappedIndexedWSet, MappedWSet};

/// The system's allocator, counting for each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator can be counted in no other way")]
// SAFETY: each call is handed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is what `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: `place` came from `System`, by `alloc`.
        unsafe { System.dealloc(place, layout) }
    }
}

type Key = Tup2<u64, i64>;
type Val = Tup3<u32, u64, i32>;

fn batch(folder: &std::path::Path, keys: u64) -> MappedIndexedWSet<Key, Val> {
    let mut builder = MappedBatchBuilder::<Key, Val, DynData>::create_in(folder).unwrap();
    for key in 0..keys {
        for val in 0..=key % 3 {
            builder.push_typed(&Tup3(7, key + val, -1), 1 - 2 * (key as i64 % 2));
        }
        builder.push_typed_key(&Tup2(key, -(key as i64)));
    }
    builder.done()
}

/// What is mapped of files at `address`: the line of `/proc/self/maps`.
fn mapping_of(address: usize) -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let holds = |line: &&str| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let number = |hex| usize::from_str_radix(hex, 16).unwrap();
        (number(start)..number(end)).contains(&address)
    };
    maps.lines().find(holds).unwrap_or_default().to_owned()
}

#[test]
fn references_point_into_the_mapping() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let batch = batch(folder.path(), 10_000);
    assert_eq!(batch.location(), BatchLocation::Storage);
    let mut cursor = batch.cursor();
    cursor.seek_key(&Tup2(5_000_u64, i64::MIN) as &Key as &DynData);
    let key = cursor.key().downcast_checked::<Key>();
    assert_eq!(*key, Tup2(5_000, -5_000));
    let key = std::ptr::from_ref(key).addr();
    let val = std::ptr::from_ref(cursor.val().downcast_checked::<Val>()).addr();
    let weight = std::ptr::from_ref::<i64>(cursor.weight()).addr();
    for address in [key, val, weight] {
        let mapping = mapping_of(address);
        let folder = folder.path().canonicalize().unwrap();
        assert!(mapping.contains(" r--s "), "no read-only shared mapping: {mapping:?}");
        assert!(mapping.contains(folder.to_str().unwrap()), "not of our file: {mapping:?}");
    }
}

#[test]
fn a_scan_allocates_nothing() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let batch = batch(folder.path(), 100_000);
    let mut cursor = batch.cursor();
    let (mut tuples, mut sum) = (0, 0);
    let before = ALLOCATIONS.get();
    while cursor.key_valid() {
        while cursor.val_valid() {
            sum += cursor.val().downcast_checked::<Val>().1 as i64 * **cursor.weight();
            tuples += 1;
            cursor.step_val();
        }
        cursor.step_key();
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert_eq!(tuples, batch.tuple_count());
    assert_ne!(sum, 0);
}

#[test]
fn a_temporary_batch_has_no_name_and_leaves_nothing() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let batch = batch(folder.path(), 10_000);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let address = batch.key_slice().as_ptr().addr();
    assert!(mapping_of(address).contains("(deleted)"), "{}", mapping_of(address));
    drop(batch);
    let folder = folder.path().canonicalize().unwrap();
    assert!(!mapping_of(address).contains(folder.to_str().unwrap()));
}

#[test]
fn keys_alone_need_no_column_of_values() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut builder = MappedBatchBuilder::<F64, (), DynUnit>::create_in(folder.path()).unwrap();
    for key in 0..1_000 {
        builder.push_typed(&(), 3);
        builder.push_typed_key(&F64::from(f64::from(key)));
    }
    let batch: MappedWSet<F64> = builder.done();
    assert_eq!((batch.key_count(), batch.tuple_count()), (1_000, 1_000));
    assert_eq!(batch.approximate_byte_size(), 1_000 * (8 + 8));
    let mut cursor = batch.cursor();
    cursor.seek_key(&F64::from(499.5) as &DynData);
    assert_eq!(*cursor.key().downcast_checked::<F64>(), F64::from(500.0));
    assert_eq!(**cursor.weight(), 3);
}

#[test]
fn layouts_are_told_apart() {
    let all = [
        u64::LAYOUT,
        i64::LAYOUT,
        F64::LAYOUT,
        Tup2::<u64, u64>::LAYOUT,
        Tup2::<u64, i64>::LAYOUT,
        Tup2::<i64, u64>::LAYOUT,
        Tup3::<u32, u64, i32>::LAYOUT,
        Tup2::<u64, ()>::LAYOUT,
        Tup2::<u64, Tup2<u32, i32>>::LAYOUT,
    ];
    for (place, one) in all.iter().enumerate() {
        assert!(all[..place].iter().all(|other| other != one), "{place} is like another");
    }
}

#[test]
fn what_was_read_from_a_file_cut_short_does_not_go_on() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let batch = batch(folder.path(), 100_000);
    drop(batch.cursor());
    // Somebody with this user's rights can get at the files by their descriptors.
    let folder = folder.path().canonicalize().unwrap();
    let descriptors =
        std::fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let is_ours = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|target| target.starts_with(&folder))
    };
    let mut cut = 0;
    for descriptor in descriptors.filter(is_ours) {
        std::fs::File::options().write(true).open(descriptor).unwrap().set_len(0).unwrap();
        cut += 1;
    }
    assert_eq!(cut, 4, "keys, offsets, values and weights");
    let read = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let mut cursor = batch.cursor();
        cursor.seek_key(&Tup2(70_000_u64, 0_i64) as &Key as &DynData);
        cursor.get_key().map(|key| key.downcast_checked::<Key>().0)
    }));
    let said = *read.expect_err("a key of nothing").downcast::<String>().unwrap();
    assert!(said.contains("storage failed to read a batch"), "{said}");
}
