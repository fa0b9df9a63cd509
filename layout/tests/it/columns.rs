//! The directory of columns, whatever bytes it is made of.
//!
//! Method: a real directory goes to bytes and back; then each of its bytes takes every value, and
//! each shorter block is tried. What is accepted must be in order: columns in front of the
//! directory, aligned, apart from each other.

use layout::{
    ByteOffset, ColumnDirectory, ColumnEntry, ColumnsKind, FormatError, ItemLayout, ItemName,
};
use proptest::{collection::vec, prelude::*};

const START: ByteOffset = ByteOffset::new(1 << 20);

fn entry(offset: u64, count: u64, size_bytes: usize, align_bytes: usize) -> ColumnEntry {
    let layout = ItemLayout::primitive("item", size_bytes, align_bytes);
    ColumnEntry { offset: ByteOffset::new(offset), count, layout, name: ItemName::new("item") }
}

fn real() -> ColumnDirectory {
    let columns = [entry(0, 1000, 8, 8), entry(8192, 0, 1, 1), entry(12288, 77, 48, 16)];
    ColumnDirectory::new(ColumnsKind::PLAIN, &columns, START).unwrap()
}

/// Reads a directory, and where that works checks what is promised of it.
fn parse(block: &[u8]) -> Result<ColumnDirectory, FormatError> {
    let directory = ColumnDirectory::parse(block, START)?;
    let mut ranges: Vec<_> = directory
        .columns()
        .filter(|entry| entry.count > 0)
        .map(|entry| {
            let (start, layout) = (entry.offset.get(), entry.layout);
            assert!(start.is_multiple_of(4096) && layout.align_bytes() <= 4096);
            assert!(layout.size_bytes().is_multiple_of(layout.align_bytes()));
            (start, start + entry.count * u64::from(layout.size_bytes()))
        })
        .collect();
    ranges.sort_unstable();
    assert!(ranges.is_sorted_by(|a, b| a.1 <= b.0), "{ranges:?} lie apart");
    assert!(ranges.last().is_none_or(|last| last.1 <= START.get()));
    assert_eq!(directory.columns().count(), directory.column_count());
    Ok(directory)
}

#[test]
fn a_directory_goes_to_bytes_and_back() {
    assert_eq!(parse(&real().encode()).unwrap(), real());
    let none = ColumnDirectory::new(ColumnsKind::PLAIN, &[], START).unwrap();
    assert_eq!(parse(&none.encode()).unwrap(), none);
    let most = vec![entry(0, 0, 1, 1); ColumnDirectory::COLUMNS_MAX];
    let most = ColumnDirectory::new(ColumnsKind::PLAIN, &most, START).unwrap();
    assert_eq!(parse(&most.encode()).unwrap(), most);
}

