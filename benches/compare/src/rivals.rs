//! Everybody who takes part.

mod asynchronous;
mod feldera;
mod fjall_keyspace;
mod lmdb;
mod mapped;
mod mutable;
mod positioned;
mod redb_table;
mod sealed;
mod tokio_file;
mod versioned;

use crate::contestant::Contestant;

/// Who takes part, in the order of the tables. Ours come first.
pub(crate) const ALL: [Contestant; 13] = [
    Contestant::of::<sealed::Sealed>(),
    Contestant::of::<mutable::Mutable>(),
    Contestant::of::<mutable::Anonymous>(),
    Contestant::of::<versioned::Versioned>(),
    Contestant::of::<asynchronous::Asynchronous>(),
    Contestant::of::<mapped::Mapped>(),
    Contestant::of::<positioned::Positioned>(),
    Contestant::of::<tokio_file::TokioFile>(),
    Contestant::of::<lmdb::Lmdb>(),
    Contestant::of::<redb_table::Redb>(),
    Contestant::of::<fjall_keyspace::Fjall>(),
    Contestant::of::<feldera::FelderaPosixio>(),
    Contestant::of::<feldera::FelderaMemory>(),
];

/// How many of them are ours.
pub(crate) const OURS: usize = 5;

/// Who does not take part at all, and why.
pub(crate) const NOT_HERE: [(&str, &str); 1] =
    [("foyer", "a cache: it may drop what it was given, and every work here asks for it again")];
