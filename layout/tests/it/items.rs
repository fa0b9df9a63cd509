//! Layouts and names of items, as they are computed and as they are shown.
//!
//! Method: fingerprints against FNV-1a written down again here, over the bytes that `docs/format.md` names.

use std::{hint::black_box, panic::catch_unwind};

use layout::{ItemLayout, ItemName};

/// FNV-1a (<http://www.isthe.com/chongo/tech/comp/fnv/>).
fn fnv(parts: &[&[u8]]) -> u64 {
    let bytes = parts.concat().into_iter();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn number(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

#[test]
fn fingerprints_are_those_of_the_format() {
    let word = ItemLayout::primitive(black_box("u64"), 8, 8);
    assert_eq!((word.size_bytes(), word.align_bytes()), (8, 8));
    assert_eq!(word.fingerprint(), fnv(&[b"p", b"u64"]));
    let byte = ItemLayout::primitive(black_box("u8"), 1, 1);

    let array = ItemLayout::array(black_box(word), 3);
    assert_eq!((array.size_bytes(), array.align_bytes()), (24, 8));
    assert_eq!(array.fingerprint(), fnv(&[b"a", &number(word.fingerprint()), &number(3)]));

    let fields = [(0, word), (8, byte)];
    let structure = ItemLayout::structure(black_box(16), 8, &fields);
    assert_eq!((structure.size_bytes(), structure.align_bytes()), (16, 8));
    let [(first, word), (second, byte)] = fields;
    let expected = fnv(&[
        b"s",
        &number(16),
        &number(8),
        &number(first as u64),
        &number(word.fingerprint()),
        &number(second as u64),
        &number(byte.fingerprint()),
    ]);
    assert_eq!(structure.fingerprint(), expected);
}

#[test]
fn what_no_column_can_have_is_refused_when_it_is_made() {
    let made =
        |size: usize, align: usize| catch_unwind(move || ItemLayout::primitive("x", size, align));
    for (size, align) in [(8, 8), (4096, 4096), (0, 1), (u32::MAX as usize, 1)] {
        assert_eq!(made(size, align).unwrap().size_bytes() as usize, size);
    }
    for (size, align, message) in [
        (1 << 32, 1, "an item is at most 4 GiB"),
        (6, 3, "an alignment is a power of two"),
        (0, 0, "an alignment is a power of two"),
        (8192, 8192, "columns are aligned to 4 KiB"),
        (12, 8, "items lie end to end"),
    ] {
        let panic = made(size, align).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&message), "{size} aligned to {align}");
    }
}

#[test]
fn names_are_cut_between_characters_and_shown_as_text() {
    for (name, kept) in [
        ("", ""),
        ("u64", "u64"),
        ("a name of thirty-two bytes, whole", "a name of thirty-two bytes, whol"),
        // The 32nd byte would be the first half of a character.
        ("thirty-one bytes and a letter: é", "thirty-one bytes and a letter: "),
    ] {
        let made = ItemName::new(name);
        assert_eq!(made.to_string(), kept);
        assert_eq!(format!("{made:?}"), format!("\"{kept}\""));
        assert_eq!(made, ItemName::new(kept));
    }
    assert_eq!(ItemName::new("a\"b\né").to_string(), r#"a\"b\n\xc3\xa9"#);
    let layout = ItemLayout::primitive("u32", 4, 4);
    let shown = format!("4 bytes aligned to 4, fingerprint {:#018x}", layout.fingerprint());
    assert_eq!(layout.to_string(), shown);
}
