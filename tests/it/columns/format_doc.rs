//! `docs/format.md` says what is written: the directory of its example, byte for byte.

use std::fmt::Write;

use storage::{ColumnDirectory, run::RunWriter};

const DOCUMENT: &str = include_str!("../../../docs/format.md");

/// `bytes` as `hexdump -C` shows them, from `offset` on.
fn hexdump(bytes: &[u8], offset: usize) -> String {
    let (mut text, mut previous, mut elided) = (String::new(), None, false);
    for (index, row) in bytes.chunks(16).enumerate() {
        if previous == Some(row) {
            if !elided {
                text.push_str("*\n");
            }
            elided = true;
            continue;
        }
        (previous, elided) = (Some(row), false);
        write!(text, "{:08x} ", offset + index * 16).unwrap();
        for (column, byte) in row.iter().enumerate() {
            write!(text, "{}{byte:02x}", if column == 8 { "  " } else { " " }).unwrap();
        }
        let shown = row.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        writeln!(text, "  |{}|", shown.collect::<String>()).unwrap();
    }
    writeln!(text, "{:08x}", offset + bytes.len()).unwrap();
    text
}

#[test]
fn the_directory_of_the_example_is_a_real_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = RunWriter::<u32, u64>::create(folder.path().join("run")).unwrap();
    for (key, value) in [(1, 10), (1, 20), (2, 30)] {
        writer.push(&key, &value).unwrap();
    }
    let run = writer.seal().unwrap();
    let file = run.columns().file();
    let len = usize::try_from(file.payload_len()).unwrap();
    let start = len - ColumnDirectory::LEN_BYTES;
    let directory = &file.pages(..).unwrap()[start..len];
    let dump = hexdump(directory, start);
    let shown = DOCUMENT.split_once("## Example of a directory").unwrap().1;
    let shown = shown.split_once("```text\n").unwrap().1.split_once("```").unwrap().0;
    assert!(shown == dump, "docs/format.md should have this dump:\n{dump}");

    // The tables of the document, read by hand.
    let number = |at: usize| u64::from_le_bytes(directory[at..at + 8].try_into().unwrap());
    assert_eq!(directory[..8], *b"\x89COLS\x1a\r\n");
    assert_eq!((number(8), directory[16..24].to_vec()), (1 | 5 << 32, b"run\0\0\0\0\0".to_vec()));
    let records: Vec<[u64; 3]> =
        (0..5).map(|column| [0, 8, 16].map(|field| number(64 + 64 * column + field))).collect();
    let (four, eight) = (4 | 4 << 32, 8 | 8 << 32);
    let expected =
        [[0, 2, four], [4096, 3, eight], [8192, 3, eight], [12288, 1, four], [16384, 0, eight]];
    assert_eq!(records, expected);
}
