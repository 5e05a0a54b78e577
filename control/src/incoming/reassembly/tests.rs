//! Large events put together, without a socket: order, lies, grants, budgets, abandonment.

use wireloom_dataplane::command::Returns;
use wireloom_ring::{RingConfig, ring};
use wireloom_wire::{
    Encoding, EventTypeId, Fingerprint, FrameFlags, FrameHeader, PacketFlags, PacketHeader,
    Priority, StreamPoint,
};

use super::super::{Admission, Inbox, Unopened};
use super::*;

const CAP: usize = 1 << 20;
const ACK_NS: u64 = 1_000;
const FIRST: usize = 128 << 10;

fn at(now_ns: u64) -> Moment {
    Moment { now_ns, unix_ns: now_ns, ack_ns: ACK_NS }
}

/// A node's receiving side, and the worker's end of it.
struct Side {
    inbox: Inbox,
    streams: Streams,
    worker: Commands<ReceiverCommand>,
    counters: Arc<Counters>,
    /// By stream: the sequence and the event that come next.
    next: BTreeMap<usize, (u64, u64)>,
}

impl Side {
    fn new() -> Self {
        let config = RingConfig { capacity_bytes: 4096, huge_pages: false };
        let (producer, _) = ring(config).expect("memory for a test");
        let worker = Commands::default();
        let counters = Arc::<Counters>::default();
        let receiver =
            ReceiverPort { commands: worker.clone(), counters: Arc::default(), wake: None };
        let outlet = Outlet { receiver, wake: None, counters: Arc::clone(&counters) };
        let inbox = Inbox::new(producer, Reassembly::new(outlet, CAP));
        Self { inbox, streams: Streams::default(), worker, counters, next: BTreeMap::new() }
    }

    /// A stream of a peer by a socket of its own.
    fn open(&mut self, node: u64) -> usize {
        let point = StreamPoint { lane: 1, pieces: true, session: 9, sequence: 0 };
        let opened = self.streams.open(NodeId(node), point, SocketId(node));
        let (place, next, _) = opened.expect("room");
        self.next.entry(place).or_default().0 = next;
        place
    }

    /// Sends a piece as the next packet of a stream; the event is counted when it is whole.
    fn send(
        &mut self,
        place: usize,
        total: usize,
        (offset, bytes): (usize, usize),
        now: u64,
    ) -> bool {
        let (sequence, event) = self.next[&place];
        let length = u32::try_from(total).expect("short");
        let whole = FrameHeader {
            length,
            event_type: EventTypeId(7),
            fingerprint: Fingerprint::NONE,
            priority: Priority::High,
            encoding: Encoding::Raw,
            flags: FrameFlags::empty(),
            sequence: event,
            timestamp_ns: 0,
        };
        let number = |bytes: usize| u32::try_from(bytes).expect("short");
        let mut body = Piece::head(&whole, number(offset), number(bytes)).to_vec();
        body.extend((offset..offset + bytes).map(|at| at.to_le_bytes()[0]));
        body.resize(body.len().next_multiple_of(16), 0);
        let stream = self.streams.at(place).expect("open");
        let (source, session, lane) = stream.key();
        let header = PacketHeader {
            flags: PacketFlags::SEQUENCED,
            lane,
            frame_count: 1,
            length: 48 + number(body.len()),
            session,
            source,
            sequence,
            first_event: event,
        };
        if stream.admit(&header) != Admission::Next {
            return false;
        }
        let packet = Packet { header, body: &body };
        if self.inbox.take_piece(&packet, (place, stream), at(now)).is_err() {
            return false;
        }
        self.next.insert(place, (sequence + 1, event + u64::from(offset + bytes == total)));
        true
    }

    /// Sends bytes of an event in pieces of at most 60,000.
    fn send_all(&mut self, place: usize, total: usize, range: std::ops::Range<usize>) -> bool {
        let mut offset = range.start;
        while offset < range.end {
            let bytes = (range.end - offset).min(60_000);
            if !self.send(place, total, (offset, bytes), 0) {
                return false;
            }
            offset += bytes;
        }
        true
    }

    /// What the worker has in its queue, taken and given back.
    fn dispatch(&mut self) -> Vec<usize> {
        let mut lengths = Vec::new();
        while let Some(ReceiverCommand::Large(event)) = self.worker.pop() {
            lengths.push(event.frame_bytes());
            event.give_back(&Returns::default(), &self.counters);
        }
        lengths
    }

    fn news(&mut self, place: usize) -> Option<(u64, u64)> {
        self.streams.at(place).expect("open").news(0, true)
    }

    fn settle(&mut self, now: u64) -> usize {
        self.inbox.settle(&mut self.streams, at(now))
    }

    fn counted(&self, counter: Counter) -> u64 {
        self.counters.read(counter)
    }
}

