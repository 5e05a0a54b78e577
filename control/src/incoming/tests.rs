//! The receiving side of streams, without a socket: what is next, what was had, what is told.

use std::sync::Arc;

use wireloom_dataplane::command::Commands;
use wireloom_dataplane::launch::ReceiverPort;
use wireloom_ring::{Consumer, RingConfig, ring};
use wireloom_wire::PacketFlags;

use super::reassembly::{Moment, Outlet};
use super::*;

const NOW: Moment = Moment { now_ns: 0, unix_ns: 0, ack_ns: 1 };

const SOCKET: SocketId = SocketId(1);

fn point(sequence: u64) -> StreamPoint {
    StreamPoint { lane: 1, pieces: false, session: 9, sequence }
}

fn header(sequence: u64, first_event: u64, frame_count: u16) -> PacketHeader {
    PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: 1,
        frame_count,
        length: 48 + 64 * u32::from(frame_count),
        session: SessionId(9),
        source: NodeId(4),
        sequence,
        first_event,
    }
}

fn inbox() -> (Inbox, Consumer) {
    let config = RingConfig { capacity_bytes: 4096, huge_pages: false };
    let (producer, consumer) = ring(config).expect("memory for a test");
    let receiver =
        ReceiverPort { commands: Commands::default(), counters: Arc::default(), wake: None };
    let outlet = Outlet { receiver, wake: None, counters: Arc::default() };
    (Inbox::new(producer, Reassembly::new(outlet, 1 << 20)), consumer)
}

/// Hands over a packet of one frame.
fn hand(inbox: &mut Inbox, streams: &mut Streams, sequence: u64) -> bool {
    let packet = Packet { header: header(sequence, sequence, 1), body: &[0; 64] };
    let stream = streams.at(0).expect("open");
    inbox.hand(&packet, (0, stream), 0).expect("the ring is open")
}

#[test]
fn a_stream_takes_the_next_packet_and_knows_the_others() {
    let mut streams = Streams::default();
    assert_eq!(streams.open(NodeId(4), point(5), SOCKET), Ok((0, 5, None)));
    let (mut inbox, _consumer) = inbox();
    assert!(hand(&mut inbox, &mut streams, 5));
    let stream = streams.at(0).expect("open");
    for (sequence, first_event, frame_count, admission) in [
        (6, 6, 1, Admission::Next),
        (6, 7, 1, Admission::Broken),
        (7, 7, 1, Admission::Broken),
        (5, 5, 1, Admission::Duplicate),
        (0, 0, 1, Admission::Duplicate),
        (6, 6, 0, Admission::Question),
        (7, 7, 0, Admission::Broken),
        (1 << 40, 6, 1, Admission::Broken),
    ] {
        let admitted = stream.admit(&header(sequence, first_event, frame_count));
        assert_eq!(admitted, admission, "{sequence} {first_event} {frame_count}");
    }
}

#[test]
fn a_packet_is_told_as_taken_when_the_ring_has_been_released() {
    let mut streams = Streams::default();
    streams.open(NodeId(4), point(0), SOCKET).expect("room");
    let (mut inbox, mut consumer) = inbox();
    assert!(hand(&mut inbox, &mut streams, 0) && hand(&mut inbox, &mut streams, 1));
    assert_eq!(inbox.settle(&mut streams, NOW), 0);
    assert_eq!(streams.at(0).expect("open").news(0, true), None);
    consumer.read();
    consumer.release(96);
    assert_eq!(inbox.settle(&mut streams, NOW), 1);
    let stream = streams.at(0).expect("open");
    assert_eq!(stream.news(0, true), Some((1, 0)));
    assert_eq!((stream.news(u64::MAX, true), stream.due_ns()), (None, u64::MAX), "told once");
    stream.ask();
    assert_eq!(stream.news(0, false), Some((1, 0)), "and again when asked");
}

#[test]
fn news_waits_for_company_and_not_for_long() {
    let mut streams = Streams::default();
    streams.open(NodeId(4), point(0), SOCKET).expect("room");
    let stream = streams.at(0).expect("open");
    let began_ns = 1_000_000;
    stream.take(1, 96, began_ns);
    assert_eq!(stream.news(began_ns, false), None);
    stream.take(2, 96, began_ns + ACK_DELAY_NS - 1);
    assert_eq!(stream.due_ns(), began_ns + ACK_DELAY_NS, "since the first of them");
    assert_eq!(stream.news(began_ns + ACK_DELAY_NS - 1, false), None);
    assert_eq!(stream.news(began_ns + ACK_DELAY_NS, false), Some((2, 0)), "both at once");
    let later_ns = began_ns + ACK_DELAY_NS;
    stream.take(3, ACK_BYTES - 1, later_ns);
    assert_eq!(stream.news(later_ns, false), None);
    stream.take(4, 1, later_ns);
    assert_eq!(stream.news(later_ns, false), Some((4, 0)), "it is much");
    stream.take(5, ACK_BYTES - 1, later_ns);
    assert_eq!(stream.news(later_ns, false), None, "what was told counts no more");
    assert_eq!(stream.news(later_ns, true), Some((5, 0)), "the thread is about to sleep");
}

#[test]
fn a_full_ring_takes_nothing_until_something_is_released() {
    let mut streams = Streams::default();
    streams.open(NodeId(4), point(0), SOCKET).expect("room");
    let (mut inbox, mut consumer) = inbox();
    let handed = (0..).take_while(|sequence| hand(&mut inbox, &mut streams, *sequence)).count();
    assert!(handed > 30 && inbox.is_full());
    inbox.settle(&mut streams, NOW);
    assert!(inbox.is_full());
    consumer.read();
    consumer.release(96);
    inbox.settle(&mut streams, NOW);
    assert!(!inbox.is_full() && hand(&mut inbox, &mut streams, handed as u64));
}

#[test]
fn a_stream_goes_on_by_another_socket_and_not_behind_what_has_come() {
    let mut streams = Streams::default();
    streams.open(NodeId(4), point(0), SOCKET).expect("room");
    let (mut inbox, _consumer) = inbox();
    (0..3).for_each(|sequence| assert!(hand(&mut inbox, &mut streams, sequence)));
    let other = SocketId(2);
    assert_eq!(streams.open(NodeId(4), point(1), other), Ok((0, 3, Some(SOCKET))));
    streams.leave(0, SOCKET);
    assert_eq!(streams.open(NodeId(4), point(4), SOCKET), Err(Unopened::Gap));
    assert_eq!(streams.open(NodeId(4), point(3), SOCKET), Ok((0, 3, Some(other))));
    assert_eq!(streams.open(NodeId(5), point(7), SOCKET), Ok((1, 7, None)), "another's own");
}

#[test]
fn the_longest_silent_stream_makes_room_and_a_living_one_never() {
    let mut streams = Streams::default();
    for node in 0..STREAMS_MAX as u64 {
        streams.open(NodeId(node), point(0), SOCKET).expect("room");
    }
    assert_eq!(streams.open(NodeId(1 << 40), point(0), SOCKET), Err(Unopened::Full));
    streams.leave(70, SOCKET);
    streams.leave(7, SOCKET);
    let (place, ..) = streams.open(NodeId(1 << 40), point(0), SOCKET).expect("room");
    assert_eq!(place, 7, "opened before the other");
}
