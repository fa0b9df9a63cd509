//! See `attack::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::config::run(data));
