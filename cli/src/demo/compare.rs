//! Timing several ways to do the same work.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use crate::{
    demo::stage::Stage,
    error::{Error, Result},
};

/// One way to do the work.
pub(crate) struct Way<'a> {
    name: &'static str,
    run: Box<dyn FnMut() -> Result<Run> + 'a>,
}

/// One run of it.
pub(crate) struct Run {
    elapsed: Duration,
    answer: u64,
}

impl<'a> Way<'a> {
    /// Work that is timed from beginning to end. It gives an answer that must be the same whichever
    /// way it is done.
    pub(crate) fn new(name: &'static str, mut work: impl FnMut() -> Result<u64> + 'a) -> Self {
        Self::timed(name, move || timed(&mut work))
    }

    /// Work that times itself, since not all of it counts.
    pub(crate) fn timed(name: &'static str, run: impl FnMut() -> Result<Run> + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }
}

/// Times a piece of work. Its answer counts as used, so none of it can be left out.
pub(crate) fn timed(work: impl FnOnce() -> Result<u64>) -> Result<Run> {
    let started = Instant::now();
    let answer = black_box(work()?);
    Ok(Run { elapsed: started.elapsed(), answer })
}

/// Does the work in every way in turn, after one turn that does not count, and gives the median
/// time of each.
///
/// # Errors
/// [`Error::AnswersDiffer`] where two ways do not come to the same answer.
pub(crate) fn medians<const N: usize>(
    stage: &Stage,
    turns: usize,
    mut ways: [Way<'_>; N],
) -> Result<[Duration; N]> {
    let mut times = [const { Vec::new() }; N];
    for turn in 0..=turns {
        let mut first_answer = None;
        for (way, times) in ways.iter_mut().zip(&mut times) {
            stage.check()?;
            let Run { elapsed, answer } = (way.run)()?;
            let (first, expected) = *first_answer.get_or_insert((way.name, answer));
            if answer != expected {
                return Err(Error::AnswersDiffer { first, second: way.name });
            }
            if turn > 0 {
                times.push(elapsed);
            }
        }
    }
    Ok(times.map(median))
}

/// The middle one of some times.
///
/// # Panics
/// Where there is none.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
