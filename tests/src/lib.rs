//! Cross-crate tests of Wireloom.
