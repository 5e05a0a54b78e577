//! Gaps that are told to a subscriber who has no room, or whose events wait; and whom it wakes when
//! it makes some.

use std::sync::atomic::AtomicU64;
use std::task::Waker;

use wireloom_ring::{RingConfig, ring};
use wireloom_wire::{
    Correlation, EventTypeId, ExchangeKind, FrameEncoder, FrameHeader, Frames, Priority, ReplyWay,
};

use super::*;
use crate::inbound::Inbound;

fn origin(session: u32) -> Origin {
    Origin { session: SessionId(session), ..NOWHERE }
}

fn gap(session: u32, from: u64, to: u64) -> Lost {
    Lost { origin: origin(session), from, to }
}

/// The two ends of the smallest ring there is.
fn ends(policy: SlowPolicy) -> (RingSubscriber, RingReader) {
    ends_of(policy, None)
}

fn ends_of(policy: SlowPolicy, receiver: Option<Arc<Wake>>) -> (RingSubscriber, RingReader) {
    let config = RingConfig { capacity_bytes: 4_096, huge_pages: false };
    inbound(ring(config).expect("memory"), policy, (None, receiver))
}

fn put(subscriber: &mut RingSubscriber, number: u64) -> Verdict {
    put_long(subscriber, number, 16)
}

fn put_long(subscriber: &mut RingSubscriber, number: u64, payload_bytes: usize) -> Verdict {
    let encoder = FrameEncoder::new(FrameHeader {
        sequence: number,
        ..FrameHeader::bare(EventTypeId(1), Priority::Normal)
    });
    let mut bytes = [0; 512];
    let payload = &[7; 400][..payload_bytes];
    let length = encoder.write(payload, &mut bytes).expect("it fits");
    let frame = Frames::new(&bytes[..length]).next().expect("one").expect("a frame");
    subscriber.take(&frame, &origin(1))
}

/// Fills the ring to its last byte; gives the number of the next event.
fn fill(subscriber: &mut RingSubscriber) -> u64 {
    let room = |subscriber: &RingSubscriber| !subscriber.congested;
    (0..)
        .find(|number| put(subscriber, *number) != Verdict::Delivered || !room(subscriber))
        .map_or(0, |number| number + 1)
}

/// What the subscriber takes: `e7` for an event, `l5-9` for a gap, `s3` for what was shed.
fn taken(subscriber: &mut RingSubscriber, reader: &mut RingReader) -> Vec<String> {
    subscriber.end_cycle();
    let mut words = Vec::new();
    let mut take = |inbound: Inbound<'_>| {
        words.push(match inbound {
            Inbound::Event(frame, _) => format!("e{}", frame.header.sequence),
            Inbound::Lost(lost) => format!("l{}-{}", lost.from, lost.to),
            Inbound::Shed(shed) => format!("s{}", shed.events),
            Inbound::Disconnected => "cut".to_owned(),
        });
        true
    };
    while reader.poll(1_000, || 0, &mut take) > 0 {}
    words
}

#[test]
fn gaps_that_find_no_room_grow_into_one_and_are_told_when_there_is_some() {
    let (mut subscriber, mut reader) = ends(SlowPolicy::DropNewest);
    fill(&mut subscriber);
    subscriber.on_lost(&gap(1, 5, 7));
    subscriber.on_lost(&gap(1, 9, 11));
    taken(&mut subscriber, &mut reader);
    assert_eq!(subscriber.pump(1), Pumped::Done);
    assert_eq!(taken(&mut subscriber, &mut reader), ["s1", "l5-11"]);
    // Of another stream: the newest is told.
    fill(&mut subscriber);
    subscriber.on_lost(&gap(1, 20, 21));
    subscriber.on_lost(&gap(2, 3, 4));
    taken(&mut subscriber, &mut reader);
    subscriber.pump(2);
    assert_eq!(taken(&mut subscriber, &mut reader), ["s1", "l3-4"]);
}

