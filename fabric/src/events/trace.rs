//! One finished operation of a trace.

use crate::event::Event;

/// An operation that has ended: a span of a trace, told by the node it ran on. Traced functions
/// publish it ([`trace`](crate::trace)); what succeeded goes to the debug group, what failed to the
/// service `error-collector`.
///
/// ```
/// use wireloom::events::{Trace, TraceOutcome};
///
/// let trace = Trace {
///     trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
///     span_id: "00f067aa0ba902b7".into(),
///     parent_span_id: String::new(),
///     operation: "checkout".into(),
///     node: "shop-01".into(),
///     started_ns: 1_700_000_000_000_000_000,
///     duration_ns: 1_250_000,
///     busy_ns: 400_000,
///     outcome: TraceOutcome::Ok,
///     message: String::new(),
///     metadata: vec![("user_id".into(), "42".into())],
/// };
/// # let _ = trace;
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
#[event(type = "trace", priority = "low", multicast = "224.1.1.2:9000", crate = "crate")]
pub struct Trace {
    /// The trace it belongs to: 32 hexadecimal digits, as in `traceparent`.
    pub trace_id: String,
    /// The operation itself: 16 hexadecimal digits.
    pub span_id: String,
    /// The operation that caused it; empty for the first of a trace.
    pub parent_span_id: String,
    /// What was done.
    pub operation: String,
    /// Name of the node it was done on.
    pub node: String,
    /// When it began: nanoseconds since the Unix epoch, by the node's clock.
    pub started_ns: u64,
    /// From its beginning to its end, waiting included, in nanoseconds.
    pub duration_ns: u64,
    /// Of that, how long it ran: for a future the sum of its polls, in nanoseconds; 0 for a future
    /// of a trace that is not sampled.
    pub busy_ns: u64,
    /// How it ended.
    pub outcome: TraceOutcome,
    /// What was wrong, at most [`MESSAGE_BYTES_MAX`](crate::trace::MESSAGE_BYTES_MAX) bytes; empty
    /// unless it failed.
    pub message: String,
    /// Values that belong to it, by name; at most [`PAIRS_MAX`](crate::trace::PAIRS_MAX).
    pub metadata: Vec<(String, String)>,
}

/// How a traced operation ended.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    crate::schema::Schema,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[schema(crate = "crate")]
#[rkyv(derive(Debug, PartialEq))]
pub enum TraceOutcome {
    /// It returned, and not an error.
    Ok,
    /// It returned an error, or panicked.
    Error,
    /// A future that was dropped before it was ready.
    Cancelled,
}
