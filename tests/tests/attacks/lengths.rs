//! Peers with certificates that lie about lengths and counts, or begin what they never end (F33),
//! or speak without an end of what never was (F32): refused by name, within fixed memory.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use wireloom::{Node, ReliableSettings};
use wireloom_wire::{
    FrameHeader, NodeId, PacketFlags, PacketHeader, Piece, Priority, SessionId, Status, body_hash,
    event_type_id,
};

use crate::rig::{
    Cluster, Tls, alone, connect, counted, eventually, hello, host, resident_bytes, tls,
};

/// The largest event that the node takes.
const EVENT_BYTES_MAX: u32 = 64 << 20;

fn desk(cluster: &Cluster) -> Node {
    let settings = ReliableSettings {
        stream_bytes_max: EVENT_BYTES_MAX as usize,
        ack_timeout: Duration::from_millis(400),
        ..ReliableSettings::default()
    };
    cluster.node("desk").reliable(settings).start().unwrap()
}

/// A peer with a certificate of its own whose streams are open.
fn peer(cluster: &Cluster, desk: &Node, number: u32) -> Tls {
    let name = format!("peer{number}");
    let mut tls = tls(&cluster.credentials(&name), host(number), desk.address()).unwrap();
    tls.write_all(&hello(&name, 1)).unwrap();
    tls.flush().unwrap();
    tls.read_exact(&mut [0; 48]).unwrap();
    tls
}

fn packet(number: u32, (session, sequence): (u32, u64), body: &[u8]) -> Vec<u8> {
    let header = PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: 2,
        frame_count: u16::from(!body.is_empty()),
        length: u32::try_from(48 + body.len()).unwrap(),
        session: SessionId(session),
        source: NodeId::of_name(&format!("peer{number}")),
        sequence,
        first_event: sequence,
    };
    [&header.encode(Some(body_hash(body)))[..], body].concat()
}

fn frame(length: u32) -> FrameHeader {
    FrameHeader { length, ..FrameHeader::bare(event_type_id("blob"), Priority::Normal) }
}

/// The first kilobyte of an event of `total` bytes.
fn first_piece(number: u32, total: u32) -> Vec<u8> {
    let mut body = Piece::head(&frame(total), 0, 1_024).to_vec();
    body.resize(body.len() + 1_024, 0);
    packet(number, (78, 0), &body)
}

/// Everything until the node ends the line.
fn ended(peer: &mut Tls) {
    let mut bytes = [0; 4_096];
    while peer.read(&mut bytes).is_ok_and(|read| read > 0) {}
}

