//! Explores crash states for a while, on all cores: `crash SECONDS [SEED]`. `.ci/crash` runs it.
#![expect(clippy::print_stdout, reason = "it is a command")]

use std::{env, error::Error, io, thread, time::Duration};

use crash::{Plan, explore_by_workers, work};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.len() > 2 {
        return work(&arguments, &mut io::stdout());
    }
    let [seconds, rest @ ..] = &arguments[..] else {
        return Err("give the seconds, and then a seed, or none".into());
    };
    let seed = rest.first().map_or(Ok(1), |seed| seed.parse())?;
    let plan = Plan::For { time: Duration::from_secs(seconds.parse()?), seed };
    let workers = thread::available_parallelism()?.get() as u64;
    let total = explore_by_workers(&env::current_exe()?, plan, workers)?;
    println!("{total}");
    if total.violations.is_empty() { Ok(()) } else { Err(total.violations.join("\n\n").into()) }
}
