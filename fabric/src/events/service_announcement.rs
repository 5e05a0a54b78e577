//! What a node offers, said when it starts to and when that changes.

use crate::event::Event;

/// A node's services as of now; sent to the discovery group. The table of members
/// ([`Node::members`](crate::Node::members)) has the same, also where no group reaches.
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
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[event(type = "service-announcement", priority = "high", crate = "crate")]
pub struct ServiceAnnouncement {
    /// The node's name.
    pub node: String,
    /// The node's id, as packets carry it.
    pub node_id: u64,
    /// Where the node receives, `host:port`.
    pub address: String,
    /// Names of all services it offers from now on.
    pub services: Vec<String>,
}
