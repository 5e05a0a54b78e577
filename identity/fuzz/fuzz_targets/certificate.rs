//! See `wireloom_identity::fuzz::certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wireloom_identity::fuzz::certificate(bytes));
