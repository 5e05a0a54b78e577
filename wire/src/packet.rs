//! The packet header, and the check of a datagram.
//!
//! A packet is this header and a run of whole frames. The header stands beside the frames when it
//! is sent (they stay in their ring) and before them when it arrives. Owns nothing: it reads the
//! caller's datagram and writes an array.
//!
//! ```text
//!    0         1         2         3         4                   6
//!  0 ├─ version ┼─ flags ─┼─ lane ──┼─ 0 ─────┼─ frame count ─────┼─ 0, 0 ────────────┤
//!  8 ├─ length ──────────────────────────────┼─ session ─────────────────────────────┤
//! 16 ├─ source ──────────────────────────────────────────────────────────────────────┤
//! 24 ├─ sequence ────────────────────────────────────────────────────────────────────┤
//! 32 ├─ first event ─────────────────────────────────────────────────────────────────┤
//! 40 ├─ checksum ────────────────────────────────────────────────────────────────────┤
//! 48 ├─ frames …
//! ```
//!
//! What a sealed packet has instead of zeros and checksum: `sealed.rs`.

use crate::bytes::{all_zero, put, u16_at, u32_at, u64_at};
use crate::checksum::{body_hash, packet_checksum};
use crate::flags::PacketFlags;
use crate::frame::{FRAME_HEADER_BYTES, Frames};
use crate::ids::{NodeId, SessionId};
use crate::priority::{LANES, Lane};
use crate::reason::PacketError;
use crate::sealed::seals;
use crate::status::flags_agree;
use crate::{ALIGNMENT, align_up};

/// The version of the layout that this crate reads and writes.
pub const VERSION: u8 = 1;

/// Bytes of a packet header: three times 16, so that frames stay aligned behind it.
pub const PACKET_HEADER_BYTES: usize = 48;

/// Zero bytes that may follow a padded packet; a datagram with more is refused. The bound on what
/// a receiver looks through for one datagram beyond its packet.
pub const PACKET_PADDING_BYTES_MAX: usize = 16 * 1024;

const FLAGS_OFFSET: usize = 1;
const LANE_OFFSET: usize = 2;
pub(crate) const SLOT_OFFSET: usize = 3;
const FRAME_COUNT_OFFSET: usize = 4;
pub(crate) const RESERVED_OFFSET: usize = 6;
const LENGTH_OFFSET: usize = 8;
const SESSION_OFFSET: usize = 12;
const SOURCE_OFFSET: usize = 16;
const SEQUENCE_OFFSET: usize = 24;
const FIRST_EVENT_OFFSET: usize = 32;
pub(crate) const CHECKSUM_OFFSET: usize = 40;
pub(crate) const COUNTER_OFFSET: usize = CHECKSUM_OFFSET;

const _: () = {
    assert!(PACKET_HEADER_BYTES.is_multiple_of(ALIGNMENT));
    assert!(CHECKSUM_OFFSET + size_of::<u64>() == PACKET_HEADER_BYTES);
};

/// What a packet says of itself. Version and checksum are not here: one is fixed, the other is
/// made when encoded and checked when decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHeader {
    /// What is special about the packet.
    pub flags: PacketFlags,
    /// The lane it was sent on, below [`LANES`].
    pub lane: Lane,
    /// How many frames follow. 0 makes a *tail marker*: it says how far the stream has come, so
    /// that loss at its end is seen.
    pub frame_count: u16,
    /// Bytes of header and frames, the last frame's padding included, and of the tag where the
    /// packet is sealed: a multiple of 16.
    pub length: u32,
    /// Which life of the source.
    pub session: SessionId,
    /// The node that sends.
    pub source: NodeId,
    /// Place of the packet in its stream (source, session, lane, destination): dense from 0.
    pub sequence: u64,
    /// How many events the stream carried before this packet: the index of its first event.
    pub first_event: u64,
}

impl PacketHeader {
    /// The header's bytes. With `body_hash` (of exactly the frames that follow) the packet is
    /// checksummed, without it is not; the flag follows, whatever `flags` says.
    ///
    /// Costs about 8 ns with a hash, most of it the hash of these 40 bytes. Checks nothing: a
    /// header that lies is what the other side refuses.
    #[inline]
    #[must_use]
    pub fn encode(&self, body_hash: Option<u64>) -> [u8; PACKET_HEADER_BYTES] {
        let flags = match body_hash {
            Some(_) => self.flags | PacketFlags::CHECKSUMMED,
            None => self.flags.without(PacketFlags::CHECKSUMMED),
        };
        let mut bytes = self.encode_with(flags);
        if let Some(hash) = body_hash {
            let checksum = packet_checksum(&bytes, hash);
            put(&mut bytes, CHECKSUM_OFFSET, checksum.to_le_bytes());
        }
        bytes
    }

    /// The header's bytes with these flags, without checksum and seal.
    #[inline]
    pub(crate) fn encode_with(&self, flags: PacketFlags) -> [u8; PACKET_HEADER_BYTES] {
        let mut bytes = [0; PACKET_HEADER_BYTES];
        bytes[0] = VERSION;
        bytes[FLAGS_OFFSET] = flags.bits();
        bytes[LANE_OFFSET] = self.lane;
        put(&mut bytes, FRAME_COUNT_OFFSET, self.frame_count.to_le_bytes());
        put(&mut bytes, LENGTH_OFFSET, self.length.to_le_bytes());
        put(&mut bytes, SESSION_OFFSET, self.session.0.to_le_bytes());
        put(&mut bytes, SOURCE_OFFSET, self.source.0.to_le_bytes());
        put(&mut bytes, SEQUENCE_OFFSET, self.sequence.to_le_bytes());
        put(&mut bytes, FIRST_EVENT_OFFSET, self.first_event.to_le_bytes());
        bytes
    }

