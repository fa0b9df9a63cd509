//! Anonymous memory.

use std::time::Duration;

use storage::{PageCount, PageFile, PageSize};

use crate::{
    Bench, Result,
    data::sum_words,
    raw,
    runner::{Pairs, Run, busy, median},
    table::{Reach, Row, Unit},
};

const FILL: &str = "anonymous fill against a plain anonymous memmap2 mapping";

/// What is stored everywhere.
const FILLING: u8 = 0x5A;

pub(crate) fn run(bench: &mut Bench) -> Result<()> {
    if !bench.wants(FILL) {
        return Ok(());
    }
    let (len, page_count) = (bench.data_len(), bench.page_count());
    let (mut latching, mut again) = (Vec::new(), Vec::new());
    // Hot: in a virtual machine, memory that nobody had yet is first fetched from the host.
    let pairs = Pairs::run_hot(
        bench.pairs(),
        |_| {
            let run = fill_ours(page_count)?;
            again.push(run.again.as_secs_f64() * 1e3);
            latching.push((run.grow + run.latch + run.unlatch).as_secs_f64() * 1e3);
            Ok(run.run)
        },
        |_| {
            let started = busy();
            let mut map = raw::anonymous(len)?;
            map.fill(FILLING);
            let elapsed = busy() - started;
            Ok(Run { elapsed, answer: sum_words(bytemuck::cast_slice(&map)) })
        },
    )?;
    let (latching, again) = (median(&latching), median(&again));
    let all = pairs.ours() * 1e3;
    bench.note(&format!(
        "anonymous fill: {latching:.1} ms of our {all:.1} ms make, take and give back latches; \
         filling memory that is there already takes {again:.1} ms"
    ));
    let unit = Unit::GigabytesPerSecond { bytes: len as u64 };
    bench.push(Row::of_times(FILL, unit, Reach::TimesFaster(3.0), &pairs));
    Ok(())
}

/// A fill of ours, and what of it is not filling.
struct Fill {
    run: Run,
    grow: Duration,
    latch: Duration,
    unlatch: Duration,
    /// Filling it once more, when it is all there: what the memory itself allows.
    again: Duration,
}

fn fill_ours(page_count: usize) -> Result<Fill> {
    let started = busy();
    let file = PageFile::anonymous(PageSize::DEFAULT)?;
    let growing = busy();
    file.grow(PageCount::new(page_count as u64))?;
    let grow = busy() - growing;
    let latching = busy();
    let mut pages = file.pages_mut(..)?;
    let latch = busy() - latching;
    pages.fill(FILLING);
    let unlatching = busy();
    drop(pages);
    let unlatch = busy() - unlatching;
    let elapsed = busy() - started;
    let mut pages = file.pages_mut(..)?;
    let refilling = busy();
    pages.fill(FILLING);
    let again = busy() - refilling;
    let answer = sum_words(pages.as_slice_of()?);
    Ok(Fill { run: Run { elapsed, answer }, grow, latch, unlatch, again })
}
