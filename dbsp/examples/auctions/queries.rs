//! Three queries over auctions, each by several ways of keeping its state.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use dbsp::{
    DBSPHandle, IndexedZSetHandle, OrdIndexedZSet, RootCircuit, Runtime, Stream, operator::Max,
    typed_batch::IndexedZSetReader, utils::Tup2,
};
use storage_dbsp::{AggregateInPlace, InPlace, Text};

use crate::{
    circuits::{Kept, config},
    events::{Auction, Bid, Events, Step},
};

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    /// Bids by people, from one of the channels, on what has a word in its name: with that name.
    Join,
    /// The ten highest bids of each ten seconds.
    Top,
    /// The highest bid that came by each channel.
    Channels,
}

impl Query {
    pub(crate) const ALL: [(&str, Self); 3] = [
        ("join with a predicate on texts", Self::Join),
        ("top 10 of each window", Self::Top),
        ("maximum by a text key", Self::Channels),
    ];
}

/// How many events come in one transaction.
const STEP_EVENTS: u64 = 20_000;

/// What came of a run.
pub(crate) struct Outcome {
    pub(crate) wall: Duration,
    /// The same for each way of the same query.
    pub(crate) checksum: i64,
}

type Bids<K> = Stream<RootCircuit, OrdIndexedZSet<K, Bid>>;

enum Inputs {
    Join(IndexedZSetHandle<u64, Auction>, IndexedZSetHandle<u64, Bid>),
    Top(IndexedZSetHandle<u64, Bid>),
    Channels(IndexedZSetHandle<Text, Bid>),
}

impl Inputs {
    fn append(&self, step: Step) {
        let Step { auctions, bids } = step;
        let entry = |key, val| Tup2(key, Tup2(val, 1));
        match self {
            Self::Join(auction_input, bid_input) => {
                let of = |(number, auction)| entry(number, auction);
                auction_input.append(&mut auctions.into_iter().map(of).collect());
                let of = |(_second, bid): (u64, Bid)| Tup2(bid.auction, Tup2(bid, 1));
                bid_input.append(&mut bids.into_iter().map(of).collect());
            }
            Self::Top(input) => {
                let of = |(second, bid): (u64, Bid)| Tup2(second / 10, Tup2(bid, 1));
                input.append(&mut bids.into_iter().map(of).collect());
            }
            Self::Channels(input) => {
                let of = |(_second, bid): (u64, Bid)| Tup2(bid.channel.clone(), Tup2(bid, 1));
                input.append(&mut bids.into_iter().map(of).collect());
            }
        }
    }
}

/// Adds up hashes of what a stream carries.
#[derive(Clone)]
struct Sum(Arc<AtomicI64>);

impl Sum {
    fn add<B: IndexedZSetReader>(&self, batch: &B)
    where
        B::Key: Hash,
        B::Val: Hash,
    {
        for (key, val, weight) in batch.iter() {
            let mut hasher = DefaultHasher::new();
            (key, val).hash(&mut hasher);
            let hash = (hasher.finish() >> 20).cast_signed();
            self.0.fetch_add(hash.wrapping_mul(weight), Ordering::Relaxed);
        }
    }
}

fn circuit(kept: Kept, query: Query, folder: &Path, sum: &Sum) -> (DBSPHandle, Inputs) {
    let sum = sum.clone();
    let in_place = kept == Kept::InPlace;
    let built = Runtime::init_circuit(config(kept, folder), move |circuit| {
        Ok(match query {
            Query::Join => {
                let (auctions, auction_input) = circuit.add_input_indexed_zset::<u64, Auction>();
                let (bids, bid_input) = circuit.add_input_indexed_zset::<u64, Bid>();
                join(in_place, &auctions, &bids).inspect(move |batch| sum.add(batch));
                Inputs::Join(auction_input, bid_input)
            }
            Query::Top => {
                let (bids, input) = circuit.add_input_indexed_zset::<u64, Bid>();
                top(in_place, &bids).inspect(move |batch| sum.add(batch));
                Inputs::Top(input)
            }
            Query::Channels => {
                let (bids, input) = circuit.add_input_indexed_zset::<Text, Bid>();
                match in_place {
                    true => {
                        let highest = bids.in_place().aggregate_in_place(None, Max);
                        highest.inspect(move |batch| sum.add(batch));
                    }
                    false => {
                        bids.aggregate(Max).inspect(move |batch| sum.add(batch));
                    }
                }
                Inputs::Channels(input)
            }
        })
    });
    built.expect("a circuit")
}

fn join(
    in_place: bool,
    auctions: &Stream<RootCircuit, OrdIndexedZSet<u64, Auction>>,
    bids: &Bids<u64>,
) -> Stream<RootCircuit, OrdIndexedZSet<u64, Tup2<Text, u64>>> {
    let pair = |number: &u64, auction: &Auction, bid: &Bid| {
        let is_wanted = !bid.is_automatic
            && auction.item.contains("lamp")
            && bid.channel.starts_with("Google")
            && auction.reserve.get().is_none_or(|reserve| bid.price > *reserve);
        is_wanted.then(|| (*number, Tup2(auction.item.clone(), bid.price)))
    };
    match in_place {
        true => auctions.in_place().join_generic::<_, _, _, _>(&bids.in_place(), pair),
        false => auctions.join_index(bids, pair),
    }
}

fn top(in_place: bool, bids: &Bids<u64>) -> Bids<u64> {
    match in_place {
        true => bids.in_place().topk_desc(10),
        false => bids.topk_desc(10),
    }
}

/// Answers `query` over so many events, with its state in `folder`. `at_end` is called while all state is there.
pub(crate) fn run(
    kept: Kept,
    query: Query,
    events: u64,
    folder: &Path,
    at_end: impl FnOnce(),
) -> Outcome {
    let sum = Sum(Arc::new(AtomicI64::new(0)));
    let (mut handle, inputs) = circuit(kept, query, folder, &sum);
    let (mut made, mut wall) = (Events::new(), Duration::ZERO);
    for _ in 0..events / STEP_EVENTS {
        let step = made.step(STEP_EVENTS);
        let start = Instant::now();
        inputs.append(step);
        handle.transaction().expect("a transaction");
        wall += start.elapsed();
    }
    at_end();
    handle.kill().expect("the circuit ends");
    Outcome { wall, checksum: sum.0.load(Ordering::Relaxed) }
}