#[test]
fn every_byte_takes_every_value() {
    let block = real().encode();
    let (mut refused, mut accepted) = (0, 0);
    for at in 0..4 * 64 {
        for value in 0..=255 {
            let mut forged = block;
            forged[at] = value;
            match parse(&forged) {
                Ok(_) => accepted += 1,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 1000 && accepted > 1000, "{refused} refused, {accepted} accepted");
}

#[test]
fn every_shorter_block_is_refused() {
    let block = real().encode();
    for len in 0..block.len() {
        assert!(matches!(parse(&block[..len]), Err(FormatError::Short { .. })), "{len}");
    }
}

#[test]
fn misplaced_columns_are_refused() {
    let end = START.get();
    for (column, word) in [
        (entry(4095, 1, 1, 1), "offset"),
        (entry(end, 1, 1, 1), "item count"),
        (entry(end - 4096, 4097, 1, 1), "item count"),
        (entry(0, u64::MAX / 8 + 2, 8, 8), "item count"),
        (entry(u64::MAX - 4095, 4096, 1, 1), "item count"),
        (entry(4096, 1, 8, 8), "offset"),
        (entry(0, 1, 8, 8), "offset"),
    ] {
        let columns = [entry(0, 1000, 8, 8), column];
        let error = ColumnDirectory::new(ColumnsKind::PLAIN, &columns, START).unwrap_err();
        assert!(error.to_string().contains(word), "{column:?}: {error}");
    }
    let many = vec![entry(0, 0, 1, 1); 64];
    let error = ColumnDirectory::new(ColumnsKind::PLAIN, &many, START).unwrap_err();
    assert_eq!(error, FormatError::ColumnCount { found: 64 });
}

/// The last byte before the directory, and the byte behind another column.
#[test]
fn columns_reach_as_far_as_there_is_room() {
    let end = START.get();
    let to_the_end = entry(8192, end - 8192, 1, 1);
    let columns = [entry(4096, 4096, 1, 1), to_the_end, entry(0, 512, 8, 8), entry(end, 0, 8, 8)];
    let directory = ColumnDirectory::new(ColumnsKind::PLAIN, &columns, START).unwrap();
    assert_eq!(parse(&directory.encode()).unwrap(), directory);
    for (one_too_many, word) in
        [(entry(8192, end - 8191, 1, 1), "item count"), (entry(4096, 4097, 1, 1), "offset")]
    {
        let columns = [to_the_end, one_too_many];
        let error = ColumnDirectory::new(ColumnsKind::PLAIN, &columns, START).unwrap_err();
        assert!(error.to_string().contains(word), "{one_too_many:?}: {error}");
    }
}

/// What has no bytes shares none.
#[test]
fn an_empty_column_lies_anywhere() {
    let (full, empty) = (entry(0, 2000, 8, 8), entry(4096, 0, 8, 8));
    for columns in [[full, empty], [empty, full], [empty, empty]] {
        ColumnDirectory::new(ColumnsKind::PLAIN, &columns, START).unwrap();
    }
}

#[test]
fn an_item_is_aligned_to_a_page_at_most() {
    let column = entry(0, 1, 4096, 4096);
    let directory = ColumnDirectory::new(ColumnsKind::PLAIN, &[column], START).unwrap();
    let mut block = directory.encode();
    assert_eq!(parse(&block).unwrap().column(0).unwrap().layout, column.layout);
    for at in [64 + 16, 64 + 20] {
        block[at..at + 4].copy_from_slice(&8192_u32.to_le_bytes());
    }
    let error = parse(&block).unwrap_err().to_string();
    assert!(error.contains("item alignment"), "{error}");
}

#[test]
fn an_array_is_as_long_as_its_items() {
    let item = ItemLayout::primitive("item", 4, 4);
    let array = ItemLayout::array(item, 3);
    assert_eq!((array.size_bytes(), array.align_bytes()), (12, 4));
    assert_ne!(array.fingerprint(), ItemLayout::array(item, 4).fingerprint());
}

#[test]
fn structs_differ_where_a_field_does() {
    let (number, float) = (ItemLayout::primitive("u32", 4, 4), ItemLayout::primitive("f32", 4, 4));
    let layout = |fields: &[(usize, ItemLayout)]| ItemLayout::structure(12, 4, fields);
    let real = layout(&[(0, number), (8, float)]);
    let others = [
        layout(&[(0, number), (8, number)]),
        layout(&[(0, number), (4, float)]),
        layout(&[(0, number)]),
        layout(&[]),
        ItemLayout::structure(16, 4, &[(0, number), (8, float)]),
    ];
    assert!(others.iter().all(|other| other.fingerprint() != real.fingerprint()));
    assert_eq!(real, layout(&[(0, number), (8, float)]));
}

#[test]
fn names_of_others_are_shown_escaped() {
    let mut block = real().encode();
    block[64 + 32..64 + 37].copy_from_slice(b"\x1b[31m");
    let directory = parse(&block).unwrap();
    assert_eq!(directory.column(0).unwrap().name.to_string(), "\\x1b[31m");
    assert_eq!(format!("{:?}", ColumnsKind::new(*b"a\x1bb\0\0\0\0\0")), "`a\\x1bb`");
    assert_eq!(ItemName::new(&"ü".repeat(20)).to_string(), "\\xc3\\xbc".repeat(16));
}

proptest! {
    #[test]
    fn arbitrary_records(bytes in vec(any::<u8>(), 4096 - 64), count in 0..=70_u32) {
        let mut block = real().encode();
        block[12..16].copy_from_slice(&count.to_le_bytes());
        block[64..].copy_from_slice(&bytes);
        let _outcome = parse(&block);
    }
}
