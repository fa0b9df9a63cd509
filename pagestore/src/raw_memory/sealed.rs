//! Bytes that are lent out for good.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    reserve::Reserve,
    stripes::{Stripes, Window},
};

/// Bytes that nobody can write to any more: the reserve is in here, out of every writer's reach.
struct Sealed {
    window: Window,
    _reserve: Reserve,
}

struct Owner(Arc<Sealed>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        let (start, len_bytes) = (self.0.window.start(), self.0.window.len_bytes());
        let len = usize::try_from(len_bytes).expect("what lies in memory has an address");
        // SAFETY: the window lies within its reserve's mapping, which lives as long as `self`, is
        // readable, and has at most `isize::MAX` bytes (memmap2 refuses more); any byte is a valid
        // `u8`, aligned anyhow. Nobody writes to it as long as the slice lives: writing, cutting
        // and moving all take the reserve out of an open state under its lock, and sealing moved it
        // from there into this value, which hands it to nobody.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }
}

/// Lends the first `len_bytes` bytes of a reserve out for good.
pub(super) fn seal(stripes: &Stripes, reserve: Reserve, len_bytes: u64) {
    let window = reserve.window(len_bytes);
    let sealed = Arc::new(Sealed { window, _reserve: reserve });
    stripes.seal(|| Bytes::from_owner(Owner(Arc::clone(&sealed))));
}
