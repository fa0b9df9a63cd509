//! Explores crash states for a while: `crash SECONDS [SEED]`. `.ci/crash` runs it.
#![expect(clippy::print_stdout, reason = "it is a command")]

use std::time::{Duration, Instant};

use attack::crash::{Effort, SCRIPTS, Workload, explore};

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |otherwise: u64| match arguments.next() {
        None => Ok(otherwise),
        Some(text) => text.parse().map_err(|error| format!("{text}: {error}")),
    };
    let (seconds, seed) = (number(60)?, number(1)?);
    let started = Instant::now();
    let with =
        |states_a_moment, states_max| Effort { states_a_moment, states_max, ..Effort::default() };
    let scripts = |effort| (0..SCRIPTS.len()).map(move |number| (Workload::Script(number), effort));
    let random = (0..).map(move |more: u64| {
        let effort = if more.is_multiple_of(8) { with(512, 50_000) } else { with(64, 10_000) };
        (Workload::Random(seed.wrapping_mul(1 << 20) + more), effort)
    });
    // A little of everything first: a bug of the common kind is found in seconds.
    let workloads = scripts(with(48, 2_000)).chain(scripts(with(512, 50_000))).chain(random);
    let time = Duration::from_secs(seconds);
    let (count, failed) = match explore(workloads, seed, time) {
        Ok(count) => (count, None),
        Err((count, failed)) => (count, Some(failed)),
    };
    let took = started.elapsed().as_secs_f64();
    println!(
        "{} states, {} distinct, {} of them inside a recovery, at {} moments; {:.0} states/s",
        count.states,
        count.distinct,
        count.within_recovery,
        count.moments,
        count.states as f64 / took,
    );
    println!("violations: {}", u32::from(failed.is_some()));
    failed.map_or(Ok(()), Err)
}
