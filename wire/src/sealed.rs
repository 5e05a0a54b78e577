//! Sealed packets: where the key, the counter and the tag stand, and the checks before a key is
//! looked for. Who seals and opens is the matter of the crate `wireloom-seal`; nothing here knows
//! a secret.
//!
//! ```text
//!    0         1         2         3         4                   6
//!  0 ├─ version ┼─ flags ─┼─ lane ──┼─ slot ──┼─ frame count ─────┼─ key set ─────────┤
//!  8    …  length counts the tag; everything else as in every packet  …
//! 40 ├─ counter ─────────────────────────────────────────────────────────────────────┤
//! 48 ├─ frames, encrypted (in clear with CLEAR) … ├─ tag, 16 bytes ─┤
//! ```

use core::fmt;

use crate::bytes::{put, u16_at, u64_at};
use crate::flags::PacketFlags;
use crate::packet::{
    COUNTER_OFFSET, PACKET_HEADER_BYTES, Packet, PacketHeader, RESERVED_OFFSET, SLOT_OFFSET,
    VERSION, check_lane, is_padding,
};
use crate::reason::PacketError;

/// Bytes of the tag behind a sealed packet's frames: one unit of alignment.
pub const TAG_BYTES: usize = 16;

/// Which keys two nodes share, of those they have shared so far. 0 is none; two pairs of nodes may
/// use the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeySetId(pub u16);

impl KeySetId {
    /// The bit that the sets of groups have and those of pairs have not: a node chooses the one and
    /// agrees on the other, so that they could meet.
    pub const OF_GROUPS: u16 = 1 << 15;

    /// Whether it is of a source's groups, and not of a pair.
    #[must_use]
    pub const fn is_of_groups(self) -> bool {
        self.0 & Self::OF_GROUPS != 0
    }
}

impl fmt::Display for KeySetId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04x}", self.0)
    }
}

/// By which key a packet is sealed, and with which count of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The keys that the two nodes share.
    pub set: KeySetId,
    /// Which of the source's workers sealed it: each has a key and a count of its own.
    pub slot: u8,
    /// How many packets that key had sealed before, gaps included. Never twice the same.
    pub counter: u64,
}

impl PacketHeader {
    /// The header's bytes for a sealed packet. `SEALED` is set and `CHECKSUMMED` is not, whatever
    /// `flags` says; `length` is to count the tag. About 2 ns. Checks nothing, as
    /// [`encode`](Self::encode).
    #[inline]
    #[must_use]
    pub fn encode_sealed(&self, seal: &Seal) -> [u8; PACKET_HEADER_BYTES] {
        let flags = self.flags.without(PacketFlags::CHECKSUMMED) | PacketFlags::SEALED;
        let mut bytes = self.encode_with(flags);
        bytes[SLOT_OFFSET] = seal.slot;
        put(&mut bytes, RESERVED_OFFSET, seal.set.0.to_le_bytes());
        put(&mut bytes, COUNTER_OFFSET, seal.counter.to_le_bytes());
        bytes
    }
}

/// Whether a datagram says of itself that it is sealed: the question that decides between
/// [`decode_sealed`] and [`decode_packet`](crate::decode_packet).
#[inline]
#[must_use]
pub const fn is_sealed(datagram: &[u8]) -> bool {
    datagram.len() >= PACKET_HEADER_BYTES
        && datagram[0] == VERSION
        && PacketFlags::from_bits(datagram[1]).contains(PacketFlags::SEALED)
}

/// A sealed packet whose header is possible. Nothing in it is to be believed before it is opened.
#[derive(Clone, Copy, Debug)]
pub struct SealedPacket<'a> {
    /// What it says of itself.
    pub header: PacketHeader,
    /// By which key.
    pub seal: Seal,
    bytes: &'a [u8],
}

impl<'a> SealedPacket<'a> {
    /// The header as it came: what the tag covers beside the frames.
    #[inline]
    #[must_use]
    pub fn head(&self) -> &'a [u8] {
        &self.bytes[..PACKET_HEADER_BYTES]
    }

    /// The frames: encrypted, or with `CLEAR` as they are.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[PACKET_HEADER_BYTES..self.bytes.len() - TAG_BYTES]
    }

    /// Header and frames, side by side.
    #[inline]
    #[must_use]
    pub fn covered(&self) -> &'a [u8] {
        &self.bytes[..self.bytes.len() - TAG_BYTES]
    }

    /// The tag.
    #[inline]
    #[must_use]
    pub fn tag(&self) -> &'a [u8] {
        &self.bytes[self.bytes.len() - TAG_BYTES..]
    }

    /// Whether the frames are in clear and only covered by the tag.
    #[inline]
    #[must_use]
    pub const fn is_clear(&self) -> bool {
        self.header.flags.contains(PacketFlags::CLEAR)
    }

    /// The packet, with its frames as they were before it was sealed. For whoever has verified the
    /// tag.
    #[inline]
    #[must_use]
    pub const fn opened<'b>(&self, body: &'b [u8]) -> Packet<'b> {
        Packet { header: self.header, body }
    }
}

/// The sealed packet in a datagram.
///
/// Costs some 4 ns and a look through the padding. The tag is not verified: that takes a key.
///
/// # Errors
/// The first reason that holds, in the order of [`PacketError`]; [`PacketError::Flags`] also for a
/// packet that is not sealed, or names no key set.
#[inline]
pub fn decode_sealed(datagram: &[u8]) -> Result<SealedPacket<'_>, PacketError> {
    let Some(bytes) = datagram.first_chunk::<PACKET_HEADER_BYTES>() else {
        return Err(PacketError::Truncated);
    };
    let header = PacketHeader::peek(bytes);
    if bytes[0] != VERSION {
        return Err(PacketError::Version);
    }
    let set = KeySetId(u16_at(bytes, RESERVED_OFFSET));
    if !seals(header.flags) || set.0 == 0 {
        return Err(PacketError::Flags);
    }
    check_lane(header.lane)?;
    if !header.length_is_possible(TAG_BYTES) {
        return Err(PacketError::Length);
    }
    let Some((packet, trailing)) = datagram.split_at_checked(header.length as usize) else {
        return Err(PacketError::Length);
    };
    if !trailing.is_empty() && !is_padding(trailing, header.flags) {
        return Err(PacketError::Trailing);
    }
    let seal = Seal { set, slot: bytes[SLOT_OFFSET], counter: u64_at(bytes, COUNTER_OFFSET) };
    Ok(SealedPacket { header, seal, bytes: packet })
}

/// Whether these are the flags of a sealed packet: a checksum has no place in it, and a status has
/// no frames that could be in clear.
#[inline]
pub(crate) const fn seals(flags: PacketFlags) -> bool {
    let status = PacketFlags::STATUS.with(PacketFlags::SEALED);
    flags.contains(PacketFlags::SEALED)
        && flags.unsupported().is_empty()
        && !flags.contains(PacketFlags::CHECKSUMMED)
        && (!flags.contains(PacketFlags::STATUS) || flags.bits() == status.bits())
}

#[cfg(test)]
#[path = "sealed/tests.rs"]
mod tests;
