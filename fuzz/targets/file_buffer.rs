//! See `attack::file_buffer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| attack::file_buffer::run(data));
