//! Cross-crate tests of Wireloom: the house rules (`tidy`) and who may use whom (`layering`).
#![forbid(unsafe_code)]
