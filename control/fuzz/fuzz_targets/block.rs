//! See `wireloom_control::fuzz::block`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wireloom_control::fuzz::block(bytes));
