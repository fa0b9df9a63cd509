//! One circuit on two hosts, each with its part of the state in a folder of its own.
//!
//! Method: two processes on loopback addresses. Each is fed half of the records of each
//! transaction; what comes out of the two together is what comes out of one process.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
};

use dbsp::circuit::{CircuitConfig, Layout};
use feldera_types::config::StorageCompression;
use uuid::Uuid;

use super::On;
use crate::{
    process::{self, Process},
    workload::{Digest, Operators, Running, Step, Use},
};

const RECORDS: u64 = 20_000;
const STEPS: u64 = 8;
const WITH: Use = Use { workers: 1, cache_mib: Some(16), compression: StorageCompression::None };

/// One host, in a process of its own: tells its address, hears those of both, and from which
/// checkpoint to begin; tells the checkpoint it makes in the middle and what came out.
fn host(passed: &str) {
    let mut words = passed.split(' ');
    let part: u64 = words.next().unwrap().parse().unwrap();
    let folder = words.next().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap();
    process::tell(&own.to_string());
    let addresses = process::listen();
    let hosts: Vec<(SocketAddr, usize)> =
        addresses.split(' ').map(|address| (address.parse().unwrap(), WITH.workers)).collect();
    let from = process::listen();
    let from: Option<Uuid> = (from != "start").then(|| from.parse().unwrap());

    let storage = On::Ours.storage(Path::new(folder)).with_init_checkpoint(from);
    let config = CircuitConfig {
        layout: Layout::new_multihost(&hosts, own).unwrap(),
        ..WITH.config(storage).with_exchange_listener(listener)
    };
    let mut running = Running::start(config, Operators::Four);
    let steps = if from.is_some() { STEPS / 2..STEPS } else { 0..STEPS };
    let mut digest = Digest::default();
    for number in steps {
        digest += running.step(Step { number, records: RECORDS, part, parts: 2 });
        if number + 1 == STEPS / 2 {
            let uuid = running.circuit.checkpoint().run().unwrap().uuid;
            process::tell(&format!("{uuid} {} {}", digest.weight, digest.sum));
            digest = Digest::default();
        }
    }
    process::tell(&format!("{} {}", digest.weight, digest.sum));
    // Neither leaves before the other is done.
    process::listen();
    running.stop();
}

fn parse(words: &str) -> Digest {
    let (weight, sum) = words.split_once(' ').unwrap();
    Digest { weight: weight.parse().unwrap(), sum: sum.parse().unwrap() }
}

fn start(test: &str, folders: [&Path; 2], from: [&str; 2]) -> [Process; 2] {
    let mut hosts = [0, 1]
        .map(|part: usize| Process::start(test, &format!("{part} {}", folders[part].display())));
    let addresses = hosts.each_mut().map(|host| host.hear().unwrap()).join(" ");
    for (host, from) in hosts.iter_mut().zip(from) {
        host.say(&addresses);
        host.say(from);
    }
    hosts
}

#[test]
fn two_hosts_answer_as_one_and_go_on_from_their_checkpoints() {
    let test = "circuits::two_hosts::two_hosts_answer_as_one_and_go_on_from_their_checkpoints";
    if let Some(passed) = process::passed() {
        return host(&passed);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut alone =
        Running::start(WITH.config(On::BuiltIn.storage(folder.path())), Operators::Four);
    let mut expected = [Digest::default(); 2];
    for number in 0..STEPS {
        expected[usize::from(number >= STEPS / 2)] += alone.step(Step::whole(number, RECORDS));
    }
    alone.stop();

    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let folders = folders.each_ref().map(tempfile::TempDir::path);
    let mut hosts = start(test, folders, ["start"; 2]);
    let mut found = [Digest::default(); 2];
    let checkpoints = hosts.each_mut().map(|host| {
        let line = host.hear().unwrap();
        let (uuid, digest) = line.split_once(' ').unwrap();
        found[0] += parse(digest);
        uuid.to_owned()
    });
    hosts.iter_mut().for_each(|host| found[1] += parse(&host.hear().unwrap()));
    assert_eq!(found, expected);
    for host in hosts {
        host.kill();
    }

    // Killed, each goes on from the checkpoint in its own folder.
    let mut hosts = start(test, folders, checkpoints.each_ref().map(String::as_str));
    let mut again = Digest::default();
    hosts.iter_mut().for_each(|host| again += parse(&host.hear().unwrap()));
    assert_eq!(again, expected[1]);
}
