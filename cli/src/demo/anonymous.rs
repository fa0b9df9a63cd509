//! Memory without a file: anonymous pages.

use memmap2::MmapMut;
use storage::{PageCount, PageFile, PageSize};

use crate::{
    demo::{
        compare::{Way, medians, timed},
        data::{DATA_LEN_BYTES, PAGE_COUNT, PAGE_LEN},
        stage::{Stage, Than},
    },
    error::{Error, Result},
    report::Rate,
};

const TURNS: usize = 3;

/// What the memory is filled with.
const FILL: u8 = 0xa5;

/// Shows how fast new anonymous pages can be filled.
pub(crate) fn show(stage: &Stage) -> Result<()> {
    stage.heading("Fill new memory that has no file behind it, through the same interface")?;
    let len = usize::try_from(DATA_LEN_BYTES).expect("the data fits in memory");
    let [ours, theirs] = medians(
        stage,
        TURNS,
        [
            Way::timed("PageFile::anonymous", || {
                let file = PageFile::anonymous(PageSize::DEFAULT)?;
                timed(|| {
                    file.grow(PageCount::new(PAGE_COUNT))?;
                    let mut pages = file.pages_mut(..)?;
                    pages.fill(FILL);
                    Ok(sample(&pages))
                })
            }),
            Way::timed("memmap2::MmapMut::map_anon", || {
                let mut memory =
                    MmapMut::map_anon(len).map_err(Error::io_of("map", "anonymous memory"))?;
                timed(|| {
                    memory.fill(FILL);
                    Ok(sample(&memory))
                })
            }),
        ],
    )?;
    let rate = |elapsed| Rate { bytes: DATA_LEN_BYTES, elapsed }.to_string();
    stage.ours("PageFile::anonymous: huge pages where there are any", &rate(ours))?;
    let than = Than { ours, theirs };
    stage.theirs("plain anonymous memmap2 mapping", &rate(theirs), than)
}

/// Something of every page.
fn sample(bytes: &[u8]) -> u64 {
    bytes.chunks(PAGE_LEN).map(|page| u64::from(page[PAGE_LEN - 1])).sum()
}