#[test]
fn an_event_is_whole_with_its_last_piece_and_told_when_it_was_taken() {
    let mut side = Side::new();
    let place = side.open(1);
    assert!(side.send_all(place, 100_000, 0..99_999));
    assert!(side.dispatch().is_empty(), "a byte is missing");
    assert_eq!(side.counted(Counter::ReassemblyBytes), 100_000);
    assert!(side.send(place, 100_000, (99_999, 1), 0));
    assert_eq!(side.settle(0), 0);
    assert_eq!(side.news(place), Some((0, 100_000 + FIRST as u64)), "received is not taken");
    assert_eq!(side.dispatch(), [100_000]);
    assert_eq!(side.settle(0), 1);
    assert_eq!(side.news(place), Some((3, FIRST as u64)));
    assert_eq!(side.news(place), None);
    assert_eq!(side.counted(Counter::ReassemblyBytes), 0);
}

#[test]
fn pieces_that_contradict_the_ones_before_are_refused() {
    let (total, bytes) = (100_000, 16_000);
    for (what, total, offset, bytes) in [
        ("a gap", total, bytes + 16, bytes),
        ("an overlap", total, bytes - 16, bytes),
        ("again", total, 0, bytes),
        ("another total", total + 16, bytes, bytes),
        ("a shorter total", bytes + 32, bytes, 32),
    ] {
        let mut side = Side::new();
        let place = side.open(1);
        assert!(side.send(place, 100_000, (0, 16_000), 0));
        assert!(!side.send(place, total, (offset, bytes), 0), "{what}");
        assert_eq!(side.counted(Counter::PiecesRefused), 1, "{what}");
    }
    let mut side = Side::new();
    let place = side.open(1);
    assert!(!side.send(place, CAP + 1, (0, 16_000), 0), "above the cap");
    assert!(!side.send(place, 1_023, (0, 1_023), 0), "too short for pieces");
    assert!(!side.send(place, 100_000, (16, 16_000), 0), "not from the front");
    assert_eq!(side.counted(Counter::ReassemblyBytes), 0, "and nothing is kept of them");
    assert!(side.send(place, CAP, (0, 16_000), 0));
}

#[test]
fn a_piece_that_was_had_is_a_duplicate_and_a_later_one_is_broken() {
    let mut side = Side::new();
    let place = side.open(1);
    assert!(side.send_all(place, 100_000, 0..50_000));
    let stream = side.streams.at(place).expect("open");
    let (source, session, lane) = stream.key();
    for (sequence, first_event, admission) in [
        (0, 0, Admission::Duplicate),
        (1, 0, Admission::Next),
        (1, 1, Admission::Broken),
        (2, 0, Admission::Broken),
    ] {
        let header = PacketHeader {
            flags: PacketFlags::SEQUENCED,
            lane,
            frame_count: 1,
            length: 112,
            session,
            source,
            sequence,
            first_event,
        };
        assert_eq!(stream.admit(&header), admission, "{sequence} {first_event}");
    }
}

#[test]
fn the_window_follows_what_is_received_within_what_has_a_place() {
    let mut side = Side::new();
    let place = side.open(1);
    assert!(side.send_all(place, CAP, 0..60_000));
    let window = 60_000 + WINDOW_BYTES;
    assert_eq!(side.news(place), Some((0, window)));
    assert!(side.send_all(place, CAP, 60_000..CAP));
    let end = CAP as u64 + FIRST_WINDOW_BYTES;
    assert_eq!(side.news(place), Some((0, end)), "and the announcement of the next");
    assert!(
        side.send_all(place, CAP, 0..FIRST),
        "which has no place: one event of a peer at a time"
    );
    assert_eq!(side.news(place), Some((0, end)));
    assert!(!side.send(place, CAP, (FIRST, 16), 0), "beyond what was granted");
    assert_eq!(side.counted(Counter::ReassemblyBytesMost), CAP as u64);
}

#[test]
fn who_finds_no_room_waits_in_turn_and_hears_of_it_while_anything_moves() {
    let mut side = Side::new();
    let places: Vec<usize> = (1..=7).map(|node| side.open(node)).collect();
    assert!(side.send_all(places[0], CAP - 200_000, 0..60_000));
    for place in &places[1..6] {
        assert!(side.send_all(*place, CAP, 0..60_000));
    }
    assert!(side.send_all(places[6], 200_000, 0..60_000), "a small one does not overtake");
    let taken = EVENTS_PER_NODE * CAP - 200_000;
    assert_eq!(side.counted(Counter::ReassemblyBytes), taken as u64);
    assert_eq!(side.counted(Counter::ReassembliesWaited), 3);
    for place in &places[4..] {
        assert_eq!(side.news(*place), Some((0, FIRST_WINDOW_BYTES)));
        assert_eq!(side.news(*place), None);
    }
    side.settle(1);
    assert_eq!(side.news(places[5]), Some((0, FIRST_WINDOW_BYTES)), "the others move");
    side.settle(2);
    assert_eq!(side.news(places[5]), None, "nothing moves");
    assert!(side.send_all(places[0], CAP - 200_000, 60_000..CAP - 200_000));
    assert_eq!(side.dispatch(), [CAP - 200_000]);
    assert_eq!(side.settle(3), 1);
    assert_eq!(side.news(places[4]), Some((0, 60_000 + WINDOW_BYTES)), "its turn");
    assert_eq!(side.news(places[5]), None, "and not yet its");
    assert_eq!(side.counted(Counter::ReassemblyBytesMost), (EVENTS_PER_NODE * CAP) as u64);
}

