//! See `wireloom::fuzz::policy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| wireloom::fuzz::policy(bytes));
