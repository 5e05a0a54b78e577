//! Micro-benches of Wireloom.
