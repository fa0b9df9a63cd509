//! A join of two streams of records, by each way of keeping its state, side by side:
//!
//! `cargo run --release -p storage-dbsp --example join [MILLIONS]`
//!
//! Each way runs in a process of its own, so that none inherits another's memory; five rounds,
//! one way after the other in each, and the medians.
#![expect(clippy::print_stdout, reason = "an example is a program that prints")]

#[expect(dead_code, reason = "a bench has another load")]
mod circuits;

use std::{env, process::Command};

use circuits::{Kept, Load, Outcome, Work, memory, run};

const WAYS: [(&str, Kept); 6] = [
    ("in memory", Kept::InMemory),
    ("posixio, 16 MiB cache", Kept::Posixio { cache_mib: Some(16) }),
    ("posixio, default caches", Kept::Posixio { cache_mib: None }),
    ("our backend, 16 MiB cache", Kept::MappedStorage { cache_mib: Some(16) }),
    ("our backend, default", Kept::MappedStorage { cache_mib: None }),
    ("read in place", Kept::InPlace),
];

const ROUNDS: usize = 5;

fn main() {
    let mut args = env::args().skip(1);
    let millions: f64 = args.next().map_or(2.0, |arg| arg.parse().expect("millions of records"));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
    let records = (millions * 1e6) as u64;
    if let Some(way) = args.next() {
        let way: usize = way.parse().expect("the number of a way");
        let work = if args.next().is_some() { Work::JoinAndMax } else { Work::Join };
        let mut bytes = (0, 0);
        let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
        let load = Load::anywhere(records);
        let at_end = || bytes = memory();
        let Outcome { wall, checksum } = run(WAYS[way].1, work, load, folder.path(), at_end);
        println!("{} {checksum} {} {}", wall.as_secs_f64(), bytes.0, bytes.1);
        return;
    }
    for (work, mark) in [("join", None), ("join + max", Some("max"))] {
        let mut runs = WAYS.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (way, runs) in runs.iter_mut().enumerate() {
                runs.push(child(millions, way, mark));
            }
        }
        report(work, millions, runs);
    }
}

/// Runs one way in a process of its own: seconds, checksum, own bytes, bytes of files.
fn child(millions: f64, way: usize, mark: Option<&str>) -> [f64; 4] {
    let program = env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.arg(millions.to_string()).arg(way.to_string()).args(mark);
    let output = command.output().expect("a run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("numbers");
    let mut fields = text.split_whitespace().map(|field| field.parse().expect("a number"));
    [(); 4].map(|()| fields.next().expect("four numbers"))
}

fn report(work: &str, millions: f64, mut runs: [Vec<[f64; 4]>; WAYS.len()]) {
    let checksum = runs[0][0][1];
    for way in &mut runs {
        assert!(way.iter().all(|run| run[1] == checksum), "all ways give one answer");
        way.sort_by(|one, other| one[0].total_cmp(&other[0]));
    }
    let median = |way: usize| runs[way][ROUNDS / 2];
    println!("\n{work}, {millions} M records a side, medians of {ROUNDS}");
    println!("{:26} {:>8} {:>10} {:>10} {:>10}", "", "s", "to memory", "own MiB", "file MiB");
    for (way, (name, _)) in WAYS.iter().enumerate() {
        let [seconds, _, own, file] = median(way);
        let penalty = seconds / median(0)[0];
        let mib = f64::from(1 << 20);
        println!("{name:26} {seconds:8.2} {penalty:9.2}x {:10.0} {:10.0}", own / mib, file / mib);
    }
    for (way, (name, _)) in WAYS.iter().enumerate().take(5) {
        println!("read in place against {name}: {:.2}x", median(5)[0] / median(way)[0]);
    }
}
