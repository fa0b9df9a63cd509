//! Compressed files: sequences of operations end as the model says, and stored bytes that somebody
//! made up get an answer, with right checksums too.

use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use storage::{BufferPool, Compressed, StorageBackend, StorageError};

use crate::{
    forge::{Checksums, Patch, crc32c},
    shelf::Shelf,
    steps::{Pair, Step, block_on},
};

const PATH: &str = "file";
const BLOCK: usize = 4096;
/// Where slots begin, and what each has on top of its block.
const PAGE: usize = 4096;
const SLOT: usize = PAGE + BLOCK;
const STEPS_MAX: usize = 40;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Steps { block_size_log2: u8, steps: Vec<Step> },
    Forged(Forged<'a>),
    Raw(&'a [u8]),
}

/// A stored file of two blocks, changed.
#[derive(Arbitrary, Debug)]
struct Forged<'a> {
    text: &'a [u8],
    repeats: u8,
    header_patches: Vec<Patch>,
    block_patches: Vec<(bool, Patch)>,
    /// In the place of what is stored of the first block.
    stored: Option<&'a [u8]>,
    checksums: Checksums,
    damage: Option<Patch>,
    len: Option<u16>,
}

/// Does what the bytes say.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    match Input::arbitrary(&mut input) {
        Ok(Input::Steps { block_size_log2, steps }) => block_on(sequence(block_size_log2, &steps)),
        Ok(Input::Forged(forged)) => block_on(async {
            let bytes = forged.bytes().await;
            touch(&bytes).await;
        }),
        Ok(Input::Raw(bytes)) => block_on(touch(bytes)),
        Err(_) => {}
    }
}

async fn sequence(block_size_log2: u8, steps: &[Step]) {
    let shelf = Shelf::new();
    let open = || {
        let size = 1 << (12 + block_size_log2 % 5);
        Compressed::new(shelf.clone(), size, BufferPool::new(1 << 26)).unwrap()
    };
    let mut pair = Pair::new(open());
    for step in steps.iter().take(STEPS_MAX) {
        pair.step(step).await;
        if matches!(step, Step::Reopen) {
            pair.backend = Arc::new(open());
        }
    }
    pair.compare_all().await;
}

impl Forged<'_> {
    async fn bytes(&self) -> Vec<u8> {
        let shelf = Shelf::new();
        let layer = Compressed::new(shelf.clone(), BLOCK as u64, BufferPool::new(1 << 26)).unwrap();
        let first = self.text.repeat(usize::from(self.repeats) + 1);
        layer.write(PATH, 0, &first[..first.len().min(BLOCK)]).await.unwrap();
        layer.write(PATH, BLOCK as u64, &self.text[..self.text.len().min(BLOCK)]).await.unwrap();
        let mut bytes = shelf.stored(PATH);
        self.header_patches.iter().for_each(|patch| patch.apply_within(&mut bytes, 64));
        if let Some(stored) = self.stored {
            bytes.resize(bytes.len().max(PAGE + SLOT), 0);
            let stored = &stored[..stored.len().min(BLOCK)];
            bytes[PAGE + 32..][..stored.len()].copy_from_slice(stored);
            let len = u32::try_from(stored.len()).unwrap();
            bytes[PAGE + 8..][..4].copy_from_slice(&len.to_le_bytes());
        }
        for (second, patch) in &self.block_patches {
            let start = PAGE + if *second { SLOT } else { 0 };
            if let Some(slot) = bytes.get_mut(start..) {
                patch.apply_within(slot, 32);
            }
        }
        if self.checksums == Checksums::MadeRight {
            make_right(&mut bytes);
        }
        if let Some(damage) = self.damage {
            damage.apply(&mut bytes);
        }
        bytes.truncate(self.len.map_or(usize::MAX, usize::from));
        bytes
    }
}

/// Makes the checksums of the header and of both blocks right.
fn make_right(bytes: &mut [u8]) {
    if bytes.len() < PAGE {
        return;
    }
    let sum = crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&sum.to_le_bytes());
    let uuid = bytes[24..40].to_vec();
    for block in 0..2_u64 {
        let start = PAGE + if block == 0 { 0 } else { SLOT };
        let Some(slot) = bytes.get_mut(start..).filter(|slot| slot.len() >= 32) else { return };
        let (header, stored) = slot.split_at_mut(32);
        let len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        let covered = stored.get(..len as usize).unwrap_or(stored);
        let sum = crc32c(&[&uuid, &block.to_le_bytes()[..], &header[..28], covered].concat());
        header[28..32].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Opens whatever a file holds and does everything with it.
async fn touch(bytes: &[u8]) {
    let shelf = Shelf::new();
    shelf.put(PATH, bytes);
    // Room for a few blocks of any size: a forged length asks for more in vain.
    let pool = BufferPool::new(16 << 20);
    let layer = Compressed::new(shelf, BLOCK as u64, pool).unwrap();
    if let Ok(len) = layer.len(PATH).await {
        for offset in (0..len).step_by(BLOCK).take(8) {
            let length = usize::try_from(len - offset).unwrap_or(usize::MAX).min(BLOCK);
            if let Ok(read) = layer.read(PATH, offset, length).await {
                assert_eq!(read.len(), length);
            }
        }
        let past = layer.read(PATH, len, 1).await.unwrap_err();
        assert!(matches!(past, StorageError::PastEnd { .. }), "{past:?}");
    }
    let outcomes = [
        layer.write(PATH, 100, b"over").await,
        layer.truncate(PATH, 50).await,
        layer.write(PATH, 40, b"behind the end").await,
    ];
    for error in outcomes.into_iter().filter_map(Result::err) {
        let expected = matches!(
            error,
            StorageError::Corrupt { .. }
                | StorageError::Unsupported { .. }
                | StorageError::BudgetExceeded { .. }
        );
        assert!(expected, "{error:?}");
    }
    if layer.truncate(PATH, 0).await.is_ok() {
        layer.write(PATH, 0, b"new").await.unwrap();
        assert_eq!(layer.read(PATH, 0, 3).await.unwrap(), b"new"[..]);
    }
    layer.delete(PATH).await.unwrap();
}
