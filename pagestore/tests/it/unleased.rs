//! Opening a sealed file so that it can be damaged while it is open: under a lease, the kernel would
//! keep out whoever does that.

use std::path::Path;

use pagestore::{SealedFile, SealedFileOptions};

/// Opens the file under the lock alone.
pub(crate) fn open_unleased(options: &SealedFileOptions, path: &Path) -> SealedFile {
    #[expect(unsafe_code, reason = "the one way to open without a lease")]
    // SAFETY: none in the words of the function's contract. The tests that use this cut and change
    // the file on purpose, by system calls, and look at what its reader gets to see.
    let opened = unsafe { options.open_shared(path) };
    opened.unwrap()
}
