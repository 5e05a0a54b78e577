//! Each refusal of a frame, by the change that causes it; the walk over a body.

use super::*;
use crate::frame_encoder::FrameEncoder;
use std::vec;
use std::vec::Vec;

fn header() -> FrameHeader {
    FrameHeader {
        length: 32,
        event_type: EventTypeId(0x0403_0201),
        fingerprint: Fingerprint(0x0807_0605),
        priority: Priority::High,
        encoding: Encoding::Json,
        flags: FrameFlags::empty(),
        sequence: 11,
        timestamp_ns: 12,
    }
}

const TRACE: TraceContext =
    TraceContext { trace_id: [0x11; 16], span_id: [0x22; 8], sampled: true };

/// A frame with every extension: trace at 32, deadline at 64, name at 80, payload at 96.
fn extended() -> Vec<u8> {
    let encoder = FrameEncoder::new(header()).with_trace(TRACE).with_deadline(99);
    let mut bytes = vec![0xff; 256];
    let taken = encoder.with_name("größe").unwrap().write(b"payload", &mut bytes).unwrap();
    bytes.truncate(taken);
    bytes
}

/// What the extended frame is refused for after a change.
fn refusal(change: impl FnOnce(&mut Vec<u8>)) -> Option<FrameError> {
    let mut bytes = extended();
    change(&mut bytes);
    Frame::parse(&bytes).err()
}

#[test]
fn a_header_comes_back() {
    for priority in Priority::ALL {
        for encoding in Encoding::ALL {
            let header = FrameHeader { priority, encoding, ..header() };
            assert_eq!(FrameHeader::decode(&header.encode()), Ok(header));
        }
    }
}

#[test]
fn priorities_encodings_and_flags_out_of_range_are_refused() {
    for value in 0..=u8::MAX {
        let expected = (value > 4).then_some(FrameError::Priority);
        assert_eq!(refusal(|bytes| bytes[12] = value), expected, "priority {value}");
        let expected = (value > 2).then_some(FrameError::Encoding);
        assert_eq!(refusal(|bytes| bytes[13] = value), expected, "encoding {value}");
    }
    for bit in 8..16 {
        assert_eq!(refusal(|bytes| bytes[15] |= 1 << (bit - 8)), Some(FrameError::Flags));
    }
}

#[test]
fn reserved_extensions_are_refused_and_named() {
    for (flag, name) in FrameFlags::NAMES {
        let bits = flag.bits().to_le_bytes()[0];
        let refused = refusal(|bytes| bytes[14] |= bits);
        let reserved = FrameFlags::RESERVED.contains(flag);
        let expected = match (reserved, flag) {
            (true, _) => Some(FrameError::Unsupported),
            // It is not there: what stands in its place is none, or it is cut.
            (_, FrameFlags::SIGNED) => Some(FrameError::Extension),
            (_, FrameFlags::CORRELATION) => Some(FrameError::Length),
            _ => None,
        };
        assert_eq!(refused, expected, "{name}");
        assert_eq!(!flag.unsupported().is_empty(), reserved, "{name}");
    }
}

#[test]
fn lying_lengths_are_refused() {
    let bytes = extended();
    assert_eq!(bytes.len(), 112);
    for length in (0..32).chain([113, 0x7fff_ffff, u32::MAX]) {
        let refused = refusal(|bytes| bytes[..4].copy_from_slice(&length.to_le_bytes()));
        assert_eq!(refused, Some(FrameError::Length), "length {length}");
    }
    // Within the bytes, but not enough for the extensions that the flags announce.
    for length in 32..96_u32 {
        let refused = refusal(|bytes| bytes[..4].copy_from_slice(&length.to_le_bytes()));
        assert_eq!(refused, Some(FrameError::Length), "length {length}");
    }
    for length in 0..bytes.len() {
        let expected = match length {
            0..32 => Some(FrameError::Short),
            32..103 => Some(FrameError::Length),
            _ => None,
        };
        assert_eq!(Frame::parse(&bytes[..length]).err(), expected, "cut at {length}");
    }
}

#[test]
fn reserved_bytes_of_extensions_are_zero() {
    // Trace: flags above bit 0 and 7 bytes; deadline: 8 bytes; name: its padding.
    for at in (57..64).chain(72..80).chain(88..96) {
        assert_eq!(refusal(|bytes| bytes[at] = 1), Some(FrameError::Extension), "byte {at}");
    }
    assert_eq!(refusal(|bytes| bytes[56] = 2), Some(FrameError::Extension));
    assert_eq!(refusal(|bytes| bytes[56] = 0), None);
}

#[test]
fn broken_names_are_refused() {
    assert_eq!(refusal(|bytes| bytes[80..96].fill(0)), Some(FrameError::Extension), "no name");
    assert_eq!(refusal(|bytes| bytes[81] = 0xff), Some(FrameError::Extension), "no UTF-8");
    // "größe" is 7 bytes: one fewer leaves a byte in the padding, more reach into the padding
    // (NUL is UTF-8), and far more reach out of the frame.
    assert_eq!(refusal(|bytes| bytes[80] = 6), Some(FrameError::Extension));
    assert_eq!(refusal(|bytes| bytes[80] = 8), None);
    assert_eq!(refusal(|bytes| bytes[80] = 24), Some(FrameError::Length));
    assert_eq!(refusal(|bytes| bytes[80] = 255), Some(FrameError::Length));
}

