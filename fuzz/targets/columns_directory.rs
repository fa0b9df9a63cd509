//! See `attack::columns_directory`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::columns_directory::run(data));
