//! See `attack::log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::log::run(data));
