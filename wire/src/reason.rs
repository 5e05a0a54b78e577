//! Why bytes were refused: each reason has a stable short name and an index, to count drops by.
//!
//! Plain values without state. Names become counters and log fields: adding one is fine, renaming
//! one breaks somebody's dashboard.

use core::fmt;

/// Why a datagram is no packet, in the order in which [`decode_packet`](crate::decode_packet)
/// looks: cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketError {
    /// Shorter than a packet header.
    Truncated,
    /// Of another protocol version, or not of this protocol at all.
    Version,
    /// Needs a feature that this version reserves (a reserved flag), or a reserved byte is set.
    Flags,
    /// Sealed, where nobody looks for a key.
    Sealed,
    /// Of a lane that does not exist.
    Lane,
    /// Without a checksum where the caller requires one.
    Unchecksummed,
    /// The length lies: below a header, not a multiple of 16, beyond the datagram, or impossible
    /// for the count of frames.
    Length,
    /// Bytes after the packet: without the padded flag, or not zero, or too many.
    Trailing,
    /// The checksum does not fit the bytes, or is set without its flag.
    Checksum,
}

impl PacketError {
    /// How many reasons there are: the length of an array of counters.
    pub const COUNT: usize = 9;

    /// Every reason, by [`index`](Self::index).
    pub const ALL: [Self; Self::COUNT] = [
        Self::Truncated,
        Self::Version,
        Self::Flags,
        Self::Sealed,
        Self::Lane,
        Self::Unchecksummed,
        Self::Length,
        Self::Trailing,
        Self::Checksum,
    ];

    /// Which counter of [`COUNT`](Self::COUNT) is this reason's.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The reason's stable short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Version => "version",
            Self::Flags => "flags",
            Self::Sealed => "sealed",
            Self::Lane => "lane",
            Self::Unchecksummed => "unchecksummed",
            Self::Length => "length",
            Self::Trailing => "trailing",
            Self::Checksum => "checksum",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Truncated => {
                "datagram is shorter than a packet header: something else sends to this port"
            }
            Self::Version => {
                "datagram is of another protocol version, or of another program: \
                 update the older node, or find who sends to this port"
            }
            Self::Flags => {
                "packet needs a feature that this version does not have: \
                 update this node, or turn the feature off at the sender"
            }
            Self::Sealed => {
                "packet is sealed and this reader has no keys: \
                 turn security on here, or off at the sender"
            }
            Self::Lane => "packet is of a lane that does not exist: update the older node",
            Self::Unchecksummed => {
                "packet has no checksum and this receiver requires one: \
                 turn checksums on at the sender, or the requirement off here"
            }
            Self::Length => {
                "packet's length does not fit its datagram or its count of frames: \
                 it was cut on the way, or its sender is broken"
            }
            Self::Trailing => {
                "packet is followed by bytes that are no padding: its sender is broken"
            }
            Self::Checksum => {
                "packet's checksum does not fit: bits changed on the way; \
                 look at the network card, cable and memory"
            }
        }
    }
}

/// Why a frame was refused. The frames before it stand; those after it cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameError {
    /// Fewer bytes left than a frame header has.
    Short,
    /// The length lies: below header and extensions, or beyond the bytes.
    Length,
    /// A priority above 4.
    Priority,
    /// An encoding above 2.
    Encoding,
    /// A flag bit without a meaning.
    Flags,
    /// An extension that this version reserves.
    Unsupported,
    /// An extension that contradicts itself: an empty or broken name, reserved bytes set.
    Extension,
    /// Fewer or more frames than the packet header counts.
    Count,
}

impl FrameError {
    /// How many reasons there are: the length of an array of counters.
    pub const COUNT: usize = 8;

    /// Every reason, by [`index`](Self::index).
    pub const ALL: [Self; Self::COUNT] = [
        Self::Short,
        Self::Length,
        Self::Priority,
        Self::Encoding,
        Self::Flags,
        Self::Unsupported,
        Self::Extension,
        Self::Count,
    ];

    /// Which counter of [`COUNT`](Self::COUNT) is this reason's.
    #[inline]
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The reason's stable short name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Length => "length",
            Self::Priority => "priority",
            Self::Encoding => "encoding",
            Self::Flags => "flags",
            Self::Unsupported => "unsupported",
            Self::Extension => "extension",
            Self::Count => "count",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::Short => "frame is cut within its header: its sender is broken",
            Self::Length => {
                "frame's length does not fit the bytes it lies in: its sender is broken"
            }
            Self::Priority => "frame is of a priority that does not exist: update the older node",
            Self::Encoding => "frame is of an encoding that does not exist: update the older node",
            Self::Flags => "frame has a flag that this version does not know: update this node",
            Self::Unsupported => {
                "frame has an extension that this version does not have: \
                 update this node, or turn the feature off at the publisher"
            }
            Self::Extension => "frame's extension contradicts itself: its publisher is broken",
            Self::Count => {
                "packet holds more or fewer frames than its header counts: its sender is broken"
            }
        }
    }
}

impl fmt::Display for PacketError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.sentence())
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.sentence())
    }
}

impl core::error::Error for PacketError {}
impl core::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::string::{String, ToString};

    /// Indices run from 0, names are short and distinct, sentences are sentences.
    fn check<T: Copy + ToString>(all: &[T], index: fn(T) -> usize, name: fn(T) -> &'static str) {
        let mut sentences: BTreeSet<String> = BTreeSet::new();
        let mut names = BTreeSet::new();
        for (place, reason) in all.iter().enumerate() {
            assert_eq!(index(*reason), place);
            assert!(name(*reason).bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
            assert!(reason.to_string().contains(' '), "{} needs a sentence", name(*reason));
            names.insert(name(*reason));
            sentences.insert(reason.to_string());
        }
        assert_eq!((names.len(), sentences.len()), (all.len(), all.len()));
    }

    #[test]
    fn reasons_are_dense_distinct_and_explained() {
        check(&PacketError::ALL, PacketError::index, PacketError::name);
        check(&FrameError::ALL, FrameError::index, FrameError::name);
    }
}
