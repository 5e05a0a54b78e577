//! Who gets which event, and what a full table says.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wireloom_wire::{FrameEncoder, FrameHeader, Priority};

struct Counting(Arc<AtomicU64>);

impl Subscriber for Counting {
    fn on_event(&mut self, _frame: &Frame<'_>, _origin: &Origin) -> Verdict {
        self.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Delivered
    }
}

/// Of some packet of another node.
const ORIGIN: Origin = Origin {
    source: NodeId(1),
    session: SessionId(1),
    lane: 2,
    received_unix_ns: 0,
    verified: false,
};

fn subscribe(dispatch: &mut Dispatch, id: u64, wanted: Wanted) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let subscriber = Box::new(Counting(Arc::clone(&count)));
    let subscription = Subscription::new(SubscriptionId(id), wanted, subscriber);
    dispatch.add(Box::new(subscription)).expect("room");
    count
}

fn types(ids: &[u32]) -> Wanted {
    Wanted::Types(ids.iter().map(|id| EventTypeId(*id)).collect())
}

fn deliver(dispatch: &mut Dispatch, event_type: u32) -> Counter {
    let header = FrameHeader::bare(EventTypeId(event_type), Priority::Normal);
    let mut bytes = [0; 48];
    FrameEncoder::new(header).write(b"x", &mut bytes).expect("fits");
    let outcome = dispatch.deliver(&Frame::parse(&bytes).expect("a frame"), &ORIGIN);
    dispatch.end_cycle(1);
    outcome
}

#[test]
fn types_that_come_and_go_leave_their_slots() {
    let mut dispatch = Dispatch::new();
    let slots = u32::try_from(TYPE_SLOTS).expect("small");
    // Four that share a first slot, at the table's end, so that probing wraps.
    let shared: Vec<u32> = (1..5).map(|lap| lap * slots - 1).collect();
    let stays = subscribe(&mut dispatch, 1, types(&shared[2..]));
    for (id, event_type) in (2..).zip(1..100) {
        subscribe(&mut dispatch, id, types(&[event_type * 3]));
    }
    let first = subscribe(&mut dispatch, 1_000, types(&shared[..2]));
    let occupied =
        |dispatch: &Dispatch| dispatch.slots.iter().filter(|s| s.event_type != 0).count();
    assert_eq!(occupied(&dispatch), 4 + 99);
    for id in 2..101 {
        assert!(dispatch.remove(SubscriptionId(id)).is_some());
    }
    assert!(dispatch.remove(SubscriptionId(1_000)).is_some());
    assert_eq!((occupied(&dispatch), first.load(Ordering::Relaxed)), (2, 0));
    for (count, event_type) in (1..).zip(&shared[2..]) {
        assert_eq!(deliver(&mut dispatch, *event_type), Counter::EventsDelivered);
        assert_eq!(stays.load(Ordering::Relaxed), count);
    }
    assert_eq!(deliver(&mut dispatch, shared[0]), Counter::EventsUnsubscribed);
}

#[test]
fn each_gets_what_it_asked_for_and_no_more_after_it_left() {
    let mut dispatch = Dispatch::new();
    // Types that share a first slot, so that probing is walked too.
    let (one, two) = (7, 7 + u32::try_from(TYPE_SLOTS).expect("small"));
    let first = subscribe(&mut dispatch, 1, types(&[one]));
    let both = subscribe(&mut dispatch, 2, types(&[one, two]));
    let every = subscribe(&mut dispatch, 3, Wanted::Every);
    let gaps = subscribe(&mut dispatch, 4, Wanted::Gaps);
    let counts = || [&first, &both, &every, &gaps].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(deliver(&mut dispatch, one), Counter::EventsDelivered);
    assert_eq!(counts(), [1, 1, 1, 0]);
    deliver(&mut dispatch, two);
    assert_eq!(counts(), [1, 2, 2, 0]);
    deliver(&mut dispatch, 99);
    assert_eq!(counts(), [1, 2, 3, 0]);
    assert!(dispatch.remove(SubscriptionId(2)).is_some());
    assert!(dispatch.remove(SubscriptionId(3)).is_some());
    assert!(dispatch.remove(SubscriptionId(3)).is_none());
    deliver(&mut dispatch, one);
    assert_eq!(counts(), [2, 2, 3, 0]);
    assert_eq!(deliver(&mut dispatch, two), Counter::EventsUnsubscribed);
    let again = subscribe(&mut dispatch, 5, types(&[two]));
    assert_eq!(deliver(&mut dispatch, two), Counter::EventsDelivered);
    assert_eq!(again.load(Ordering::Relaxed), 1);
}

