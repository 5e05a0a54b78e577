//! Something failed and the program knows it.

use crate::event::Event;

/// An error that a component met and reports. Critical: without a rule that says otherwise it goes
/// by TCP, reliably.
///
/// ```
/// use wireloom::events::ErrorReport;
///
/// let report = ErrorReport {
///     node: "analytics-01".into(),
///     component: "store".into(),
///     message: "the disk is full".into(),
///     recoverable: true,
///     stack: None,
///     timestamp_ns: 1_700_000_000_000_000_000,
/// };
/// # let _ = report;
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
#[event(type = "error", priority = "critical", crate = "crate")]
pub struct ErrorReport {
    /// Name of the node it happened on.
    pub node: String,
    /// The part of the program that met it.
    pub component: String,
    /// What happened, to what.
    pub message: String,
    /// Whether the component goes on.
    pub recoverable: bool,
    /// Where in the code, if that is known; one frame a line.
    pub stack: Option<String>,
    /// When it happened: nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
}
