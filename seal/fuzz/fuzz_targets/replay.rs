//! See `wireloom_seal::fuzz::replay`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wireloom_seal::fuzz::replay(bytes));
