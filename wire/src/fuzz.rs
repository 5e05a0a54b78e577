//! What must hold of each decoder whatever the bytes: one function a decoder.
//!
//! The same functions run as bounded tests (`tests/wire/hostile.rs`) and under a coverage-guided
//! fuzzer (`fuzz/`). They panic when something does not hold; the product does not call them. No
//! allocation, like the rest of the crate.

use crate::bytes::put;
use crate::checksum::{body_hash, packet_checksum};
use crate::packet::CHECKSUM_OFFSET;
use crate::{
    Admission, CONTROL_PACKET_BYTES_MAX, Control, Frame, FrameEncoder, Frames, NOTE_BYTES_MAX,
    NoteCut, PACKET_HEADER_BYTES, Packet, PacketFlags, Piece, ReceiveWindow, TAG_BYTES, align_up,
    decode_packet, decode_sealed, is_sealed, take_frames,
};

/// The longest input that is looked at with its checksum made to fit.
const SCRATCH_BYTES: usize = 4 * 1024;

/// [`decode_packet`]: a packet that is accepted is the one that its header encodes, and its frames
/// can be walked. Inputs are also tried with a checksum that fits, which no mutation finds.
pub fn packet(datagram: &[u8]) {
    checked_packet(datagram);
    let mut scratch = [0; SCRATCH_BYTES];
    let Some(copy) = scratch.get_mut(..datagram.len()) else { return };
    copy.copy_from_slice(datagram);
    let Some((head, rest)) = copy.split_first_chunk_mut::<PACKET_HEADER_BYTES>() else { return };
    head[1] |= PacketFlags::CHECKSUMMED.bits();
    let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
    let Some(body) = length.checked_sub(PACKET_HEADER_BYTES).and_then(|bytes| rest.get(..bytes))
    else {
        return;
    };
    let checksum = packet_checksum(head, body_hash(body));
    put(head, CHECKSUM_OFFSET, checksum.to_le_bytes());
    checked_packet(copy);
    copy[1] &= !PacketFlags::CHECKSUMMED.bits();
    copy[1] |= PacketFlags::SEALED.bits();
    checked_packet(copy);
}

/// [`decode_sealed`]: one that is accepted is the one that its header and seal encode, its parts
/// lie side by side, and nobody takes it for a packet in clear.
fn sealed(datagram: &[u8]) {
    let Ok(sealed) = decode_sealed(datagram) else { return };
    assert!(is_sealed(datagram) && decode_packet(datagram, false).is_err());
    let head = sealed.header.encode_sealed(&sealed.seal);
    assert_eq!(head, datagram[..PACKET_HEADER_BYTES], "the header has one encoding");
    let length = PACKET_HEADER_BYTES + sealed.body().len() + sealed.tag().len();
    assert_eq!(length, sealed.header.length as usize);
    assert_eq!(sealed.covered().len() + TAG_BYTES, length);
    assert!(datagram[length..].iter().all(|byte| *byte == 0));
}

fn checked_packet(datagram: &[u8]) {
    sealed(datagram);
    let (lenient, strict) = (decode_packet(datagram, false), decode_packet(datagram, true));
    let Ok(packet) = lenient else {
        assert!(strict.is_err(), "requiring a checksum accepts no more");
        return;
    };
    let checksummed = packet.header.flags.contains(PacketFlags::CHECKSUMMED);
    assert_eq!(strict.is_ok(), checksummed);
    let head = packet.header.encode(checksummed.then(|| body_hash(packet.body)));
    assert_eq!(head, datagram[..PACKET_HEADER_BYTES], "the header has one encoding");
    assert_eq!(packet.header.length as usize, PACKET_HEADER_BYTES + packet.body.len());
    assert!(datagram[packet.header.length as usize..].iter().all(|byte| *byte == 0));
    let frame_count = usize::from(packet.header.frame_count);
    let mut walk = packet.frames();
    let good = walk.by_ref().take(frame_count + 1).take_while(Result::is_ok).count();
    assert!(good <= frame_count);
    assert!(good == frame_count || walk.next().is_none(), "an error ends the walk");
    frames(packet.body);
    control(&packet);
    piece(&packet);
    note(&packet);
}

/// [`NoteCut`]: one that is read is neither empty nor beyond its note's end, and no other message.
fn note(packet: &Packet<'_>) {
    let Some(cut) = NoteCut::of(packet) else { return };
    assert!(!cut.slice.is_empty() && cut.total <= NOTE_BYTES_MAX);
    assert!(cut.index < 17 && (cut.index * 16_288) + cut.slice.len() <= cut.total);
    assert!(Control::of(packet).is_none() && Piece::of(packet).is_none());
}

/// [`Piece`]: one that is read lies within its packet and its whole, and is no frame of a datagram.
fn piece(packet: &Packet<'_>) {
    let Some(piece) = Piece::of(packet) else { return };
    let end = u64::from(piece.offset) + piece.slice.len() as u64;
    assert!(!piece.slice.is_empty() && end <= u64::from(piece.total));
    assert!(piece.slice.len() <= packet.body.len());
    assert!(packet.frames().next().is_none_or(|frame| frame.is_err()));
}

/// [`Control`]: a message that is read is written as the same bytes, but for the frame's own
/// sequence, time, type shape and priority, which nobody reads.
fn control(packet: &Packet<'_>) {
    let Some(message) = Control::of(packet) else { return };
    let mut written = [0; CONTROL_PACKET_BYTES_MAX];
    let length = message.encode(packet.header.source, &mut written);
    assert_eq!(length, packet.header.length as usize);
    let again = decode_packet(&written[..length], true).expect("it was just written");
    assert_eq!(Control::of(&again), Some(message));
}

