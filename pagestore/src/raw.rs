//! Files without a header of ours: any bytes, of any length.
//!
//! The wing above, a program's own, reads a mutable file by copies, each taken under latches on its range, and writes
//! it by system calls. Of a sealed file it gets the mapped bytes themselves. What a failed disk, or a file that was
//! cut short, put in their place is never handed out as right.

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
