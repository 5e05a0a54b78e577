//! One measured figure.

use std::collections::BTreeMap;

use crate::event::Event;

/// A figure that somebody measured: a latency, a rate, a fill level. Low in priority, so that
/// figures never hold up what they are about.
///
/// ```
/// use wireloom::events::PerformanceMetric;
///
/// let latency = PerformanceMetric {
///     node: "analytics-01".into(),
///     name: "query.latency".into(),
///     value: 12.5,
///     unit: "ms".into(),
///     timestamp_ns: 1_700_000_000_000_000_000,
///     labels: [("table".into(), "orders".into())].into(),
/// };
/// # let _ = latency;
/// ```
#[derive(
    Clone,
    Debug,
    PartialEq,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[event(type = "performance-metric", priority = "low", crate = "crate")]
pub struct PerformanceMetric {
    /// Name of the node that measured.
    pub node: String,
    /// What was measured, such as `query.latency`.
    pub name: String,
    /// The figure, in `unit`. JSON has no word for one that is not a number.
    pub value: f64,
    /// The unit, such as `ms`, `bytes` or `1/s`; empty for a plain count.
    pub unit: String,
    /// When it was measured: nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
    /// What the figure is about, beyond its name.
    pub labels: BTreeMap<String, String>,
}
