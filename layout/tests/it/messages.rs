//! What errors tell a person: what was found, what was expected, and what to do.

use layout::{ByteOffset, ColumnsKind, CommitId, FormatError, PageCount, PageId, PageSize};
use uuid::Uuid;

#[test]
fn each_error_says_what_is_wrong_with_the_file() {
    let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let no_page_size = PageSize::new(5).expect_err("no power of two");
    let part = "the seal record";
    let (page, commit) = (PageId::new(8), CommitId::new);
    let cases: [(FormatError, &[&str]); 24] = [
        (
            FormatError::Versioned { field: "state of the log", found: 9, allowed: "1 or 2" },
            &["the state of the log is wrong: 9", "expected 1 or 2"],
        ),
        (
            FormatError::ForeignPart { part, found: first, expected: second },
            &["the seal record belongs to file", "000000000001, the superblock", "000000000002"],
        ),
        (
            FormatError::Stamp { page, found: 0x12, expected: 0x34 },
            &["stamp of page 8 is damaged", "0x00000034", "0x00000012", "a good copy"],
        ),
        (
            FormatError::CommitLost { missing: commit(5), later: commit(7) },
            &["lacks commit 5", "seen commit 7", "a good copy"],
        ),
        (
            FormatError::StampAhead { page, found: commit(9), newest: commit(7) },
            &["page 8 was changed by commit 9", "ends with commit 7", "a good copy"],
        ),
        (FormatError::Unwritten { page }, &["page 8 was never written", "not zero", "a good copy"]),
        (
            FormatError::Short { part, found: 7, expected: 4096 },
            &["the seal record takes 4096 bytes", "only 7", "cut short"],
        ),
        (
            FormatError::Magic { found: [0xab; 8], expected: [1; 8] },
            &["not a page file", "[ab, ab", "[01, 01"],
        ),
        (
            FormatError::RecordChecksum { part, found: 0x12, expected: 0x34 },
            &["the seal record is damaged", "is 0x00000034", "give 0x00000012"],
        ),
        (
            FormatError::Version { found: 9, expected: 1 },
            &["version 9 cannot be read", "reads version 1", "the build that wrote it"],
        ),
        (
            FormatError::Features { found: 6, known: 1 },
            &["features 0x6", "known: 0x1", "a newer build"],
        ),
        (no_page_size.into(), &["superblock is wrong"]),
        (FormatError::NoHeader { found: 0 }, &["not a page file", "it is empty"]),
        (FormatError::NoHeader { found: 5 }, &["not a page file", "has 5 bytes"]),
        (
            FormatError::TooLarge { page_count: 3, page_size: 4096 },
            &["3 pages of 4096 bytes", "2^63"],
        ),
        (
            FormatError::SlotsDisagree { first, second },
            &["different files", "000000000001 and", "000000000002"],
        ),
        (
            FormatError::Seal { field: "page count", found: 3, expected: 4 },
            &["page count is 3, expected 4"],
        ),
        (
            FormatError::SealUuid { found: first, expected: second },
            &["belongs to file", "000000000001, the superblock to file", "000000000002"],
        ),
        (
            FormatError::Length { found: 10, expected: 20 },
            &["10 bytes long", "describes 20 bytes", "cut short or written to"],
        ),
        (FormatError::Padding { offset: 77, found: 3 }, &["byte 77", "must be zero", "0x03"]),
        (
            FormatError::DirectoryMagic { found: [0; 8], expected: [2; 8] },
            &["not a file of columns", "[00, 00", "[02, 02", "`ColumnsWriter`"],
        ),
        (
            FormatError::DirectoryVersion { found: 2, expected: 1 },
            &["version 2 of the directory", "reads version 1", "the build that wrote it"],
        ),
        (FormatError::ColumnCount { found: 64 }, &["64 columns do not fit", "63 at most"]),
        (
            FormatError::Column { column: 2, field: "offset", found: 5, allowed: "even" },
            &["column 2 is wrong", "its offset is 5", "must be even"],
        ),
    ];
    for (error, phrases) in cases {
        let message = error.to_string();
        for phrase in phrases {
            assert!(message.contains(phrase), "{phrase:?} is not in: {message}");
        }
    }
}

#[test]
fn numbers_and_kinds_are_shown_plainly() {
    assert_eq!(PageId::new(7).to_string(), "7");
    assert_eq!(PageCount::new(8).to_string(), "8");
    assert_eq!(format!("{:>4}", ByteOffset::new(9)), "   9");
    assert_eq!(ColumnsKind::PLAIN.to_string(), "`plain`");
    assert_eq!(format!("{:?}", ColumnsKind::new(*b"a\0\xff\0\0\0\0\0")), r"`a\x00\xff`");
    assert_eq!(ColumnsKind::new([0; 8]).to_string(), "``");
}
