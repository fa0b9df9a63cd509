//! Files without a header of ours: any bytes, of any length.
//!
//! A mutable file is read by copies, under latches on their range, and written by system calls: a read sees each write
//! whole or not at all. The bytes of a sealed file are lent as they lie in memory. After a failed sync, and where bytes
//! cannot be reached, nothing is handed out as right any more.

mod backing;
mod check;
mod durable;
mod file;
mod look;
mod opening;
mod options;
mod poison;
mod prefetch;
mod present;
#[expect(unsafe_code, reason = "borrows mapped bytes under the latches of their range")]
mod read;
#[expect(unsafe_code, reason = "vouches that nobody writes to a sealed file")]
mod sealed;
mod span;
#[expect(unsafe_code, reason = "a lock of many parts around one value")]
mod stripes;
mod unsynced;
mod views;
#[expect(unsafe_code, reason = "turns a range of the file into a slice of the mapping")]
mod window;
mod write;

pub use file::RawFile;
pub use options::RawFileOptions;