    /// What the bytes say, unchecked: for a reader that wants to show a refused packet, and for a
    /// stream's reader that needs `length` to know how much to wait for. [`decode_packet`] is for
    /// everything else.
    #[inline]
    #[must_use]
    pub const fn peek(bytes: &[u8; PACKET_HEADER_BYTES]) -> Self {
        Self {
            flags: PacketFlags::from_bits(bytes[FLAGS_OFFSET]),
            lane: bytes[LANE_OFFSET],
            frame_count: u16_at(bytes, FRAME_COUNT_OFFSET),
            length: u32_at(bytes, LENGTH_OFFSET),
            session: SessionId(u32_at(bytes, SESSION_OFFSET)),
            source: NodeId(u64_at(bytes, SOURCE_OFFSET)),
            sequence: u64_at(bytes, SEQUENCE_OFFSET),
            first_event: u64_at(bytes, FIRST_EVENT_OFFSET),
        }
    }

    /// Whether `length` is possible, in itself and for the count of frames, with so many bytes of a
    /// tag behind the frames.
    #[inline]
    pub(crate) fn length_is_possible(&self, tag_bytes: usize) -> bool {
        let length = self.length as usize;
        let Some(body_bytes) = length.checked_sub(PACKET_HEADER_BYTES + tag_bytes) else {
            return false;
        };
        let frame_bytes_min = usize::from(self.frame_count) * FRAME_HEADER_BYTES;
        let bodiless = self.frame_count == 0;
        align_up(length) == length
            && frame_bytes_min <= body_bytes
            && (body_bytes == 0 || !bodiless)
            && (bodiless || !self.flags.contains(PacketFlags::STATUS))
    }
}

/// A checked packet: its header and its frames, in place.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// What it says of itself.
    pub header: PacketHeader,
    /// The frames, from the first one's header to the last one's padding.
    pub body: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The frames in order. Gives [`FrameError::Count`](crate::FrameError::Count) last where there
    /// are more or fewer than the header counts.
    #[inline]
    #[must_use]
    pub const fn frames(&self) -> Frames<'a> {
        Frames::counted(self.body, self.header.frame_count)
    }
}

/// The packet in a datagram (or at the front of a stream, cut to its length).
///
/// Costs the checksum of the bytes (some 60 ns for 1,400) and some 4 ns. It does not look into
/// the frames: [`Packet::frames`] does.
///
/// # Errors
/// The first reason that holds, in the order of [`PacketError`]. Nothing of a refused datagram is
/// to be believed; with a checksum, no single changed bit is ever accepted.
#[inline]
pub fn decode_packet(datagram: &[u8], require_checksum: bool) -> Result<Packet<'_>, PacketError> {
    let Some(bytes) = datagram.first_chunk::<PACKET_HEADER_BYTES>() else {
        return Err(PacketError::Truncated);
    };
    let header = PacketHeader::peek(bytes);
    if bytes[0] != VERSION {
        return Err(PacketError::Version);
    }
    if !header.flags.without(READ_WITHOUT_KEYS).is_empty() {
        return Err(if seals(header.flags) { PacketError::Sealed } else { PacketError::Flags });
    }
    let reserved = bytes[SLOT_OFFSET] != 0 || u16_at(bytes, RESERVED_OFFSET) != 0;
    if reserved || !flags_agree(header.flags) {
        return Err(PacketError::Flags);
    }
    check_lane(header.lane)?;
    let checksummed = header.flags.contains(PacketFlags::CHECKSUMMED);
    if require_checksum && !checksummed {
        return Err(PacketError::Unchecksummed);
    }
    if !header.length_is_possible(0) {
        return Err(PacketError::Length);
    }
    let Some((packet, trailing)) = datagram.split_at_checked(header.length as usize) else {
        return Err(PacketError::Length);
    };
    if !trailing.is_empty() && !is_padding(trailing, header.flags) {
        return Err(PacketError::Trailing);
    }
    let body = &packet[PACKET_HEADER_BYTES..];
    let expected = if checksummed { packet_checksum(bytes, body_hash(body)) } else { 0 };
    if u64_at(bytes, CHECKSUM_OFFSET) != expected {
        return Err(PacketError::Checksum);
    }
    Ok(Packet { header, body })
}

/// The flags of packets that are read without a key.
const READ_WITHOUT_KEYS: PacketFlags =
    PacketFlags::SUPPORTED.without(PacketFlags::SEALED).without(PacketFlags::CLEAR);

/// Whether the lane exists.
#[inline]
pub(crate) fn check_lane(lane: Lane) -> Result<(), PacketError> {
    if usize::from(lane) >= LANES { Err(PacketError::Lane) } else { Ok(()) }
}

/// Whether the bytes after a packet may be there.
pub(crate) fn is_padding(trailing: &[u8], flags: PacketFlags) -> bool {
    flags.contains(PacketFlags::PADDED)
        && trailing.len() <= PACKET_PADDING_BYTES_MAX
        && all_zero(trailing)
}

#[cfg(test)]
#[path = "packet/tests.rs"]
mod tests;
