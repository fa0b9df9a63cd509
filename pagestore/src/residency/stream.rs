//! Keeping the disk busy while a file is read in order.
//!
//! The kernel reads ahead in windows, and marks the page that each begins with. Who comes to the mark
//! makes it ask for the next window (`page_cache_async_ra` in mm/readahead.c). So two windows are on
//! their way at the most; a disk that answers both at about the same time has nothing to do while the
//! reader works on what came. This touches the mark of the last window before the reader comes to it:
//! the kernel goes on earlier, as it would have done, in its large folios. Asking for the pages by
//! `POSIX_FADV_WILLNEED` brings them in small ones, which costs more than the wait.

use std::{fs::File, ops::Range};

use crate::{file::disk, residency::cache, sync::Mutex};

/// How many of the kernel's windows are to be on their way, within the bounds below. Measured with windows
/// of 16 MiB and of 8 MiB: with two, the disk waits for the reader; more than four gain nothing.
const WINDOWS: u64 = 4;

/// The least that is to be on its way. Measured with windows of 128 KiB and 1 MiB: 8 MiB are a tenth slower,
/// 32 MiB no faster.
const AHEAD_BYTES_MIN: u64 = 16 << 20;

/// The most. More would only be in the way of what others have in memory.
pub(crate) const AHEAD_BYTES_MAX: u64 = 64 << 20;

/// How much is searched for a mark of which only the window is known.
const SEARCHED_BYTES_MAX: u64 = 1 << 20;

/// How far the kernel has read ahead of who reads a file in order.
pub(crate) struct Stream(Mutex<Ahead>);

struct Ahead {
    /// Where the first of the reads that followed each other began.
    read_start: u64,
    /// Where the last one ended.
    read_end: u64,
    /// Up to here, pages are in memory or on their way, as far as was found out.
    begun_end: u64,
    /// One of these pages is marked, unless all were touched.
    marked: Range<u64>,
    /// How long that window is.
    window_bytes: u64,
}

impl Ahead {
    const fn from(read: Range<u64>) -> Self {
        let end = read.end;
        Self {
            read_start: read.start,
            read_end: end,
            begun_end: end,
            marked: end..end,
            window_bytes: 0,
        }
    }
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Ahead::from(0..0)))
    }

    /// Notes that `span` was read. Where it follows the one before it, the kernel goes on reading ahead,
    /// at most up to `end`.
    ///
    /// It is a hint: nothing happens where the kernel does not tell what it has. Of readers at several
    /// places, none is taken for one that reads in order.
    pub(crate) fn has_read(&self, file: &File, span: Range<u64>, end: u64) {
        let Some(mut ahead) = self.0.try_lock() else { return };
        if ahead.read_end == span.start {
            ahead.go_on(file, span.end, end);
        } else {
            *ahead = Ahead::from(span);
        }
    }
}

impl Ahead {
    fn go_on(&mut self, file: &File, read_end: u64, end: u64) {
        self.read_end = read_end;
        self.begun_end = self.begun_end.max(read_end);
        while self.begun_end < end.min(read_end + self.wanted_bytes()) {
            // Without a mark, who reads will come to it.
            if !self.look(file, end) && !self.touch_mark(file, end) {
                return;
            }
        }
    }

    /// Grows with what was read: a disk answers what it is asked for at about the same time, so that the reader
    /// of a short file that was asked for as a whole would first wait for all of it and then work on all of it.
    fn wanted_bytes(&self) -> u64 {
        let read_bytes = self.read_end - self.read_start;
        read_bytes.min(WINDOWS * self.window_bytes).clamp(AHEAD_BYTES_MIN, AHEAD_BYTES_MAX)
    }

    /// Finds out how far the kernel is. Whether it is further than was known.
    fn look(&mut self, file: &File, end: u64) -> bool {
        let unknown = self.begun_end..end.min(self.begun_end + AHEAD_BYTES_MAX);
        let begun = begun_bytes(file, unknown);
        if begun > 0 {
            self.marked = self.begun_end..self.begun_end + begun.min(SEARCHED_BYTES_MAX);
            self.window_bytes = begun;
            self.begun_end += begun;
        }
        begun > 0
    }

    /// Has the kernel ask for the next window. Whether it did.
    fn touch_mark(&mut self, file: &File, end: u64) -> bool {
        let mut marked = std::mem::replace(&mut self.marked, self.begun_end..self.begun_end);
        marked.start = marked.start.max(self.read_end);
        let page_bytes = rustix::param::page_size();
        let touched = marked.step_by(page_bytes).try_for_each(|page| disk::touch(file, page));
        if touched.is_err() || !self.look(file, end) {
            return false;
        }
        // It begins where the window before it ended.
        self.marked.end = self.marked.start + page_bytes as u64;
        true
    }
}

/// How much of a range from its start on is in memory or on its way, without a gap: cachestat(2) counts what
/// has its place in the page cache, wherever in the range that is.
fn begun_bytes(file: &File, range: Range<u64>) -> u64 {
    let mut begun = range.end - range.start;
    loop {
        let span = range.start..range.start + begun;
        let found = cache::of_range(file, span).unwrap_or_default().resident_bytes;
        // Less, where there was a gap.
        if found >= begun {
            return begun;
        }
        begun = found;
    }
}
