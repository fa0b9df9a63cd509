//! DBSP on mapped pages: a storage backend for circuits, and batches read in place.
//!
//! [`MappedStorage`] is the drop-in: the files that DBSP writes for itself, under the same names
//! and with the same bytes, read through mappings.
//!
//! ```
//! use dbsp::{circuit::CircuitConfig, Runtime};
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
#![forbid(unsafe_code)]

mod backend;

pub use backend::MappedStorage;
