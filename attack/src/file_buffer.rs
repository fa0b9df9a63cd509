//! `FileBuffer` against a vector of bytes, over a backend whose writes fail now and then.

use arbitrary::{Arbitrary, Unstructured};
use storage::{
    AsyncFile, Block, Caching, FileBuffer, FileBufferOptions, StorageBackend, StorageError,
};
use tokio::runtime::Builder;

use crate::shelf::Shelf;

const BLOCK: usize = 4096;
const PATH: &str = "file";
const OPS_MAX: usize = 80;

#[derive(Arbitrary, Debug)]
struct Input {
    limit_blocks: u8,
    read_ahead: u8,
    pass_through: bool,
    len: u16,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op {
    Read(u8),
    WriteAt(u16, u16, u8),
    /// Whole blocks.
    WriteBlocks(u8, u8, u8),
    /// Read, change one byte, give back.
    Change(u8, u16, u8),
    /// A block of zeros cut to a length.
    Blank(u8, u16),
    /// Keep a snapshot.
    Hold(u8),
    DropHeld,
    Flush,
    /// Close and begin anew.
    Reopen,
    FailWrites(u8),
    ReadFar(u64),
}

/// Tries until what fails on purpose has failed often enough.
macro_rules! insist {
    ($buffer:expr, $try:expr) => {
        loop {
            match $try {
                Ok(done) => break done,
                Err(StorageError::Io { .. }) => {}
                // Everything else is dirty: as the documentation says.
                Err(StorageError::BuffersInUse { .. }) => drop($buffer.flush().await),
                Err(other) => panic!("{other}"),
            }
        }
    };
}

struct Run {
    shelf: Shelf,
    options: FileBufferOptions,
    buffer: FileBuffer<Shelf>,
    model: Vec<u8>,
    /// Snapshots and what they must show for good.
    held: Vec<(Block, Vec<u8>)>,
    held_max: usize,
}

/// Does the operations on both.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut input) else { return };
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(sequence(&input));
}

async fn sequence(input: &Input) {
    let shelf = Shelf::new();
    let model: Vec<u8> =
        (0..u32::from(input.len)).map(|at| (at * 7 / 5).to_le_bytes()[0]).collect();
    shelf.put(PATH, &model);
    let limit_blocks = 3 + u64::from(input.limit_blocks % 6);
    let caching = if input.pass_through { Caching::PassThrough } else { Caching::Buffered };
    let options = FileBufferOptions::default()
        .block_size_bytes(BLOCK)
        .memory_limit_bytes(limit_blocks * BLOCK as u64)
        .read_ahead_blocks_max(u32::from(input.read_ahead % 5))
        .caching(caching);
    let buffer = open(&shelf, options).await;
    let held_max = usize::try_from(limit_blocks).unwrap().saturating_sub(3);
    let mut run = Run { shelf, options, buffer, model, held: Vec::new(), held_max };
    for op in input.ops.iter().take(OPS_MAX) {
        run.step(*op).await;
    }
    run.shelf.fail_writes(0);
    drop(run.buffer.flush().await);
    run.buffer.flush().await.unwrap();
    assert!(run.shelf.stored(PATH) == run.model, "after the last flush");
}

async fn open(shelf: &Shelf, options: FileBufferOptions) -> FileBuffer<Shelf> {
    FileBuffer::new(AsyncFile::new(shelf.clone(), PATH).unwrap(), options).await.unwrap()
}

impl Run {
    fn expected(&self, index: u64) -> Option<&[u8]> {
        let begin = usize::try_from(index).unwrap().checked_mul(BLOCK)?;
        let rest = self.model.get(begin..).filter(|rest| !rest.is_empty())?;
        Some(&rest[..rest.len().min(BLOCK)])
    }

    fn put(&mut self, offset: usize, data: &[u8]) {
        if !data.is_empty() {
            self.model.resize(self.model.len().max(offset + data.len()), 0);
            self.model[offset..offset + data.len()].copy_from_slice(data);
        }
    }

