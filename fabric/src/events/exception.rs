//! A handler's panic, told to whoever looks after the program.

use crate::event::Event;

/// A handler has panicked. Published by the node it ran on, to this process and, where the cluster
/// has one, reliably to a member that offers the service
/// [`ERROR_COLLECTOR`](crate::events::exception::ERROR_COLLECTOR); ten a second at most.
#[derive(
    Clone,
    Debug,
    PartialEq,
    Eq,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[event(type = "exception", priority = "high", crate = "crate")]
pub struct Exception {
    /// The node's name.
    pub node: String,
    /// The node's id, as packets carry it.
    pub node_id: u64,
    /// The event type whose handler it was; `lost` for a handler of gaps.
    pub component: String,
    /// The handler: the number of its subscription.
    pub handler: u64,
    /// What it panicked with, the first 512 bytes.
    pub message: String,
    /// When: milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// How many times it has panicked without taking an event in between, this time included.
    pub in_a_row: u32,
    /// Whether its subscription was ended for that.
    pub ended: bool,
    /// Panics of this node before this one that were not told, because there were too many.
    pub untold: u64,
}

/// The service that takes exceptions of a whole cluster.
pub const ERROR_COLLECTOR: &str = "error-collector";
