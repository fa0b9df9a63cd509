//! One circuit on two hosts: past one machine on DBSP's own distributed runtime, each host with its
//! part of the state in mapped files of its own.
//!
//! ```console
//! cargo run --release -p storage-dbsp --example two_hosts
//! ```
//!
//! Starts itself twice, as two processes on loopback addresses, and once more as one process with
//! all of the data; the answers agree. On two machines each runs the part of `host` with its own
//! address, and the same list of addresses.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use dbsp::{
    IndexedZSetReader, Runtime,
    circuit::{CircuitConfig, Layout},
    utils::{Tup2, Tup3},
};
use feldera_types::size::ConfigSize;
use storage_dbsp::MappedStorage;

const RECORDS: u64 = 300_000;

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    if let Some(part) = env::args().nth(1) {
        return host(part.parse()?);
    }
    let mut hosts = [start(0)?, start(1)?];
    let mut lines = hosts
        .each_mut()
        .map(|host| BufReader::new(host.stdout.take().expect("it is a pipe")).lines());
    let mut hear = |host: usize| lines[host].next().unwrap_or_else(|| Ok("nothing".into()));
    let addresses = format!("{} {}", hear(0)?, hear(1)?);
    for host in &mut hosts {
        writeln!(host.stdin.as_mut().expect("it is a pipe"), "{addresses}")?;
    }
    let answers: [i64; 2] = [hear(0)?.parse()?, hear(1)?.parse()?];
    // Both have answered, so each may leave: the end of its input tells it so.
    for host in &mut hosts {
        drop(host.stdin.take());
    }
    for mut host in hosts {
        let status = host.wait()?;
        assert!(status.success(), "a host ended with {status}");
    }
    let alone = run(CircuitConfig::with_workers(2), 0..RECORDS, |_| Ok(()))?;
    println!("host 0 found {} pairs, host 1 {}; one process finds {alone}", answers[0], answers[1]);
    assert_eq!(answers[0] + answers[1], alone);
    Ok(())
}

fn start(part: u64) -> std::io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(part.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
}

/// What each host does: it listens, learns the addresses of all, and feeds its part of the data.
fn host(part: u64) -> Result<(), AnyError> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let own = listener.local_addr()?;
    println!("{own}");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    const WORKERS: usize = 1;
    let hosts: Result<Vec<(SocketAddr, usize)>, _> =
        line.split_whitespace().map(|address| Ok((address.parse()?, WORKERS))).collect();
    let layout = Layout::new_multihost(&hosts.map_err(|error: AnyError| error)?, own)?;
    let config = CircuitConfig::from(layout).with_exchange_listener(listener);
    let half = RECORDS / 2;
    run(config, part * half..(part + 1) * half, |found| {
        println!("{found}");
        // Neither host leaves before the other is done: the parent closes our input when it has
        // heard both answers, so this one must be told before we wait.
        std::io::stdin().read_line(&mut String::new()).map(drop)
    })?;
    Ok(())
}

/// Counts the pairs of a join; passes the answer to `last` before the workers end.
fn run(
    config: CircuitConfig,
    records: std::ops::Range<u64>,
    last: impl FnOnce(i64) -> std::io::Result<()>,
) -> Result<i64, AnyError> {
    let folder = tempfile::tempdir()?;
    let mut storage = MappedStorage::open(folder.path())?.into_config();
    storage.options.min_spill_size = Some(ConfigSize::ZERO);
    let config = config.with_storage(Some(storage));
    let (mut circuit, (left, right, pairs)) = Runtime::init_circuit(config, |circuit| {
        let (left, left_input) = circuit.add_input_indexed_zset::<u64, u64>();
        let (right, right_input) = circuit.add_input_indexed_zset::<u64, u64>();
        let pairs = left.join(&right, |key, left, right| Tup3(*key, *left, *right));
        Ok((left_input, right_input, pairs.accumulate_output()))
    })?;
    let mut found = 0;
    for step in 0..4 {
        let mine = || records.clone().filter(move |i| i % 4 == step);
        left.append(&mut mine().map(|i| Tup2(i % 50_000, Tup2(i, 1))).collect());
        right.append(&mut mine().map(|i| Tup2(i * 31 % 70_000, Tup2(i, 1))).collect());
        circuit.transaction()?;
        found += pairs.concat().iter().map(|(_, _, weight)| weight).sum::<i64>();
    }
    last(found)?;
    circuit.kill().expect("the workers end");
    Ok(found)
}