    async fn read(&self, index: u64) -> Option<Block> {
        let Some(expected) = self.expected(index) else {
            let past = self.buffer.read_block(index).await;
            assert!(matches!(past, Err(StorageError::PastEnd { .. })), "{past:?}");
            return None;
        };
        let block = insist!(self.buffer, self.buffer.read_block(index).await);
        assert!(block.read() == expected, "block {index}");
        assert!(!block.is_dirty());
        Some(block)
    }

    async fn write_at(&mut self, offset: usize, data: &[u8]) {
        insist!(self.buffer, self.buffer.write_at(offset as u64, data).await);
        self.put(offset, data);
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Read(index) => drop(self.read(u64::from(index % 20)).await),
            Op::ReadFar(index) => drop(self.read(index).await),
            Op::WriteAt(offset, len, byte) => {
                self.write_at(offset.into(), &vec![byte; usize::from(len) % (3 * BLOCK)]).await;
            }
            Op::WriteBlocks(index, count, byte) => {
                let data = vec![byte; usize::from(count % 3) * BLOCK];
                self.write_at(usize::from(index % 16) * BLOCK, &data).await;
            }
            Op::Change(index, at, byte) => self.change(u64::from(index % 20), at, byte).await,
            Op::Blank(index, len) => {
                let (index, len) = (u64::from(index % 16), 1 + usize::from(len) % BLOCK);
                insist!(self.buffer, {
                    let mut block = insist!(self.buffer, self.buffer.blank_block(index).await);
                    block.truncate(len).unwrap();
                    self.buffer.write_block(block).await
                });
                self.put(usize::try_from(index).unwrap() * BLOCK, &vec![0; len]);
            }
            Op::Hold(index) if self.held.len() < self.held_max => {
                if let Some(block) = self.read(u64::from(index % 20)).await {
                    let expected = block.read().to_vec();
                    self.held.push((block, expected));
                }
            }
            Op::Hold(_) => {}
            Op::DropHeld => drop(self.held.pop()),
            Op::Flush => drop(self.buffer.flush().await),
            Op::Reopen => self.reopen().await,
            Op::FailWrites(count) => self.shelf.fail_writes(u32::from(count % 3)),
        }
        let stats = self.buffer.stats();
        assert!(stats.held_bytes <= stats.limit_bytes, "{stats:?}");
        assert_eq!(self.buffer.file_len(), self.model.len() as u64);
        for (block, expected) in &self.held {
            assert!(block.read() == expected, "a snapshot changed");
        }
    }

    async fn change(&mut self, index: u64, at: u16, byte: u8) {
        let Some(mut block) = self.read(index).await else { return };
        let at = usize::from(at) % block.len();
        insist!(self.buffer, block.write().map(drop));
        block.write().unwrap()[at] = byte;
        assert!(block.is_dirty());
        let written = self.buffer.write_block(block).await;
        match written {
            Ok(()) => self.put(usize::try_from(index).unwrap() * BLOCK + at, &[byte]),
            // Passed through, and failed on purpose: half of the block may be new. It is written
            // again, since what is unknown cannot be compared.
            Err(StorageError::Io { .. }) if self.options.caching == Caching::PassThrough => {
                self.put(usize::try_from(index).unwrap() * BLOCK + at, &[byte]);
                let start = usize::try_from(index).unwrap() * BLOCK;
                let whole = self.expected(index).unwrap().to_vec();
                self.write_at(start, &whole).await;
            }
            Err(other) => panic!("{other}"),
        }
    }

    async fn reopen(&mut self) {
        self.shelf.fail_writes(0);
        self.held.clear();
        drop(self.buffer.flush().await);
        self.buffer.flush().await.unwrap();
        self.buffer = open(&self.shelf, self.options).await;
        assert_eq!(self.shelf.len(PATH).await.unwrap(), self.model.len() as u64);
    }
}