#[test]
fn a_full_table_refuses_and_room_comes_back() {
    let mut dispatch = Dispatch::new();
    let all: Vec<u32> = (1..=index_of(SUBSCRIPTIONS_MAX)).collect();
    subscribe(&mut dispatch, 1, types(&all));
    let subscriber = Box::new(Counting(Arc::default()));
    let one = Subscription::new(SubscriptionId(2), types(&[1]), subscriber);
    let refused = dispatch.add(Box::new(one)).expect_err("no place is left");
    assert_eq!(refused.id, SubscriptionId(2));
    assert!(dispatch.remove(SubscriptionId(1)).is_some());
    assert!(dispatch.add(refused).is_ok());
    assert_eq!(deliver(&mut dispatch, 1), Counter::EventsDelivered);
    assert_eq!(deliver(&mut dispatch, 2), Counter::EventsUnsubscribed);
}

/// Panics over each third event.
struct Touchy(u64);

impl Subscriber for Touchy {
    fn on_event(&mut self, frame: &Frame<'_>, _origin: &Origin) -> Verdict {
        self.0 += 1;
        match frame.header.sequence % 3 {
            0 => panic!("a handler of the user's"),
            1 => Verdict::Delivered,
            _ => Verdict::WrongSchema,
        }
    }
}

/// Looks at nothing.
struct Blind;

impl Subscriber for Blind {
    fn on_event(&mut self, _frame: &Frame<'_>, _origin: &Origin) -> Verdict {
        Verdict::Delivered
    }

    fn on_run(&mut self, _run: &mut Run<'_, '_>, _origin: &Origin) {}
}

/// The frames of these types, one behind the other, numbered.
fn frames(types: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0; types.len() * 48];
    for ((sequence, event_type), into) in (0..).zip(types).zip(bytes.chunks_exact_mut(48)) {
        let header = FrameHeader {
            sequence,
            ..FrameHeader::bare(EventTypeId(*event_type), Priority::Normal)
        };
        FrameEncoder::new(header).write(b"0123456789abcdef", into).expect("fits");
    }
    bytes
}

/// Delivers them all by runs; returns the length of each run.
fn deliver_all(dispatch: &mut Dispatch, types: &[u32], counters: &Counters) -> Vec<u16> {
    let (bytes, mut runs) = (frames(types), Vec::new());
    let mut rest = Frames::new(&bytes);
    while rest.next_type().is_some() {
        runs.push(dispatch.deliver_run(&mut rest, &ORIGIN, counters));
    }
    dispatch.end_cycle(1);
    runs
}

#[test]
fn a_run_ends_with_its_type_and_types_of_several_go_one_by_one() {
    let mut dispatch = Dispatch::new();
    let (one, two) =
        (subscribe(&mut dispatch, 1, types(&[7, 8])), subscribe(&mut dispatch, 2, types(&[8])));
    let counters = Counters::default();
    let runs = deliver_all(&mut dispatch, &[7, 7, 7, 8, 8, 7, 9, 9, 7, 7], &counters);
    assert_eq!(runs, [3, 1, 1, 1, 1, 1, 2]);
    assert_eq!([&one, &two].map(|count| count.load(Ordering::Relaxed)), [8, 2]);
    assert_eq!(counters.read(Counter::EventsDelivered), 8);
    assert_eq!(counters.read(Counter::EventsUnsubscribed), 2);
    // Somebody wants every type: each event may have several takers.
    subscribe(&mut dispatch, 3, Wanted::Every);
    assert_eq!(deliver_all(&mut dispatch, &[7, 7], &counters), [1, 1]);
}

