//! What a rival has to be able to do, so that the work can be written once for all.

use std::path::Path;

use crate::{
    Result,
    data::{PAGE_BYTES, Page, Pieces, Shape},
    work::Work,
};

/// Whether data is on the disk when it is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// The kernel, or the rival, may still have it in memory alone.
    Lazy,
    /// It survives a loss of power.
    Durable,
}

/// How a store is going to be read. A rival that can be told is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Random,
    Sequential,
}

/// Where a rival keeps what it stores.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    OnDisk,
    /// It is gone with the process, and cannot be opened.
    InMemory,
}

/// A way of storing blocks: an adapter, which says how its project recommends to do it.
pub(crate) trait Rival: 'static {
    /// What loading or opening gives.
    type Store: Store;

    const NAME: &'static str;
    /// The package in `Cargo.lock`; none for what comes with Rust, or is ours.
    const PACKAGE: Option<&'static str>;
    /// How it is set up, and how it is used.
    const SETTINGS: &'static str;
    const KEPT: Kept = Kept::OnDisk;
    /// How many reads in a row are enough to measure; fewer for whoever takes long for one.
    const READS_MAX: u64 = 1 << 16;

    /// Why it cannot do some work, or would not be taken for it.
    fn unfit(work: Work) -> Option<&'static str>;

    /// Stores all of the data in an empty folder.
    fn load(folder: &Path, shape: Shape, durability: Durability) -> Result<Self::Store>;

    /// Opens what was loaded. Only asked of what is kept on disk.
    fn open(folder: &Path, shape: Shape, access: Access) -> Result<Self::Store>;

    /// Stores small files, each of one page and the same, not durable, and shows each. By default a
    /// store each.
    fn small_files(folder: &Path, count: u64, mut look: impl FnMut(&[u8])) -> Result<()> {
        let shape = Shape::single_page();
        for number in 0..count {
            let folder = folder.join(number.to_string());
            std::fs::create_dir(&folder)?;
            drop(Self::load(&folder, shape, Durability::Lazy)?);
        }
        for number in 0..count {
            let store = Self::open(&folder.join(number.to_string()), shape, Access::Random)?;
            store.visit(&[0], &mut look)?;
        }
        Ok(())
    }

    /// Stores more than there is memory, and shows it. Nobody needs it afterwards.
    fn spill(folder: &Path, shape: Shape, look: impl FnMut(&[u8])) -> Result<()> {
        drop(Self::load(folder, shape, Durability::Lazy)?);
        Self::open(folder, shape, Access::Sequential)?.scan(look)
    }
}

/// The data, stored.
pub(crate) trait Store: Sync + Sized {
    /// Shows some blocks, in that order.
    fn visit(&self, blocks: &[u64], look: impl FnMut(&[u8])) -> Result<()>;

    /// Shows everything in order, in pieces of whatever length suits it.
    fn scan(&self, look: impl FnMut(&[u8])) -> Result<()>;

    /// Shows everything as numbers, in order. Bytes that lie badly are copied.
    fn column(&self, mut look: impl FnMut(&[u64])) -> Result<()> {
        let mut copy: Vec<u64> = Vec::new();
        self.scan(|bytes| match bytemuck::try_cast_slice(bytes) {
            Ok(words) => look(words),
            Err(_) => {
                copy.resize(bytes.len() / 8, 0);
                bytemuck::cast_slice_mut(&mut copy).copy_from_slice(bytes);
                look(&copy);
            }
        })
    }

    /// Replaces some pages, where blocks are pages; durable when it returns, as far as this rival can.
    fn update(&self, pages: &[u64], content: impl Fn(u64) -> Page) -> Result<()>;

    /// Shows some blocks to a task of an executor, which others share. Who can only block, blocks it.
    async fn visit_beside_others(&self, blocks: &[u64], look: impl FnMut(&[u8])) -> Result<()> {
        self.visit(blocks, look)
    }
}

/// For rivals that are asked for what they never do: [`Rival::unfit`] kept it from them.
pub(crate) fn never<T>() -> Result<T> {
    Err("this rival does not do that, and says so".into())
}

/// Small files as a store of many keeps them: one store, and a block for each, no two the same.
pub(crate) fn as_blocks<R: Rival>(
    folder: &Path,
    count: u64,
    look: impl FnMut(&[u8]),
) -> Result<()> {
    let shape = Shape::cached(count * PAGE_BYTES as u64, PAGE_BYTES);
    drop(R::load(folder, shape, Durability::Lazy)?);
    let store = R::open(folder, shape, Access::Random)?;
    store.visit(&shape.in_order(), look)
}

/// Hands over the data a piece at a time, with where it begins.
pub(crate) fn each_piece(
    shape: Shape,
    mut take: impl FnMut(u64, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut pieces = Pieces::of(shape);
    for number in 0..pieces.count() {
        let offset = number * pieces.len_bytes();
        take(offset, pieces.get(number))?;
    }
    Ok(())
}
