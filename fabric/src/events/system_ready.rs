//! A system has started and takes work.

use crate::event::Event;

/// What a system says once all its parts are up. Its fields are those of the legacy event
/// `system.ready`, so that the JSON form of either is that of the other.
///
/// ```
/// use wireloom::events::SystemReady;
///
/// let ready = SystemReady {
///     version: "1.4.0".into(),
///     context: "server".into(),
///     timestamp: "2026-01-31T12:00:00.000Z".into(),
///     components: vec!["store".into(), "planner".into()],
/// };
/// # let _ = ready;
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
#[event(type = "system-ready", priority = "high", multicast = "224.1.1.1:9000", crate = "crate")]
pub struct SystemReady {
    /// The version of the system.
    pub version: String,
    /// Where it runs: `browser`, `server` or `remote`.
    pub context: String,
    /// When it became ready, ISO 8601 in UTC, as `2026-01-31T12:00:00.000Z`.
    pub timestamp: String,
    /// Names of the parts that are up.
    pub components: Vec<String>,
}
