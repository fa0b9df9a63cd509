//! See `attack::checksums`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::checksums::run(data));
