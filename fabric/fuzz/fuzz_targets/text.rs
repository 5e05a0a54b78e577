//! See `wireloom::fuzz::text`.
#![no_main]

use wireloom::fuzz;
use wireloom_fuzz::bounded;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bounded(bytes, fuzz::text));
