//! A piece is read as it was written, and nothing else is one.

use std::vec::Vec;

use super::*;
use crate::{
    Encoding, Fingerprint, Frame, FrameError, NodeId, PACKET_HEADER_BYTES, PacketHeader, Priority,
    SessionId, body_hash, decode_packet, event_type_id,
};

const WHOLE: FrameHeader = FrameHeader {
    length: 1_000,
    event_type: event_type_id("large"),
    fingerprint: Fingerprint(7),
    priority: Priority::High,
    encoding: Encoding::Rkyv,
    flags: FrameFlags::TRACE,
    sequence: 5,
    timestamp_ns: 6,
};

/// A packet with one piece: its head, changed by `change`, and a slice.
fn packet(offset: u32, slice: &[u8], change: impl Fn(&mut [u8; PIECE_HEAD_BYTES])) -> Vec<u8> {
    let mut head = Piece::head(&WHOLE, offset, u32::try_from(slice.len()).expect("short"));
    change(&mut head);
    let mut body = head.to_vec();
    body.extend_from_slice(slice);
    body.resize(align_up(body.len()), 0);
    sealed(&body, 1, PacketFlags::SEQUENCED)
}

fn sealed(body: &[u8], frame_count: u16, flags: PacketFlags) -> Vec<u8> {
    let header = PacketHeader {
        flags,
        lane: 1,
        frame_count,
        length: u32::try_from(PACKET_HEADER_BYTES + body.len()).expect("short"),
        session: SessionId(1),
        source: NodeId(1),
        sequence: 3,
        first_event: 2,
    };
    let mut bytes = header.encode(Some(body_hash(body))).to_vec();
    bytes.extend_from_slice(body);
    bytes
}

fn is_piece(bytes: &[u8]) -> bool {
    Piece::of(&decode_packet(bytes, true).expect("the packet is well-formed")).is_some()
}

#[test]
fn a_piece_is_read_as_it_was_written() {
    for (offset, bytes) in [(0, 16), (16, 1), (992, 8), (0, 1_000), (999, 1)] {
        let slice: Vec<u8> = (0..bytes).map(|byte: usize| byte.to_le_bytes()[0]).collect();
        let written = packet(offset, &slice, |_| ());
        let packet = decode_packet(&written, true).expect("the packet is well-formed");
        let read = Piece::of(&packet).expect("a piece");
        assert_eq!(read, Piece { total: 1_000, offset, slice: &slice });
    }
}

#[test]
fn whoever_expects_frames_refuses_a_piece_by_name() {
    let written = packet(0, &[7; 16], |_| ());
    let frame = Frame::parse(&written[PACKET_HEADER_BYTES..]);
    assert_eq!(frame.err(), Some(FrameError::Unsupported));
}

#[test]
fn what_lies_is_no_piece() {
    assert!(is_piece(&packet(984, &[7; 16], |_| ())));
    assert!(!is_piece(&packet(985, &[7; 16], |_| ())), "beyond the total");
    assert!(!is_piece(&packet(0, &[], |_| ())), "nothing in it");
    assert!(!is_piece(&packet(0, &[7; 16], |head| head[FLAGS_OFFSET] = 9)), "a trace as well");
    assert!(!is_piece(&packet(0, &[7; 16], |head| head[FLAGS_OFFSET] = 0)), "no fragment");
    assert!(!is_piece(&packet(0, &[7; 16], |head| head[TOTAL_OFFSET + 4] = 1)), "above 4 GiB");
    assert!(!is_piece(&packet(0, &[7; 16], |head| head[OFFSET_OFFSET + 7] = 1)), "far away");
    assert!(!is_piece(&packet(0, &[7; 16], |head| head[0] = 80)), "longer than the body");
    assert!(!is_piece(&packet(0, &[7; 40], |head| head[0] = 64)), "bytes behind it");
    let tiny = packet(0, &[7; 16], |head| {
        put(head, TOTAL_OFFSET, 31_u64.to_le_bytes());
    });
    assert!(!is_piece(&tiny), "no frame is that short");
    let body = &packet(0, &[7; 16], |_| ())[PACKET_HEADER_BYTES..];
    assert!(!is_piece(&sealed(body, 1, PacketFlags::MULTICAST)), "of no stream");
    assert!(!is_piece(&sealed(body, 2, PacketFlags::SEQUENCED)), "two frames are not there");
}
