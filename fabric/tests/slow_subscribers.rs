//! What gives way when a subscriber is slower than its events come: by its policy, told in-band,
//! counted by reason, and without its neighbours noticing. Under a virtual clock, but for the last.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::simulated::{LinkModel, SimulatedNetwork};
use wireloom::{
    Clock, Event, Idle, Intake, Invoker, Ledger, Node, Polled, PolledAny, Refused, Ringed, Router,
    ShedReason, SlowPolicy, SubscribeError, Subscriber, Target,
};

#[derive(Debug, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "tick")]
struct Tick {
    number: u64,
    filler: [u64; 7],
}

#[derive(Debug, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "blob")]
struct Blob {
    bytes: Vec<u8>,
}

/// The smallest ring there is: 31 ticks of 128 bytes, or 32.
const RING_BYTES: usize = 4_096;

/// A node in this test's own time, a neighbour that handles every tick, and a router to them.
struct Bench {
    node: Node,
    turns: Invoker,
    clock: Clock,
    router: Router,
    handled: Arc<AtomicU64>,
    _network: SimulatedNetwork,
}

impl Bench {
    fn new() -> Self {
        let network = SimulatedNetwork::new(1, LinkModel::LOSSLESS);
        let clock = Clock::simulated();
        clock.advance(Duration::from_secs(1));
        let (node, turns) = Node::builder("node")
            .listen("10.0.0.1:7000")
            .start_simulated(&network, clock.clone())
            .expect("starts");
        let handled = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&handled);
        node.on::<Tick>(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .expect("subscribes");
        let router = node.router();
        Self { node, turns, clock, router, handled, _network: network }
    }

    fn subscribe(&self, policy: SlowPolicy) -> Subscriber<Tick> {
        let intake = Intake::of(policy).ring_bytes(RING_BYTES);
        self.node.subscribe_with(intake).expect("subscribes")
    }

    /// Routes ticks to this process, a few at a time.
    fn publish(&mut self, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let tick = Tick { number, filler: [0; 7] };
            while let Err(refused) = self.router.route(&tick, Target::Local) {
                assert_eq!(refused, Refused::BackPressured);
                self.turn(Duration::from_micros(100));
            }
            if number % 7 == 0 {
                self.turn(Duration::ZERO);
            }
        }
        self.turn(Duration::ZERO);
    }

    fn turn(&mut self, time: Duration) {
        self.clock.advance(time);
        self.turns.do_work();
    }

    fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    fn ledger(&self) -> Ledger {
        let ledger = self.node.ledger();
        assert!(ledger.balanced, "{ledger:?}");
        ledger
    }

    fn ringed(&self) -> Ringed {
        self.ledger().rings["tick"].clone()
    }
}

/// What a subscriber heard, in order: numbers, and what was shed before them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    numbers: Vec<u64>,
    shed: BTreeMap<ShedReason, u64>,
    cut: bool,
}

impl Heard {
    fn take(&mut self, polled: Polled<'_, Tick>) {
        assert!(!self.cut, "nothing follows the word that it was cut off");
        match polled {
            Polled::Event(tick, _) => self.numbers.push(tick.number.to_native()),
            Polled::Shed(shed) => *self.shed.entry(shed.reason).or_default() += shed.events,
            Polled::Disconnected => self.cut = true,
            Polled::Lost(lost) => panic!("{lost:?}"),
        }
    }

    fn shed(&self, reason: ShedReason) -> u64 {
        self.shed.get(&reason).copied().unwrap_or(0)
    }
}

/// Takes everything, with turns of the node in between.
fn drain(bench: &mut Bench, subscriber: &mut Subscriber<Tick>) -> Heard {
    let mut heard = Heard::default();
    for _ in 0..100 {
        subscriber.poll(1_000, |polled| heard.take(polled));
        bench.turn(Duration::ZERO);
    }
    heard
}

#[test]
fn the_newest_are_dropped_unless_told_otherwise() {
    let mut bench = Bench::new();
    let mut slow = bench.subscribe(SlowPolicy::default());
    bench.publish(0..500);
    let heard = drain(&mut bench, &mut slow);
    let taken = heard.numbers.len() as u64;
    assert_eq!(heard.numbers, (0..taken).collect::<Vec<_>>());
    assert_eq!(heard.shed(ShedReason::RingFull), 500 - taken);
    let ringed = bench.ringed();
    assert_eq!((ringed.taken, ringed.refused["ring_full"]), (taken, 500 - taken));
    assert_eq!(bench.handled(), 500);
}

