//! See `attack::sealed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::sealed::run(data));
