//! Something failed that nobody expected.

use crate::event::Event;

/// A failure that the program did not foresee, such as a handler that panicked; the handlers beside
/// it go on. Critical: without a rule that says otherwise it goes by TCP, reliably.
///
/// ```
/// use wireloom::events::Exception;
///
/// let exception = Exception {
///     component: "handler".into(),
///     message: "index out of bounds: the len is 3 but the index is 7".into(),
///     event_type: "user-interaction".into(),
///     node: "analytics-01".into(),
///     timestamp_ns: 1_700_000_000_000_000_000,
/// };
/// # let _ = exception;
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
#[event(type = "exception", priority = "critical", crate = "crate")]
pub struct Exception {
    /// The part of the program that failed.
    pub component: String,
    /// What was said as it failed.
    pub message: String,
    /// Type name of the event that was being handled; empty when none was.
    pub event_type: String,
    /// Name of the node it happened on.
    pub node: String,
    /// When it happened: nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
}
