//! What a user interface shows has changed.

use crate::event::Event;

/// A part of a user interface went from one state to another.
///
/// ```
/// use wireloom::events::UiStateChange;
///
/// let opened = UiStateChange {
///     session_id: 9_001,
///     component: "cart-panel".into(),
///     property: "visible".into(),
///     before: "false".into(),
///     after: "true".into(),
///     timestamp_ns: 1_700_000_000_000_000_000,
/// };
/// # let _ = opened;
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
#[event(type = "ui-state-change", priority = "normal", crate = "crate")]
pub struct UiStateChange {
    /// The session it belongs to, by the program's own numbering.
    pub session_id: u64,
    /// The part of the interface, by the program's own name for it.
    pub component: String,
    /// Which of its properties changed.
    pub property: String,
    /// The value until now, as text; empty when there was none.
    pub before: String,
    /// The value from now on, as text; empty when there is none.
    pub after: String,
    /// When it changed: nanoseconds since the Unix epoch.
    pub timestamp_ns: u64,
}
