//! Dumps as `hexdump -C` writes them, to bytes and back.

use std::fmt::Write;

/// The document's dump of a whole file, the first or a later one.
pub(crate) fn of_the_document(document: &'static str, number: usize) -> &'static str {
    let blocks = document.split("```text\n").skip(1);
    let dumps = blocks.filter_map(|rest| rest.split_once("```")).map(|(block, _)| block);
    let mut of_files = dumps.filter(|block| block.starts_with("00000000  "));
    of_files.nth(number).expect("the document has this hexdump")
}

/// The bytes of a dump as `hexdump -C` writes it.
pub(crate) fn parse(dump: &str) -> Vec<u8> {
    let (mut bytes, mut elided) = (Vec::new(), false);
    for line in dump.lines() {
        if line == "*" {
            elided = true;
            continue;
        }
        let (offset, rest) = line.split_at(8);
        let offset = usize::from_str_radix(offset, 16).unwrap();
        if elided {
            let previous = bytes[bytes.len() - 16..].to_vec();
            while bytes.len() < offset {
                bytes.extend(&previous);
            }
            elided = false;
        }
        assert_eq!(bytes.len(), offset, "no line is missing before: {line}");
        let Some((hex, text)) = rest.split_once('|') else { continue };
        let row: Vec<u8> =
            hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        let shown: String = row.iter().map(|&byte| printable(byte)).collect();
        assert_eq!(text, format!("{shown}|"), "the text column of: {line}");
        bytes.extend(row);
    }
    bytes
}

fn printable(byte: u8) -> char {
    if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' }
}

/// The dump as it should stand in the document, for whoever has changed the format.
pub(crate) fn hexdump(bytes: &[u8]) -> String {
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
        write!(text, "{:08x} ", index * 16).unwrap();
        for (column, byte) in row.iter().enumerate() {
            write!(text, "{}{byte:02x}", if column == 8 { "  " } else { " " }).unwrap();
        }
        let shown: String = row.iter().map(|&byte| printable(byte)).collect();
        writeln!(text, "  |{shown}|").unwrap();
    }
    writeln!(text, "{:08x}", bytes.len()).unwrap();
    text
}
