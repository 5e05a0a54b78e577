//! The atomics that the two threads meet in: the machine's, or loom's under `--cfg loom`.
//!
//! Nothing else in this crate names an atomic type, so that the model checker sees every one.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

#[cfg(loom)]
pub(crate) use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
