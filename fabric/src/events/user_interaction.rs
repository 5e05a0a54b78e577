//! What a person did in a user interface.

use crate::event::Event;

/// One act of a user: a click, a key, a choice.
///
/// ```
/// use wireloom::events::UserInteraction;
///
/// let click = UserInteraction {
///     user_id: 42,
///     action: "click".into(),
///     element: "checkout-button".into(),
///     session_id: 9_001,
/// };
/// # let _ = click;
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
#[event(type = "user-interaction", priority = "normal", crate = "crate")]
pub struct UserInteraction {
    /// Who did it, by the program's own numbering; 0 for somebody not known.
    pub user_id: u64,
    /// What was done, such as `click`.
    pub action: String,
    /// What it was done to, by the program's own name for it.
    pub element: String,
    /// The session it happened in, by the program's own numbering.
    pub session_id: u64,
}