#[test]
fn extensions_and_payload_are_read_in_place() {
    let bytes = extended();
    let frame = Frame::parse(&bytes).unwrap();
    assert_eq!(frame.trace(), Some(TRACE));
    assert_eq!(frame.deadline(), Some(99));
    assert_eq!(frame.name(), Some("größe"));
    assert_eq!(frame.payload(), b"payload");
    assert_eq!(frame.bytes(), &bytes[..103]);
    assert_eq!(frame.payload().as_ptr(), bytes[96..].as_ptr(), "no copy");
    let plain = header().encode();
    let frame = Frame::parse(&plain).unwrap();
    assert_eq!((frame.trace(), frame.deadline(), frame.name()), (None, None, None));
    assert_eq!(frame.payload(), b"");
}

/// Three frames: 32, 33 and 40 bytes.
fn body() -> Vec<u8> {
    let mut body = vec![0; 32 + 48 + 48];
    let mut at = 0;
    for payload in [&b""[..], b"x", b"12345678"] {
        at += FrameEncoder::new(header()).write(payload, &mut body[at..]).unwrap();
    }
    assert_eq!(at, body.len());
    body
}

fn walk(frames: Frames<'_>) -> (usize, Option<FrameError>) {
    // Bounded, for a walk that does not end.
    let results: Vec<_> = frames.take(99).collect();
    let frames = results.iter().filter(|result| result.is_ok()).count();
    assert!(results[..frames].iter().all(Result::is_ok), "an error ends the walk");
    assert!(results.len() <= frames + 1, "one error at most");
    (frames, results.last().and_then(|result| result.as_ref().err()).copied())
}

#[test]
fn a_body_is_walked_frame_by_frame() {
    let body = body();
    let payloads: Vec<_> = Frames::new(&body).map(|frame| frame.unwrap().payload()).collect();
    assert_eq!(payloads, [&b""[..], b"x", b"12345678"]);
    assert_eq!(walk(Frames::new(&[])), (0, None));
}

#[test]
fn a_cut_body_gives_its_whole_frames_and_one_error() {
    let body = body();
    for length in 0..body.len() {
        // The padding belongs to the frame: a body ends at a multiple of 16.
        let expected = match length {
            0 => (0, None),
            1..32 => (0, Some(FrameError::Short)),
            32 => (1, None),
            33..64 => (1, Some(FrameError::Short)),
            64..80 => (1, Some(FrameError::Length)),
            80 => (2, None),
            81..112 => (2, Some(FrameError::Short)),
            _ => (2, Some(FrameError::Length)),
        };
        assert_eq!(walk(Frames::new(&body[..length])), expected, "cut at {length}");
    }
}

#[test]
fn a_wrong_count_is_an_error_at_the_end() {
    let body = body();
    assert_eq!(walk(Frames::counted(&body, 3)), (3, None));
    for count in [4, 5, u16::MAX] {
        assert_eq!(walk(Frames::counted(&body, count)), (3, Some(FrameError::Count)));
    }
    for count in 0..3 {
        assert_eq!(
            walk(Frames::counted(&body, count)),
            (usize::from(count), Some(FrameError::Count))
        );
    }
    assert_eq!(walk(Frames::counted(&[], 0)), (0, None));
}

#[test]
fn an_error_hides_what_follows() {
    let mut body = body();
    body[32 + 12] = 9;
    assert_eq!(walk(Frames::new(&body)), (1, Some(FrameError::Priority)));
    assert_eq!(walk(Frames::counted(&body, 3)), (1, Some(FrameError::Priority)));
}

#[test]
fn extension_bytes_follow_the_flags() {
    let name = "0123456789abcdef";
    for (flags, name, expected) in [
        (FrameFlags::empty(), "", 0),
        (FrameFlags::TRACE, "", 32),
        (FrameFlags::DEADLINE, "", 16),
        (FrameFlags::NAMED, "x", 16),
        (FrameFlags::NAMED, &name[..15], 16),
        (FrameFlags::NAMED, name, 32),
        (FrameFlags::TRACE | FrameFlags::DEADLINE | FrameFlags::NAMED, name, 80),
        (FrameFlags::CORRELATION | FrameFlags::NAMED, "x", 48),
    ] {
        assert_eq!(FrameHeader::extensions_bytes(flags, name), expected, "{flags} {name}");
    }
}

#[test]
fn frames_of_one_type_are_taken_and_others_left() {
    let mut bytes = [0_u8; 3 * 48];
    for (into, event_type) in bytes.chunks_exact_mut(48).zip([7_u32, 7, 9]) {
        let header = FrameHeader { event_type: EventTypeId(event_type), ..header() };
        FrameEncoder::new(header).write(&[1; 16], into).expect("fits");
    }
    let mut frames = Frames::counted(&bytes, 3);
    assert_eq!(frames.next_type(), Some(EventTypeId(7)));
    assert!(frames.next_of(EventTypeId(9)).is_none());
    assert!(frames.next_of(EventTypeId(7)).is_some() && frames.next_of(EventTypeId(7)).is_some());
    assert!(frames.next_of(EventTypeId(7)).is_none());
    assert_eq!(frames.next_of(EventTypeId(9)).expect("the last").payload(), [1; 16]);
    assert!(frames.next_type().is_none() && frames.next().is_none());
    // A frame that lies ends them all; so does one more than were counted.
    let mut short = Frames::counted(&bytes, 1);
    assert!(short.next_of(EventTypeId(7)).is_some() && short.next_of(EventTypeId(7)).is_none());
    assert!(short.next_type().is_none());
    bytes[0] = 200;
    let mut lying = Frames::counted(&bytes, 3);
    assert!(lying.next_of(EventTypeId(7)).is_none() && lying.next_type().is_none());
}
