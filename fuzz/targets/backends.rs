//! See `attack::backends`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::backends::run(data));
