//! Reading: at random, in order, for the first time, and as an owned view.

use std::{os::unix::fs::FileExt, path::PathBuf};

use storage::{PageCount, PageFile, PageId, SealedFile};

use crate::{
    demo::{
        compare::{Way, medians},
        data::{
            CHUNK_LEN, DATA_LEN_BYTES, Data, Files, Numbers, PAGE_COUNT, PAGE_LEN, first_number,
            start_of, sum,
        },
        stage::{Stage, Than},
    },
    error::{Error, Result},
    input::read_buffer,
    report::{Rate, Took},
};

const TURNS: usize = 5;

/// Random pages read in one turn.
const READS: u32 = 1 << 18;

/// Views taken in one turn.
const VIEWS: u32 = 200;

/// A mutable page file that holds the data, and its path.
pub(crate) struct Mutable {
    pub(crate) file: PageFile,
    pub(crate) path: PathBuf,
}

/// Shows all kinds of reading.
pub(crate) fn show(stage: &Stage, data: &Data, files: &Files) -> Result<Mutable> {
    let mutable = make_mutable(stage, data)?;
    random_pages(stage, data, files, &mutable)?;
    typed_sum(stage, data, files, &mutable)?;
    first_touch(stage, data, files)?;
    owned_view(stage, files)?;
    Ok(mutable)
}

fn make_mutable(stage: &Stage, data: &Data) -> Result<Mutable> {
    stage.prepare("making a mutable file");
    let path = stage.path("mutable");
    let file = PageFile::create(&path)?;
    file.grow(PageCount::new(PAGE_COUNT))?;
    file.pages_mut(..)?.copy_from_slice(data.raw());
    file.flush()?;
    Ok(Mutable { file, path })
}

fn random_pages(stage: &Stage, data: &Data, files: &Files, mutable: &Mutable) -> Result<()> {
    stage.heading("Read the first number of a random page that is in memory")?;
    let raw = data.raw();
    let [ours, raw_memmap2, latched, pread] = medians(
        stage,
        TURNS,
        [
            Way::new("SealedFile::page", || {
                sum_of_random(|page| Ok(first_number(files.sealed.page(PageId::new(page))?)))
            }),
            Way::new("raw memmap2", || {
                sum_of_random(|page| Ok(first_number(&raw[start_of(page)..][..PAGE_LEN])))
            }),
            Way::new("PageFile::page", || {
                sum_of_random(|page| Ok(first_number(&mutable.file.page(PageId::new(page))?)))
            }),
            Way::new("pread", || {
                let mut buffer = read_buffer(PAGE_LEN)?;
                sum_of_random(|page| {
                    files
                        .plain
                        .read_exact_at(&mut buffer, start_of(page) as u64)
                        .map_err(Error::io("read", &files.plain_path))?;
                    Ok(first_number(&buffer))
                })
            }),
        ],
    )?;
    stage.ours("SealedFile::page, a plain slice, verified before", &Took::each(ours, READS))?;
    for (what, theirs) in [
        ("raw memmap2 slice (over a sealed memfd)", raw_memmap2),
        ("PageFile::page, under its latch", latched),
        ("pread of 4 KiB", pread),
    ] {
        stage.theirs(what, &Took::each(theirs, READS), Than { ours, theirs })?;
    }
    Ok(())
}

/// Adds up what `read` gives for random pages, always the same ones.
#[inline]
fn sum_of_random(mut read: impl FnMut(u64) -> Result<u64>) -> Result<u64> {
    let mut pages = Numbers::new();
    let mut sum = 0_u64;
    for _ in 0..READS {
        sum = sum.wrapping_add(read(pages.next_page())?);
    }
    Ok(sum)
}

