//! Attacks on whole nodes over real sockets (F32–F39 in `docs/faults.md`): what a stranger, or a
//! peer with a certificate that means harm, can do to a node, its memory and its honest peers.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test times itself")]

mod amplify;
mod join;
mod lengths;
mod packets;
mod rig;
mod slow;
