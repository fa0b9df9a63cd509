//! See `attack::header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::header::run(data));