fn typed_sum(stage: &Stage, data: &Data, files: &Files, mutable: &Mutable) -> Result<()> {
    stage.heading("Add up all 33,554,432 numbers, as one typed slice across all pages")?;
    let mut buffer = read_buffer(CHUNK_LEN)?;
    let [ours, raw_memmap2, latched, pread] = medians(
        stage,
        TURNS,
        [
            Way::new("SealedFile::as_slice_of", || Ok(sum(files.sealed.as_slice_of(..)?))),
            Way::new("raw memmap2", || Ok(sum(bytemuck::cast_slice(data.raw())))),
            Way::new("PageFile::pages", || Ok(sum(mutable.file.pages(..)?.as_slice_of()?))),
            Way::new("pread", || {
                let mut total = 0_u64;
                for start in (0..DATA_LEN_BYTES).step_by(CHUNK_LEN) {
                    files
                        .plain
                        .read_exact_at(&mut buffer, start)
                        .map_err(Error::io("read", &files.plain_path))?;
                    total = total.wrapping_add(sum(bytemuck::cast_slice(&buffer)));
                }
                Ok(total)
            }),
        ],
    )?;
    let rate = |elapsed| Rate { bytes: DATA_LEN_BYTES, elapsed }.to_string();
    stage.ours("SealedFile::as_slice_of::<u64>", &rate(ours))?;
    for (what, theirs) in [
        ("raw memmap2 (over a sealed memfd)", raw_memmap2),
        ("PageFile::pages, all 65,536 latches taken and given back", latched),
        ("pread of 1 MiB", pread),
    ] {
        stage.theirs(what, &rate(theirs), Than { ours, theirs })?;
    }
    Ok(())
}

fn first_touch(stage: &Stage, data: &Data, files: &Files) -> Result<()> {
    stage.heading("Open the file and touch every page for the first time (page cache hot)")?;
    let path = files.sealed.path();
    let mut buffer = [0; PAGE_LEN];
    let [ours, scattered, raw_memmap2, pread] = medians(
        stage,
        TURNS,
        [
            Way::new("SealedFile::page in order", || {
                let file = SealedFile::open(path)?;
                sum_of_all(|page| Ok(first_number(file.page(PageId::new(page))?)))
            }),
            Way::new("SealedFile::page at random", || {
                let file = SealedFile::open(path)?;
                // An odd factor makes a permutation of the page numbers.
                sum_of_all(|step| {
                    let page = step.wrapping_mul(40_503) % PAGE_COUNT;
                    Ok(first_number(file.page(PageId::new(page))?))
                })
            }),
            Way::new("raw memmap2", || {
                let raw = data.map_again()?;
                sum_of_all(|page| Ok(first_number(&raw[start_of(page)..][..PAGE_LEN])))
            }),
            Way::new("pread", || {
                sum_of_all(|page| {
                    files
                        .plain
                        .read_exact_at(&mut buffer, start_of(page) as u64)
                        .map_err(Error::io("read", &files.plain_path))?;
                    Ok(first_number(&buffer))
                })
            }),
        ],
    )?;
    let rate = |elapsed| Rate { bytes: DATA_LEN_BYTES, elapsed }.to_string();
    stage.ours("SealedFile::page in order, every checksum verified", &rate(ours))?;
    for (what, theirs) in [
        ("the same at random", scattered),
        ("raw memmap2 in order, no checksums, 8 bytes a page", raw_memmap2),
        ("pread of 4 KiB in order, no checksums", pread),
    ] {
        stage.theirs(what, &rate(theirs), Than { ours, theirs })?;
    }
    Ok(())
}

/// Adds up what `read` gives for every page.
#[inline]
fn sum_of_all(mut read: impl FnMut(u64) -> Result<u64>) -> Result<u64> {
    (0..PAGE_COUNT).try_fold(0_u64, |sum, page| Ok(sum.wrapping_add(read(page)?)))
}

fn owned_view(stage: &Stage, files: &Files) -> Result<()> {
    stage.heading("Take 1 MiB as an owned `Bytes` that outlives the file's handle")?;
    let (range, len) = (PageId::new(256)..PageId::new(512), CHUNK_LEN);
    let start = start_of(256) as u64;
    let [ours, theirs] = medians(
        stage,
        TURNS,
        [
            Way::new("SealedFile::bytes", || {
                let mut sum = 0_u64;
                for _ in 0..VIEWS {
                    let view = files.sealed.bytes(range.clone())?;
                    sum = sum.wrapping_add(first_number(&view[len - PAGE_LEN..]));
                }
                Ok(sum)
            }),
            Way::new("pread into a new Vec", || {
                let mut sum = 0_u64;
                for _ in 0..VIEWS {
                    let mut copy = vec![0; len];
                    files
                        .plain
                        .read_exact_at(&mut copy, start)
                        .map_err(Error::io("read", &files.plain_path))?;
                    sum = sum.wrapping_add(first_number(&copy[len - PAGE_LEN..]));
                }
                Ok(sum)
            }),
        ],
    )?;
    stage.ours("SealedFile::bytes: a view of the mapping", &Took::each(ours, VIEWS))?;
    let than = Than { ours, theirs };
    stage.theirs("pread into a new Vec: a copy", &Took::each(theirs, VIEWS), than)
}
