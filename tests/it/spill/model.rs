//! Against a `Vec`.

use std::env;

use storage::{
    ByteOffset,
    spill::{SpillError, SpillOptions},
};

use super::{all_options, bytes, folder};

/// Lengths around those of pages, blocks and windows.
fn len(random: &mut fastrand::Rng) -> usize {
    match random.u8(..20) {
        0 => 0,
        1..=13 => random.usize(..200),
        14..=17 => random.usize(..10_000),
        18 => 4096 * random.usize(1..40) + random.usize(..3) - 1,
        _ => random.usize(..1_500_000),
    }
}

fn round(seed: u64, options: &SpillOptions) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut writer = options.create().unwrap();
    let mut records = Vec::new();
    let mut raw = Vec::new();
    for _ in 0..random.usize(..200) {
        let len = len(&mut random);
        let record = bytes(&mut random, len);
        records.push((writer.append_record(&record).unwrap(), record));
    }
    let middle = writer.position();
    for _ in 0..random.usize(..20) {
        let len = len(&mut random);
        let piece = bytes(&mut random, len);
        assert_eq!(writer.append(&piece).unwrap().get(), middle.get() + raw.len() as u64);
        raw.extend(piece);
    }
    let written = writer.stats();
    assert_eq!(written.records, records.len() as u64);
    assert_eq!(written.bytes, middle.get() + raw.len() as u64);
    let reader = writer.finish().unwrap();
    assert!(reader.stats().stored_bytes <= written.bytes + 4 * written.bytes.div_ceil(4096));

    let mut cursor = reader.cursor(..middle).unwrap();
    for (offset, expected) in &records {
        assert_eq!(cursor.position(), *offset);
        assert!(cursor.next().unwrap() == Some(expected), "the record at {offset}");
    }
    assert!(cursor.next().unwrap().is_none());
    assert!(cursor.next().unwrap().is_none(), "the end stays the end");
    for _ in 0..records.len() {
        let (offset, expected) = &records[random.usize(..records.len())];
        assert!(cursor.record_at(*offset).unwrap() == expected, "the record at {offset}");
    }
    for _ in 0..20 {
        let start = random.usize(..=raw.len());
        let count = random.usize(..=raw.len() - start);
        let offset = ByteOffset::new(middle.get() + start as u64);
        assert!(cursor.bytes_at(offset, count).unwrap() == &raw[start..start + count]);
    }
    let past = ByteOffset::new(written.bytes);
    assert!(matches!(cursor.bytes_at(past, 1), Err(SpillError::PastEnd { .. })));
    assert!(cursor.bytes_at(ByteOffset::new(u64::MAX), usize::MAX).is_err());
    assert!(cursor.record_at(past).is_err());
    assert!(cursor.record_at(ByteOffset::new(u64::MAX)).is_err());
}

#[test]
fn what_was_spilled_comes_back() {
    let seed =
        env::var("SPILL_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("SPILL_SEED={seed}");
    let folder = folder();
    for (number, options) in all_options(&folder).iter().enumerate() {
        for round_number in 0..6 {
            round(seed.wrapping_add(100 * number as u64 + round_number), options);
        }
    }
}

#[test]
fn nothing_spilled_is_nothing_to_read() {
    let folder = folder();
    for options in all_options(&folder) {
        let reader = options.create().unwrap().finish().unwrap();
        assert!(reader.cursor(..).unwrap().next().unwrap().is_none());
        assert!(reader.cursor(..).unwrap().bytes_at(ByteOffset::new(0), 0).unwrap().is_empty());
        assert!(reader.cursor(ByteOffset::new(1)..).is_err());
    }
}

#[test]
fn a_record_is_borrowed_from_the_file_in_place_across_pages() {
    let folder = folder();
    let mut writer = SpillOptions::new(folder.path()).create().unwrap();
    writer.append_record(&[1; 100_000]).unwrap();
    let reader = writer.finish().unwrap();
    let (mut a, mut b) = (reader.cursor(..).unwrap(), reader.cursor(..).unwrap());
    let (a, b) = (a.next().unwrap().unwrap(), b.next().unwrap().unwrap());
    assert_eq!(a.as_ptr(), b.as_ptr(), "no copy was made");
}

#[test]
fn what_is_no_record_is_an_error() {
    let folder = folder();
    for options in all_options(&folder) {
        let mut writer = options.create().unwrap();
        writer.append(&[0xff; 300]).unwrap();
        writer.append(&[200]).unwrap();
        let reader = writer.finish().unwrap();
        for start in [0, 100, 299, 300] {
            let mut cursor = reader.cursor(ByteOffset::new(start)..).unwrap();
            let error = cursor.next().unwrap_err();
            assert!(matches!(error, SpillError::Corrupt { .. }), "{start}: {error}");
        }
    }
}

#[test]
fn impossible_blocks_are_refused() {
    let options = SpillOptions::new(".");
    for size in [0, 1, 4095, 5000, 8 << 20, u64::MAX] {
        let error = options.clone().block_size_bytes(size).create().unwrap_err();
        assert!(error.to_string().contains("pass a power of two"), "{error}");
    }
}