#[test]
fn a_gap_stands_behind_the_events_that_wait_before_it() {
    for policy in [SlowPolicy::DropOldest, SlowPolicy::Block(Duration::from_millis(1))] {
        let (mut subscriber, mut reader) = ends(policy);
        let next = fill(&mut subscriber);
        subscriber.end_cycle();
        assert_eq!(put(&mut subscriber, next), Verdict::Delivered);
        // There is room by now, and two events wait all the same.
        taken(&mut subscriber, &mut reader);
        subscriber.on_lost(&gap(1, 5, 7));
        subscriber.pump(1);
        let told = taken(&mut subscriber, &mut reader);
        let waited = [format!("e{}", next - 1), format!("e{next}"), "l5-7".to_owned()];
        assert_eq!(told, waited, "{policy:?}");
    }
}

#[test]
fn what_gives_way_is_counted_to_the_event_and_the_newest_are_kept() {
    let (mut subscriber, mut reader) = ends(SlowPolicy::DropOldest);
    for number in 0..1_000 {
        // A long one takes the place of several.
        let payload_bytes = if number % 10 == 0 { 400 } else { 16 };
        assert_eq!(put_long(&mut subscriber, number, payload_bytes), Verdict::Delivered);
        if number % 5 == 0 {
            subscriber.pump(1);
            subscriber.end_cycle();
        }
    }
    // First the ring, then what waits beside it, behind the word of what does not.
    let mut words = taken(&mut subscriber, &mut reader);
    while subscriber.pump(2) != Pumped::Done {
        words.extend(taken(&mut subscriber, &mut reader));
    }
    words.extend(taken(&mut subscriber, &mut reader));
    let numbers = |kind| {
        let of_kind = words.iter().filter_map(|word| word.strip_prefix(kind));
        of_kind.map(|number| number.parse().expect("a number")).collect::<Vec<u64>>()
    };
    let (events, told) = (numbers("e"), numbers("s").iter().sum::<u64>());
    let kept = events.len() as u64;
    assert_eq!(events, (1_000 - kept..1_000).collect::<Vec<_>>());
    assert_eq!(kept + told, 1_000);
    // Ten records take 1,184 bytes; the ring's size is 4,096, and dead space less than the longest.
    assert!((26..=36).contains(&kept), "{kept} are kept");
    let oldest = ShedReason::Oldest;
    assert_eq!(subscriber.counters().shed(oldest) + reader.taken().shed(oldest), told);
}

/// All that the subscriber takes, until nothing waits.
fn drained(subscriber: &mut RingSubscriber, reader: &mut RingReader) -> Vec<String> {
    let mut words = taken(subscriber, reader);
    while subscriber.pump(2) != Pumped::Done {
        words.extend(taken(subscriber, reader));
    }
    words.extend(taken(subscriber, reader));
    words
}

/// The words without what was shed: the first event that was kept, and the gaps before it.
fn gaps_and_first(words: &[String]) -> (Vec<&str>, u64) {
    let gaps = words.iter().map(String::as_str).take_while(|word| !word.starts_with('e'));
    let first = words.iter().find_map(|word| word.strip_prefix('e'));
    let number = first.map_or(0, |number| number.parse().expect("a number"));
    (gaps.filter(|word| word.starts_with('l')).collect(), number)
}

