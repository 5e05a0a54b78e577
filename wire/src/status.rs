//! The status packet: how a receiver tells a stream's sender how far it has come and how much it
//! takes. A packet header and nothing behind it, so that the answer to a packet is never longer
//! than the packet.
//!
//! Plain values; who sends one and when is the data plane's matter.

use crate::checksum::body_hash;
use crate::flags::PacketFlags;
use crate::ids::{NodeId, SessionId};
use crate::packet::{PACKET_HEADER_BYTES, Packet, PacketHeader};
use crate::priority::Lane;

/// What a receiver says of one stream. The stream is the one whose sender it is sent to: `source`
/// is that sender, not the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The node that sends the stream.
    pub source: NodeId,
    /// Which life of it.
    pub session: SessionId,
    /// The lane the stream runs in.
    pub lane: Lane,
    /// The sequence after the newest packet heard: everything before it has left the receiver's
    /// socket, or will never come.
    pub next_sequence: u64,
    /// How many bytes may be on the way beyond `next_sequence`, counted as [`packet_charge`] does.
    pub window_bytes: u64,
}

/// What one packet of `bytes` counts against a window: its bytes, and 416 for what the kernel keeps
/// beside each. Linux charges a datagram at most twice its bytes and 832 to a receive buffer (the
/// rounding of `kmalloc` and a `sk_buff`), and doubles what `SO_RCVBUF` asks for (`socket(7)`); so
/// charges up to what was asked for fit.
#[inline]
#[must_use]
pub const fn packet_charge(bytes: usize) -> u64 {
    bytes as u64 + 416
}

impl Status {
    /// The packet's bytes. About 8 ns.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> [u8; PACKET_HEADER_BYTES] {
        self.header().encode(Some(body_hash(&[])))
    }

    /// The packet's header, for whoever seals it.
    #[inline]
    #[must_use]
    pub const fn header(&self) -> PacketHeader {
        #[expect(clippy::cast_possible_truncation, reason = "48")]
        let length = PACKET_HEADER_BYTES as u32;
        PacketHeader {
            flags: PacketFlags::STATUS,
            lane: self.lane,
            frame_count: 0,
            length,
            session: self.session,
            source: self.source,
            sequence: self.next_sequence,
            first_event: self.window_bytes,
        }
    }

    /// What a packet says, if it is a status packet.
    #[inline]
    #[must_use]
    pub const fn of(packet: &Packet<'_>) -> Option<Self> {
        let PacketHeader { flags, lane, session, source, sequence, first_event, .. } =
            packet.header;
        if !flags.contains(PacketFlags::STATUS) {
            return None;
        }
        let (next_sequence, window_bytes) = (sequence, first_event);
        Some(Self { source, session, lane, next_sequence, window_bytes })
    }
}

/// Whether a status packet has what none may have, or lacks nothing it must have: no other flag but
/// the checksum's.
#[inline]
pub(crate) const fn flags_agree(flags: PacketFlags) -> bool {
    !flags.contains(PacketFlags::STATUS)
        || flags.without(PacketFlags::CHECKSUMMED).bits() == PacketFlags::STATUS.bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode_packet;
    use crate::reason::PacketError;

    const STATUS: Status = Status {
        source: NodeId(7),
        session: SessionId(9),
        lane: 3,
        next_sequence: 1_001,
        window_bytes: 1 << 20,
    };

    #[test]
    fn a_status_is_read_as_it_was_written() {
        let bytes = STATUS.encode();
        let packet = decode_packet(&bytes, true).expect("it is well-formed");
        assert_eq!(Status::of(&packet), Some(STATUS));
        assert_eq!(packet.frames().count(), 0);
    }

    #[test]
    fn a_stream_packet_is_no_status() {
        let marker = PacketHeader {
            flags: PacketFlags::SEQUENCED,
            lane: 0,
            frame_count: 0,
            length: 48,
            session: SessionId(1),
            source: NodeId(1),
            sequence: 4,
            first_event: 5,
        };
        let bytes = marker.encode(Some(body_hash(&[])));
        assert_eq!(Status::of(&decode_packet(&bytes, true).expect("it is a marker")), None);
    }

    #[test]
    fn a_status_with_another_flag_or_a_body_is_refused() {
        let header = PacketHeader {
            flags: PacketFlags::STATUS,
            lane: 0,
            frame_count: 0,
            length: 48,
            session: SessionId(1),
            source: NodeId(1),
            sequence: 4,
            first_event: 5,
        };
        for flag in [PacketFlags::SEQUENCED, PacketFlags::PADDED, PacketFlags::MULTICAST] {
            let bytes = PacketHeader { flags: header.flags | flag, ..header };
            let bytes = bytes.encode(Some(body_hash(&[])));
            assert_eq!(decode_packet(&bytes, true).err(), Some(PacketError::Flags), "{flag}");
        }
        let mut bytes = [0; 96];
        let long = PacketHeader { frame_count: 1, length: 96, ..header };
        bytes[..48].copy_from_slice(&long.encode(Some(body_hash(&[0; 48]))));
        assert_eq!(decode_packet(&bytes, true).err(), Some(PacketError::Length));
    }
}
