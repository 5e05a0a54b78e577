//! The data plane: agents on pinned workers that move bytes between rings and sockets.
//!
//! ```text
//!  publisher threads            worker(s)                                subscriber threads
//!  ┌───────────┐  outbound  ┌──────────────────┐         network        ┌──────────────┐
//!  │ Producer  │═══ring════▶│ Sender           │──▶ io ─────────▶ io ──▶│ Receiver     │
//!  └───────────┘  (frames   │ gather·seal·send │   packets of frames    │ check·window │
//!        │         + marks) └──────────────────┘                        │ dispatch     │
//!        │                        ▲ commands                            └──┬────────┬──┘
//!        └── Wake ────────────────┘                                inline │        │ inbound ring
//!                              control                                handler     Consumer::read
//! ```
//!
//! - [`launch`] builds everything; [`agent`] says what runs, [`worker`] and [`idle`] how;
//! - [`sender`] and [`receiver`] are the two agents, [`link`], [`outbound`], [`dispatch`] and
//!   [`inbound`] what they work on;
//! - [`keyring`] has the keys that packets are opened by, a [`link`] the one that seals them;
//! - [`flow`] keeps a sender within what its peer takes, [`direct`] has a socket for the peer that
//!   matters most;
//! - [`io`] is the contract of everything that carries datagrams, [`socket`] opens real ones;
//! - [`command`] is how control speaks to agents, [`counters`] what they say back;
//! - [`limits`] holds every bound with its reason.
//!
//! Bytes only: nothing here knows a Rust type of the user. Workers never block (other than in
//! [`poller`] when idle), allocate, lock, log, or read the clock twice a cycle.

#![deny(unsafe_code)]

mod advertise;
pub mod agent;
pub mod clock;
pub mod command;
pub mod config;
pub mod control_path;
pub mod counters;
mod credit;
pub mod direct;
pub mod dispatch;
pub mod flow;
pub mod idle;
pub mod inbound;
pub mod io;
pub mod keyring;
pub mod large;
pub mod launch;
pub mod limits;
pub mod link;
pub mod outbound;
pub mod poller;
pub mod receiver;
pub mod sender;
pub mod socket;
mod sources;
#[allow(unsafe_code)]
mod sys;
pub mod wake;
pub mod worker;
