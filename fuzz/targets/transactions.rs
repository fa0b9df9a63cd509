//! See `attack::transactions`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::transactions::run(data));
