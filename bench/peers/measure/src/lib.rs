//! What every peer is measured with, so that all are measured alike: the message and its checks,
//! the counts of the receiver, the two pinned processes and their service, the row that is printed.
//!
//! A peer's program implements [`Peer`] and calls [`run`]. The program then starts itself again for
//! the receiving side, and for a driver or broker where the peer has one. Nothing here knows one.
#![forbid(unsafe_code)]

// The very file that `wireloom bench` counts with: loss, repetition and damage mean the same here.
#[allow(dead_code, reason = "the command asks it for more")]
#[path = "../../../../cli/src/bench/arrivals.rs"]
mod arrivals;
mod child;
mod command;
mod config;
mod event;
mod figures;
mod flood;
mod inbox;
mod peer;
mod pingpong;
mod place;
mod processes;
mod row;

pub use command::{locked_version, run};
pub use config::{Class, Config, Tuning, Work};
pub use event::MESSAGE_BYTES;
pub use inbox::{Inbox, Tally};
pub use peer::{Peer, Pinging, Publishing, Receiving, Stop, WAIT, until};
pub use place::Plan;
pub use row::{Percentiles, Row};
