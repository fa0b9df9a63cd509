//! Queries over auctions and bids, whose rows have texts, nulls and bools, by each way of keeping their state, side by
//! side:
//!
//! `cargo run --release -p storage-dbsp --example auctions [MILLIONS [ROUNDS]]`
//!
//! Each way runs in a process of its own, so that none inherits another's memory; one way after the other in each round,
//! and the medians. All must give one answer.
#![expect(clippy::print_stdout, reason = "an example is a program that prints")]

#[path = "../join/circuits.rs"]
#[expect(dead_code, reason = "how the state is kept is the same")]
mod circuits;
mod events;
mod queries;

use std::{env, process::Command};

use circuits::{Kept, memory};
use queries::{Outcome, Query, run};

const WAYS: [(&str, Kept); 4] = [
    ("in memory", Kept::InMemory),
    ("DBSP's files, 16 MiB cache", Kept::Posixio { cache_mib: Some(16) }),
    ("DBSP's files, default caches", Kept::Posixio { cache_mib: None }),
    ("read in place", Kept::InPlace),
];

fn main() {
    let mut args = env::args().skip(1);
    let millions: f64 = args.next().map_or(2.0, |arg| arg.parse().expect("millions of events"));
    let rounds: usize = args.next().map_or(5, |arg| arg.parse().expect("a number of rounds"));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let events = (millions * 1e6) as u64;
    if let (Some(query), Some(way)) = (args.next(), args.next()) {
        let query: usize = query.parse().expect("the number of a query");
        let way: usize = way.parse().expect("the number of a way");
        let mut bytes = (0, 0);
        let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
        let at_end = || bytes = memory();
        let (query, kept) = (Query::ALL[query].1, WAYS[way].1);
        let Outcome { wall, checksum } = run(kept, query, events, folder.path(), at_end);
        println!("{} {checksum} {} {}", wall.as_secs_f64(), bytes.0, bytes.1);
        return;
    }
    for (query, (name, _)) in Query::ALL.iter().enumerate() {
        let mut runs = WAYS.map(|_| Vec::new());
        for _ in 0..rounds {
            for (way, runs) in runs.iter_mut().enumerate() {
                runs.push(child(millions, query, way));
            }
        }
        report(name, millions, runs);
    }
}

/// What a run tells: seconds, what it found, and the bytes in memory, its own and of files.
struct Told {
    seconds: f64,
    checksum: i64,
    own_bytes: f64,
    file_bytes: f64,
}

/// Runs one way in a process of its own.
fn child(millions: f64, query: usize, way: usize) -> Told {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args([millions.to_string(), "1".into(), query.to_string(), way.to_string()]);
    let output = command.output().expect("a run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("numbers");
    let fields: Vec<&str> = text.split_whitespace().collect();
    let number = |field: usize| fields[field].parse().expect("a number");
    let checksum = fields[1].parse().expect("a number");
    Told { seconds: number(0), checksum, own_bytes: number(2), file_bytes: number(3) }
}

fn report(query: &str, millions: f64, mut runs: [Vec<Told>; WAYS.len()]) {
    let checksum = runs[0][0].checksum;
    for way in &mut runs {
        assert!(way.iter().all(|run| run.checksum == checksum), "all ways give one answer");
        way.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    }
    let median = |way: usize| &runs[way][runs[way].len() / 2];
    println!("\n{query}, {millions} M events, medians of {}", runs[0].len());
    println!(
        "{:28} {:>8} {:>10} {:>10} {:>10} {:>10}",
        "", "s", "in place", "to memory", "own MiB", "file MiB"
    );
    let mib = f64::from(1 << 20);
    for (way, (name, _)) in WAYS.iter().enumerate() {
        let Told { seconds, own_bytes, file_bytes, .. } = median(way);
        let (ours, memory) =
            (median(WAYS.len() - 1).seconds / seconds, seconds / median(0).seconds);
        println!(
            "{name:28} {seconds:8.2} {ours:9.2}x {memory:9.2}x {:10.0} {:10.0}",
            own_bytes / mib,
            file_bytes / mib
        );
    }
}
