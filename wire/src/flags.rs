//! The flag bits of packets and frames: what each means, which a version-1 receiver takes.
//!
//! Plain values without state. Every bit has its meaning or none yet: a receiver refuses a bit it
//! does not know, because a flag may move every byte that follows.

use core::fmt;
use core::ops::BitOr;

/// The flags of a packet, one byte. `docs/wire.md` says what each is for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PacketFlags(u8);

impl PacketFlags {
    /// The header carries a checksum of the packet.
    pub const CHECKSUMMED: Self = Self(1);
    /// The packet is authenticated by a tag behind it and, without [`CLEAR`](Self::CLEAR), its body
    /// is encrypted. Whoever has no key refuses it.
    pub const SEALED: Self = Self(2);
    /// The packet has its place in a stream: its sequence and first event count.
    pub const SEQUENCED: Self = Self(4);
    /// Reserved: the body is compressed as a whole. Refused in version 1.
    pub const COMPRESSED: Self = Self(8);
    /// The body of a sealed packet is in clear: the tag covers it, and nothing hides it.
    pub const CLEAR: Self = Self(16);
    /// Zero bytes may follow the packet, which make the segments of one send equally long.
    pub const PADDED: Self = Self(32);
    /// Not a part of the stream but a word to its sender: how far the receiver has come.
    pub const STATUS: Self = Self(64);
    /// Sent to a group and not to one peer.
    pub const MULTICAST: Self = Self(128);

    /// The flags that a version-1 receiver takes.
    pub const SUPPORTED: Self = Self(
        Self::CHECKSUMMED.0
            | Self::SEALED.0
            | Self::SEQUENCED.0
            | Self::CLEAR.0
            | Self::PADDED.0
            | Self::STATUS.0
            | Self::MULTICAST.0,
    );

    /// Every flag with its name, from the lowest bit.
    pub const NAMES: [(Self, &'static str); 8] = [
        (Self::CHECKSUMMED, "CHECKSUMMED"),
        (Self::SEALED, "SEALED"),
        (Self::SEQUENCED, "SEQUENCED"),
        (Self::COMPRESSED, "COMPRESSED"),
        (Self::CLEAR, "CLEAR"),
        (Self::PADDED, "PADDED"),
        (Self::STATUS, "STATUS"),
        (Self::MULTICAST, "MULTICAST"),
    ];
}

/// The flags of a frame, two bytes. Those below 256 announce an extension each, and the extensions
/// stand in the order of the bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FrameFlags(u16);

impl FrameFlags {
    /// A trace context follows: 32 bytes.
    pub const TRACE: Self = Self(1);
    /// A deadline follows: 16 bytes.
    pub const DEADLINE: Self = Self(2);
    /// A proof of who published the event follows: 80 to 272 bytes, [`Proof`](crate::Proof).
    pub const SIGNED: Self = Self(4);
    /// The payload is a piece of a larger event: [`Piece`](crate::Piece), on links over TCP alone.
    /// Refused in a datagram.
    pub const FRAGMENT: Self = Self(8);
    /// Reserved: the payload is compressed. Refused in version 1.
    pub const COMPRESSED: Self = Self(16);
    /// The name of the event's type follows: 16 to 256 bytes.
    pub const NAMED: Self = Self(32);
    /// What ties a reply to its request follows: 32 bytes.
    pub const CORRELATION: Self = Self(64);
    /// Reserved: a key by which events are ordered, kept latest, or spread. Refused in version 1.
    pub const KEYED: Self = Self(128);

    /// The flags that a version-1 receiver takes.
    pub const SUPPORTED: Self = Self(
        Self::TRACE.0 | Self::DEADLINE.0 | Self::SIGNED.0 | Self::NAMED.0 | Self::CORRELATION.0,
    );

    /// The flags that have a meaning, and no room for it yet in version 1, or not in a datagram.
    pub const RESERVED: Self = Self(Self::FRAGMENT.0 | Self::COMPRESSED.0 | Self::KEYED.0);

