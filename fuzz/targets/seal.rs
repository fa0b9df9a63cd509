//! See `attack::seal`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::seal::run(data));