#[test]
fn drop_oldest_finds_the_newest_after_any_absence() {
    let mut bench = Bench::new();
    let mut slow = bench.subscribe(SlowPolicy::DropOldest);
    // While it keeps up, nothing is dropped.
    for round in 0..20 {
        bench.publish(round * 10..(round + 1) * 10);
        assert_eq!(drain(&mut bench, &mut slow).numbers.len(), 10, "round {round}");
    }
    for (from, to) in [(200, 5_000), (5_000, 5_040), (5_040, 20_000)] {
        bench.publish(from..to);
        let heard = drain(&mut bench, &mut slow);
        let taken = heard.numbers.len() as u64;
        assert_eq!(heard.numbers, (to - taken..to).collect::<Vec<_>>(), "the newest, in order");
        assert_eq!(taken + heard.shed(ShedReason::Oldest), to - from, "and the rest is told");
        // Beside the ring as many bytes again.
        assert!(taken >= RING_BYTES as u64 / 128 - 1, "{taken}");
    }
    let ringed = bench.ringed();
    assert_eq!((ringed.taken_in, ringed.waiting), (20_000, 0), "{ringed:?}");
    assert_eq!(ringed.taken + ringed.given_up["oldest"], 20_000);
    assert_eq!(bench.handled(), 20_000);
    let counters = bench.node.counters();
    let oldest = counters.iter().find(|(of, _)| of.name == "ring_events_oldest");
    assert_eq!(oldest.map(|(_, events)| *events), Some(ringed.given_up["oldest"]));
}

