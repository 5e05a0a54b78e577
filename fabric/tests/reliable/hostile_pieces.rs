//! Strangers who send pieces of large events that are none, or announce events and fall silent:
//! refused, counted, bounded; honest large events go on.

use std::io::{Read, Write};
use std::net::TcpStream;

use wireloom::{Delivery, Node, ReliableSettings, Target};
use wireloom_wire::{
    CONTROL_PACKET_BYTES_MAX, Control, FrameHeader, HELLO_STREAMS_MAX, Hello, LINK_PROTOCOL,
    NodeId, PacketFlags, PacketHeader, Piece, Priority, SessionId, StreamPoint, body_hash,
    event_type_id,
};

use crate::large::{Blob, Blobs};
use crate::support::{PATIENCE, counted, eventually, hasty, node, patiently};

const CAP: u32 = 200_000;

/// A desk that takes events up to [`CAP`] and is not patient.
fn desk() -> Node {
    let settings = ReliableSettings { stream_bytes_max: CAP as usize, ..hasty() };
    node("desk").reliable(settings).start().expect("starts")
}

/// Somebody with a stream of pieces to a node, or with one of events.
fn stranger(to: &Node, id: u64, pieces: bool) -> TcpStream {
    let mut streams = [StreamPoint::default(); HELLO_STREAMS_MAX];
    streams[0] = StreamPoint { lane: 2, pieces, session: 77, sequence: 0 };
    let hello = Hello {
        protocol: LINK_PROTOCOL,
        cluster: xxhash_rust::xxh3::xxh3_64(b"default"),
        node: NodeId(id),
        incarnation: 9,
        compresses: false,
        listens: ([127, 0, 0, 1], 9).into(),
        event_bytes_max: CAP,
        streams,
        stream_count: 1,
        name: "stranger",
    };
    let mut packet = [0; CONTROL_PACKET_BYTES_MAX];
    let length = Control::Hello(hello).encode(NodeId(id), &mut packet);
    let mut stream = TcpStream::connect(to.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(&packet[..length]).expect("sent");
    stream
}

/// A packet of such a stream: a piece of an event of `total` bytes.
fn piece(id: u64, sequence: u64, (total, offset, bytes): (u32, u32, u32)) -> Vec<u8> {
    let whole =
        FrameHeader { length: total, ..FrameHeader::bare(event_type_id("blob"), Priority::Normal) };
    let mut body = Piece::head(&whole, offset, bytes).to_vec();
    body.resize(body.len() + (bytes as usize).next_multiple_of(16), 0);
    let header = PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: 2,
        frame_count: 1,
        length: u32::try_from(48 + body.len()).expect("short"),
        session: SessionId(77),
        source: NodeId(id),
        sequence,
        first_event: 0,
    };
    [&header.encode(Some(body_hash(&body)))[..], &body].concat()
}

#[test]
fn pieces_that_lie_end_their_link_alone() {
    let desk = desk();
    let blobs = Blobs::by(&desk);
    let feed = node("feed").start().expect("starts");
    let mut honest = feed.publisher::<Blob>(&Target::Reliable(desk.address())).expect("a route");
    let lies: [&[(u32, u32, u32)]; 7] = [
        &[(CAP + 1, 0, 10_000)],
        &[(u32::MAX, 0, 10_000)],
        &[(1_000, 0, 1_000)],
        &[(100_000, 16, 10_000)],
        &[(100_000, 0, 10_000), (100_000, 9_984, 10_000)],
        &[(100_000, 0, 10_000), (100_016, 10_000, 10_000)],
        &[(100_000, 0, 10_000), (100_000, 0, 10_000)],
    ];
    for (number, lie) in (0_u64..).zip(lies) {
        let id = 100 + number;
        let mut stream = stranger(&desk, id, true);
        for (sequence, part) in (0..).zip(lie) {
            stream.write_all(&piece(id, sequence, *part)).expect("sent");
        }
        // Until the node ends the link.
        let _ = stream.read_to_end(&mut Vec::new());
        let accepted = patiently(|| honest.publish(&Blob::new(number, 150_000)));
        let receipt = honest.receipt(accepted).expect("reliable");
        assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered, "{lie:?}");
        assert_eq!(counted(&desk, "pieces_refused"), number + 1, "{lie:?}");
    }
    assert_eq!(counted(&desk, "links_broken"), lies.len() as u64);
    assert_eq!(blobs.seen().len(), lies.len());
    eventually("the memory to be free", || counted(&desk, "reassembly_bytes") == 0);
}

#[test]
fn whoever_announces_and_falls_silent_holds_its_place_for_so_long_only() {
    let desk = desk();
    let blobs = Blobs::by(&desk);
    let mut silent: Vec<TcpStream> = (200..204).map(|id| stranger(&desk, id, true)).collect();
    for (id, stream) in (200..).zip(&mut silent) {
        stream.write_all(&piece(id, 0, (CAP, 0, 1_024))).expect("sent");
    }
    eventually("all places to be taken", || {
        counted(&desk, "reassembly_bytes") == 4 * u64::from(CAP)
    });
    let feed = node("feed").start().expect("starts");
    let mut honest = feed.publisher::<Blob>(&Target::Reliable(desk.address())).expect("a route");
    let accepted = honest.publish(&Blob::new(1, 150_000)).expect("accepted");
    let receipt = honest.receipt(accepted).expect("reliable");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    assert_eq!(blobs.seen(), [(1, 150_000)]);
    eventually("their ends", || counted(&desk, "reassemblies_abandoned") == 4);
    assert!(counted(&desk, "links_silent") >= 4);
    assert_eq!(counted(&desk, "reassembly_bytes_most"), 4 * u64::from(CAP));
    drop(silent);
}

#[test]
fn a_piece_where_events_are_expected_is_an_event_that_cannot_be_read() {
    let desk = desk();
    let mut stream = stranger(&desk, 300, false);
    stream.write_all(&piece(300, 0, (100_000, 0, 1_024))).expect("sent");
    eventually("the refusal", || counted(&desk, "events_malformed") == 1);
    let ledger = desk.close();
    assert!(ledger.balanced && ledger.received.events == 1, "{ledger:?}");
}
