//! What the encoder writes, to the byte, and what it refuses.

use super::*;
use crate::{Encoding, EventTypeId, Fingerprint, Frame, Priority};
use crate::{ExchangeKind, ReplyWay};
use std::string::ToString;
use std::vec;

fn encoder() -> FrameEncoder<'static> {
    FrameEncoder::new(FrameHeader {
        length: 0xdead_beef,
        event_type: EventTypeId(1),
        fingerprint: Fingerprint::NONE,
        priority: Priority::Normal,
        encoding: Encoding::Raw,
        flags: FrameFlags::from_bits(u16::MAX),
        sequence: 3,
        timestamp_ns: 4,
    })
}

const TRACE: TraceContext =
    TraceContext { trace_id: [0x11; 16], span_id: [0x22; 8], sampled: false };

const REQUEST: Correlation = Correlation {
    id: 1,
    kind: ExchangeKind::Request,
    way: ReplyWay::Datagram,
    address: [2; 16],
    port: 3,
    subject: EventTypeId(4),
};

#[test]
fn every_byte_before_the_payload_and_of_the_padding_is_written() {
    let full = encoder().with_trace(TRACE).with_deadline(9).with_name("a").unwrap();
    let correlation = REQUEST;
    let correlated = full.with_correlation(&correlation);
    for encoder in [encoder(), encoder().with_deadline(9), full, correlated] {
        for payload_bytes in 0..40 {
            let payload = vec![0xee; payload_bytes];
            let [mut over_zeros, mut over_ones] = [vec![0; 256], vec![0xff; 256]];
            let taken = encoder.write(&payload, &mut over_zeros).unwrap();
            assert_eq!(encoder.write(&payload, &mut over_ones).unwrap(), taken);
            assert_eq!(over_zeros[..taken], over_ones[..taken], "stale bytes shine through");
            assert!(over_ones[taken..].iter().all(|byte| *byte == 0xff), "wrote too far");
            assert_eq!(taken % 16, 0);
        }
    }
}

#[test]
fn an_encoded_frame_has_no_payload_until_it_is_finished() {
    let mut bytes = [0xff; 64];
    assert_eq!(encoder().encode(&mut bytes), Ok(32));
    assert_eq!(Frame::parse(&bytes).unwrap().payload(), b"");
    assert_eq!(encoder().finish(&mut bytes, 3), Ok(48));
    assert_eq!(Frame::parse(&bytes).unwrap().payload(), [0xff; 3]);
    assert_eq!(Frame::parse(&bytes).unwrap().header.flags, FrameFlags::empty());
}

#[test]
fn too_little_room_is_refused_with_both_figures() {
    let encoder = encoder().with_trace(TRACE).with_name("name").unwrap();
    assert_eq!(encoder.payload_offset(), 80);
    let mut bytes = [0; 128];
    for given in 0..80 {
        let refused = Err(EncodeError::Room { needed: 80, given });
        assert_eq!(encoder.encode(&mut bytes[..given]), refused);
    }
    for given in 0..112 {
        let refused = Err(EncodeError::Room { needed: 112, given });
        assert_eq!(encoder.write(&[1; 20], &mut bytes[..given]), refused);
        assert_eq!(encoder.finish(&mut bytes[..given], 20), refused);
    }
    assert_eq!(encoder.write(&[1; 20], &mut bytes[..112]), Ok(112));
}

#[test]
fn names_have_one_to_255_bytes() {
    for bytes in [0, 256, 1_000] {
        let name = "x".repeat(bytes);
        assert_eq!(encoder().with_name(&name).err(), Some(EncodeError::Name { bytes }));
    }
    for bytes in [1, 14, 15, 16, 17, 254, 255] {
        let name = "x".repeat(bytes);
        let encoder = encoder().with_name(&name).unwrap();
        let mut into = [0xff; 512];
        let taken = encoder.write(b"!", &mut into).unwrap();
        let frame = Frame::parse(&into[..taken]).unwrap();
        assert_eq!(frame.name(), Some(&*name));
        assert_eq!(frame.payload(), b"!");
    }
}

#[test]
fn payloads_beyond_the_length_field_are_refused() {
    let mut bytes = [0; 64];
    for payload_bytes in [u32::MAX as usize, usize::MAX - 40, usize::MAX] {
        let refused = Err(EncodeError::Length { payload_bytes });
        assert_eq!(encoder().finish(&mut bytes, payload_bytes), refused);
    }
}

#[test]
fn errors_are_sentences_with_the_figures() {
    let room = EncodeError::Room { needed: 112, given: 80 }.to_string();
    assert!(room.contains("112") && room.contains("80"), "{room}");
    assert!(EncodeError::Name { bytes: 256 }.to_string().contains("256"));
    assert!(EncodeError::Length { payload_bytes: 7 }.to_string().contains(" 7 "));
}

#[test]
fn a_plain_frame_is_what_the_encoder_writes() {
    let header = FrameHeader {
        length: 77,
        event_type: EventTypeId(0x0102_0304),
        fingerprint: Fingerprint(0x0506_0708),
        priority: Priority::High,
        encoding: Encoding::Rkyv,
        flags: FrameFlags::from_bits(u16::MAX),
        sequence: 0,
        timestamp_ns: 0,
    };
    let plain = PlainFrame::new(header);
    for (sequence, timestamp_ns) in [(0, 0), (1, u64::MAX), (u64::MAX, 1), (1 << 40, 3 << 50)] {
        let (mut quick, mut full) = ([0xff; FRAME_HEADER_BYTES], [0; FRAME_HEADER_BYTES]);
        plain.write(&mut quick, sequence, timestamp_ns);
        let header = FrameHeader { sequence, timestamp_ns, ..header };
        FrameEncoder::new(header).encode(&mut full).unwrap();
        // The length is the ring's to write.
        assert_eq!(quick[4..], full[4..]);
    }
}