#[test]
fn events_sent_unasked_are_bounded_too() {
    let mut side = Side::new();
    let holders: Vec<usize> = (1..=4).map(|node| side.open(node)).collect();
    for place in &holders {
        assert!(side.send_all(*place, CAP, 0..60_000));
    }
    let place = side.open(5);
    let mut events = 0;
    while events < 1_000 && side.send(place, 2_000, (0, 2_000), 0) {
        events += 1;
    }
    assert_eq!(events, FIRST / 2_000, "and no more before one has its place");
    assert_eq!(side.dispatch().len(), events, "they are whole, and go their way");
    assert_eq!(side.settle(0), events);
    assert_eq!(side.next[&place].1, events as u64);
    assert!(side.news(place).is_some_and(|(next, _)| next == events as u64));
    // One that is taken does not make what follows it granted.
    assert!(side.send(place, 2_000, (0, 2_000), 0) && side.send(place, CAP, (0, 60_000), 0));
    assert_eq!((side.dispatch().len(), side.settle(0)), (1, 1));
    assert_eq!(side.news(place), Some((events as u64 + 1, FIRST_WINDOW_BYTES)));
    let stream = side.streams.at(place).expect("its stream");
    let open = stream.pieces.as_ref().and_then(|arriving| arriving.open.as_ref());
    let room = open.expect("the one that waits for its place").memory.capacity();
    assert!(room <= FIRST, "memory for what comes unasked, not for what is announced: {room}");
}

#[test]
fn an_event_of_which_nothing_more_comes_is_abandoned_and_begins_anew() {
    let mut side = Side::new();
    let (place, other) = (side.open(1), side.open(2));
    assert!(side.send_all(place, 70_000, 0..70_000));
    assert!(side.send(place, 500_000, (0, 60_000), 0));
    assert!(side.send(other, CAP, (0, 60_000), ACK_NS / 2));
    assert_eq!(side.inbox.deadline_ns(&side.streams, ACK_NS), ACK_NS);
    assert!(side.inbox.abandon(&mut side.streams, at(ACK_NS - 1)).is_empty());
    assert_eq!(side.inbox.abandon(&mut side.streams, at(ACK_NS)), [SocketId(1)]);
    assert_eq!(side.counted(Counter::ReassembliesAbandoned), 1);
    assert_eq!(side.counted(Counter::ReassemblyBytes), 70_000 + CAP as u64);
    // Its link ends; by the next one it goes on with the first piece of what was abandoned.
    side.streams.leave(place, SocketId(1));
    assert_eq!(side.open(1), place);
    assert_eq!(side.next[&place], (2, 1));
    let granted = 70_000 + FIRST_WINDOW_BYTES;
    assert_eq!(side.news(place), Some((0, granted)), "its place is another's now");
    assert!(side.send(place, 500_000, (0, 60_000), ACK_NS));
    assert_eq!(side.dispatch(), [70_000]);
}

#[test]
fn a_stream_waits_for_its_sender_and_tells_it_where_it_stands() {
    let mut side = Side::new();
    let place = side.open(1);
    assert!(side.send_all(place, CAP, 0..300_000));
    side.news(place);
    side.streams.leave(place, SocketId(1));
    assert_eq!(side.open(1), place);
    assert_eq!(side.next[&place], (5, 0), "in the middle");
    assert_eq!(side.news(place), Some((0, CAP as u64 + FIRST_WINDOW_BYTES)), "told unasked");
    // Its sender has all its time again.
    assert!(side.inbox.abandon(&mut side.streams, at(ACK_NS * 2)).is_empty());
    assert!(side.send_all(place, CAP, 300_000..CAP));
    assert_eq!(side.dispatch(), [CAP]);
    let point = StreamPoint { lane: 1, pieces: false, session: 9, sequence: 0 };
    let opened = side.streams.open(NodeId(1), point, SocketId(1));
    assert_eq!(opened, Err(Unopened::Gap), "a stream of pieces stays one");
}

#[test]
fn an_event_without_a_link_is_abandoned_though_it_waits_for_room() {
    let mut side = Side::new();
    for node in 1..=5 {
        let place = side.open(node);
        assert!(side.send_all(place, CAP, 0..60_000));
    }
    side.next.clear();
    let due = at(ACK_NS);
    side.streams.leave(4, SocketId(5));
    let ended = side.inbox.abandon(&mut side.streams, due);
    assert_eq!(ended, [1, 2, 3, 4].map(SocketId), "the fifth has no link to end");
    assert_eq!(side.counted(Counter::ReassembliesAbandoned), 5);
    assert_eq!(side.counted(Counter::ReassemblyBytes), 0);
    side.settle(ACK_NS);
    assert_eq!(side.inbox.deadline_ns(&side.streams, ACK_NS), u64::MAX);
}
