//! Random operations against a vector of bytes.

use proptest::prelude::*;
use storage::{Block, FileBuffer, StorageError};

use super::double::{BLOCK, Double, blocks, pattern};

const BLOCK_COUNT: u64 = 12;

#[derive(Clone, Debug)]
enum Op {
    Read(u64),
    /// Offset, length, the byte to fill with.
    WriteAt(u64, usize, u8),
    /// Read, change one byte, give back.
    Change(u64, usize, u8),
    /// A block of zeros cut to a length.
    Blank(u64, usize),
    /// Keep a snapshot.
    Hold(u64),
    DropHeld,
    Flush,
    FailWrites(u32),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let index = 0..BLOCK_COUNT;
    let end = BLOCK_COUNT * BLOCK as u64 - 2 * BLOCK as u64;
    let op = prop_oneof![
        4 => index.clone().prop_map(Op::Read),
        4 => (0..end, 0..2 * BLOCK, any::<u8>()).prop_map(|(o, l, b)| Op::WriteAt(o, l, b)),
        2 => (0..BLOCK_COUNT - 2, Just(BLOCK), any::<u8>())
            .prop_map(|(i, l, b)| Op::WriteAt(i * BLOCK as u64, l, b)),
        3 => (index.clone(), 0..BLOCK, any::<u8>()).prop_map(|(i, a, b)| Op::Change(i, a, b)),
        1 => (index.clone(), 1..=BLOCK).prop_map(|(i, l)| Op::Blank(i, l)),
        2 => index.prop_map(Op::Hold),
        2 => Just(Op::DropHeld),
        1 => Just(Op::Flush),
        1 => (1..3_u32).prop_map(Op::FailWrites),
    ];
    prop::collection::vec(op, 1..120)
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
    double: Double,
    buffer: FileBuffer<Double>,
    model: Vec<u8>,
    /// Snapshots and what they must show for good.
    held: Vec<(Block, Vec<u8>)>,
    held_max: usize,
}

impl Run {
    fn expected(&self, index: u64) -> Option<&[u8]> {
        let begin = usize::try_from(index).unwrap() * BLOCK;
        let rest = self.model.get(begin..).filter(|rest| !rest.is_empty())?;
        Some(&rest[..rest.len().min(BLOCK)])
    }

    fn put(&mut self, offset: u64, data: &[u8]) {
        if !data.is_empty() {
            let begin = usize::try_from(offset).unwrap();
            self.model.resize(self.model.len().max(begin + data.len()), 0);
            self.model[begin..begin + data.len()].copy_from_slice(data);
        }
    }

    async fn read(&self, index: u64) -> Option<Block> {
        let Some(expected) = self.expected(index) else {
            let past = self.buffer.read_block(index).await;
            assert!(matches!(past, Err(StorageError::PastEnd { .. })), "{past:?}");
            return None;
        };
        let block = insist!(self.buffer, self.buffer.read_block(index).await);
        assert_eq!(block.read(), expected, "block {index}");
        assert!(block.is_aligned() && !block.is_dirty());
        Some(block)
    }

    async fn step(&mut self, op: Op) {
        match op {
            Op::Read(index) => drop(self.read(index).await),
            Op::WriteAt(offset, len, byte) => {
                let data = vec![byte; len];
                insist!(self.buffer, self.buffer.write_at(offset, &data).await);
                self.put(offset, &data);
            }
            Op::Change(index, at, byte) => {
                let Some(mut block) = self.read(index).await else { return };
                let at = at % block.len();
                insist!(self.buffer, block.write().map(drop));
                block.write().unwrap()[at] = byte;
                assert!(block.is_dirty());
                self.buffer.write_block(block).await.unwrap();
                self.put(index * BLOCK as u64 + at as u64, &[byte]);
            }
            Op::Blank(index, len) => {
                insist!(self.buffer, {
                    let mut block = insist!(self.buffer, self.buffer.blank_block(index).await);
                    block.truncate(len).unwrap();
                    self.buffer.write_block(block).await
                });
                self.put(index * BLOCK as u64, &vec![0; len]);
            }
            Op::Hold(index) if self.held.len() < self.held_max => {
                if let Some(block) = self.read(index).await {
                    let expected = block.read().to_vec();
                    self.held.push((block, expected));
                }
            }
            Op::Hold(_) => {}
            Op::DropHeld => drop(self.held.pop()),
            Op::Flush => drop(self.buffer.flush().await),
            Op::FailWrites(count) => self.double.fail_writes(count),
        }
        let stats = self.buffer.stats();
        assert!(stats.held_bytes <= stats.limit_bytes, "{stats:?}");
        assert_eq!(self.buffer.file_len(), self.model.len() as u64);
        for (block, expected) in &self.held {
            assert_eq!(block.read(), expected, "a snapshot changed");
        }
    }
}

fn run(ops: Vec<Op>, limit: u64, len: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let model = pattern(len);
        let double = Double::new(model.clone());
        let buffer = double.buffer(blocks(limit)).await;
        let held_max = usize::try_from(limit).unwrap().saturating_sub(3);
        let mut run = Run { double, buffer, model, held: Vec::new(), held_max };
        for op in ops {
            run.step(op).await;
        }
        run.double.fail_writes(0);
        drop(run.buffer.flush().await);
        run.buffer.flush().await.unwrap();
        assert_eq!(run.double.content(), run.model, "after the last flush");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_vector_of_bytes(
        ops in ops(),
        limit in 3_u64..9,
        len in 0..10 * BLOCK,
    ) {
        run(ops, limit, len);
    }
}
