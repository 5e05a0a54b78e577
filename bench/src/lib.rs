//! Micro-benches of Wireloom: what they measure with. The benches themselves are in `benches/`, the
//! method in `README.md`.
//!
//! | bench | what it measures |
//! |---|---|
//! | `ring` | a record through a ring, one thread |
//! | `encode` | an event into its archive, a frame header into a record |
//! | `pack` | whole frames chosen for a packet, its checksum, its header |
//! | `decode` | a datagram checked, its frames walked, an archive checked |
//! | `dispatch` | an event published and handled in one process, or taken from a ring |
//! | `inbound` | an event put into a subscriber's ring that has room, or is full, by policy |
//! | `access` | packets of another node received and handled, with a policy and without |
//! | `route` | an event routed, beside one published, with 1 and 1,000 rules and types |

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wireloom::encode::{Scratch, encode};
use wireloom::{Event, Node};
use wireloom_wire::{
    FrameEncoder, FrameFlags, FrameHeader, NodeId, PACKET_HEADER_BYTES, PacketFlags, PacketHeader,
    Priority, SessionId, align_up, body_hash,
};

/// An event of numbers alone: 64 bytes archived, the shape of a tick or a reading.
#[derive(Debug, Clone, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "flat-sample")]
pub struct Flat {
    /// Grows by one an event.
    pub sequence: u64,
    /// What else there is to say.
    pub values: [u64; 7],
}

impl Flat {
    /// The event with this sequence.
    #[inline]
    #[must_use]
    pub const fn new(sequence: u64) -> Self {
        Self { sequence, values: [sequence, 1, 2, 3, 4, 5, 6] }
    }
}

/// A handler of [`Flat`] that reads a field and counts: how often it has run, from now on.
///
/// # Panics
/// When the node takes no more handlers.
#[must_use]
pub fn handled(node: &Node) -> Arc<AtomicU64> {
    let handled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&handled);
    let subscribed = node.on::<Flat>(move |event, _envelope| {
        let sum = count.load(Ordering::Relaxed).wrapping_add(1 + (event.sequence >> 63));
        count.store(sum, Ordering::Relaxed);
    });
    subscribed.expect("a handler");
    handled
}

/// An event with text and a list: what an application says of a user's action.
#[derive(Debug, Clone, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "text-sample")]
pub struct Text {
    /// Who.
    pub user_id: u64,
    /// What was done.
    pub action: String,
    /// To what.
    pub element: String,
    /// With which words.
    pub labels: Vec<String>,
}

impl Text {
    /// A sample of about 150 bytes archived.
    #[must_use]
    pub fn sample() -> Self {
        Self {
            user_id: 7,
            action: "click on a button".to_owned(),
            element: "checkout/confirm".to_owned(),
            labels: ["spring", "campaign", "returning customer"].map(str::to_owned).to_vec(),
        }
    }
}

/// Bytes that start where a record's do: on a 16-byte boundary.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub struct Aligned(pub [u8; 2048]);

impl Default for Aligned {
    fn default() -> Self {
        Self([0; 2048])
    }
}

/// The header of a frame for `E`; its length is written when the payload's is known.
#[must_use]
pub fn frame_header<E: Event>(sequence: u64) -> FrameHeader {
    FrameHeader {
        length: 0,
        event_type: E::TYPE_ID,
        fingerprint: E::FINGERPRINT32,
        priority: Priority::Normal,
        encoding: wireloom_wire::Encoding::Rkyv,
        flags: FrameFlags::empty(),
        sequence,
        timestamp_ns: 1_700_000_000_000_000_000 + sequence,
    }
}

/// Frames of the 64-byte event, side by side as in a ring: 96 bytes each.
///
/// # Panics
/// When the samples do not encode, which a bench cannot go on without.
#[must_use]
pub fn frames(count: u64) -> Vec<u8> {
    let mut scratch = Scratch::default();
    let (mut all, mut record) = (Vec::new(), Aligned::default());
    for sequence in 0..count {
        let encoder = FrameEncoder::new(frame_header::<Flat>(sequence));
        let payload = encoder.payload_offset();
        let bytes = encode(&Flat::new(sequence), &mut record.0[payload..], &mut scratch)
            .expect("the sample fits the record");
        encoder.encode(&mut record.0).expect("the header fits the record");
        let length = encoder.finish(&mut record.0, bytes).expect("the frame is short");
        all.extend_from_slice(&record.0[..align_up(length)]);
    }
    all
}

/// A datagram of `count` frames of the 64-byte event, at most 20, checksummed.
///
/// # Panics
/// When `count` frames do not fit.
#[must_use]
pub fn datagram(count: u16, sequence: u64) -> (Aligned, usize) {
    let body = frames(u64::from(count));
    let length = PACKET_HEADER_BYTES + body.len();
    let header = PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: Priority::Normal.lane(),
        frame_count: count,
        length: u32::try_from(length).expect("a datagram is short"),
        session: SessionId(1),
        source: NodeId(2),
        sequence,
        first_event: sequence * u64::from(count),
    };
    let mut datagram = Aligned::default();
    datagram.0[..PACKET_HEADER_BYTES].copy_from_slice(&header.encode(Some(body_hash(&body))));
    datagram.0[PACKET_HEADER_BYTES..length].copy_from_slice(&body);
    (datagram, length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wireloom::decode::access;
    use wireloom_wire::decode_packet;

    #[test]
    fn the_samples_are_what_the_product_would_send() {
        let (datagram, length) = datagram(14, 3);
        let packet = decode_packet(&datagram.0[..length], true).expect("a valid packet");
        let frames: Vec<_> = packet.frames().map(|frame| frame.expect("a valid frame")).collect();
        assert_eq!(frames.len(), 14);
        for (frame, sequence) in frames.iter().zip(0_u64..) {
            assert_eq!(frame.bytes().len(), 96);
            let event = access::<Flat>(frame.payload()).expect("a valid archive");
            assert_eq!((event.sequence.to_native(), frame.header.sequence), (sequence, sequence));
        }
    }
}
