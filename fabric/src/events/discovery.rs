//! A node that looks for others, or answers one that does.

use crate::event::Event;

/// Who a node is and what it offers and wants, said to the discovery group.
///
/// A [cluster](crate::NodeBuilder::discover) finds its members by packets of its own and needs none
/// of these; they are for programs that take part in no cluster and only want to know who is there.
///
/// ```
/// use wireloom::{DISCOVERY_GROUP, Event, events::Discovery};
///
/// let hello = Discovery {
///     node: "analytics-01".into(),
///     node_id: 7,
///     version: env!("CARGO_PKG_VERSION").into(),
///     addresses: vec!["10.0.0.5:9000".into()],
///     services: vec!["analytics".into()],
///     interests: vec!["user-interaction".into()],
/// };
/// assert_eq!(Discovery::MULTICAST, Some(DISCOVERY_GROUP));
/// # let _ = hello;
/// ```
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
#[event(type = "discovery", priority = "high", multicast = "239.255.87.76:9076", crate = "crate")]
pub struct Discovery {
    /// The node's name.
    pub node: String,
    /// The node's id, as packets carry it.
    pub node_id: u64,
    /// The version of the program, in its own words.
    pub version: String,
    /// Where the node receives, each as `host:port`, the best one first.
    pub addresses: Vec<String>,
    /// Names of the services that the node offers.
    pub services: Vec<String>,
    /// Names of the event types that the node wants.
    pub interests: Vec<String>,
}