#[test]
fn latest_keeps_the_newest_event_of_each_key_and_tells_how_many_it_superseded() {
    let mut bench = Bench::new();
    let keyed = |tick: &rkyv::Archived<Tick>| tick.number.to_native() % 10;
    let mut slow = bench.node.subscribe_latest::<Tick>(16, keyed).expect("subscribes");
    // An old value in the ring gives way to a new one beside it, one by one.
    bench.publish(0..10);
    bench.publish(10..15);
    let heard = drain(&mut bench, &mut slow);
    assert_eq!(heard.numbers, [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    assert_eq!(heard.shed, BTreeMap::from([(ShedReason::Superseded, 5)]));
    // However many come, a key's newest is there, and a quiet key's is not crowded out.
    bench.publish(15..16);
    bench.publish(100..100_000);
    let heard = drain(&mut bench, &mut slow);
    let mut numbers = heard.numbers;
    numbers.sort_unstable();
    assert_eq!(numbers, (99_990..100_000).collect::<Vec<_>>());
    assert_eq!(heard.shed[&ShedReason::Superseded], 1 + 99_900 - 10);
    let ringed = bench.ringed();
    assert_eq!((ringed.taken, ringed.waiting), (20, 0), "{ringed:?}");
    assert_eq!(ringed.taken_in, ringed.taken + ringed.given_up["superseded"]);
    assert_eq!(bench.handled(), 99_916);
}

#[derive(Debug, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "quote", key = "instrument")]
struct Quote {
    instrument: u64,
    cents: u64,
}

#[test]
fn latest_takes_the_key_that_the_type_names() {
    let mut bench = Bench::new();
    let policy = SlowPolicy::Latest { keys: 8 };
    let mut slow = bench.node.subscribe_with::<Quote>(policy).expect("subscribes");
    for (instrument, cents) in [(1, 10), (2, 20), (1, 11), (1, 12), (2, 21)] {
        bench.router.route(&Quote { instrument, cents }, &Target::Local).expect("room");
        bench.turns.drain(100);
    }
    let (mut cents, mut shed) = (Vec::new(), 0);
    while slow.poll(64, |polled| match polled {
        Polled::Event(quote, _) => cents.push(quote.cents.to_native()),
        Polled::Shed(of) => shed += of.events,
        other => panic!("{other:?}"),
    }) > 0
    {}
    cents.sort_unstable();
    assert_eq!((cents, shed), (vec![12, 21], 3));
}

#[test]
fn latest_keeps_no_more_keys_than_it_was_told_and_takes_new_ones_when_it_has_room() {
    let mut bench = Bench::new();
    let keyed = |tick: &rkyv::Archived<Tick>| tick.number.to_native();
    let mut slow = bench.node.subscribe_latest::<Tick>(8, keyed).expect("subscribes");
    for from in (0..1_000).step_by(100) {
        bench.publish(from..from + 100);
        let heard = drain(&mut bench, &mut slow);
        assert_eq!(heard.numbers, (from..from + 8).collect::<Vec<_>>());
        assert_eq!(heard.shed, BTreeMap::from([(ShedReason::KeysFull, 92)]));
    }
    let ledger = bench.ledger();
    assert_eq!(ledger.rings["tick"].refused["keys_full"], 920);
    assert!(!ledger.received.shed.contains_key("events_shed_keys_full"), "the handler took them");
}

#[test]
fn a_blocking_subscriber_that_lives_loses_nothing_and_holds_its_publisher_back() {
    let mut bench = Bench::new();
    let mut slow = bench.subscribe(SlowPolicy::Block(Duration::from_millis(20)));
    let (mut heard, mut refusals, mut number) = (Heard::default(), 0, 0);
    // It takes 10 a millisecond; whoever is not refused publishes far more.
    for _ in 0..2_000 {
        for _ in 0..50 {
            match bench.router.route(&Tick { number, filler: [0; 7] }, Target::Local) {
                Ok(_) => number += 1,
                Err(_) => refusals += 1,
            }
        }
        for _ in 0..4 {
            bench.turn(Duration::from_micros(250));
        }
        slow.poll(10, |polled| heard.take(polled));
    }
    let rest = drain(&mut bench, &mut slow);
    assert!(refusals > 1_000, "{refusals} refused: nothing was held back");
    assert_eq!((heard.shed.len(), rest.shed.len()), (0, 0), "{:?} {:?}", heard.shed, rest.shed);
    heard.numbers.extend(rest.numbers);
    assert_eq!(heard.numbers, (0..number).collect::<Vec<_>>());
    assert_eq!(bench.handled(), number);
}

#[test]
fn a_blocking_subscriber_that_is_frozen_costs_its_neighbours_its_patience_once() {
    let mut bench = Bench::new();
    let patience = Duration::from_millis(20);
    let mut frozen = bench.subscribe(SlowPolicy::Block(patience));
    let (step, mut held, mut number) = (Duration::from_micros(100), Duration::ZERO, 0);
    for _ in 0..10_000 {
        let before = bench.handled();
        let _ = bench.router.route(&Tick { number, filler: [0; 7] }, Target::Local);
        number += 1;
        bench.turn(step);
        if bench.handled() == before {
            held += step;
        }
    }
    assert!(held >= patience - step && held <= patience + 2 * step, "held up for {held:?}");
    assert_eq!(bench.handled(), number, "the neighbour missed nothing");
    let ringed = bench.ringed();
    let waited = ringed.given_up["waited_too_long"];
    assert!(waited > 0 && ringed.refused["ring_full"] > 5_000, "{ringed:?}");
    // It comes back, is waited for again, and knows what it missed.
    let heard = drain(&mut bench, &mut frozen);
    let told = heard.shed(ShedReason::WaitedTooLong) + heard.shed(ShedReason::RingFull);
    assert_eq!(heard.numbers.len() as u64 + told, number);
    bench.publish(number..number + 30);
    assert_eq!(drain(&mut bench, &mut frozen).numbers.len(), 30);
}

#[test]
fn disconnect_cuts_off_who_falls_behind_and_it_learns_so_after_the_last_event() {
    let mut bench = Bench::new();
    let mut slow = bench.subscribe(SlowPolicy::Disconnect);
    let mut brisk = bench.subscribe(SlowPolicy::Disconnect);
    let mut brisk_heard = Heard::default();
    for from in (0..200).step_by(10) {
        bench.publish(from..from + 10);
        while brisk.poll(100, |polled| brisk_heard.take(polled)) > 0 {}
    }
    assert_eq!(brisk_heard.numbers, (0..200).collect::<Vec<_>>(), "its neighbour keeps up");
    assert!(!brisk_heard.cut);
    assert!(slow.wait(Duration::ZERO));
    let mut heard = Heard::default();
    while slow.poll(3, |polled| heard.take(polled)) > 0 {}
    let taken = heard.numbers.len() as u64;
    assert!(heard.cut && (30..=32).contains(&taken), "{heard:?}");
    assert_eq!(heard.numbers, (0..taken).collect::<Vec<_>>());
    assert!(!slow.wait(Duration::ZERO), "there is nothing more to come");
    assert_eq!(bench.ringed().refused["disconnected"], 1, "what came later was not for it");
    assert_eq!(bench.handled(), 200);
    drop(slow);
    bench.publish(200..210);
    brisk.poll(100, |polled| brisk_heard.take(polled));
    assert_eq!(brisk_heard.numbers.len(), 210);
}

#[test]
fn an_event_that_no_ring_can_hold_is_told_by_name_and_the_next_one_comes() {
    for policy in [SlowPolicy::DropNewest, SlowPolicy::DropOldest, SlowPolicy::Latest { keys: 4 }] {
        let bench = Bench::new();
        let Bench { node, mut turns, mut router, .. } = bench;
        let intake = Intake::of(policy).ring_bytes(RING_BYTES);
        let mut any = node.subscribe_any_with(&["blob"], intake).expect("subscribes");
        for bytes in [1_200, 10] {
            router.route(&Blob { bytes: vec![7; bytes] }, Target::Local).expect("accepted");
        }
        turns.do_work();
        let (mut large, mut small) = (0, 0);
        any.poll(10, |polled| match polled {
            PolledAny::Shed(shed) if shed.reason == ShedReason::TooLarge => large += shed.events,
            PolledAny::Event(event) => small += usize::from(event.payload().len() < 100),
            other => panic!("{policy:?}: {other:?}"),
        });
        assert_eq!((large, small), (1, 1), "{policy:?}");
        let ledger = node.ledger();
        assert_eq!(ledger.received.shed["events_shed_too_large"], 1, "{policy:?}");
        assert!(ledger.balanced, "{ledger:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let bench = Bench::new();
    let refused = |intake: Intake| bench.node.subscribe_with::<Tick>(intake).unwrap_err();
    let patience = Intake::of(SlowPolicy::Block(Duration::from_secs(1)));
    assert!(matches!(refused(patience), SubscribeError::Patience { .. }));
    for keys in [0, 65_537] {
        let intake = Intake::of(SlowPolicy::Latest { keys });
        assert!(matches!(refused(intake), SubscribeError::Keys { asked, .. } if asked == keys));
    }
    assert!(matches!(refused(Intake::default().ring_bytes(5_000)), SubscribeError::Ring(_)));
}

/// Over sockets: flow control carries the wait to the publisher, and the kernel drops nothing.
#[test]
fn a_blocking_subscriber_holds_a_publisher_of_another_node_back() {
    let listener = Node::builder("listener").start().expect("starts");
    let intake = Intake::of(SlowPolicy::Block(Duration::from_millis(100))).ring_bytes(64 << 10);
    let mut slow = listener.subscribe_with::<Tick>(intake).expect("subscribes");
    let speaker = Node::builder("speaker").start().expect("starts");
    let target = Target::Node(listener.address());
    let mut publisher = speaker.publisher::<Tick>(&target).expect("a route");
    let (mut heard, mut refusals, mut number, begun) = (Heard::default(), 0, 0, Instant::now());
    while heard.numbers.len() < 40_000 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{} heard", heard.numbers.len());
        while number < 40_000 {
            match publisher.publish(&Tick { number, filler: [0; 7] }) {
                Ok(_) => number += 1,
                Err(refused) => {
                    assert_eq!(refused, Refused::BackPressured);
                    refusals += 1;
                    break;
                }
            }
        }
        slow.poll(100, |polled| heard.take(polled));
    }
    assert_eq!(heard.numbers, (0..40_000).collect::<Vec<_>>());
    assert!(refusals > 0 && heard.shed.is_empty(), "{refusals} {:?}", heard.shed);
    let ledger = listener.close();
    assert!(ledger.balanced && ledger.received.lost == 0, "{ledger:?}");
}

/// A worker that sleeps is woken by the subscriber that makes room, by nothing else: what waits
/// beside the ring arrives although no further event comes.
#[test]
fn who_makes_room_wakes_a_sleeping_worker() {
    let idle = Idle::Adaptive {
        spin: Duration::ZERO,
        yielding: Duration::ZERO,
        park: Duration::from_secs(30),
    };
    let block = SlowPolicy::Block(Duration::from_millis(100));
    for policy in [SlowPolicy::DropOldest, SlowPolicy::Latest { keys: 40 }, block] {
        let node = Node::builder("node").idle(idle).start().expect("starts");
        let intake = Intake::of(policy).ring_bytes(RING_BYTES);
        let mut slow = node.subscribe_any_with(&[], intake).expect("subscribes");
        let mut router = node.router();
        let begun = Instant::now();
        for round in 0..2 {
            for number in 0..40 {
                let (name, json) = (format!("type-{number}"), format!("{{\"round\": {round}}}"));
                let priority = wireloom::Priority::Normal;
                let routed = router.route_json(&name, priority, json.as_bytes(), &Target::Local);
                routed.expect("accepted");
            }
            // It sleeps now, at the end with some beside the ring (blocking: for a tenth of a
            // second).
            std::thread::sleep(Duration::from_millis(10));
        }
        let expected = if matches!(policy, SlowPolicy::Latest { .. }) { 40 } else { 80 };
        let (mut taken, mut superseded) = (0, 0);
        while taken < expected && slow.wait(Duration::from_secs(5)) {
            slow.poll(7, |polled| match polled {
                PolledAny::Event(_) => taken += 1,
                PolledAny::Shed(shed) if shed.reason == ShedReason::Superseded => {
                    superseded += shed.events;
                }
                other => panic!("{policy:?}: {other:?}"),
            });
        }
        assert_eq!((taken, taken + superseded >= 80), (expected, true), "{policy:?} {superseded}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{policy:?}: {:?}", begun.elapsed());
    }
}
