//! Files of columns: what is written is borrowed back as it was, as nothing else, and from the
//! mapping.
//!
//! Method: columns are written through the public interface, far over the writer's memory too, and
//! compared with vectors; `/proc/self/maps` tells what is mapped; hostile files are written as page
//! files whose payload somebody made up.

mod format_doc;
mod hostile;
mod layouts;

use std::{
    fs::{self, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use bytemuck::{Pod, Zeroable};
use proptest::{collection::vec, prelude::*};
use storage::{
    AppendOrder, ColumnSpec, Columns, ColumnsError, ColumnsKind, ColumnsWriter, Existing,
    ItemLayout, PageSize, PageWriterOptions, SealedFile, Writers, fixed_layout,
    run::{Run, RunWriter},
};

#[derive(Clone, Copy, PartialEq, Debug, Pod, Zeroable)]
#[repr(C)]
struct Trade {
    id: u64,
    price: f32,
    lots: [u16; 2],
}
fixed_layout!(Trade { id: u64, price: f32, lots: [u16; 2] });

/// The bytes of memory that are a mapping of the file at `path` (proc(5)).
fn mapped(path: &Path) -> Vec<std::ops::Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let number = |hex| usize::from_str_radix(hex, 16).unwrap();
    let of_file = maps.lines().filter(|line| line.ends_with(path.to_str().unwrap()));
    let ranges = of_file.map(|line| line.split_once(' ').unwrap().0.split_once('-').unwrap());
    ranges.map(|(start, end)| number(start)..number(end)).collect()
}

#[test]
fn columns_come_back_from_the_mapping() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("trades");
    let trades: Vec<Trade> =
        (0..1000).map(|id| Trade { id, price: id as f32, lots: [1, 2] }).collect();
    let specs = [ColumnSpec::of::<Trade>(), ColumnSpec::of::<[u8; 3]>(), ColumnSpec::of::<i128>()];
    let kind = ColumnsKind::new(*b"trades\0\0");
    let mut writer = ColumnsWriter::options().kind(kind).create(&path, &specs).unwrap();
    writer.append(0, &trades[..10]).unwrap();
    writer.append(1, &[*b"abc", *b"def"]).unwrap();
    writer.append(0, &trades[10..]).unwrap();
    assert_eq!((writer.len(0).unwrap(), writer.len_bytes()), (1000, 16_006));
    for columns in [writer.seal().unwrap(), Columns::open(&path).unwrap()] {
        columns.expect_kind(kind).unwrap();
        assert_eq!(columns.column_count(), 3);
        assert_eq!(columns.column::<Trade>(0).unwrap(), trades);
        assert_eq!(columns.column_range::<Trade>(0, 500..502).unwrap(), &trades[500..502]);
        assert_eq!(columns.column_unverified::<Trade>(0).unwrap(), trades);
        assert_eq!(columns.column::<[u8; 3]>(1).unwrap(), [*b"abc", *b"def"]);
        assert_eq!(columns.column_bytes(1, &specs[1]).unwrap(), b"abcdef");
        assert_eq!(columns.column_bytes_unverified(1, &specs[1]).unwrap(), b"abcdef");
        assert_eq!(columns.column::<i128>(2).unwrap(), []);
        for column in [
            columns.column::<Trade>(0).unwrap().as_ptr().cast::<u8>(),
            columns.column_unverified::<[u8; 3]>(1).unwrap().as_ptr().cast(),
        ] {
            let inside = mapped(&path).iter().any(|range| range.contains(&column.addr()));
            assert!(inside, "{column:p} lies in a mapping of the file");
            assert!(column.addr().is_multiple_of(4096), "a column begins with a page");
        }
        drop(columns);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers");
    let mut writer = ColumnsWriter::create(&path, &[ColumnSpec::of::<u64>()]).unwrap();
    writer.append(0, &[1_u64, 2]).unwrap();
    let error = writer.append(0, &[1_i64]).unwrap_err();
    assert!(matches!(error, ColumnsError::Layout { column: 0, .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("`u64`") && message.contains("`i64`"), "names both: {message}");
    let error = writer.append(7, &[1_u64]).unwrap_err();
    assert!(matches!(error, ColumnsError::NoColumn { column: 7, column_count: 1, .. }), "{error}");
    let error = writer.append_bytes(0, &[0; 9]).unwrap_err();
    assert!(error.to_string().contains("no whole number"), "{error}");
    let columns = writer.seal().unwrap();
    assert_eq!(columns.column::<u64>(0).unwrap(), [1, 2], "what was refused left nothing");

    let error = columns.column::<f64>(0).unwrap_err();
    assert!(matches!(error, ColumnsError::Layout { .. }), "{error}");
    assert!(columns.column_unverified::<f64>(0).is_err());
    assert!(columns.column_bytes(0, &ColumnSpec::of::<[u32; 2]>()).is_err());
    for range in [1..3, 3..3, 0..usize::MAX] {
        let error = columns.column_range::<u64>(0, range).unwrap_err();
        assert!(error.to_string().contains("past the end"), "{error}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    let reversed = columns.column_range::<u64>(0, 2..1);
    assert!(reversed.is_err());
    let error = columns.expect_kind(ColumnsKind::new(*b"runs\0\0\0\0")).unwrap_err();
    assert!(error.to_string().contains("`plain`, not `runs`"), "{error}");
    let specs = vec![ColumnSpec::of::<u8>(); 64];
    let error = ColumnsWriter::create(folder.path().join("many"), &specs).unwrap_err();
    let message = storage::WithCauses(&error).to_string();
    assert!(message.contains("63 at most"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Three columns, appended to in pieces of up to 6 MiB, so that all ways through the writer are
    /// taken: memory alone, the column that goes straight to the file, temporary files, and pieces
    /// that are larger than what memory is left.
    #[test]
    fn columns_far_over_the_memory_of_the_writer(
        pieces in vec((0..3_usize, 0..6_usize << 20, any::<bool>()), 0..16),
        log2 in 12..=14_u32,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("columns");
        let specs =
            [ColumnSpec::of::<u8>(), ColumnSpec::of::<u32>(), ColumnSpec::of::<[u8; 5]>()];
        let pages = PageWriterOptions::new()
            .page_size(PageSize::new(1 << log2).unwrap())
            .existing(Existing::Replace);
        let mut writer = ColumnsWriter::options().pages(pages).create(&path, &specs).unwrap();
        let mut expected = [Vec::new(), Vec::new(), Vec::new()];
        for (number, (column, len, large)) in pieces.into_iter().enumerate() {
            let len = if large { 4 * len } else { len } / 20 * 20;
            let piece: Vec<u8> = (0..=250).cycle().skip(number).take(len).collect();
            writer.append_bytes(column, &piece).unwrap();
            expected[column].extend(piece);
        }
        writer.seal().unwrap();
        let columns = Columns::open(&path).unwrap();
        for (column, expected) in expected.iter().enumerate() {
            let found = columns.column_bytes(column, &specs[column]).unwrap();
            prop_assert!(found == expected, "column {column}");
        }
        let files = std::fs::read_dir(folder.path()).unwrap().count();
        prop_assert_eq!(files, 1, "no temporary file is left");
    }
}

#[test]
fn columns_in_order_go_straight_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in-order");
    let specs = [ColumnSpec::of::<u64>(), ColumnSpec::of::<u32>(), ColumnSpec::of::<u8>()];
    let options = ColumnsWriter::options().order(AppendOrder::ColumnByColumn);
    let mut writer = options.create(&path, &specs).unwrap();
    // More than a writer keeps in memory, in both columns: one would have to go elsewhere first.
    let (longs, shorts): (Vec<u64>, Vec<u32>) =
        ((0..5_u64 << 20).collect(), (0..5_u32 << 20).collect());
    writer.append(0, &longs[..7]).unwrap();
    writer.append(0, &longs[7..]).unwrap();
    writer.append(2, b"abc").unwrap();
    let error = writer.append(1, &shorts).unwrap_err();
    assert!(matches!(error, ColumnsError::ColumnOrder { column: 1, before: 2, .. }), "{error}");
    let columns = writer.seal().unwrap();
    assert_eq!(columns.column::<u64>(0).unwrap(), longs);
    assert!(columns.column::<u32>(1).unwrap().is_empty());
    assert_eq!(columns.column::<u8>(2).unwrap(), b"abc");
    assert_eq!(columns.column_place(2, &specs[2]).unwrap().1, 3);

    let mut writer = options.create(folder.path().join("whole"), &specs).unwrap();
    writer.append(0, &longs).unwrap();
    writer.append(1, &shorts).unwrap();
    let columns = writer.seal().unwrap();
    assert_eq!(columns.column::<u64>(0).unwrap(), longs);
    assert_eq!(columns.column::<u32>(1).unwrap(), shorts);
}

#[test]
fn what_has_no_size_has_no_column() {
    let folder = tempfile::tempdir().unwrap();
    let nothing = ColumnSpec::new(ItemLayout::primitive("()", 0, 1), "()");
    let error = ColumnsWriter::create(folder.path().join("nothing"), &[nothing]).unwrap_err();
    assert!(matches!(error, ColumnsError::Store(_)), "{error}");
    let message = storage::WithCauses(&error).to_string();
    assert!(message.contains("item size"), "{message}");
}

/// Who wants to write to a file of columns, or of a run, need not wait for a reader who lets others in.
#[test]
fn columns_and_runs_let_writers_in_where_they_are_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let (columns, run) = (folder.path().join("columns"), folder.path().join("run"));
    let mut writer = ColumnsWriter::create(&columns, &[ColumnSpec::of::<u64>()]).unwrap();
    writer.append(0, &[1_u64]).unwrap();
    writer.seal().unwrap();
    let mut writer = RunWriter::<u64, u64>::create(&run).unwrap();
    writer.push(&1, &2).unwrap();
    writer.seal().unwrap();
    // Would block where there is a lease, by open(2).
    let is_held_up = |path: &Path| {
        let mut options = OpenOptions::new();
        let opened = options.write(true).custom_flags(libc::O_NONBLOCK).open(path);
        opened.map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |_| false)
    };
    for path in [&columns, &run] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let options = SealedFile::options().writers(Writers::LetIn);
    let opened = (
        Columns::open_with(&options, &columns).unwrap(),
        Run::<u64, u64>::open_with(&options, &run).unwrap(),
    );
    assert!(!is_held_up(&columns) && !is_held_up(&run));
    drop(opened);
    let _held_up = (Columns::open(&columns).unwrap(), Run::<u64, u64>::open(&run).unwrap());
    assert!(is_held_up(&columns) && is_held_up(&run));
}
