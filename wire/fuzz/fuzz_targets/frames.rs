//! See `wireloom_wire::fuzz::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wireloom_wire::fuzz::frames(bytes));
