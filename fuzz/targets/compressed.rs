//! See `attack::compressed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::compressed::run(data));
