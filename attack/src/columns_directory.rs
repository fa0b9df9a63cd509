//! The directory of a file of columns: whatever it says, no column that it lets through leaves the
//! payload or shares a byte with another.

use arbitrary::{Arbitrary, Unstructured};
use layout::{ByteOffset, ColumnDirectory, ColumnEntry, ColumnsKind, ItemLayout, ItemName};

use crate::forge::Patch;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    start: u32,
    kind: [u8; 8],
    /// Offset in blocks of 4 KiB, item count, and which layout.
    columns: Vec<(u16, u16, u8)>,
    name: &'a str,
    patches: Vec<Patch>,
    len: Option<u16>,
    other_start: Option<u64>,
    raw: &'a [u8],
}

const LAYOUTS: [ItemLayout; 4] = [
    ItemLayout::primitive("u8", 1, 1),
    ItemLayout::primitive("u64", 8, 8),
    ItemLayout::primitive("u128", 16, 16),
    ItemLayout::array(ItemLayout::primitive("u16", 2, 2), 3),
];

/// Parses what a fuzzer made up, alone and as changes to a real directory.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut input) else { return };
    let start = ByteOffset::new(input.start.into());
    check(input.raw, start);
    let entry = |&(offset, count, layout): &(u16, u16, u8)| ColumnEntry {
        offset: ByteOffset::new(u64::from(offset) * 4096),
        count: count.into(),
        layout: LAYOUTS[usize::from(layout) % LAYOUTS.len()],
        name: ItemName::new(input.name),
    };
    let entries: Vec<_> = input.columns.iter().map(entry).collect();
    let kind = ColumnsKind::new(input.kind);
    let Ok(directory) = ColumnDirectory::new(kind, &entries, start) else { return };
    assert!(directory.columns().eq(&entries));
    let mut block = directory.encode().to_vec();
    assert_eq!(ColumnDirectory::parse(&block, start), Ok(directory));
    let used = 64 * (1 + entries.len());
    input.patches.iter().for_each(|patch| patch.apply_within(&mut block, used));
    block.truncate(input.len.map_or(usize::MAX, usize::from));
    check(&block, start);
    if let Some(other) = input.other_start {
        check(&block, ByteOffset::new(other));
    }
}

fn check(block: &[u8], start: ByteOffset) {
    let directory = match ColumnDirectory::parse(block, start) {
        Ok(directory) => directory,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let count = directory.column_count();
    assert!(count <= ColumnDirectory::COLUMNS_MAX && directory.columns().count() == count);
    assert!(directory.column(count).is_none());
    let mut places = Vec::new();
    for entry in directory.columns() {
        let (size, align) = (entry.layout.size_bytes(), entry.layout.align_bytes());
        assert!(size > 0 && align.is_power_of_two() && size.is_multiple_of(align), "{entry:?}");
        let begin = u128::from(entry.offset.get());
        let end = begin + u128::from(entry.count) * u128::from(size);
        assert!(end <= u128::from(start.get()), "{entry:?} leaves the payload");
        assert!(begin.is_multiple_of(u128::from(align)));
        if begin < end {
            places.push(begin..end);
        }
        assert!(!format!("{} {}", entry.name, entry.layout).is_empty());
    }
    places.sort_by_key(|place| place.start);
    assert!(places.windows(2).all(|two| two[0].end <= two[1].start), "columns overlap");
    assert_eq!(ColumnDirectory::parse(&directory.encode(), start), Ok(directory));
}
