//! See `attack::paths`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::paths::run(data));
