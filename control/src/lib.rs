//! The control plane: one thread that starts, tends and stops the data plane, and never stands in
//! an event's way.
//!
//! What it does: keeps the wall clock's offset fresh, frees what the workers give back, runs
//! slow tasks of the node (see [`Control::add_task`]), carries reliable events by TCP ([`Links`]),
//! and ends everything in order. If its thread dies or stalls, events between known peers keep
//! flowing by datagram; timestamps then follow the clock of the last refresh, what the workers give
//! back waits in a bounded queue, and reliable events wait in their rings.
//!
//! | file | what |
//! |---|---|
//! | `links.rs`, `links/` | the agent: links dialled and accepted |
//! | `outgoing.rs`, `incoming.rs` | the two sides of a reliable stream, without sockets or clocks |
//! | `outgoing/pieces.rs`, `incoming/reassembly.rs` | the same for events larger than a packet |
//! | `framing.rs`, `backoff.rs` | packets out of bytes; pauses between attempts |
//! | `tally.rs` | what became of each event, for receipts |
//! | `sockets.rs`, `tcp.rs`, `simulated.rs` | what carries bytes: the kernel's TCP, or memory |
//! | `tls.rs`, `tls/` | the same between nodes that have proved who they are |
//! | `mesh.rs`, `membership/`, `discovery.rs` | who is in the cluster |

#![forbid(unsafe_code)]

mod backoff;
mod compression;
mod conductor;
mod control;
pub mod discovery;
mod framing;
#[doc(hidden)]
pub mod fuzz;
mod incoming;
mod links;
pub mod membership;
pub mod mesh;
mod outgoing;
mod quota;
mod settings;
pub mod simulated;
mod sockets;
mod tally;
mod tcp;
pub mod tls;

pub use conductor::{Conductor, Task};
pub use control::{Control, LinksPlan, StartError};
pub use links::{
    AcceptedMost, DeadLetter, DeadLetters, Identity, Links, LinksCommand, LinksConfig, LinksNotice,
    LinksNotices, LinksPort,
};
pub use outgoing::large::{Large, LargeRoom, LargeShare};
pub use outgoing::{FRAME_BYTES_MAX, Feed, PACKET_BYTES_MAX};
pub use settings::ReliableSettings;
pub use sockets::{Ready, Secret, SocketId, Sockets};
pub use tally::{Delivery, Tally, Undelivered};
pub use tcp::TcpSockets;
