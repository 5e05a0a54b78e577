//! What makes a Rust type an event: a name, a priority, a schema, and an archived form.
//!
//! Everything here is known when the type is compiled. The router and the nodes read it; nothing
//! here touches bytes (see `encode` and `decode` for those).

mod key;
mod older;

use std::time::Duration;

pub use key::Key;
pub use older::{Older, Version, each_version, read, serves};
pub use wireloom_wire::{EventTypeId, Fingerprint, NAME_BYTES_MAX, Priority};

#[doc(inline)]
pub use wireloom_derive::Event;

use crate::decode::Decode;
use crate::encode::Encode;
use crate::schema::{Schema, fingerprint32, versioned};

/// The archive of a type, for generated code.
#[doc(hidden)]
pub use rkyv::Archived;

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
/// How long its events live, what they are about, and which version of the type it is:
///
/// ```
/// use std::time::Duration;
/// use wireloom::Event;
///
/// #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
/// #[event(type = "position", deadline = "250ms", key = "vehicle", version = 2)]
/// struct Position {
///     vehicle: String,
///     latitude: f64,
///     longitude: f64,
/// }
///
/// assert_eq!(Position::DEADLINE, Some(Duration::from_millis(250)));
/// assert_eq!((Position::VERSION, Position::KEY), (2, Some("vehicle")));
/// let here = Position { vehicle: "tram 7".into(), latitude: 53.6, longitude: 10.0 };
/// let there = Position { vehicle: "tram 7".into(), latitude: 53.5, longitude: 10.1 };
/// assert_eq!(here.key(), there.key());
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

    /// Which version of the type this is, from 1. A higher one is another schema, even of the same
    /// fields.
    const VERSION: u32 = 1;

    /// Older versions that this one can be made from: their events are served as this one's.
    const OLDER: &'static [Older<Self>] = &[];

    /// What frames carry of the [fingerprint](Schema::FINGERPRINT) and the version; never 0.
    const FINGERPRINT32: Fingerprint =
        fingerprint32(versioned(<Self as Schema>::FINGERPRINT, Self::VERSION));

    /// The lane its events travel in, unless the publisher asks for another.
    const PRIORITY: Priority = Priority::Normal;

    /// Where events of this type go by multicast, as `group:port`.
    const MULTICAST: Option<&'static str> = None;

    /// How long after its publication an event is worth something, unless its router says until
    /// when. Costs 16 bytes an event.
    const DEADLINE: Option<Duration> = None;

    /// Whether its events are signed by the node that publishes them and taken from others only so:
    /// proof of where an event comes from that does not end with the link it came by.
    ///
    /// Costs a signature (about 20 µs) for each call of a router or publisher that leaves the
    /// process, or for each 64 events of [`Router::route_batch`](crate::Router::route_batch), 80 to
    /// 272 bytes an event, and at the receiver a copy to the control thread and back.
    const SIGNED: bool = false;

    /// The field that says what an event is about.
    const KEY: Option<&'static str> = None;

    /// The key of an event: equal for events about one thing, the same in every build; `None` when
    /// the type has none. For [`Choice::Key`](crate::Choice::Key).
    #[inline]
    fn key(&self) -> Option<u64> {
        None
    }

    /// The key of an archived event, the same as before it was archived.
    #[inline]
    fn key_of(archived: &Archived<Self>) -> Option<u64> {
        let _ = archived;
        None
    }
}

/// When an event of type `E` published now is worth nothing any more, ns since the Unix epoch, if
/// its type says so.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "584 years")]
pub(crate) const fn deadline_ns<E: Event>(now_ns: u64) -> Option<u64> {
    match E::DEADLINE {
        Some(life) => Some(now_ns.saturating_add(life.as_nanos() as u64)),
        None => None,
    }
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
