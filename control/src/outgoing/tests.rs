//! The sending side of a stream, without a socket: numbering, acknowledgement, resumption, failure.

use wireloom_ring::{Producer, RingConfig, ring};
use wireloom_wire::{FrameEncoder, FrameHeader, Priority, decode_packet, event_type_id};

use super::*;
use crate::tally::Delivery;

fn fed() -> (Outgoing, Producer, Arc<Tally>) {
    let config = RingConfig { capacity_bytes: 4096, huge_pages: false };
    let (producer, consumer) = ring(config).expect("memory for a test");
    let tally = Arc::<Tally>::default();
    let mut stream = Outgoing::new(NodeId(3), 2, SessionId(9));
    stream.attach(Feed::new(Retained::new(consumer), Arc::clone(&tally)));
    (stream, producer, tally)
}

fn publish(producer: &mut Producer, sequence: u64) -> bool {
    let encoder = FrameEncoder::new(FrameHeader {
        sequence,
        ..FrameHeader::bare(event_type_id("numbered"), Priority::Normal)
    });
    let Ok(mut claim) = producer.claim(96) else { return false };
    let length = encoder.write(&[7; 64], &mut claim).expect("it fits");
    claim.commit(length);
    true
}

/// Writes everything that is formed, as one link would; the packets as bytes.
fn write_all(stream: &mut Outgoing) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while stream.form(0) {
        let bytes = stream.unwritten(0).expect("formed").concat();
        assert_eq!(stream.wrote(bytes.len()), 0);
        packets.push(bytes);
    }
    packets
}

fn sequences(packets: &[Vec<u8>]) -> Vec<(u64, u64, u16)> {
    let header = |bytes: &Vec<u8>| decode_packet(bytes, true).expect("a packet").header;
    let fields = |header: PacketHeader| (header.sequence, header.first_event, header.frame_count);
    packets.iter().map(|bytes| fields(header(bytes))).collect()
}

#[test]
fn packets_are_numbered_and_keep_their_bytes_when_they_are_sent_again() {
    let (mut stream, mut producer, tally) = fed();
    let mut first = Vec::new();
    for count in [1, 3, 2] {
        (0..count).for_each(|number| assert!(publish(&mut producer, number)));
        first.extend(write_all(&mut stream));
    }
    assert_eq!(sequences(&first), [(0, 0, 1), (1, 1, 3), (2, 4, 2)]);
    stream.interrupt();
    assert!(publish(&mut producer, 6));
    assert_eq!(stream.resume(0), Ok(3));
    let again = write_all(&mut stream);
    assert_eq!(again[..3], first[..], "the same packets, bound by bound");
    assert_eq!(sequences(&again[3..]), [(3, 6, 1)]);
    stream.interrupt();
    assert_eq!(stream.resume(2), Ok(2), "the peer has the first two in its ring");
    assert_eq!(write_all(&mut stream)[..], again[2..]);
    assert_eq!(tally.delivered(), 0);
    assert_eq!(stream.acknowledge(4), Ok(true));
    assert_eq!((tally.delivered(), stream.is_pending()), (7, false));
    assert_eq!(stream.acknowledge(3), Ok(false), "old news");
}

#[test]
fn the_ring_has_its_room_back_when_the_peer_has_taken_and_not_before() {
    let (mut stream, mut producer, _) = fed();
    while publish(&mut producer, 0) {}
    write_all(&mut stream);
    assert!(!publish(&mut producer, 1), "written is not taken");
    assert_eq!(stream.acknowledge(1), Ok(true));
    assert!(publish(&mut producer, 1));
}

#[test]
fn what_was_never_sent_can_be_neither_acknowledged_nor_wanted() {
    let (mut stream, mut producer, _) = fed();
    assert!(publish(&mut producer, 0));
    assert_eq!(stream.acknowledge(1), Err(NeverSent));
    assert!(stream.form(0));
    assert_eq!(stream.acknowledge(1), Err(NeverSent), "formed is not sent");
    stream.wrote(1);
    assert_eq!(stream.acknowledge(2), Err(NeverSent));
    assert_eq!(stream.acknowledge(1 << 40), Err(NeverSent));
    assert_eq!(stream.resume(2), Err(NeverSent));
    assert_eq!(stream.acknowledge(0), Ok(false));
}

#[test]
fn a_half_written_packet_stays_until_its_rest_is_written() {
    let (mut stream, mut producer, tally) = fed();
    assert!(publish(&mut producer, 0));
    write_all(&mut stream);
    // A new link begins with it again; the word of the old one comes in the middle.
    stream.interrupt();
    assert_eq!(stream.resume(0), Ok(1));
    let whole = stream.unwritten(0).expect("formed").concat();
    stream.wrote(50);
    assert!(stream.awaits_word(), "its peer owes a word for it");
    assert_eq!(stream.acknowledge(1), Ok(true));
    assert_eq!(tally.delivered(), 0);
    assert_eq!(stream.unwritten(0).expect("still there").concat(), whole[50..]);
    assert_eq!(stream.wrote(whole.len()), 50, "the rest is for others");
    assert_eq!(tally.delivered(), 1);
}