#[test]
fn a_gap_that_gives_way_with_the_oldest_is_told_before_those_that_are_kept() {
    for sessions in [[1, 1], [1, 2]] {
        let (mut subscriber, mut reader) = ends(SlowPolicy::DropOldest);
        let next = fill(&mut subscriber);
        put(&mut subscriber, next);
        subscriber.on_lost(&gap(sessions[0], next + 1, next + 3));
        put(&mut subscriber, next + 3);
        subscriber.on_lost(&gap(sessions[1], next + 4, next + 6));
        let mut newest = next + 6;
        // Until both have given way, and one stays that is newer than some that are kept.
        for number in next + 6..next + 206 {
            put(&mut subscriber, number);
            newest = number;
        }
        subscriber.on_lost(&gap(1, newest + 1, newest + 3));
        put(&mut subscriber, newest + 3);
        let words = drained(&mut subscriber, &mut reader);
        let (gaps, first) = gaps_and_first(&words);
        let from = if sessions == [1, 1] { next + 1 } else { next + 4 };
        assert_eq!(gaps, [format!("l{from}-{}", next + 6)], "{words:?}");
        assert!(first > next + 6, "{words:?}");
        let last = &words[words.len() - 2..];
        let behind = format!("l{}-{}", newest + 1, newest + 3);
        assert_eq!(last, [behind, format!("e{}", newest + 3)], "in its place");
    }
}

#[test]
fn gaps_of_two_lanes_of_a_session_do_not_grow_into_one() {
    let (mut subscriber, mut reader) = ends(SlowPolicy::DropNewest);
    fill(&mut subscriber);
    subscriber.on_lost(&gap(1, 5, 7));
    let other = gap(1, 900, 901);
    subscriber.on_lost(&Lost { origin: Origin { lane: 2, ..other.origin }, ..other });
    assert_eq!(drained(&mut subscriber, &mut reader).last().unwrap(), "l900-901");
}

/// Nothing but gaps comes to one whose events wait: they push them out, as events do, and none is
/// told of what is kept.
#[test]
fn a_gap_that_finds_no_room_beside_the_ring_takes_the_oldest_ones() {
    let (mut subscriber, mut reader) = ends(SlowPolicy::DropOldest);
    let next = fill(&mut subscriber);
    let mut number = next;
    while subscriber.counters().shed(ShedReason::Oldest) == 0 {
        put(&mut subscriber, number);
        number += 1;
    }
    let before = subscriber.counters().shed(ShedReason::Oldest);
    // Each of an event, so that no two of them are side by side.
    for step in 0..20 {
        subscriber.on_lost(&gap(1, number + 2 * step, number + 2 * step + 1));
        put(&mut subscriber, number + 2 * step + 1);
    }
    assert!(subscriber.counters().shed(ShedReason::Oldest) > before);
    let words = drained(&mut subscriber, &mut reader);
    let events: Vec<u64> =
        words.iter().filter_map(|word| word.strip_prefix('e')?.parse().ok()).collect();
    for gap in words.iter().filter_map(|word| word.strip_prefix('l')) {
        let (from, to) = gap.split_once('-').expect("a gap");
        let covers = from.parse().expect("a number")..to.parse().expect("a number");
        assert!(!events.iter().any(|event| covers.contains(event)), "{gap}: {words:?}");
    }
    let gaps = words.iter().filter(|word| word.starts_with('l')).count();
    assert_eq!(gaps, 20, "each is told: {words:?}");
    let told = words.iter().filter_map(|word| word.strip_prefix('s')?.parse::<u64>().ok());
    assert_eq!(events.len() as u64 + told.sum::<u64>(), number + 20, "{words:?}");
}

#[test]
fn a_gap_among_those_that_waited_too_long_is_told() {
    let (mut subscriber, mut reader) = ends(SlowPolicy::Block(Duration::from_millis(1)));
    let next = fill(&mut subscriber);
    put(&mut subscriber, next);
    subscriber.on_lost(&gap(1, next + 1, next + 3));
    put(&mut subscriber, next + 3);
    assert_eq!(subscriber.pump(1_000), Pumped::Holds { until_ns: 1_001_000 });
    assert_eq!(subscriber.pump(2_000_000), Pumped::Waits);
    let words = drained(&mut subscriber, &mut reader);
    assert_eq!(words.last().unwrap(), &format!("l{}-{}", next + 1, next + 3), "{words:?}");
    assert!(!words.contains(&format!("e{next}")), "{words:?}");
}

