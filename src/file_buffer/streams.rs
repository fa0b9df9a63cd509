//! Who reads one block after the other.

/// How many blocks are read ahead at first.
const AHEAD_COUNT_FIRST: u32 = 4;
/// How many blocks in a row make a sequence. Two occur by chance in random reads.
const ROW_COUNT: u32 = 3;
/// How many readers are told apart.
const STREAM_COUNT: usize = 8;

/// The last places that were read where the block was not in memory.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The one that read last comes first.
    streams: Vec<Stream>,
    ahead_count_max: u32,
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    next: u64,
    row_count: u32,
}

impl Streams {
    pub(super) fn new(ahead_count_max: u32) -> Self {
        Self { streams: Vec::with_capacity(STREAM_COUNT), ahead_count_max }
    }

    /// A block was asked for that is not in memory. Answers how many of those behind it to read
    /// ahead.
    ///
    /// It is asked at the beginning of a sequence only: from there on, the first block of each run
    /// that was read ahead leads to the next run.
    pub(super) fn missed(&mut self, index: u64) -> u32 {
        if self.ahead_count_max == 0 {
            return 0;
        }
        let known = self.streams.iter().position(|stream| stream.next == index);
        let mut stream = match known {
            Some(at) => self.streams.remove(at),
            None => Stream { next: index, row_count: 0 },
        };
        stream.row_count = stream.row_count.saturating_add(1);
        let sequential = stream.row_count >= ROW_COUNT;
        let ahead_count = if sequential { AHEAD_COUNT_FIRST.min(self.ahead_count_max) } else { 0 };
        // Where the sequence cannot be followed in memory, it goes on behind what is read now.
        stream.next = index + 1 + u64::from(ahead_count);
        self.streams.truncate(STREAM_COUNT - 1);
        self.streams.insert(0, stream);
        ahead_count
    }
}
