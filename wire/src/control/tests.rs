//! Control messages are read as they were written, and only as they are written.

use std::string::String;
use std::vec::Vec;

use super::*;
use crate::decode_packet;

fn hello(name: &str, stream_count: usize) -> Hello<'_> {
    let mut streams = [StreamPoint::default(); HELLO_STREAMS_MAX];
    for (place, stream) in (0_u8..).zip(&mut streams[..stream_count]) {
        let (lane, pieces) = (place % 5, place >= 5);
        let session = 70 + u32::from(place);
        *stream = StreamPoint { lane, pieces, session, sequence: 1 << (6 * place) };
    }
    Hello {
        protocol: LINK_PROTOCOL,
        cluster: 0xc1,
        node: NodeId(7),
        incarnation: 1_700_000_000_000_000_000,
        listens: SocketAddr::from(([10, 0, 0, 7], 9_000)),
        event_bytes_max: 64 << 20,
        compresses: stream_count % 2 == 1,
        streams,
        stream_count,
        name,
    }
}

fn encoded(control: &Control<'_>) -> Vec<u8> {
    let mut packet = [0xee; CONTROL_PACKET_BYTES_MAX];
    let length = control.encode(NodeId(7), &mut packet);
    packet[..length].to_vec()
}

#[test]
fn every_message_is_read_as_it_was_written() {
    let long = "ä".repeat(127);
    let v6 = Hello { listens: "[2001:db8::1]:443".parse().unwrap(), ..hello("x", 1) };
    let mut messages = Vec::from([
        Control::Hello(hello("analytics-01", 5)),
        Control::Hello(hello("analytics-01", HELLO_STREAMS_MAX)),
        Control::Hello(hello(&long, HELLO_STREAMS_MAX)),
        Control::Welcome(hello("a", 0)),
        Control::Welcome(v6),
    ]);
    messages.extend(Refusal::ALL.map(Control::Refusal));
    for message in messages {
        let bytes = encoded(&message);
        let packet = decode_packet(&bytes, true).expect("it is well-formed");
        assert_eq!(Control::of(&packet), Some(message));
    }
}

#[test]
fn a_name_too_long_is_cut_at_a_letter() {
    let long = "ä".repeat(200);
    let bytes = encoded(&Control::Hello(hello(&long, HELLO_STREAMS_MAX)));
    assert!(bytes.len() <= CONTROL_PACKET_BYTES_MAX);
    let packet = decode_packet(&bytes, true).expect("it is well-formed");
    let Some(Control::Hello(read)) = Control::of(&packet) else { panic!("a hello") };
    assert_eq!(read.name, "ä".repeat(127));
}

/// A hello with bytes of its payload changed, its checksum made to fit.
fn changed(at: usize, value: u8) -> Vec<u8> {
    let mut bytes = encoded(&Control::Hello(hello("analytics-01", 2)));
    bytes[PACKET_HEADER_BYTES + FRAME_HEADER_BYTES + at] = value;
    reseal(&mut bytes);
    bytes
}

fn reseal(bytes: &mut [u8]) {
    let header = PacketHeader::peek(bytes.first_chunk().expect("a header"));
    let hash = body_hash(&bytes[PACKET_HEADER_BYTES..]);
    bytes[..PACKET_HEADER_BYTES].copy_from_slice(&header.encode(Some(hash)));
}

#[test]
fn a_hello_that_contradicts_itself_is_none() {
    for (at, value) in [
        (2, 0),     // no name
        (2, 13),    // a longer name than there is
        (3, 3),     // more streams
        (3, 1),     // fewer
        (3, 11),    // more than two a lane
        (4, 2),     // neither with blocks nor without
        (5, 1),     // reserved
        (24, 5),    // no address family
        (25, 1),    // reserved
        (36, 1),    // bytes behind an IPv4 address
        (48, 5),    // no lane
        (49, 2),    // neither events nor pieces
        (50, 1),    // reserved
        (80, 0xff), // a name that is not UTF-8
    ] {
        let bytes = changed(at, value);
        let packet = decode_packet(&bytes, true).expect("the packet is well-formed");
        assert_eq!(Control::of(&packet), None, "byte {at} = {value}");
    }
    let bytes = changed(0, 9);
    let packet = decode_packet(&bytes, true).expect("the packet is well-formed");
    let Some(Control::Hello(other)) = Control::of(&packet) else { panic!("a version is data") };
    assert_eq!(other.protocol, 9);
}

#[test]
fn only_unsequenced_packets_with_one_frame_are_control() {
    let bytes = encoded(&Control::Hello(hello("a", 1)));
    let header = PacketHeader::peek(bytes.first_chunk().expect("a header"));
    let body = &bytes[PACKET_HEADER_BYTES..];
    for flags in [PacketFlags::SEQUENCED, PacketFlags::MULTICAST] {
        assert_eq!(Control::of(&Packet { header: PacketHeader { flags, ..header }, body }), None);
    }
    let header = PacketHeader { frame_count: 2, ..header };
    assert_eq!(Control::of(&Packet { header, body }), None);
}

#[test]
fn a_refusal_has_a_number_a_name_and_a_sentence() {
    let mut names: Vec<&str> = Vec::new();
    for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(usize::from(refusal.number()), place + 1);
        assert!(std::format!("{refusal}").contains(": ") && !names.contains(&refusal.name()));
        names.push(refusal.name());
    }
    for number in [0, 10, 255] {
        let mut bytes = encoded(&Control::Refusal(Refusal::Busy));
        bytes[PACKET_HEADER_BYTES + FRAME_HEADER_BYTES] = number;
        reseal(&mut bytes);
        assert_eq!(Control::of(&decode_packet(&bytes, true).expect("a packet")), None);
    }
    let _: String = std::format!("{:?}", Refusal::Name);
}