    /// Every flag with its name, from the lowest bit.
    pub const NAMES: [(Self, &'static str); 8] = [
        (Self::TRACE, "TRACE"),
        (Self::DEADLINE, "DEADLINE"),
        (Self::SIGNED, "SIGNED"),
        (Self::FRAGMENT, "FRAGMENT"),
        (Self::COMPRESSED, "COMPRESSED"),
        (Self::NAMED, "NAMED"),
        (Self::CORRELATION, "CORRELATION"),
        (Self::KEYED, "KEYED"),
    ];
}

/// What packets' and frames' flags have in common: one set of bits, of the width given.
macro_rules! flag_set {
    ($name:ident, $bits:ty) => {
        impl $name {
            /// No flag.
            #[inline]
            #[must_use]
            pub const fn empty() -> Self {
                Self(0)
            }

            /// The flags with these bits, known or not.
            #[inline]
            #[must_use]
            pub const fn from_bits(bits: $bits) -> Self {
                Self(bits)
            }

            /// The bits, as on the wire.
            #[inline]
            #[must_use]
            pub const fn bits(self) -> $bits {
                self.0
            }

            /// Whether every flag of `other` is set.
            #[inline]
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// These flags and those of `other`.
            #[inline]
            #[must_use]
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// These flags without those of `other`.
            #[inline]
            #[must_use]
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            /// Those of these flags that a version-1 receiver refuses. Printed, they say what the
            /// sender wanted.
            #[inline]
            #[must_use]
            pub const fn unsupported(self) -> Self {
                self.without(Self::SUPPORTED)
            }

            /// Whether no flag is set.
            #[inline]
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }
        }

        impl BitOr for $name {
            type Output = Self;

            #[inline]
            fn bitor(self, other: Self) -> Self {
                self.with(other)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let named = Self::NAMES.into_iter().map(|(flag, name)| (flag.0.into(), name));
                write_names(formatter, self.0.into(), named)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

flag_set!(PacketFlags, u8);
flag_set!(FrameFlags, u16);

/// Writes the names of the set bits, `none` where there are none, unnamed bits in hexadecimal.
fn write_names(
    formatter: &mut fmt::Formatter<'_>,
    bits: u16,
    named: impl Iterator<Item = (u16, &'static str)>,
) -> fmt::Result {
    if bits == 0 {
        return formatter.write_str("none");
    }
    let mut unnamed = bits;
    let mut separator = "";
    for (bit, name) in named.filter(|(bit, _)| bits & bit != 0) {
        write!(formatter, "{separator}{name}")?;
        unnamed &= !bit;
        separator = "|";
    }
    if unnamed == 0 { Ok(()) } else { write!(formatter, "{separator}{unnamed:#x}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn every_bit_is_named_once_in_order() {
        for (index, (flag, _)) in PacketFlags::NAMES.into_iter().enumerate() {
            assert_eq!(flag.bits(), 1 << index);
        }
        for (index, (flag, _)) in FrameFlags::NAMES.into_iter().enumerate() {
            assert_eq!(flag.bits(), 1 << index);
        }
        let known = FrameFlags::SUPPORTED | FrameFlags::RESERVED;
        assert_eq!(known.bits(), 0xff);
        assert!(FrameFlags::SUPPORTED.without(FrameFlags::RESERVED) == FrameFlags::SUPPORTED);
    }

    #[test]
    fn flags_print_their_names() {
        let flags = PacketFlags::CHECKSUMMED | PacketFlags::COMPRESSED | PacketFlags::CLEAR;
        assert_eq!(flags.to_string(), "CHECKSUMMED|COMPRESSED|CLEAR");
        assert_eq!(flags.unsupported().to_string(), "COMPRESSED");
        assert_eq!(PacketFlags::empty().to_string(), "none");
        let flags = FrameFlags::from_bits(0x4081);
        assert_eq!(flags.to_string(), "TRACE|KEYED|0x4000");
        assert_eq!(flags.unsupported().to_string(), "KEYED|0x4000");
        assert!(!flags.is_empty() && FrameFlags::default().is_empty());
    }
}
