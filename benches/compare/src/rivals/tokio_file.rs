//! The files of tokio.

use std::{
    io::SeekFrom,
    path::{Path, PathBuf},
};

use futures_util::future;
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
    sync::{Mutex, OnceCell},
};

use super::asynchronous::{IN_FLIGHT, runtime};
use crate::{
    Result,
    data::{PIECE_BYTES, Page, Pieces, Shape},
    store::{Access, Durability, Rival, Store},
    work::Work,
};

pub(crate) struct TokioFile;

pub(crate) struct TokioStore {
    path: PathBuf,
    shape: Shape,
    /// For reads beside others, as many as are in flight.
    readers: OnceCell<Mutex<Vec<Reader>>>,
}

/// A file with a place of its own, and a buffer for a block.
struct Reader {
    file: File,
    buffer: Vec<u64>,
}

impl Reader {
    async fn open(path: &Path, shape: Shape) -> Result<Self> {
        Ok(Self { file: File::open(path).await?, buffer: vec![0; shape.block_bytes / 8] })
    }

    /// Reads a block.
    async fn block(&mut self, block: u64) -> Result<&[u8]> {
        let buffer: &mut [u8] = bytemuck::cast_slice_mut(&mut self.buffer);
        self.file.seek(SeekFrom::Start(block * buffer.len() as u64)).await?;
        self.file.read_exact(buffer).await?;
        Ok(buffer)
    }
}

impl Rival for TokioFile {
    type Store = TokioStore;

    const NAME: &'static str = "tokio::fs";
    const PACKAGE: Option<&'static str> = Some("tokio");
    const SETTINGS: &'static str = "tokio::fs::File on a current-thread runtime; seek + read_exact, write_all of 1 MiB with \
         max_buf_size of 1 MiB; sync_data; a file of its own for each reader; 64 of them in flight beside a heartbeat";
    const READS_MAX: u64 = 4096;

    fn unfit(work: Work) -> Option<&'static str> {
        (work == Work::ReadersWriter).then_some("a reader would see half a write")
    }

    fn load(folder: &Path, shape: Shape, durability: Durability) -> Result<TokioStore> {
        let path = folder.join("tokio");
        runtime()?.block_on(async {
            let mut file = File::create_new(&path).await?;
            file.set_max_buf_size(PIECE_BYTES);
            let mut pieces = Pieces::of(shape);
            for number in 0..pieces.count() {
                file.write_all(pieces.get(number)).await?;
            }
            // Waits until the last write has been handed to the kernel.
            file.flush().await?;
            if durability == Durability::Durable {
                file.sync_data().await?;
            }
            Result::Ok(())
        })?;
        Ok(TokioStore { path, shape, readers: OnceCell::new() })
    }

    fn open(folder: &Path, shape: Shape, _: Access) -> Result<TokioStore> {
        Ok(TokioStore { path: folder.join("tokio"), shape, readers: OnceCell::new() })
    }

    fn small_files(folder: &Path, count: u64, mut look: impl FnMut(&[u8])) -> Result<()> {
        runtime()?.block_on(async {
            let mut pieces = Pieces::of(Shape::single_page());
            for number in 0..count {
                tokio::fs::write(folder.join(number.to_string()), pieces.get(0)).await?;
            }
            for number in 0..count {
                look(&tokio::fs::read(folder.join(number.to_string())).await?);
            }
            Ok(())
        })
    }
}

impl Store for TokioStore {
    fn visit(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        runtime()?.block_on(async {
            let mut reader = Reader::open(&self.path, self.shape).await?;
            for &block in blocks {
                look(reader.block(block).await?);
            }
            Ok(())
        })
    }

    fn scan(&self, mut look: impl FnMut(&[u8])) -> Result<()> {
        runtime()?.block_on(async {
            let mut file = File::open(&self.path).await?;
            file.set_max_buf_size(PIECE_BYTES);
            let piece = Pieces::of(self.shape).len_bytes();
            let mut buffer = vec![0_u64; usize::try_from(piece)? / 8];
            let buffer: &mut [u8] = bytemuck::cast_slice_mut(&mut buffer);
            for _ in 0..self.shape.len_bytes / piece {
                file.read_exact(buffer).await?;
                look(buffer);
            }
            Ok(())
        })
    }

    fn update(&self, pages: &[u64], content: impl Fn(u64) -> Page) -> Result<()> {
        runtime()?.block_on(async {
            let mut file = OpenOptions::new().write(true).open(&self.path).await?;
            for &page in pages {
                file.seek(SeekFrom::Start(page * self.shape.block_bytes as u64)).await?;
                file.write_all(&content(page)).await?;
            }
            file.flush().await?;
            Ok(file.sync_data().await?)
        })
    }

    async fn visit_beside_others(&self, blocks: &[u64], mut look: impl FnMut(&[u8])) -> Result<()> {
        let open = || async {
            let readers = (0..IN_FLIGHT).map(|_| Reader::open(&self.path, self.shape));
            Result::Ok(Mutex::new(future::try_join_all(readers).await?))
        };
        let mut readers = self.readers.get_or_try_init(open).await?.lock().await;
        for batch in blocks.chunks(IN_FLIGHT) {
            let reads = readers.iter_mut().zip(batch).map(|(reader, &block)| reader.block(block));
            future::try_join_all(reads).await?.into_iter().for_each(&mut look);
        }
        Ok(())
    }
}
