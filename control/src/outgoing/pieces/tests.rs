//! The sending side of a stream of pieces, without a socket: cutting, numbers, grants, resumption
//! in the middle, failure.

use std::sync::Arc;

use wireloom_wire::{FrameEncoder, FrameHeader, Priority, decode_packet, event_type_id};

use super::*;
use crate::outgoing::large::LargeRoom;
use crate::tally::{Delivery, Tally};

const TAKES: usize = 1 << 20;

/// The padded frame of an event.
fn frame(sequence: u64, payload_bytes: usize) -> Vec<u8> {
    let encoder = FrameEncoder::new(FrameHeader {
        sequence,
        ..FrameHeader::bare(event_type_id("large"), Priority::Normal)
    });
    let payload: Vec<u8> =
        (0..payload_bytes as u64).map(|at| (at + sequence).to_le_bytes()[0]).collect();
    let mut bytes = vec![0; align_up(encoder.payload_offset() + payload_bytes)];
    encoder.write(&payload, &mut bytes).expect("it fits");
    bytes
}

/// A stream with events of these payloads, on a link whose peer takes all of them.
fn stream(payloads: &[usize]) -> (Pieces, Arc<Tally>) {
    let tally = Arc::<Tally>::default();
    let mut stream = Pieces::new(NodeId(3), 2, SessionId(9));
    for (sequence, payload_bytes) in (0..).zip(payloads) {
        stream.push(large(sequence, *payload_bytes, &tally));
    }
    assert_eq!(stream.resume(0, TAKES), Ok(0));
    (stream, tally)
}

fn large(sequence: u64, payload_bytes: usize, tally: &Arc<Tally>) -> Large {
    let share = Arc::<LargeRoom>::default().take(1, 1).expect("room");
    let padded = frame(sequence, payload_bytes).into_boxed_slice();
    Large::new(padded, Arc::clone(tally), share).expect("a frame")
}

/// Everything the peer lets come, as packets.
fn write_all(stream: &mut Pieces) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while stream.form(0) {
        let bytes = stream.unwritten(0).expect("formed").concat();
        assert_eq!(stream.wrote(bytes.len()), 0);
        packets.push(bytes);
    }
    packets
}

/// Sequence, events before, offset and slice of each packet.
fn told(packets: &[Vec<u8>]) -> Vec<(u64, u64, usize, usize)> {
    let mut told = Vec::new();
    for bytes in packets {
        assert!(bytes.len() <= PACKET_BYTES_MAX);
        let packet = decode_packet(bytes, true).expect("a packet");
        let piece = Piece::of(&packet).expect("a piece");
        let header = packet.header;
        told.push((header.sequence, header.first_event, piece.offset as usize, piece.slice.len()));
    }
    told
}

/// The frames that pieces make, joined.
fn joined(packets: &[Vec<u8>]) -> Vec<u8> {
    let slice = |bytes: &Vec<u8>| {
        let packet = decode_packet(bytes, true).expect("a packet");
        Piece::of(&packet).expect("a piece").slice.to_vec()
    };
    packets.iter().flat_map(slice).collect()
}

#[test]
fn events_are_cut_in_order_and_their_slices_make_their_frames() {
    let (mut stream, _) = stream(&[70_001, 5_000, 2 * SLICE_BYTES_MAX - 32]);
    assert_eq!(stream.acknowledge(0, 1 << 20), Ok(true));
    let packets = write_all(&mut stream);
    let first = 70_001 + 32 - SLICE_BYTES_MAX;
    let expected = [
        (0, 0, 0, SLICE_BYTES_MAX),
        (1, 0, SLICE_BYTES_MAX, first),
        (2, 1, 0, 5_032),
        (3, 2, 0, SLICE_BYTES_MAX),
        (4, 2, SLICE_BYTES_MAX, SLICE_BYTES_MAX),
    ];
    assert_eq!(told(&packets), expected);
    let whole = [&frame(0, 70_001)[..70_033], &frame(1, 5_000)[..5_032]].concat();
    assert_eq!(joined(&packets[..3]), whole);
}

#[test]
fn no_more_is_written_than_the_peer_lets_come() {
    let (mut stream, _) = stream(&[600_000]);
    let window = usize::try_from(FIRST_WINDOW_BYTES).expect("small");
    assert_eq!(write_all(&mut stream).len(), window / SLICE_BYTES_MAX);
    let granted = 5 * SLICE_BYTES_MAX as u64;
    assert_eq!(stream.acknowledge(0, granted - 1), Ok(true));
    assert_eq!(write_all(&mut stream).len(), 2, "a piece goes whole or not at all");
    assert_eq!(stream.acknowledge(0, granted - 1), Ok(false), "no progress");
    assert_eq!(stream.acknowledge(0, granted), Ok(true));
    assert_eq!(stream.acknowledge(0, 100), Ok(false), "a grant is not taken back");
    assert_eq!(write_all(&mut stream).len(), 1);
}

