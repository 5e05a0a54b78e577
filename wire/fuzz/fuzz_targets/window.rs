//! See `wireloom_wire::fuzz::window`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wireloom_wire::fuzz::window(bytes));
