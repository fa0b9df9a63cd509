//! See `attack::runs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::runs::run(data));
