//! A process that has no addresses left.

use std::fs;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Runs something with no address space to spare. Allocating goes on in what the allocator has.
pub(crate) fn without_address_space<T>(run: impl FnOnce() -> T) -> T {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let limit = |current| Rlimit { current, maximum: None };
    setrlimit(Resource::As, limit(Some(pages * rustix::param::page_size() as u64))).unwrap();
    let output = run();
    setrlimit(Resource::As, limit(None)).unwrap();
    output
}
