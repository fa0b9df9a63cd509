//! A circuit that keeps its state in mapped files, and goes on with it after a restart.
//!
//! ```console
//! cargo run --release -p storage-dbsp --example backend
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use dbsp::{IndexedZSetReader, Runtime, circuit::CircuitConfig, operator::Max, utils::Tup2};
use feldera_types::size::ConfigSize;
use storage_dbsp::MappedStorage;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut checkpoint = None;
    for run in 0..2_u64 {
        let mut storage = MappedStorage::open(folder.path())?.into_config();
        storage.options.min_spill_size = Some(ConfigSize::ZERO); // all indexes to storage, however small
        storage.init_checkpoint = checkpoint;
        let config = CircuitConfig::with_workers(2).with_storage(Some(storage));

        // The highest bid of each auction, kept up to date.
        let (mut circuit, (bids, highest)) = Runtime::init_circuit(config, |circuit| {
            let (bids, input) = circuit.add_input_indexed_zset::<u64, u64>();
            Ok((input, bids.aggregate(Max).accumulate_output()))
        })?;
        let bid = |i: u64| Tup2(i % 1000, Tup2((i * 7919) % 10_007 + run * 5000, 1));
        bids.append(&mut (0..1_000_000).map(bid).collect());
        circuit.transaction()?;

        let changes = highest.concat();
        let outbid = changes.iter().filter(|(_, _, weight)| *weight < 0).count();
        let led = changes.iter().filter(|(_, _, weight)| *weight > 0).count();
        println!("run {run}: {led} auctions have a new highest bid, {outbid} an old one less");
        checkpoint = Some(circuit.checkpoint().run()?.uuid);
        circuit.kill().expect("the workers end");
    }
    Ok(())
}
