//! Our own hot paths, to see when a change makes one of them slower. The rivals are in `ratios`.

use std::{error::Error, hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, Throughput};
use storage::{ByteOffset, PageCount, PageFile, PageId, PageSize, PageWriter, SealedFile};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PAGE_COUNT: u64 = 16_384;
const PAGE_BYTES: u64 = 4096;
const PIECE_BYTES: usize = 1 << 20;

/// Visits the pages in an order that no prefetcher guesses: the stride is prime to the count.
struct Visit {
    next: u64,
}

impl Visit {
    fn next(&mut self) -> PageId {
        self.next = (self.next + 6_151) % PAGE_COUNT;
        PageId::new(self.next)
    }
}

fn sealed(criterion: &mut Criterion, file: &SealedFile) {
    let mut group = criterion.benchmark_group("sealed");
    let mut visit = Visit { next: 0 };
    file.pages(..).expect("the pages are whole");
    group.bench_function("page, verified", |b| {
        b.iter(|| file.page(visit.next()).map(|page| page[0]));
    });
    group.bench_function("16 pages, verified", |b| {
        b.iter(|| {
            let first = visit.next().get() & !15;
            file.pages(PageId::new(first)..PageId::new(first + 16)).map(|pages| pages[0])
        });
    });
    group.bench_function("typed view", |b| {
        b.iter(|| {
            let offset = ByteOffset::new(visit.next().get() * PAGE_BYTES + 64);
            file.as_slice_of_at::<u64>(offset, 8).map(|words| words[0])
        });
    });
    group.bench_function("owned view", |b| b.iter(|| file.bytes(PageId::new(7)..PageId::new(9))));
    group.finish();
}

fn first_touch(criterion: &mut Criterion, file: &SealedFile) {
    let mut group = criterion.benchmark_group("first touch");
    group.throughput(Throughput::Bytes(PAGE_COUNT * PAGE_BYTES));
    let open = || SealedFile::open(file.path()).expect("the file is sealed");
    group.bench_function("in order", |b| {
        b.iter_batched_ref(
            open,
            |file| file.pages(..).map(|pages| pages[0]),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("at random", |b| {
        b.iter_batched_ref(
            open,
            |file| {
                let mut visit = Visit { next: 0 };
                for _ in 0..PAGE_COUNT {
                    black_box(file.page(visit.next()).map(|page| page[0])).expect("a whole page");
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn mutable(criterion: &mut Criterion, file: &PageFile) {
    let mut group = criterion.benchmark_group("mutable");
    let mut visit = Visit { next: 0 };
    group.bench_function("flush, nothing dirty", |b| b.iter(|| file.flush()));
    group.bench_function("page", |b| b.iter(|| file.page(visit.next()).map(|page| page[0])));
    group.bench_function("page_mut, no store", |b| {
        b.iter(|| file.page_mut(visit.next()).map(|page| page[0]));
    });
    group.bench_function("page_mut, one store", |b| {
        b.iter(|| file.page_mut(visit.next()).map(|mut page| page[0] = 1));
    });
    group.bench_function("256 pages", |b| {
        b.iter(|| {
            let first = visit.next().get() & !255;
            file.pages(PageId::new(first)..PageId::new(first + 256)).map(|pages| pages[0])
        });
    });
    group.finish();
}

fn anonymous(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("anonymous");
    let file = PageFile::anonymous(PageSize::DEFAULT).expect("memory");
    file.grow(PageCount::new(PAGE_COUNT)).expect("memory");
    let mut visit = Visit { next: 0 };
    group.bench_function("store and flush one page", |b| {
        b.iter(|| {
            file.page_mut(visit.next()).map(|mut page| page[0] = 1)?;
            file.flush()
        });
    });
    group.finish();
}

fn main() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("hot-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut writer = PageWriter::create(folder.path().join("sealed"))?;
    let piece = vec![7; PIECE_BYTES];
    while writer.payload_len() < PAGE_COUNT * PAGE_BYTES {
        writer.append(&piece)?;
    }
    let sealed_file = writer.seal()?;
    let mutable_file = PageFile::create(folder.path().join("mutable"))?;
    mutable_file.grow(PageCount::new(PAGE_COUNT))?;
    mutable_file.pages_mut(..)?.fill(7);
    mutable_file.flush()?;

    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
        .configure_from_args();
    sealed(&mut criterion, &sealed_file);
    first_touch(&mut criterion, &sealed_file);
    mutable(&mut criterion, &mutable_file);
    anonymous(&mut criterion);
    criterion.final_summary();
    Ok(())
}
