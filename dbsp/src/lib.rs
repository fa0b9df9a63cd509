//! DBSP on mapped pages: a storage backend for circuits, and batches read in place.
//!
//! [`MappedStorage`] is the drop-in: the files that DBSP writes for itself, under the same names
//! and with the same bytes, read through mappings.
//!
//! ```
//! use dbsp::{IndexedZSetReader, Runtime, circuit::CircuitConfig};
//! use storage_dbsp::MappedStorage;
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("state");
//! let storage = MappedStorage::open(&path)?.into_config();
//! let config = CircuitConfig::with_workers(1).with_storage(Some(storage));
//! let (mut circuit, (input, output)) = Runtime::init_circuit(config, |circuit| {
//!     let (numbers, input) = circuit.add_input_zset::<u64>();
//!     Ok((input, numbers.distinct().accumulate_output()))
//! })?;
//! input.push(7, 3);
//! circuit.transaction()?;
//! assert_eq!(output.concat().consolidate().iter().count(), 1);
//! circuit.kill().expect("the workers end");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`InPlace`] goes further, where keys and values are [`Mappable`] (numbers, texts, structs of them): the traces of a circuit
//! are [`MappedBatch`]es, whose keys, values and weights are references into mapped files.
//!
//! ```
//! use dbsp::{IndexedZSetReader, OrdIndexedZSet, Runtime, circuit::CircuitConfig};
//! use storage_dbsp::{InPlace, MappedStorage};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("state");
//! let storage = MappedStorage::open(&path)?.into_config();
//! let config = CircuitConfig::with_workers(1).with_storage(Some(storage));
//! let (mut circuit, (prices, amounts, output)) = Runtime::init_circuit(config, |circuit| {
//!     let (prices, price_input) = circuit.add_input_indexed_zset::<u64, i64>();
//!     let (amounts, amount_input) = circuit.add_input_indexed_zset::<u64, i64>();
//!     let sums = prices.in_place().join_generic::<_, _, OrdIndexedZSet<u64, i64>, _>(
//!         &amounts.in_place(),
//!         |item, price, amount| Some((*item, price * amount)),
//!     );
//!     Ok((price_input, amount_input, sums.accumulate_output()))
//! })?;
//! prices.push(7, (250, 1));
//! amounts.push(7, (4, 1));
//! circuit.transaction()?;
//! assert_eq!(output.concat().consolidate().iter().next(), Some((7, 1_000, 1)));
//! circuit.kill().expect("the workers end");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(unsafe_code)]

mod backend;
mod batch;
mod circuit;
#[cfg(test)]
#[path = "../../pagestore/tests/it/filter.rs"]
#[expect(dead_code, reason = "calls are refused here in one way")]
mod filter;
mod mappable;
mod names;
mod null;
mod search;
mod text;

pub use backend::{MappedStorage, MappedStorageOptions};
pub use batch::{
    MappedBatch, MappedBatchBuilder, MappedBatchFactories, MappedCursor, MappedIndexedWSet,
    MappedWSet,
};
pub use circuit::{AggregateInPlace, InPlace, MappedIndexedZSet, MappedZSet};
pub use mappable::{Mappable, Parts};
pub use null::Null;
#[doc(no_inline)]
pub use storage::ItemLayout;
pub use text::Text;

/// What [`mappable_struct!`] writes names.
#[doc(hidden)]
pub mod for_macros {
    pub use super::mappable::is_followed;
    pub use dbsp::dynamic::{HashRepr, OrdRepr};
    pub use rkyv;
}

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
