//! What a developer wants to see while it happens.

use std::collections::BTreeMap;

use crate::event::Event;

/// A line for whoever is looking, sent to the debug group. Background in priority: it yields to
/// everything else.
///
/// ```
/// use wireloom::events::DebugMessage;
///
/// let line = DebugMessage {
///     node: "analytics-01".into(),
///     component: "planner".into(),
///     message: "chose the index".into(),
///     timestamp_ns: 1_700_000_000_000_000_000,
///     fields: [("rows".into(), "1200".into())].into(),
/// };
/// # let _ = line;
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
#[event(type = "debug", priority = "background", multicast = "224.1.1.2:9000", crate = "crate")]
pub struct DebugMessage {
    /// Name of the node it happened on.
    pub node: String,
    /// The part of the program that speaks.
    pub component: String,
    /// The line itself.
    pub message: String,
    /// When it was written: nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// Values that belong to it, by name.
    pub fields: BTreeMap<String, String>,
}
