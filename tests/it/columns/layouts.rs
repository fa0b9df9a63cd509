//! The fingerprint of a type is that of `docs/format.md`, and tells types apart.

use storage::{FixedLayout, ItemLayout, fixed_layout};

use super::Trade;

macro_rules! same_but_for {
    ($name:ident { $($field:ident : $kind:ty),* }) => {
        #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        struct $name { $($field: $kind),* }
        fixed_layout!($name { $($field: $kind),* });
    };
}

same_but_for!(OtherNames { number: u64, weight: f32, pair: [u16; 2] });
same_but_for!(OtherType { id: u64, price: u32, lots: [u16; 2] });
same_but_for!(OtherOrder { id: u64, lots: [u16; 2], price: f32 });
same_but_for!(OtherArray { id: u64, price: f32, lots: [u8; 4] });
same_but_for!(OneField { id: [u64; 2] });

#[test]
fn layouts_are_equal_where_the_fields_are() {
    assert_eq!(Trade::LAYOUT, OtherNames::LAYOUT, "names decide nothing");
    let others: [ItemLayout; 6] = [
        OtherType::LAYOUT,
        OtherOrder::LAYOUT,
        OtherArray::LAYOUT,
        OneField::LAYOUT,
        <[u64; 2]>::LAYOUT,
        u128::LAYOUT,
    ];
    for (index, layout) in others.iter().enumerate() {
        assert_eq!(layout.size_bytes(), 16);
        assert_ne!(*layout, Trade::LAYOUT);
        assert!(!others[..index].contains(layout), "{index}");
    }
    assert_ne!(<[[u8; 2]; 3]>::LAYOUT, <[[u8; 3]; 2]>::LAYOUT);
    assert_ne!(u64::LAYOUT, i64::LAYOUT);
}

/// FNV-1a, written from its definition.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn fingerprints_are_those_of_the_document() {
    let number = |number: u64| number.to_le_bytes().to_vec();
    let u64_print = fnv(b"pu64");
    assert_eq!(u64::LAYOUT.fingerprint(), u64_print);
    let array = |item: u64, count| fnv(&[b"a".to_vec(), number(item), number(count)].concat());
    let lots = array(fnv(b"pu16"), 2);
    assert_eq!(<[u16; 2]>::LAYOUT.fingerprint(), lots);
    let fields = [(0, u64_print), (8, fnv(b"pf32")), (12, lots)];
    let fields = fields.map(|(offset, print)| [number(offset), number(print)].concat()).concat();
    let whole = [b"s".to_vec(), number(16), number(8), fields].concat();
    assert_eq!(Trade::LAYOUT.fingerprint(), fnv(&whole));
}