#[test]
fn a_link_goes_on_in_the_middle_with_the_same_bytes() {
    let (mut stream, tally) = stream(&[200_000, 200_000]);
    assert_eq!(stream.acknowledge(0, 1 << 20), Ok(true));
    let first = write_all(&mut stream);
    assert_eq!(first.len(), 8);
    for wanted in [0_u64, 2, 4, 7, 8] {
        stream.interrupt();
        assert!(!stream.awaits_word());
        assert_eq!(stream.resume(wanted, TAKES), Ok(8 - wanted));
        assert_eq!(stream.acknowledge(0, 1 << 20), Ok(false), "not further than before");
        assert_eq!(write_all(&mut stream)[..], first[usize::try_from(wanted).unwrap()..]);
    }
    assert_eq!(tally.delivered(), 0);
    assert_eq!(stream.acknowledge(4, 1 << 20), Ok(true));
    assert_eq!((tally.delivered(), stream.first()), (1, 4));
    stream.interrupt();
    assert_eq!(stream.resume(3, TAKES), Err(NeverSent), "acknowledged");
    assert_eq!(stream.resume(6, TAKES), Ok(2));
    assert_eq!(stream.acknowledge(4, 1 << 20), Ok(false));
    assert_eq!(write_all(&mut stream)[..], first[6..]);
    assert_eq!(stream.acknowledge(8, 1 << 20), Ok(true));
    assert_eq!((tally.delivered(), stream.is_pending(), stream.awaits_word()), (2, false, false));
}

#[test]
fn a_peer_that_lies_about_what_it_took_is_found_out() {
    let (mut stream, tally) = stream(&[200_000, 5_000]);
    assert_eq!(stream.acknowledge(1, 1 << 20), Err(NeverSent));
    assert_eq!(stream.acknowledge(0, u64::MAX), Ok(true), "a window may be as large as it likes");
    assert!(stream.form(0));
    stream.wrote(1);
    assert!(stream.awaits_word() && stream.is_half_written());
    assert_eq!(stream.acknowledge(1, 0), Err(NeverSent), "half of it was written");
    write_all(&mut stream);
    for within in 1..4 {
        assert_eq!(stream.acknowledge(within, 0), Err(NeverSent), "{within}: no event ends there");
    }
    assert_eq!(stream.acknowledge(6, 0), Err(NeverSent));
    assert_eq!(stream.resume(6, TAKES), Err(NeverSent));
    assert_eq!(tally.delivered(), 0);
}

#[test]
fn a_half_written_piece_is_followed_by_its_rest() {
    let (mut stream, _) = stream(&[100_000]);
    assert!(stream.form(1));
    let whole = [0, 1].map(|ahead| stream.unwritten(ahead).expect("formed").concat());
    for part in [10, 60, 1_000] {
        stream.wrote(part);
    }
    assert_eq!(stream.unwritten(0).expect("there").concat(), whole[0][1_070..]);
    assert_eq!(stream.wrote(whole[0].len() + 5), 1_070 + 5, "the rest is for others");
    assert_eq!(stream.unwritten(0).expect("there").concat(), whole[1]);
    // Of what was formed and not written, nothing is left for the next link.
    stream.wrote(7);
    stream.interrupt();
    assert_eq!(stream.resume(0, TAKES), Ok(2));
    assert_eq!(write_all(&mut stream), whole);
}

#[test]
fn what_the_peer_does_not_take_is_given_up_in_turn() {
    let (mut stream, tally) = stream(&[5_000, 200_000, 6_000]);
    stream.interrupt();
    assert_eq!(stream.resume(0, 100_000), Ok(0));
    let mut letters = Vec::new();
    let mut refuse =
        |stream: &mut Pieces| stream.give_up_oversized(|frame| letters.push(frame.header.sequence));
    assert_eq!(refuse(&mut stream), 0, "the one before comes first");
    assert_eq!(write_all(&mut stream).len(), 1);
    assert_eq!(stream.acknowledge(1, 1 << 20), Ok(true));
    assert_eq!(refuse(&mut stream), 1);
    let packets = write_all(&mut stream);
    assert_eq!(told(&packets), [(1, 1, 0, 6_032)], "the numbers have no gap");
    assert_eq!(stream.acknowledge(2, 1 << 20), Ok(true));
    assert_eq!(letters, [1]);
    let fates = [0, 1, 2].map(|event| tally.delivery(event));
    let large = Delivery::Undelivered(Undelivered::TooLarge);
    assert_eq!(fates, [Delivery::Delivered, large, Delivery::Delivered]);
}

#[test]
fn a_stream_that_was_begun_and_outgrows_its_peer_begins_anew() {
    let (mut stream, tally) = stream(&[200_000, 6_000]);
    write_all(&mut stream);
    stream.interrupt();
    assert!(stream.outgrows(100_000) && !stream.outgrows(200_032));
    stream.renew(SessionId(11));
    assert!(!stream.outgrows(100_000), "nothing of it was begun in this session");
    assert_eq!(stream.resume(0, 100_000), Ok(0));
    assert_eq!(stream.give_up_oversized(|_| ()), 1);
    let packets = write_all(&mut stream);
    assert_eq!(told(&packets), [(0, 0, 0, 6_032)]);
    let header = decode_packet(&packets[0], true).expect("a packet").header;
    assert_eq!((header.session, tally.delivered()), (SessionId(11), 0));
}

#[test]
fn giving_up_takes_all_and_begins_a_new_session() {
    let (mut stream, tally) = stream(&[100_000, 70_000]);
    write_all(&mut stream);
    let mut letters = Vec::new();
    stream.give_up(Undelivered::Unacknowledged, SessionId(10), |frame| {
        letters.push((frame.header.sequence, frame.payload().len()));
    });
    assert_eq!(letters, [(0, 100_000), (1, 70_000)]);
    assert_eq!(tally.delivery(1), Delivery::Undelivered(Undelivered::Unacknowledged));
    assert!(!stream.is_pending() && !stream.awaits_word());
    stream.push(large(2, 80_000, &tally));
    assert_eq!(stream.resume(0, TAKES), Ok(0));
    assert_eq!(told(&write_all(&mut stream))[0], (0, 0, 0, SLICE_BYTES_MAX));
    assert_eq!(stream.session(), SessionId(10));
}