/// [`Frames`] and [`take_frames`]: every frame lies within the body behind the one before, and
/// [`FrameEncoder`] writes the same bytes for it. The sender's walk agrees with the receiver's.
pub fn frames(body: &[u8]) {
    let mut walked = 0;
    let mut count = 0_usize;
    for frame in Frames::new(body) {
        let Ok(frame) = frame else { break };
        assert_eq!(frame.bytes().as_ptr(), body[walked..].as_ptr(), "frames lie side by side");
        assert!(frame.payload().len() <= frame.bytes().len() - 32);
        assert!((frame.bytes().len() - frame.payload().len()).is_multiple_of(16));
        encodes_the_same(&frame);
        walked += align_up(frame.bytes().len());
        count += 1;
    }
    assert!(walked <= body.len());
    let (bytes, frames) = take_frames(body, body.len());
    assert!(
        bytes >= walked || usize::from(frames) < count,
        "the sender sees what the receiver does"
    );
    let (bytes, frames) = take_frames(body, walked);
    assert_eq!((bytes, usize::from(frames)), (walked, count.min(usize::from(u16::MAX))));
    // A record of a ring is a frame too, with no padding behind it.
    let _ = Frame::parse(body);
}

fn encodes_the_same(frame: &Frame<'_>) {
    let mut encoder = FrameEncoder::new(frame.header);
    if let Some(trace) = frame.trace() {
        encoder = encoder.with_trace(trace);
    }
    if let Some(deadline) = frame.deadline() {
        encoder = encoder.with_deadline(deadline);
    }
    if let Some(name) = frame.name() {
        encoder = encoder.with_name(name).expect("a name that was decoded can be encoded");
    }
    let proof = frame.proof();
    if let Some(proof) = &proof {
        encoder = encoder.with_proof(proof);
    }
    let proven: usize = frame.proven().iter().map(|piece| piece.len()).sum();
    assert_eq!(4 + proven + proof.map_or(0, |proof| proof.bytes()), frame.bytes().len());
    let correlation = frame.correlation();
    if let Some(correlation) = &correlation {
        encoder = encoder.with_correlation(correlation);
    }
    let mut scratch = [0xff; SCRATCH_BYTES];
    let payload_offset = frame.bytes().len() - frame.payload().len();
    assert_eq!(encoder.payload_offset(), payload_offset);
    assert_eq!(encoder.encode(&mut scratch), Ok(payload_offset));
    // All but the length, which is the finished frame's.
    assert_eq!(scratch[4..payload_offset], frame.bytes()[4..payload_offset]);
}

/// Accepted packets that [`window`] remembers: inputs longer than this many packets are cut.
const PACKETS_MAX: usize = 512;

/// [`ReceiveWindow`]: whatever packets come, the sum holds, nothing is admitted twice, and a packet
/// that is refused changes nothing. Eight bytes are a packet: kind and how far from the newest.
pub fn window(packets: &[u8]) {
    let mut window = ReceiveWindow::new();
    let mut admitted = [None; PACKETS_MAX];
    for (packet, place) in packets.as_chunks::<8>().0.iter().zip(0..PACKETS_MAX) {
        let (sequence, first_event, frame_count) = next_packet(&window, *packet);
        let before = totals(&window);
        let newest = window.newest_sequence();
        let admission = window.admit(sequence, first_event, frame_count);
        let after = totals(&window);
        let accounted = u128::from(window.events_before())
            + u128::from(window.received())
            + u128::from(window.lost());
        assert_eq!(accounted, u128::from(window.next_event()));
        match admission {
            Admission::New { gap } => {
                assert!(newest.is_none_or(|newest| newest < sequence));
                let lost = gap.map_or(0, |gap| gap.events());
                assert!(gap.is_none_or(|gap| gap.from < gap.to && gap.to == first_event));
                assert_eq!(after, (before.0 + u64::from(frame_count), before.1 + lost));
            }
            Admission::Late => {
                assert!(newest.is_some_and(|newest| newest > sequence));
                let events = u64::from(frame_count);
                assert_eq!(after, (before.0 + events, before.1 - events));
            }
            Admission::Duplicate | Admission::Stale | Admission::Inconsistent => {
                assert_eq!(after, before);
                continue;
            }
        }
        assert!(!admitted.contains(&Some(sequence)), "packet {sequence} was admitted twice");
        admitted[place] = Some(sequence);
    }
}

fn totals(window: &ReceiveWindow) -> (u64, u64) {
    (window.received(), window.lost())
}

/// A packet near the newest, as most are, or anywhere.
fn next_packet(window: &ReceiveWindow, bytes: [u8; 8]) -> (u64, u64, u16) {
    let [kind, far, near, events, skip, wide, count, high] = bytes;
    let newest = window.newest_sequence().unwrap_or_else(|| u64::from(far));
    let distance = u64::from(u16::from_le_bytes([near, if kind & 1 == 0 { 0 } else { far }]));
    let event = u64::from(u16::from_le_bytes([events, if kind & 2 == 0 { 0 } else { skip }]));
    let sequence = match kind >> 6 {
        0 => newest.saturating_add(distance),
        1 | 2 => newest.saturating_sub(distance),
        _ => u64::from(wide).wrapping_mul(0x0101_0101_0101_0101),
    };
    let first_event = match (kind >> 4) & 3 {
        0 | 1 => window.next_event().saturating_add(event),
        2 => window.next_event().saturating_sub(event),
        _ => u64::from(skip).wrapping_mul(0x0101_0101_0101_0101),
    };
    (sequence, first_event, u16::from_le_bytes([count, if kind & 4 == 0 { 0 } else { high }]))
}
