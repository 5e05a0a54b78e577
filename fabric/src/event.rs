//! What makes a Rust type an event: a name, a priority, a schema, and an archived form.
//!
//! Everything here is known when the type is compiled. The router and the nodes read it; nothing
//! here touches bytes (see `encode` and `decode` for those).

pub use wireloom_wire::{EventTypeId, Fingerprint, NAME_BYTES_MAX, Priority};

#[doc(inline)]
pub use wireloom_derive::Event;

use crate::decode::Decode;
use crate::encode::Encode;
use crate::schema::{Schema, fingerprint32};

/// A type whose values can be published. Derive it; see the [macro](wireloom_derive::Event).
///
/// The type also derives rkyv's `Archive`, `Serialize` and `Deserialize`, which give the archived
/// form that travels. No `where` clause is needed in code that is generic over events: `E: Event`
/// says all that [`encode`](crate::encode::encode), [`access`](crate::decode::access) and
/// [`to_owned`](crate::decode::to_owned) ask for.
///
/// # Examples
///
/// ```
/// use wireloom::{Event, event::Priority};
///
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[event(type = "user-interaction", priority = "high", multicast = "224.1.1.1:9000")]
/// struct UserInteraction {
///     user_id: u64,
///     action: String,
/// }
///
/// assert_eq!(UserInteraction::TYPE, "user-interaction");
/// assert_eq!(UserInteraction::PRIORITY, Priority::High);
/// assert_eq!(UserInteraction::MULTICAST, Some("224.1.1.1:9000"));
/// ```
///
/// A name is required, and the compiler says which one it would take:
///
/// ```compile_fail
/// #[derive(wireloom::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// struct UserInteraction {
///     user_id: u64,
/// }
/// ```
///
/// So are rkyv's derives, without which there is nothing to send:
///
/// ```compile_fail,E0277
/// #[derive(wireloom::Event)]
/// #[event(type = "user-interaction")]
/// struct UserInteraction {
///     user_id: u64,
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    note = "add #[derive(wireloom::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)] and \
            #[event(type = \"…\")] to it"
)]
pub trait Event: Schema + Encode + Decode + 'static {
    /// The name of the type on the wire: 1 to 255 bytes of `a`–`z`, `0`–`9`, `-`, `.`, `_`.
    const TYPE: &'static str;

    /// What frames carry in place of the name. A wrong name fails to compile here.
    const TYPE_ID: EventTypeId = type_id(Self::TYPE);

    /// What frames carry of the [fingerprint](Schema::FINGERPRINT); never 0.
    const FINGERPRINT32: Fingerprint = fingerprint32(<Self as Schema>::FINGERPRINT);

    /// The lane its events travel in, unless the publisher asks for another.
    const PRIORITY: Priority = Priority::Normal;

    /// Where events of this type go by multicast, as `group:port`.
    const MULTICAST: Option<&'static str> = None;
}

/// Whether `name` may name an event type: 1 to 255 bytes of `a`–`z`, `0`–`9`, `-`, `.`, `_`.
///
/// Derived events are checked when they compile; use this for names that come from outside.
#[must_use]
pub const fn is_type_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > NAME_BYTES_MAX {
        return false;
    }
    let mut at = 0;
    while at < bytes.len() {
        if !matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_') {
            return false;
        }
        at += 1;
    }
    true
}

const fn type_id(name: &str) -> EventTypeId {
    assert!(
        is_type_name(name),
        "an event's type name is 1 to 255 bytes of a-z, 0-9, '-', '.', '_'"
    );
    wireloom_wire::event_type_id(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_names() {
        for good in ["a", "user-interaction", "v1.price_tick", "0", &"x".repeat(255)] {
            assert!(is_type_name(good), "{good}");
        }
        for bad in ["", "User", "a b", "a/b", "é", "a\0", "a:b", &"x".repeat(256)] {
            assert!(!is_type_name(bad), "{bad}");
        }
    }
}
