//! The names of things on the wire, as numbers that cannot be mixed up.
//!
//! Plain values without state; nothing here touches bytes.

use core::fmt;

use xxhash_rust::const_xxh3::xxh3_64;

/// Which node: one running process. Stays the same for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// Which session: one life of a sender. Sequences start anew in a new session, and a session
/// number is not used twice by one incarnation of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

/// Which type of event: made of the type's name by [`event_type_id`]. 0 is no type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTypeId(pub u32);

/// Which shape of the event's type: a hash of its fields, made by the layer that knows types.
/// 0 says that the encoding has no shape to check (raw bytes, JSON).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub u32);

impl Fingerprint {
    /// No shape to check.
    pub const NONE: Self = Self(0);
}

/// Bytes of a node's name.
pub const NODE_NAME_BYTES_MAX: usize = 64;

/// Whether `name` may name a node of a cluster: 1 to 64 bytes without control characters.
#[must_use]
pub fn is_node_name(name: &str) -> bool {
    (1..=NODE_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control)
}

impl NodeId {
    /// The id of the node called `name`: the name's XXH3-64, or 1 where that is 0. Some tens of
    /// nanoseconds; two names share an id once in 2^64 pairs.
    #[must_use]
    pub const fn of_name(name: &str) -> Self {
        let hash = xxh3_64(name.as_bytes());
        Self(if hash == 0 { 1 } else { hash })
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

impl fmt::Display for EventTypeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}", self.0)
    }
}

/// The id of the event type called `name`: the low 32 bits of the name's XXH3-64, or 1 where those
/// are 0. Meant for constants; at run time it costs some tens of nanoseconds.
///
/// Two names may share an id (about one chance in 4 billion a pair): whoever registers types must
/// look, and refuse the second.
///
/// ```
/// use wireloom_wire::{EventTypeId, event_type_id};
///
/// const HEARTBEAT: EventTypeId = event_type_id("heartbeat");
/// assert_ne!(HEARTBEAT, event_type_id("Heartbeat"));
/// ```
#[must_use]
pub const fn event_type_id(name: &str) -> EventTypeId {
    let low = (xxh3_64(name.as_bytes()) & 0xffff_ffff) as u32;
    EventTypeId(if low == 0 { 1 } else { low })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn an_event_type_id_is_the_low_half_of_the_name_hash() {
        // XXH3-64 of no bytes is 2d06800538d394c2 (test vector of the xxHash specification).
        assert_eq!(event_type_id(""), EventTypeId(0x38d3_94c2));
        for name in ["heartbeat", "user-interaction", "größe", &"x".repeat(300)] {
            let hash = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
            assert_eq!(u64::from(event_type_id(name).0), hash & 0xffff_ffff, "of {name}");
        }
    }

    #[test]
    fn a_node_id_is_the_hash_of_its_name() {
        for name in ["a", "desk-7", "größe", &"x".repeat(300)] {
            assert_eq!(NodeId::of_name(name).0, xxhash_rust::xxh3::xxh3_64(name.as_bytes()));
        }
        let longest = "n".repeat(NODE_NAME_BYTES_MAX);
        for (name, good) in [("", false), ("a", true), ("größe", true), ("a\nb", false)] {
            assert_eq!(is_node_name(name), good, "{name:?}");
        }
        assert!(is_node_name(&longest) && !is_node_name(&(longest + "n")));
    }

    #[test]
    fn ids_print_as_fixed_width_hexadecimal() {
        assert_eq!(format!("{}", NodeId(0xab)), "00000000000000ab");
        assert_eq!(format!("{}", SessionId(0xab)), "000000ab");
        assert_eq!(format!("{}", EventTypeId(0xab)), "000000ab");
        assert_eq!(format!("{}", Fingerprint::NONE), "00000000");
    }
}
