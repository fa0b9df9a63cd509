//! See `attack::spill`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::spill::run(data));