/// An event with a deadline, or a request: when it was made and until when it is of use, by the
/// sender's clock; when it was received, by ours.
fn put_until(
    subscriber: &mut RingSubscriber,
    asks: bool,
    (made, until, received): (u64, u64, u64),
) {
    let header =
        FrameHeader { timestamp_ns: made, ..FrameHeader::bare(EventTypeId(1), Priority::Normal) };
    let correlation = Correlation {
        id: 1,
        kind: ExchangeKind::Request,
        way: ReplyWay::Datagram,
        address: [1; 16],
        port: 1,
        subject: EventTypeId(2),
    };
    let encoder = FrameEncoder::new(header).with_deadline(until);
    let encoder = if asks { encoder.with_correlation(&correlation) } else { encoder };
    let mut bytes = [0; 512];
    let length = encoder.write(&[7; 16], &mut bytes).expect("it fits");
    let frame = Frames::new(&bytes[..length]).next().expect("one").expect("a frame");
    subscriber.take(&frame, &Origin { received_unix_ns: received, ..origin(1) });
}

#[test]
fn a_request_is_held_against_its_time_here_and_an_event_against_its_deadline() {
    let is_shed =
        |asks, times, now_ns| {
            let (mut subscriber, mut reader) = ends(SlowPolicy::DropNewest);
            put_until(&mut subscriber, asks, times);
            subscriber.end_cycle();
            let mut shed = false;
            reader.poll(1, || now_ns, |inbound| {
            shed = matches!(inbound, Inbound::Shed(shed) if shed.reason == ShedReason::Expired);
            true
        });
            shed
        };
    // Given 50, by an asker whose clock is behind ours, like ours, ahead.
    for made in [1_000, 500_000, 900_000] {
        let times = (made, made + 50, 500_000);
        assert!(!is_shed(true, times, 500_049), "made at {made}");
        assert!(is_shed(true, times, 500_050), "made at {made}");
    }
    // Our clock has stepped back since; it was over when it was made; it is of this process.
    assert!(!is_shed(true, (1_000, 1_050, 500_000), 400_000));
    assert!(is_shed(true, (1_000, 1_000, 500_000), 500_000));
    assert!(!is_shed(true, (1_000, 1_050, 0), 1_049));
    assert!(is_shed(true, (1_000, 1_050, 0), 1_050));
    // An event's deadline is an instant.
    assert!(is_shed(false, (1_000, 1_050, 500_000), 500_000));
    assert!(!is_shed(false, (900_000, 900_050, 500_000), 900_050));
}

/// A receiver that sleeps: how often it was woken.
#[derive(Default)]
struct Sleeper(AtomicU64);

impl std::task::Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_makes_room_wakes_the_receiver_if_something_waits_and_only_then() {
    let block = SlowPolicy::Block(Duration::from_millis(1));
    for policy in [SlowPolicy::DropOldest, SlowPolicy::Latest { keys: 1 }, block] {
        let (receiver, sleeper) = (Wake::of_task_symmetric(), Arc::<Sleeper>::default());
        let (mut subscriber, mut reader) = ends_of(policy, Some(Arc::clone(&receiver)));
        let woken = || sleeper.0.load(Ordering::Relaxed);
        put(&mut subscriber, 0);
        assert_eq!(subscriber.pump(1), Pumped::Done);
        receiver.sleep_task(&Waker::from(Arc::clone(&sleeper)));
        assert_eq!(taken(&mut subscriber, &mut reader), ["e0"]);
        assert_eq!(woken(), 0, "{policy:?}: nothing waited");
        for number in 1..200 {
            put(&mut subscriber, number);
            if subscriber.pump(2) != Pumped::Done {
                break;
            }
        }
        taken(&mut subscriber, &mut reader);
        assert_eq!(woken(), 1, "{policy:?}");
    }
}
