//! Reading ahead of a cursor that goes through a batch in order.

use super::Columns;
use crate::mappable::Mappable;

/// How many values are read ahead of a merge, or of a cursor that has gone on for as long: of eight
/// bytes, half a MiB.
const WINDOW_MAX: usize = 64 << 10;

/// After so many values in order, a cursor is taken to go on in order: of eight bytes, a page.
const WINDOW_MIN: usize = 512;

/// What a cursor has had read ahead, and when it does so next.
///
/// The kernel reads nothing ahead in files of batches: it cannot tell a cursor that seeks, whose
/// next key may be anywhere, from one that goes through all, and takes both for the latter (up to
/// 8 MiB of each column for one key were seen). A cursor knows which it does. Where the pages are in
/// memory anyway, this costs a look at each.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadAhead {
    /// The next time is when the cursor comes to this value.
    at: usize,
    /// How many values are read ahead then.
    window: usize,
    /// What was read ahead so far: up to these.
    key_end: usize,
    val_end: usize,
}

impl ReadAhead {
    /// Of a cursor that may go anywhere.
    #[inline]
    pub(super) const fn anywhere() -> Self {
        Self { at: WINDOW_MIN, window: WINDOW_MIN, key_end: 0, val_end: 0 }
    }

    /// Of a cursor that goes through all.
    pub(super) const fn in_order() -> Self {
        Self { at: 0, window: WINDOW_MAX, key_end: 0, val_end: 0 }
    }

    /// The cursor has jumped to this value.
    #[inline]
    pub(super) fn jump(&mut self, val: usize) {
        self.at = val + WINDOW_MIN;
        self.window = WINDOW_MIN;
    }

    /// The cursor has come to this key and value by steps.
    #[inline]
    pub(super) fn step<K: Mappable, V: Mappable>(
        &mut self,
        columns: &Columns<K, V>,
        key: usize,
        val: usize,
    ) {
        if val >= self.at {
            self.read(columns, key, val);
        }
    }

    #[cold]
    fn read<K: Mappable, V: Mappable>(&mut self, columns: &Columns<K, V>, key: usize, val: usize) {
        if self.window == WINDOW_MIN {
            // It begins here, whatever it read before it jumped.
            (self.key_end, self.val_end) = (key, val);
        }
        self.window = WINDOW_MAX.min(self.window * 4);
        self.at = val + self.window;
        // Twice as far as it comes until the next time: the disk works meanwhile. There are no more
        // keys than values, so the keys last as long.
        let keys = self.key_end.max(key)..key + 2 * self.window;
        let vals = self.val_end.max(val)..val + 2 * self.window;
        (self.key_end, self.val_end) = (keys.end, vals.end);
        columns.keys.read_ahead(keys.clone());
        columns.offsets.read_ahead(keys);
        columns.vals.read_ahead(vals.clone());
        columns.weights.read_ahead(vals);
    }
}