#[test]
fn a_panic_costs_its_own_event_and_the_run_goes_on() {
    let mut dispatch = Dispatch::new();
    let subscription = Subscription::new(SubscriptionId(1), types(&[7]), Box::new(Touchy(0)));
    dispatch.add(Box::new(subscription)).expect("room");
    let counters = Counters::default();
    assert_eq!(deliver_all(&mut dispatch, &[7; 10], &counters), [10]);
    assert_eq!(counters.read(Counter::EventsHandlerPanicked), 4);
    assert_eq!(counters.read(Counter::EventsDelivered), 3);
    assert_eq!(counters.read(Counter::EventsWrongSchema), 3);
}

#[test]
fn a_subscriber_that_takes_nothing_does_not_stop_the_packet() {
    let mut dispatch = Dispatch::new();
    let subscription = Subscription::new(SubscriptionId(1), types(&[7]), Box::new(Blind));
    dispatch.add(Box::new(subscription)).expect("room");
    let counters = Counters::default();
    assert_eq!(deliver_all(&mut dispatch, &[7; 3], &counters), [1, 1, 1]);
    assert_eq!(counters.read(Counter::EventsUnsubscribed), 3);
}

/// Reads every second event of a packet; the others are in a form it does not know.
struct Choosy;

impl Subscriber for Choosy {
    fn on_event(&mut self, frame: &Frame<'_>, _origin: &Origin) -> Verdict {
        if frame.header.sequence.is_multiple_of(2) {
            Verdict::Delivered
        } else {
            Verdict::Unconverted
        }
    }
}

/// Takes nothing after all.
struct Passing;

impl Subscriber for Passing {
    fn on_event(&mut self, _frame: &Frame<'_>, _origin: &Origin) -> Verdict {
        Verdict::Passed
    }
}

#[test]
fn what_nobody_could_read_goes_once_to_those_who_make_it_readable() {
    let mut dispatch = Dispatch::new();
    let unread = || Wanted::Unread(vec![EventTypeId(7)]);
    let add = |dispatch: &mut Dispatch, id, wanted, subscriber: Box<dyn Subscriber>| {
        let subscription = Subscription::new(SubscriptionId(id), wanted, subscriber);
        dispatch.add(Box::new(subscription)).expect("room");
    };
    add(&mut dispatch, 1, types(&[7]), Box::new(Choosy));
    let counters = Counters::default();
    // Nobody is there to do it.
    assert_eq!(deliver_all(&mut dispatch, &[7; 4], &counters), [2, 2]);
    assert_eq!(counters.read(Counter::EventsUnconverted), 2);
    assert_eq!(counters.read(Counter::EventsDelivered), 2);
    // Whoever passes leaves it to the next; runs go on between.
    let converted = subscribe(&mut dispatch, 2, unread());
    add(&mut dispatch, 3, unread(), Box::new(Passing));
    assert_eq!(deliver_all(&mut dispatch, &[7; 5], &counters), [2, 2, 1]);
    assert_eq!(converted.load(Ordering::Relaxed), 2);
    assert_eq!(counters.read(Counter::EventsDelivered), 7);
    // Two who cannot read it, and somebody who takes everything: it is converted once.
    add(&mut dispatch, 4, types(&[7]), Box::new(Choosy));
    subscribe(&mut dispatch, 5, Wanted::Every);
    assert_eq!(deliver_all(&mut dispatch, &[7; 4], &counters), [1, 1, 1, 1]);
    assert_eq!(converted.load(Ordering::Relaxed), 4);
    // It is not asked for what others can read, nor for other types, nor when it has left.
    deliver_all(&mut dispatch, &[8, 8], &counters);
    assert!(dispatch.remove(SubscriptionId(2)).is_some());
    deliver_all(&mut dispatch, &[7; 4], &counters);
    assert_eq!(converted.load(Ordering::Relaxed), 4);
    assert_eq!(counters.read(Counter::EventsUnconverted), 2, "somebody took everything");
}

mod access;
