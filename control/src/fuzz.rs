//! What must hold of each reader whatever the bytes: one function a reader. As `wire`'s: the same
//! functions run as bounded tests (`tests/attacks/readers.rs`) and under a coverage-guided fuzzer
//! (`fuzz/`); they panic when something does not hold, and the product does not call them.

use std::cell::RefCell;
use std::net::SocketAddr;

use wireloom_wire::gossip::{
    CONTROL_OVERHEAD_BYTES, CONTROL_PACKET_BYTES_MAX, ControlPacket, HELLO, NACK, PAGE, PULL,
    RECORD, SUSPECT, SWIM, WELCOME,
};
use wireloom_wire::{
    BLOCK_PACKETS_BYTES_MAX, Block, NodeId, PACKET_HEADER_BYTES, PacketHeader, SessionId, body_hash,
};

use crate::compression::Compression;
use crate::framing::{Unit, next_packet, next_unit};
use crate::membership::{Identity, MEMBERS_MAX, Membership, MembershipConfig, Record, Timing};
use crate::outgoing::PACKET_BYTES_MAX;

/// What a link reads: whatever the stream, each unit lies within it, behind the one before, and
/// nothing is waited for that is longer than a packet may be. Also with checksums made to fit.
pub fn stream(stream: &[u8]) {
    for compresses in [false, true] {
        walk(stream, compresses);
        walk(&fitted(stream), compresses);
    }
}

fn walk(stream: &[u8], compresses: bool) {
    let mut at = 0;
    while let Ok(Some(unit)) = next_unit(&stream[at..], PACKET_BYTES_MAX, compresses) {
        assert!((PACKET_HEADER_BYTES..=stream.len() - at).contains(&unit.length()));
        at += unit.length();
        if let Unit::Block(block) = unit {
            assert!(compresses && block.packets_bytes <= BLOCK_PACKETS_BYTES_MAX);
            let Some(packets) = Compression::default().unpack(&block) else { break };
            assert_eq!(packets.len(), block.packets_bytes);
            let mut rest = &packets[..];
            while let Ok(Some(packet)) = next_packet(rest, PACKET_BYTES_MAX) {
                rest = &rest[packet.header.length as usize..];
            }
        }
    }
}

/// The stream with a checksum that fits in each header whose length can be.
fn fitted(stream: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    let mut rest = &mut stream[..];
    while let Some(head) = rest.first_chunk::<PACKET_HEADER_BYTES>() {
        let header = PacketHeader::peek(head);
        let length = header.length as usize;
        if length < PACKET_HEADER_BYTES || length > rest.len() {
            break;
        }
        let (unit, behind) = rest.split_at_mut(length);
        let (head, body) = unit.split_at_mut(PACKET_HEADER_BYTES);
        head.copy_from_slice(&header.encode(Some(body_hash(body))));
        rest = behind;
    }
    stream
}

thread_local! {
    /// Memory that has held a peer's packets before.
    static USED: RefCell<Compression> = RefCell::new(used());
}

fn used() -> Compression {
    let mut compression = Compression::default();
    compression.reuse(vec![0x5e; BLOCK_PACKETS_BYTES_MAX]);
    compression
}

/// Blocks: what comes out of memory that was used before is what comes out of memory that was
/// not. The first two bytes are half of what the block says it becomes.
pub fn block(bytes: &[u8]) {
    let Some((said, compressed)) = bytes.split_first_chunk::<2>() else { return };
    let packets_bytes = 2 * usize::from(u16::from_le_bytes(*said)).max(1);
    let block = Block { compressed, packets_bytes, length: PACKET_HEADER_BYTES };
    let fresh = Compression::default().unpack(&block);
    assert!(fresh.as_ref().is_none_or(|packets| packets.len() == packets_bytes));
    USED.with_borrow_mut(|compression| {
        let again = compression.unpack(&block);
        assert_eq!(again, fresh, "bytes of an earlier block show");
        compression.reuse(again.unwrap_or_default());
        compression.reuse(vec![0x5e; packets_bytes.min(4_096)]);
    });
}

const KINDS: [wireloom_wire::EventTypeId; 8] =
    [HELLO, WELCOME, PULL, PAGE, SWIM, RECORD, SUSPECT, NACK];

fn address(last: u8) -> SocketAddr {
    ([10, 0, 0, last % 8 + 1], 9_000).into()
}

fn machine(last: u8) -> Membership {
    let identity = Identity { life: 1, node: NodeId(u64::from(last) + 1), address: address(last) };
    let record = Record::new(identity, "node");
    let (cluster, timing) = (SessionId(1), Timing::default());
    Membership::new(MembershipConfig { record, cluster, seed: 1, timing }).expect("a good record")
}

/// Membership: a machine that knows two others hears what comes. Bounds hold, and no answer is
/// longer than its question but those that ask for a record. Of each message the first byte is the
/// kind, the second who sends it, the third the length of the payload behind its version.
pub fn membership(mut bytes: &[u8]) {
    let mut one = machine(0);
    let mut now_ns = 1_000_000_000;
    for other in 1..3 {
        one.hello(address(other), now_ns);
        let mut other_one = machine(other);
        for (_, question) in one.take_packets() {
            other_one.on_packet(address(0), &question, now_ns);
        }
        for (_, answer) in other_one.take_packets() {
            one.on_packet(address(other), &answer, now_ns);
        }
    }
    one.take_packets();
    while let Some(([kind, from, length], rest)) = bytes.split_first_chunk::<3>() {
        let (said, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = rest;
        let question = packet(*kind, said);
        one.on_packet(address(*from), &question, now_ns);
        for (_, answer) in one.take_packets() {
            assert!(answer.len() <= CONTROL_PACKET_BYTES_MAX);
        }
        assert!(one.members().len() <= MEMBERS_MAX.min(32));
        now_ns += 100_000_000 << (kind >> 5);
        one.on_time(now_ns);
        one.take_packets();
    }
}

/// A control packet: questions are padded, all have the version in front.
fn packet(kind: u8, said: &[u8]) -> Vec<u8> {
    let event_type = KINDS[usize::from(kind) % KINDS.len()];
    let mut payload = [&[1], said].concat();
    if event_type == HELLO || event_type == PULL {
        payload.resize((CONTROL_PACKET_BYTES_MAX & !15) - CONTROL_OVERHEAD_BYTES, 0);
    }
    let mut bytes = [0; CONTROL_PACKET_BYTES_MAX];
    let mut packet = ControlPacket::new(&mut bytes);
    assert!(packet.push(event_type, &payload));
    packet.finish(NodeId(66), SessionId(1)).to_vec()
}
