//! See `attack::page_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::page_file::run(data));
