//! A circuit with a join, a distinct and two aggregates, data for it, and a digest of its answers.
//!
//! Each of these operators integrates its inputs, so each keeps traces in storage. The digest is
//! linear: the digests of the changes add up to the digest of the whole, in whatever batches,
//! transactions or processes they come.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use dbsp::{
    BatchReader, DBSPHandle, IndexedZSetHandle, IndexedZSetReader, OrdIndexedZSet, OrdZSet,
    OutputHandle, RootCircuit, Runtime, ZWeight,
    circuit::{CircuitConfig, CircuitStorageConfig},
    operator::Max,
    typed_batch::SpineSnapshot,
    utils::{Tup2, Tup3},
};
use feldera_types::{config::StorageCompression, size::ConfigSize};

/// How a circuit uses its storage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Use {
    /// Workers of this process.
    pub(crate) workers: usize,
    /// DBSP's cache; `None` is its default.
    pub(crate) cache_mib: Option<u64>,
    /// Of the blocks.
    pub(crate) compression: StorageCompression,
}

impl Use {
    /// The configuration of a circuit that puts all of its traces into storage.
    pub(crate) fn config(self, mut storage: CircuitStorageConfig) -> CircuitConfig {
        storage.options.min_spill_size = Some(ConfigSize::ZERO);
        storage.options.cache_size = self.cache_mib.map(ConfigSize::from_mib);
        storage.options.compression = self.compression;
        CircuitConfig::with_workers(self.workers).with_storage(Some(storage))
    }
}

type Input = IndexedZSetHandle<u64, u64>;
type Output<B> = OutputHandle<SpineSnapshot<B>>;

/// What goes into the circuit and comes out of it.
#[derive(Clone)]
pub(crate) struct Ends {
    left: Input,
    right: Input,
    joined: Output<OrdZSet<Tup3<u64, u64, u64>>>,
    largest: Output<OrdIndexedZSet<u64, u64>>,
    more: Option<More>,
}

#[derive(Clone)]
struct More {
    distinct: Output<OrdZSet<u64>>,
    counts: Output<OrdIndexedZSet<u64, ZWeight>>,
}

/// Which operators there are.
#[allow(dead_code, reason = "not every suite runs both")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operators {
    /// A join and a maximum.
    Two,
    /// A distinct and a count besides.
    Four,
}

/// A running circuit.
pub(crate) struct Running {
    /// To control it.
    pub(crate) circuit: DBSPHandle,
    ends: Ends,
    /// The time that its transactions took so far, without making records and reading answers.
    #[allow(dead_code, reason = "not every suite measures")]
    pub(crate) busy: Duration,
}

/// What a circuit answered so far: how many records, counted by weight, and a sum over all of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Digest {
    /// The sum of all weights.
    pub(crate) weight: i64,
    /// The sum of the weighted hashes of all records.
    pub(crate) sum: u64,
}

impl std::ops::AddAssign for Digest {
    fn add_assign(&mut self, other: Self) {
        self.weight += other.weight;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// The records of one transaction, or the part of them that is one process's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The number of the transaction.
    pub(crate) number: u64,
    /// The records on each side.
    pub(crate) records: u64,
    /// Only records whose number leaves this rest ...
    pub(crate) part: u64,
    /// ... when divided by this.
    pub(crate) parts: u64,
}

impl Step {
    /// All records of a transaction.
    pub(crate) fn whole(number: u64, records: u64) -> Self {
        Self { number, records, part: 0, parts: 1 }
    }

    /// The records of one side: new ones, and a fifth of those of the step before taken back.
    fn records(self, side: u64) -> Vec<Tup2<u64, Tup2<u64, ZWeight>>> {
        let record = |i: u64, weight| {
            let key = hash(&(side, i / 2)) % (self.records * 4);
            Tup2(key, Tup2(hash(&(side, i)) % 1_000_003, weight))
        };
        let first = self.number * self.records;
        let inserted = (first..first + self.records).map(|i| record(i, 1));
        let before = first.saturating_sub(self.records)..first;
        let deleted = before.filter(|i| i % 5 == 0).map(|i| record(i, -1));
        let mine = |i: &usize| *i as u64 % self.parts == self.part;
        let all = inserted.chain(deleted).enumerate();
        all.filter(|(i, _)| mine(i)).map(|(_, record)| record).collect()
    }
}

fn construct(circuit: &mut RootCircuit, operators: Operators) -> Ends {
    let (left, left_input) = circuit.add_input_indexed_zset::<u64, u64>();
    let (right, right_input) = circuit.add_input_indexed_zset::<u64, u64>();
    let joined = left.join(&right, |key, left, right| Tup3(*key, *left, *right));
    let largest = right.aggregate(Max);
    let more = (operators == Operators::Four).then(|| {
        let distinct = left.map(|(_, value)| value % 100_000).distinct();
        let counts = joined.map_index(|Tup3(key, left, _)| (key % 1000, *left)).weighted_count();
        More { distinct: distinct.accumulate_output(), counts: counts.accumulate_output() }
    });
    let (joined, largest) = (joined.accumulate_output(), largest.accumulate_output());
    Ends { left: left_input, right: right_input, joined, largest, more }
}

impl Running {
    /// Starts the circuit.
    pub(crate) fn start(config: CircuitConfig, operators: Operators) -> Self {
        let construct = move |circuit: &mut RootCircuit| Ok(construct(circuit, operators));
        let (circuit, ends) = Runtime::init_circuit(config, construct).expect("the circuit starts");
        Self { circuit, ends, busy: Duration::ZERO }
    }

    /// Does one transaction; says what changed.
    pub(crate) fn step(&mut self, step: Step) -> Digest {
        self.try_step(step).expect("the transaction is done")
    }

    /// The same, where it may fail.
    ///
    /// # Errors
    /// What DBSP says.
    pub(crate) fn try_step(&mut self, step: Step) -> Result<Digest, dbsp::Error> {
        self.ends.left.append(&mut step.records(0));
        self.ends.right.append(&mut step.records(1));
        let started = Instant::now();
        self.circuit.transaction()?;
        self.busy += started.elapsed();
        let mut digest = digest(1, &self.ends.joined.concat());
        digest += self::digest(2, &self.ends.largest.concat());
        if let Some(more) = &self.ends.more {
            digest += self::digest(3, &more.distinct.concat());
            digest += self::digest(4, &more.counts.concat());
        }
        Ok(digest)
    }

    /// Ends the circuit.
    pub(crate) fn stop(self) {
        self.circuit.kill().expect("the workers end");
    }
}

fn digest<B>(output: u64, batch: &B) -> Digest
where
    B: IndexedZSetReader + BatchReader<Key: Hash, Val: Hash>,
{
    let mut digest = Digest::default();
    for (key, value, weight) in batch.iter() {
        digest.weight += weight;
        let hash = hash(&(output, key, value));
        digest.sum = digest.sum.wrapping_add(hash.wrapping_mul(weight.cast_unsigned()));
    }
    digest
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