#[test]
fn f33_lengths_and_counts_that_lie_end_their_line_and_take_no_memory() {
    let _alone = alone();
    let cluster = Cluster::new();
    let desk = desk(&cluster);
    let event = {
        let mut body = vec![0; 48];
        body[..4].copy_from_slice(&40_u32.to_le_bytes());
        body
    };
    type Lie = (&'static str, fn(&mut Vec<u8>));
    let at = |bytes: &mut Vec<u8>, at: usize, value: u32| {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    };
    let lies: [Lie; 6] = [
        ("length 2^32-1", |bytes| bytes[8..12].fill(0xff)),
        ("length with the highest bit", |bytes| bytes[11] |= 0x80),
        ("length 0", |bytes| bytes[8..12].fill(0)),
        ("length below a header", |bytes| bytes[8..12].copy_from_slice(&47_u32.to_le_bytes())),
        ("sequence 2^63", |bytes| bytes[31] = 0x80),
        ("count 2^16-1", |bytes| bytes[4..6].fill(0xff)),
    ];
    let before = resident_bytes();
    for (number, (what, lie)) in (1..).zip(lies) {
        let mut peer = peer(&cluster, &desk, number);
        let mut bytes = packet(number, (77, 0), &event);
        lie(&mut bytes);
        // A checksum that fits: the lie is found, not the damage.
        let head = bytes.first_chunk().unwrap();
        let header = PacketHeader::peek(head);
        let hash = body_hash(&bytes[48..]);
        bytes[..48].copy_from_slice(&header.encode(Some(hash)));
        peer.write_all(&bytes).unwrap();
        let _ = peer.flush();
        eventually(what, || counted(&desk, "links_broken") == u64::from(number));
        ended(&mut peer);
    }
    let mut frames = event;
    at(&mut frames, 0, u32::MAX);
    let mut liar = peer(&cluster, &desk, 50);
    liar.write_all(&packet(50, (77, 0), &frames)).unwrap();
    liar.flush().unwrap();
    eventually("a frame's length", || {
        counted(&desk, "links_broken") == 7 || counted(&desk, "events_malformed") == 1
    });
    let grown = resident_bytes().saturating_sub(before);
    println!("{} lines ended, memory + {} KiB", counted(&desk, "links_broken"), grown >> 10);
    assert!(grown < 16 << 20, "{grown}");
    honest(&cluster, &desk);
}

fn honest(cluster: &Cluster, desk: &Node) {
    let credentials = cluster.credentials("honest");
    let took = connect((&credentials, "honest"), host(9_000), desk.address(), 1).unwrap();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// Peers that begin large events and never end them.
const BEGINNERS: u32 = 200;

#[test]
fn f33_events_that_are_begun_and_never_ended_hold_a_bounded_share_for_a_bounded_time() {
    let _alone = alone();
    let cluster = Cluster::new();
    let desk = desk(&cluster);
    let mut peers: Vec<Tls> = (1..=BEGINNERS).map(|number| peer(&cluster, &desk, number)).collect();
    let before = resident_bytes();
    for (number, peer) in (1..).zip(&mut peers) {
        // Every fourth says a gigabyte, which is more than is taken.
        let total = if number % 4 == 0 { 1 << 30 } else { EVENT_BYTES_MAX };
        peer.write_all(&first_piece(number, total)).unwrap();
        let _ = peer.flush();
    }
    let refused = u64::from(BEGINNERS / 4);
    eventually("what is too large", || counted(&desk, "pieces_refused") >= refused);
    let most = counted(&desk, "reassembly_bytes_most");
    let freed =
        eventually("what was begun to be given up", || counted(&desk, "reassembly_bytes") == 0);
    let grown = resident_bytes().saturating_sub(before);
    println!(
        "{BEGINNERS} events begun: at most {} MiB promised, memory + {} KiB, free after {freed:?}",
        most >> 20,
        grown >> 10
    );
    assert!(most <= 4 * u64::from(EVENT_BYTES_MAX), "{most}: four of the largest at a time");
    assert!(grown < 64 << 20, "{grown}");
    // Four at a time, each as long as it is waited for; half a second on a quiet machine.
    assert!(freed < Duration::from_secs(30), "{freed:?}");
    honest(&cluster, &desk);
}

#[test]
fn f32_words_without_an_end_cost_no_memory() {
    let _alone = alone();
    let cluster = Cluster::new();
    let desk = desk(&cluster);
    let mut liar = peer(&cluster, &desk, 1);
    let before = resident_bytes();
    let word = Status {
        source: NodeId::of_name("desk"),
        session: SessionId(5),
        lane: 2,
        next_sequence: 1 << 40,
        window_bytes: u64::MAX,
    };
    let words = word.encode().repeat(100);
    let mut said = 0;
    while said < 100_000 && liar.write_all(&words).and_then(|()| liar.flush()).is_ok() {
        said += 100;
    }
    let told = counted(&desk, "statuses_unknown") + counted(&desk, "links_broken");
    let grown = resident_bytes().saturating_sub(before);
    println!("{said} words said, {told} told, memory + {} KiB", grown >> 10);
    eventually("word of it", || {
        counted(&desk, "statuses_unknown") + counted(&desk, "links_broken") > 0
    });
    assert!(grown < 8 << 20, "{grown}");
    honest(&cluster, &desk);
}
