//! See `attack::open_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::open_file::run(data));
