//! `docs/compression.md` says what the code does.
//!
//! Method: the worked hexdump is held against a file that was really written, whose random number is
//! first replaced by that of the document. Then a small reader that uses nothing of the crate,
//! written from the document's tables alone, reads the same bytes, and so does the crate.

use std::fmt::Write;

use storage::StorageBackend;

use super::shelf::{PATH, Shelf, content, crc32c, number};

const DOCUMENT: &str = include_str!("../../../docs/compression.md");
/// The file's number in the document.
const NUMBER: [u8; 16] = *b"a random number.";

/// The content of the example.
fn example() -> Vec<u8> {
    [&[b'a'; 4096][..], &[0; 8192], b"end"].concat()
}

/// A file as it is written, but for the random number in it, and the checksums over that.
async fn written() -> Vec<u8> {
    let shelf = Shelf::default();
    let layer = shelf.layer();
    layer.write(PATH, 0, &[b'a'; 4096]).await.unwrap();
    layer.write(PATH, 12288, b"end").await.unwrap();
    let mut file = shelf.stored(PATH);
    file[24..40].copy_from_slice(&NUMBER);
    let checksum = crc32c(&file[..60]);
    file[60..64].copy_from_slice(&checksum.to_le_bytes());
    for slot in [0_usize, 3] {
        let start = 4096 + slot * 8192;
        let checksum = block_checksum(&file, slot, start);
        file[start + 28..start + 32].copy_from_slice(&checksum.to_le_bytes());
    }
    file
}

fn block_checksum(file: &[u8], slot: usize, start: usize) -> u32 {
    let stored = &file[start + 32..][..number(file, start + 8)];
    let slot = (slot as u64).to_le_bytes();
    crc32c(&[&file[24..40], &slot, &file[start..start + 28], stored].concat())
}

fn dump() -> &'static str {
    let from = DOCUMENT.split_once("```text\n").expect("the document has a dump").1;
    from.split_once("```").expect("the dump ends").0
}

/// The dump as it should stand in the document, as `hexdump -C` writes it.
fn hexdump(bytes: &[u8]) -> String {
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
        let printable = |&byte: &u8| {
            if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' }
        };
        let shown: String = row.iter().map(printable).collect();
        // A short row is padded, so that the text column stands where it always does.
        let missing = 3 * (16 - row.len()) + usize::from(row.len() <= 8);
        writeln!(text, "{:missing$}  |{shown}|", "").unwrap();
    }
    writeln!(text, "{:08x}", bytes.len()).unwrap();
    text
}

/// The bytes of a dump.
fn parse(dump: &str) -> Vec<u8> {
    let (mut bytes, mut elided) = (Vec::<u8>::new(), false);
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
        let Some((hex, _)) = rest.split_once('|') else { continue };
        bytes.extend(hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
    }
    bytes
}

#[tokio::test]
async fn the_hexdump_is_that_of_a_real_file() {
    let written = written().await;
    assert_eq!(dump(), hexdump(&written), "the dump should be:\n{}", hexdump(&written));
    assert!(parse(dump()) == written);
}

/// The LZ4 block format, as far as a reader needs it.
fn unpack(mut input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let length = |input: &mut &[u8], nibble: u8| {
        let mut sum = usize::from(nibble);
        let mut more = nibble == 15;
        while more {
            sum += usize::from(input[0]);
            more = input[0] == 255;
            *input = &input[1..];
        }
        sum
    };
    loop {
        let token = input[0];
        input = &input[1..];
        let literals = length(&mut input, token >> 4);
        out.extend_from_slice(&input[..literals]);
        input = &input[literals..];
        if input.is_empty() {
            return out;
        }
        let back = usize::from(u16::from_le_bytes([input[0], input[1]]));
        input = &input[2..];
        for _ in 0..length(&mut input, token & 15) + 4 {
            out.push(out[out.len() - back]);
        }
    }
}

/// A reader of whole files.
fn read(file: &[u8]) -> Result<Vec<u8>, &'static str> {
    let check = |right: bool, what: &'static str| if right { Ok(()) } else { Err(what) };
    check(file[..8] == *b"\x89BLOCK\r\n", "another magic")?;
    check(crc32c(&file[..60]) as usize == number(file, 60), "damaged header")?;
    check(number(file, 8) == 1 && number(file, 12) == 2, "another version")?;
    let block_size = 1 << number(file, 16);
    let slot_size = block_size + 4096;
    let slot_count = (file.len() - 4096).div_ceil(slot_size);
    let mut content = Vec::new();
    for slot in 0..slot_count {
        let start = 4096 + slot * slot_size;
        content.resize(slot * block_size, 0);
        if file[start..start + 32] == [0; 32] {
            check(slot + 1 < slot_count, "the last block was never written")?;
            continue;
        }
        let stored = &file[start + 32..][..number(file, start + 8)];
        let checksum = number(file, start + 28);
        check(block_checksum(file, slot, start) as usize == checksum, "damaged block")?;
        let raw = if number(file, start) == 2 { unpack(stored) } else { stored.to_vec() };
        check(raw.len() == number(file, start + 4), "another length")?;
        content.extend(raw);
    }
    Ok(content)
}

#[tokio::test]
async fn a_reader_written_from_the_document_reads_the_example() {
    let mut file = parse(dump());
    assert!(read(&file) == Ok(example()));
    let shelf = Shelf::default();
    shelf.put(PATH, &file);
    assert!(content(&shelf.layer(), PATH).await.unwrap() == example());
    file[4096 + 33] ^= 1;
    assert_eq!(read(&file), Err("damaged block"));
}
