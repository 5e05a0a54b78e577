//! Bytes from somebody who means harm, or from a broken network: whatever they are, a decoder
//! refuses them or makes sense of them. The bounded half of the fuzz targets.

use wireloom_wire::{
    CONTROL_PACKET_BYTES_MAX, Control, Frames, HELLO_STREAMS_MAX, Hello, LINK_PROTOCOL, NodeId,
    PacketError, Refusal, StreamPoint, decode_packet, fuzz,
};

use crate::sample::{Event, Random, packet};

/// Valid packets to change, in each test.
const PACKETS: u64 = 2_000;

/// Changes of each packet.
const CHANGES: usize = 200;

/// Values that lengths and counts like to go wrong at.
const EDGES: [u32; 12] =
    [0, 1, 15, 16, 31, 32, 33, 47, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, 0xffff_ffff];

/// One change of the kinds that break parsers.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return bytes.push(random.next().to_le_bytes()[0]);
    }
    let at = random.below(bytes.len());
    match random.below(6) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next().to_le_bytes()[0],
        2 => bytes.truncate(at),
        3 => {
            let more = random.below(40);
            let tail = random.bytes(more);
            bytes.extend_from_slice(&tail);
        }
        4 => {
            // A length, a count or an extension that lies.
            let at = at & !3;
            let value = EDGES[random.below(EDGES.len())].to_le_bytes();
            let room = (bytes.len() - at).min(4);
            bytes[at..at + room].copy_from_slice(&value[..room]);
        }
        _ => {
            let from = random.below(bytes.len());
            let count = random.below(bytes.len() - at.max(from) + 1);
            bytes.copy_within(from..from + count, at);
        }
    }
}

#[test]
fn changed_packets_are_refused_or_make_sense() {
    let mut random = Random(1);
    for _ in 0..PACKETS {
        let good = packet(&mut random);
        fuzz::packet(&good);
        for _ in 0..CHANGES {
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(3) {
                mutate(&mut bytes, &mut random);
            }
            fuzz::packet(&bytes);
        }
    }
}

#[test]
fn changed_control_messages_are_refused_or_make_sense() {
    let mut random = Random(3);
    let streams =
        [StreamPoint { lane: 1, pieces: true, session: 7, sequence: 9 }; HELLO_STREAMS_MAX];
    for stream_count in 0..=HELLO_STREAMS_MAX {
        let hello = Hello {
            protocol: LINK_PROTOCOL,
            cluster: 5,
            node: NodeId(3),
            incarnation: 11,
            listens: ([127, 0, 0, 1], 9_000).into(),
            event_bytes_max: 1 << 20,
            compresses: true,
            streams,
            stream_count,
            name: "somebody",
        };
        for message in [Control::Hello(hello), Control::Refusal(Refusal::Cluster)] {
            let mut packet = [0; CONTROL_PACKET_BYTES_MAX];
            let length = message.encode(NodeId(3), &mut packet);
            for _ in 0..20 * CHANGES {
                let mut bytes = packet[..length].to_vec();
                for _ in 0..1 + random.below(3) {
                    mutate(&mut bytes, &mut random);
                }
                fuzz::packet(&bytes);
            }
        }
    }
}

#[test]
fn changed_frames_are_refused_or_make_sense() {
    let mut random = Random(2);
    for _ in 0..PACKETS {
        let events = 1 + random.below(4);
        let good: Vec<u8> = (0..events).flat_map(|_| Event::random(&mut random).frame()).collect();
        fuzz::frames(&good);
        for _ in 0..CHANGES {
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(3) {
                mutate(&mut bytes, &mut random);
            }
            fuzz::frames(&bytes);
        }
    }
}

#[test]
fn random_bytes_are_refused_or_make_sense() {
    let mut random = Random(3);
    for _ in 0..20_000 {
        let count = random.below(300);
        let mut bytes = random.bytes(count);
        fuzz::frames(&bytes);
        fuzz::window(&bytes);
        // Past the version, so that more than one check is reached.
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        fuzz::packet(&bytes);
    }
}

#[test]
fn streams_of_any_packets_keep_the_sum() {
    let mut random = Random(4);
    for _ in 0..300 {
        let bytes = random.bytes(8 * 512);
        fuzz::window(&bytes);
    }
}

#[test]
fn no_changed_bit_of_any_packet_is_accepted() {
    let mut random = Random(5);
    for _ in 0..200 {
        let good = packet(&mut random);
        assert!(decode_packet(&good, true).is_ok());
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            for require_checksum in [false, true] {
                let decoded = decode_packet(&bytes, require_checksum);
                assert!(decoded.is_err(), "bit {bit} of {good:02x?}");
            }
        }
    }
}

#[test]
fn no_truncated_packet_is_accepted() {
    let mut random = Random(6);
    for _ in 0..PACKETS {
        let good = packet(&mut random);
        let length = usize::try_from(decode_packet(&good, true).unwrap().header.length).unwrap();
        for cut in 0..good.len() {
            let expected = match cut {
                0..48 => Err(PacketError::Truncated),
                _ if cut < length => Err(PacketError::Length),
                _ => Ok(()),
            };
            let decoded = decode_packet(&good[..cut], true).map(|_| ());
            assert_eq!(decoded, expected, "cut at {cut} of {}", good.len());
        }
    }
}

#[test]
fn no_byte_after_a_packet_is_accepted_but_announced_zeros() {
    let mut random = Random(7);
    for _ in 0..PACKETS {
        let mut bytes = packet(&mut random);
        let flags = decode_packet(&bytes, true).unwrap().header.flags;
        let padded = flags.contains(wireloom_wire::PacketFlags::PADDED);
        bytes.push(0);
        assert_eq!(decode_packet(&bytes, true).is_ok(), padded);
        *bytes.last_mut().unwrap() = 1 << random.below(8);
        assert_eq!(decode_packet(&bytes, true).err(), Some(PacketError::Trailing));
    }
}

#[test]
fn every_cut_of_a_body_gives_whole_frames_only() {
    let mut random = Random(8);
    for _ in 0..PACKETS {
        let events: Vec<Event> = (0..3).map(|_| Event::random(&mut random)).collect();
        let frames: Vec<Vec<u8>> = events.iter().map(Event::frame).collect();
        let body = frames.concat();
        for cut in 0..body.len() {
            let mut whole = 0;
            let mut end = 0;
            while whole < frames.len() && end + frames[whole].len() <= cut {
                end += frames[whole].len();
                whole += 1;
            }
            let results: Vec<_> = Frames::new(&body[..cut]).take(9).collect();
            assert!(results[..whole].iter().all(Result::is_ok));
            assert_eq!(results.len(), whole + usize::from(cut > end), "cut at {cut}");
            assert!(results[whole..].iter().all(Result::is_err));
        }
    }
}
