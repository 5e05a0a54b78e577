//! Control packets: what nodes say to each other outside of every stream.
//!
//! A packet that is neither a part of a stream nor a status carries frames of the control planes:
//! ordinary frames, whose event types have the reserved names below. They have no sequence, ask
//! for no place in a window, and a node without a control plane drops them by name. The packet
//! header's `session` says which cluster they are of. Owns nothing: it writes into the caller's
//! bytes.

use crate::align_up;
use crate::checksum::body_hash;
use crate::flags::PacketFlags;
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader};
use crate::frame_encoder::FrameEncoder;
use crate::ids::{EventTypeId, NodeId, SessionId, event_type_id};
use crate::packet::{PACKET_HEADER_BYTES, PacketHeader};
use crate::priority::Priority;

/// Longest control packet, bytes: what every ordinary path takes. A longer one is refused.
pub const CONTROL_PACKET_BYTES_MAX: usize = 1_400;

/// Bytes of a control packet that a payload cannot have: the two headers.
pub const CONTROL_OVERHEAD_BYTES: usize = PACKET_HEADER_BYTES + FRAME_HEADER_BYTES;

/// "I am here": a node's record, padded so that no answer is longer. Answered by [`WELCOME`].
pub const HELLO: EventTypeId = event_type_id("wl.hello");
/// The answer to a [`HELLO`]: the answering node's record, and what it knows of the asking one.
pub const WELCOME: EventTypeId = event_type_id("wl.welcome");
/// Asks for the records behind a place in the table, padded. Answered by one [`PAGE`].
pub const PULL: EventTypeId = event_type_id("wl.pull");
/// A page of records.
pub const PAGE: EventTypeId = event_type_id("wl.page");
/// A datagram of the failure detector, and how new the sender's record is.
pub const SWIM: EventTypeId = event_type_id("wl.swim");
/// A record passed on.
pub const RECORD: EventTypeId = event_type_id("wl.record");

/// "A node with credentials is here": zeros alone, in clear, because nobody has a key for who has
/// not been met. Never answered; who hears it may dial its sender.
pub const BEACON: EventTypeId = event_type_id("wl.beacon");
/// Bytes of a beacon's packet: no fewer than a dialling attempt costs, so that a forged sender
/// address makes nobody send more than came in.
pub const BEACON_PACKET_BYTES: usize = 256;

/// A suspicion: who got no answer from whom, in which incarnation.
pub const SUSPECT: EventTypeId = event_type_id("wl.suspect");
/// A negative answer: who was asked to probe whom and got no answer.
pub const NACK: EventTypeId = event_type_id("wl.nack");

/// Whether a checked packet is one of these: it has frames, and no part in a stream.
#[inline]
#[must_use]
pub const fn is_control(header: &PacketHeader) -> bool {
    let streams = PacketFlags::SEQUENCED.with(PacketFlags::STATUS).bits();
    header.flags.bits() & streams == 0 && header.frame_count > 0
}

/// A control packet being written.
///
/// ```
/// use wireloom_wire::{NodeId, SessionId, decode_packet, gossip};
///
/// let mut bytes = [0; gossip::CONTROL_PACKET_BYTES_MAX];
/// let mut packet = gossip::ControlPacket::new(&mut bytes);
/// assert!(packet.push(gossip::SWIM, b"ping"));
/// let sent = packet.finish(NodeId(7), SessionId(1));
/// let packet = decode_packet(sent, true).expect("it was just written");
/// assert!(gossip::is_control(&packet.header));
/// let frame = packet.frames().next().expect("one frame").expect("well formed");
/// assert_eq!((frame.header.event_type, frame.payload()), (gossip::SWIM, &b"ping"[..]));
/// ```
#[derive(Debug)]
pub struct ControlPacket<'a> {
    bytes: &'a mut [u8; CONTROL_PACKET_BYTES_MAX],
    used: usize,
    frames: u16,
}

