//! Explores crash states for a while, on all cores: `crash SECONDS [SEED]`; or damages a small file in every
//! way: `crash damage`; or only those of whole files: `crash whole SECONDS [SEED]`. `.ci/crash` runs it.
#![expect(clippy::print_stdout, reason = "it is a command")]

use std::{env, error::Error, io, thread, time::Duration};

use crash::{Plan, explore_by_workers, make_whole_files, work};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(told) = make_whole_files(&arguments) {
        return told;
    }
    if arguments.len() > 3 {
        return work(&arguments, &mut io::stdout());
    }
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let time = |seconds: &str| seconds.parse().map(Duration::from_secs);
    let seed = |rest: &[&str]| rest.first().map_or(Ok(1), |seed| seed.parse());
    let plan = match &words[..] {
        [] | ["whole"] => return Err("give the seconds, and then a seed, or none".into()),
        ["damage", ..] => Plan::Damage,
        ["whole", seconds, rest @ ..] => {
            Plan::WholeFiles { time: time(seconds)?, seed: seed(rest)? }
        }
        [seconds, rest @ ..] => Plan::For { time: time(seconds)?, seed: seed(rest)? },
    };
    let workers = thread::available_parallelism()?.get() as u64;
    let total = explore_by_workers(&env::current_exe()?, plan, workers)?;
    println!("{total}");
    if total.violations.is_empty() { Ok(()) } else { Err(total.violations.join("\n\n").into()) }
}
