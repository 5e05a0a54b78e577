//! The control plane: one thread that starts, tends and stops the data plane, and never stands in
//! an event's way.
//!
//! What it does today: keeps the wall clock's offset fresh, frees what the workers give back, runs
//! slow tasks of the node (see [`Control::add_task`]), and ends everything in order. If its thread
//! dies or stalls, events between known peers keep flowing; timestamps then follow the clock of the
//! last refresh, and what the workers give back waits in a bounded queue.
//!
//! Membership ([`membership`], [`discovery`], run by [`mesh`]) is a task of the same thread.

#![forbid(unsafe_code)]

mod conductor;
mod control;
pub mod discovery;
pub mod membership;
pub mod mesh;

pub use conductor::{Conductor, Task};
pub use control::{Control, StartError};