impl<'a> ControlPacket<'a> {
    /// A packet without frames.
    #[must_use]
    pub const fn new(bytes: &'a mut [u8; CONTROL_PACKET_BYTES_MAX]) -> Self {
        Self { bytes, used: PACKET_HEADER_BYTES, frames: 0 }
    }

    /// Bytes that the payload of one more frame may have.
    #[must_use]
    pub const fn room(&self) -> usize {
        // The last frame's padding must fit too.
        let whole = CONTROL_PACKET_BYTES_MAX & !(crate::ALIGNMENT - 1);
        whole.saturating_sub(self.used + FRAME_HEADER_BYTES)
    }

    /// Adds a frame; false, and nothing is changed, when it does not fit.
    pub fn push(&mut self, event_type: EventTypeId, payload: &[u8]) -> bool {
        if payload.len() > self.room() {
            return false;
        }
        let encoder = FrameEncoder::new(FrameHeader::bare(event_type, Priority::Normal));
        let Ok(taken) = encoder.write(payload, &mut self.bytes[self.used..]) else { return false };
        let end = self.used + align_up(taken);
        self.bytes[self.used + taken..end].fill(0);
        self.used = end;
        self.frames += 1;
        true
    }

    /// Writes the header, with a checksum, and gives the packet's bytes. `cluster` stands where a
    /// stream's packet has its session.
    #[must_use]
    pub fn finish(self, source: NodeId, cluster: SessionId) -> &'a [u8] {
        let (header, body) = self.bytes[..self.used].split_at_mut(PACKET_HEADER_BYTES);
        let packet = PacketHeader {
            flags: PacketFlags::empty(),
            lane: 0,
            frame_count: self.frames,
            length: u32::try_from(self.used).unwrap_or(u32::MAX),
            session: cluster,
            source,
            sequence: 0,
            first_event: 0,
        };
        header.copy_from_slice(&packet.encode(Some(body_hash(body))));
        &self.bytes[..self.used]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode_packet;

    #[test]
    fn a_packet_takes_frames_up_to_its_bound_and_reads_back() {
        let mut bytes = [0xff; CONTROL_PACKET_BYTES_MAX];
        let mut packet = ControlPacket::new(&mut bytes);
        assert!(!packet.push(HELLO, &[1; CONTROL_PACKET_BYTES_MAX]));
        assert!(packet.push(SWIM, &[1; 33]));
        let room = packet.room();
        assert!(!packet.push(RECORD, &[2; CONTROL_PACKET_BYTES_MAX][..room + 1]));
        assert!(packet.push(RECORD, &[2; CONTROL_PACKET_BYTES_MAX][..room]));
        assert_eq!(packet.room(), 0);
        let sent = packet.finish(NodeId(7), SessionId(3));
        assert!(sent.len() <= CONTROL_PACKET_BYTES_MAX && sent.len() > 1_370);
        let packet = decode_packet(sent, true).expect("well formed");
        assert!(is_control(&packet.header));
        assert_eq!((packet.header.source, packet.header.session), (NodeId(7), SessionId(3)));
        let mut lengths = [0; 2];
        for (length, frame) in lengths.iter_mut().zip(packet.frames()) {
            *length = frame.expect("well formed").payload().len();
        }
        assert_eq!(lengths, [33, room]);
    }

    #[test]
    fn packets_of_streams_and_statuses_are_none() {
        let mut bytes = [0; CONTROL_PACKET_BYTES_MAX];
        let mut packet = ControlPacket::new(&mut bytes);
        assert!(packet.push(SWIM, b"x"));
        let sent = packet.finish(NodeId(7), SessionId(3));
        let header = decode_packet(sent, true).expect("well formed").header;
        for (flags, frame_count, is) in [
            (PacketFlags::empty(), 1, true),
            (PacketFlags::MULTICAST, 1, true),
            (PacketFlags::empty(), 0, false),
            (PacketFlags::SEQUENCED, 1, false),
            (PacketFlags::STATUS, 1, false),
        ] {
            assert_eq!(is_control(&PacketHeader { flags, frame_count, ..header }), is);
        }
    }
}