#[test]
fn giving_up_takes_all_of_the_ring_and_begins_a_new_session() {
    let (mut stream, mut producer, tally) = fed();
    // So far in the ring that what follows lies on both sides of its end.
    for _ in 0..30 {
        assert!(publish(&mut producer, 0));
    }
    write_all(&mut stream);
    assert_eq!(stream.acknowledge(1), Ok(true));
    for number in 0..20 {
        assert!(publish(&mut producer, number));
        if number == 4 {
            write_all(&mut stream);
        }
    }
    let mut letters = Vec::new();
    stream.give_up(Undelivered::Unreachable, SessionId(10), |frame| {
        letters.push(frame.header.sequence);
    });
    assert_eq!(letters, (0..20).collect::<Vec<_>>());
    assert_eq!(tally.delivered(), 30);
    assert_eq!(tally.delivery(49), Delivery::Undelivered(Undelivered::Unreachable));
    assert_eq!(tally.delivery(50), Delivery::Pending);
    assert!(publish(&mut producer, 50));
    let packets = write_all(&mut stream);
    assert_eq!(sequences(&packets), [(0, 0, 1)]);
    let header = decode_packet(&packets[0], true).expect("a packet").header;
    assert_eq!(header.session, SessionId(10));
}

/// The number of the first event of each packet.
fn numbers(packets: &[Vec<u8>]) -> Vec<u64> {
    let first = |packet: &Vec<u8>| {
        let frame = Frames::new(&packet[PACKET_HEADER_BYTES..]).next();
        frame.expect("an event").expect("a good one").header.sequence
    };
    packets.iter().map(first).collect()
}

/// A larger ring of the publisher whose account this is.
fn follow(stream: &mut Outgoing, tally: &Arc<Tally>) -> Producer {
    let config = RingConfig { capacity_bytes: 16 << 10, huge_pages: false };
    let (producer, consumer) = ring(config).expect("memory for a test");
    stream.attach(Feed::new(Retained::new(consumer), Arc::clone(tally)));
    producer
}

#[test]
fn a_ring_that_follows_another_is_read_when_that_is_closed_and_read() {
    let (mut stream, mut first, tally) = fed();
    assert!(publish(&mut first, 0));
    let mut second = follow(&mut stream, &tally);
    assert!(publish(&mut second, 10));
    assert_eq!(sequences(&write_all(&mut stream)), [(0, 0, 1)], "the first is not closed");
    assert!(publish(&mut first, 1));
    drop(first);
    // A third, before the second has been read; each goes on behind the one before it.
    let mut third = follow(&mut stream, &tally);
    (20..23).for_each(|number| assert!(publish(&mut third, number)));
    assert_eq!(sequences(&write_all(&mut stream)), [(1, 1, 1), (2, 2, 1)]);
    assert_eq!(stream.acknowledge(2), Ok(true));
    stream.drop_ended();
    assert!(publish(&mut second, 11), "the second is open although the first is gone");
    assert_eq!(sequences(&write_all(&mut stream)), [(3, 3, 1)]);
    drop(second);
    assert_eq!(sequences(&write_all(&mut stream)), [(4, 4, 3)]);
    assert_eq!(stream.acknowledge(5), Ok(true));
    assert_eq!(tally.delivered(), 7);
    stream.drop_ended();
    assert!(stream.is_fed());
    drop(third);
    stream.drop_ended();
    assert!(!stream.is_fed() && stream.feeds.is_empty());
}

#[test]
fn a_place_that_is_used_again_holds_up_nobody() {
    let (mut stream, first, tally) = fed();
    let mut second = follow(&mut stream, &tally);
    drop(first);
    stream.drop_ended();
    let _stranger = follow(&mut stream, &Arc::default());
    assert!(publish(&mut second, 0));
    assert_eq!(sequences(&write_all(&mut stream)), [(0, 0, 1)]);
}

#[test]
fn a_ring_without_an_event_between_two_others_changes_no_order() {
    for is_gone in [false, true] {
        let (mut stream, mut first, tally) = fed();
        assert!(publish(&mut first, 0));
        drop(first);
        // An event longer than this one takes has passed it by.
        drop(follow(&mut stream, &tally));
        let mut third = follow(&mut stream, &tally);
        assert!(publish(&mut third, 1));
        if is_gone {
            stream.drop_ended();
        }
        assert_eq!(numbers(&write_all(&mut stream)), [0, 1]);
    }

    let (mut stream, mut first, tally) = fed();
    assert!(publish(&mut first, 0));
    drop(first);
    drop(follow(&mut stream, &tally));
    stream.drop_ended();
    let mut third = follow(&mut stream, &tally);
    assert!(publish(&mut third, 1));
    assert_eq!(
        numbers(&write_all(&mut stream)),
        [0, 1],
        "the second has gone before the third came"
    );
}

#[test]
fn rings_that_follow_each_other_are_given_up_in_their_order() {
    let (mut stream, first, tally) = fed();
    // A place before the one that is followed is free.
    let mut second = follow(&mut stream, &Arc::default());
    assert!(publish(&mut second, 0));
    drop(first);
    stream.drop_ended();
    let account = Arc::clone(&stream.feeds[1].as_ref().expect("the second").tally);
    let mut third = follow(&mut stream, &account);
    assert!(publish(&mut second, 1));
    drop(second);
    assert!(publish(&mut third, 2));
    let mut letters = Vec::new();
    stream.give_up(Undelivered::Unreachable, SessionId(10), |frame| {
        letters.push(frame.header.sequence);
    });
    assert_eq!(letters, [0, 1, 2]);
    assert_eq!(account.delivery(2), Delivery::Undelivered(Undelivered::Unreachable));
    assert_eq!((account.delivery(3), tally.delivered()), (Delivery::Pending, 0));
    assert!(publish(&mut third, 3));
    assert_eq!(sequences(&write_all(&mut stream)), [(0, 0, 1)]);
}
