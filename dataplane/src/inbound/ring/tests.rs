//! Gaps that are told to a subscriber who has no room, or whose events wait; and whom it wakes when
//! it makes some.

use std::sync::atomic::AtomicU64;
use std::task::Waker;

use wireloom_ring::{RingConfig, ring};
use wireloom_wire::{EventTypeId, FrameEncoder, FrameHeader, Frames, Priority};

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
