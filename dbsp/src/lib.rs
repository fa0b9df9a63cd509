//! DBSP on mapped pages: a storage backend for circuits, and batches read in place.
#![forbid(unsafe_code)]
