//! A server has ended that should not have.

use crate::event::Event;

/// The end of a server, told by itself as its last word or by whoever saw it end
/// ([`Envelope::source`](crate::Envelope::source) says which). Critical: without a rule that says
/// otherwise it goes by TCP, reliably.
///
/// ```
/// use wireloom::events::ServerCrash;
///
/// let crash = ServerCrash {
///     node: "analytics-01".into(),
///     node_id: 7,
///     reason: "killed: out of memory".into(),
///     exit_code: None,
///     signal: Some(9),
///     uptime_ms: 86_400_000,
///     timestamp_ns: 1_700_000_000_000_000_000,
/// };
/// # let _ = crash;
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
#[event(type = "server-crash", priority = "critical", crate = "crate")]
pub struct ServerCrash {
    /// Name of the node that ended.
    pub node: String,
    /// Its id, as packets carry it.
    pub node_id: u64,
    /// Why it ended, as far as is known.
    pub reason: String,
    /// What it returned, if it returned.
    pub exit_code: Option<i32>,
    /// The signal that ended it, if one did; see signal(7).
    pub signal: Option<i32>,
    /// How long it had run, in milliseconds; 0 when that is not known.
    pub uptime_ms: u64,
    /// When it ended: nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
}
