//! What is written next, without a socket: small events before pieces, pieces in turn and few.

use std::sync::Arc;

use wireloom_ring::{Producer, Retained, RingConfig, ring};
use wireloom_wire::{FrameEncoder, FrameHeader, NodeId, Priority, event_type_id};

use super::*;
use crate::outgoing::Feed;
use crate::outgoing::large::LargeRoom;
use crate::settings::ReliableSettings;
use crate::tally::Tally;

const HEADER: FrameHeader = FrameHeader::bare(event_type_id("planned"), Priority::Normal);

/// A link of all lanes whose peer takes whatever comes, and a ring of its lane 2.
fn link() -> (Dialled, Producer) {
    let mut link = Dialled::new(([127, 0, 0, 1], 9).into(), (&ReliableSettings::default(), 1));
    link.add_lanes(NodeId(3), 0..LANES, (SessionId(1), SessionId(2)));
    let config = RingConfig { capacity_bytes: 4096, huge_pages: false };
    let (producer, consumer) = ring(config).expect("memory for a test");
    link.attach(2, Feed::new(Retained::new(consumer), Arc::default()));
    for stream in &mut link.large {
        stream.resume(0, 1 << 20).expect("nothing was sent");
        stream.acknowledge(0, 1 << 30).expect("nothing was taken");
    }
    (link, producer)
}

fn push_large(link: &mut Dialled, lane: u8) {
    let mut padded = vec![0; 1 << 20];
    FrameEncoder::new(HEADER).write(&vec![7; (1 << 20) - 32], &mut padded).expect("it fits");
    let share = Arc::<LargeRoom>::default().take(1, 1).expect("room");
    let large = Large::new(padded.into_boxed_slice(), Arc::<Tally>::default(), share);
    link.push_large(lane, large.expect("a frame"));
}

fn publish(producer: &mut Producer) {
    let mut claim = producer.claim(96).expect("room");
    let length = FrameEncoder::new(HEADER).write(&[7; 64], &mut claim).expect("it fits");
    claim.commit(length);
}

/// The bytes of a plan's first packets.
fn bytes(link: &Dialled, plan: &[(usize, usize)]) -> usize {
    plan.iter().flat_map(|(stream, ahead)| link.unwritten(*stream, *ahead)).map(<[u8]>::len).sum()
}

#[test]
fn small_events_go_before_a_few_pieces_of_each_lane_in_turn() {
    let (mut link, mut producer) = link();
    push_large(&mut link, 1);
    push_large(&mut link, 3);
    publish(&mut producer);
    let plan = link.plan();
    let (one, three) = (LANES + 1, LANES + 3);
    assert_eq!(plan, [(2, 0), (one, 0), (three, 0), (one, 1), (three, 1)]);
    assert!(bytes(&link, &plan[1..]) <= PIECES_PER_WRITE * 65_504);
    // Lanes that have nothing leave their turns to the others.
    push_large(&mut link, 4);
    assert_eq!(link.plan().len(), 5);
}

#[test]
fn the_rest_of_a_half_written_piece_goes_before_everything_else() {
    let (mut link, mut producer) = link();
    push_large(&mut link, 3);
    let plan = link.plan();
    assert_eq!(plan.len(), PIECES_PER_WRITE);
    let left = link.large[3].wrote(1_000);
    assert_eq!((left, link.half_written()), (0, Some(LANES + 3)));
    publish(&mut producer);
    let plan = link.plan();
    let place = LANES + 3;
    assert_eq!(plan, [(place, 0), (2, 0), (place, 1), (place, 2), (place, 3), (place, 4)]);
    assert_eq!(bytes(&link, &plan[..1]), 65_504 - 1_000);
}
