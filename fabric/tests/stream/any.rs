//! The stream of a subscriber by names or patterns: woken, cut off and ended as that of one type.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use wireloom::event::Priority;
use wireloom::{
    AnyEventStream, Encoding, Event, Intake, Node, OwnedAnyEvent, PayloadSchema, SchemaFault,
    SlowPolicy, StreamedAny, Target,
};

use crate::{PATIENCE, Task, Tick, block_on, driven, start, tell};

fn poll(stream: &mut AnyEventStream, waker: &Waker) -> Poll<Option<StreamedAny>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(waker))
}

fn event(item: Option<StreamedAny>) -> OwnedAnyEvent {
    match item {
        Some(StreamedAny::Event(event)) => event,
        other => panic!("no event: {other:?}"),
    }
}

fn say(node: &Node, name: &str, number: u64) {
    let json = number.to_string();
    let mut router = node.router();
    let said = router.route_json(name, Priority::High, json.as_bytes(), &Target::Local);
    said.expect("accepted");
}

fn patterns(node: &Node) -> AnyEventStream {
    let pattern = "metric.*".parse().expect("a pattern");
    node.subscribe_matching(&[pattern]).expect("subscribes").into_stream()
}

#[test]
fn what_matches_comes_owned_with_all_that_travelled_with_it() {
    let node = start("node");
    let _known = node.subscribe::<Tick>().expect("the node knows the type");
    let types = ["tick", "note"];
    let mut stream = node.subscribe_any(&types).expect("subscribes").into_stream();
    tell(&node, [7]).expect("accepted");
    say(&node, "other", 1);
    say(&node, "note", 8);
    block_on(async {
        let tick = event(stream.next().await);
        assert_eq!((tick.event_type, tick.encoding), (Tick::TYPE_ID, Encoding::Rkyv));
        assert_eq!((tick.envelope.source, tick.type_name.as_deref()), (node.id(), None));
        assert_eq!(tick.read::<Tick>(), Some(Ok(Tick { number: 7 })));
        let note = event(stream.next().await);
        assert_eq!((note.type_name.as_deref(), &note.payload[..]), (Some("note"), &b"8"[..]));
        assert_eq!((note.envelope.priority, note.read::<Tick>()), (Priority::High, None));
        let mut cut = tick;
        cut.payload.truncate(3);
        assert!(cut.read::<Tick>().is_some_and(|read| read.is_err()));
    });
}

#[test]
fn a_task_that_sleeps_on_a_pattern_is_woken_for_every_single_event() {
    const EVENTS: u64 = 5_000;
    let node = start("node");
    let mut stream = patterns(&node);
    let taken = Arc::new(AtomicU64::new(0));
    let theirs = Arc::clone(&taken);
    let listener = thread::spawn(move || {
        block_on(async {
            for expected in 0..EVENTS {
                let event = event(stream.next().await);
                assert_eq!(event.payload, expected.to_string().as_bytes());
                theirs.store(expected + 1, Ordering::Release);
            }
        });
    });
    let mut router = node.router();
    for number in 0..EVENTS {
        for name in ["note", "metric.cpu"] {
            let json = number.to_string();
            let said = router.route_json(name, Priority::High, json.as_bytes(), &Target::Local);
            said.expect("accepted");
        }
        let until = Instant::now() + PATIENCE;
        while taken.load(Ordering::Acquire) <= number {
            assert!(Instant::now() < until, "event {number} woke nobody");
            thread::yield_now();
        }
    }
    listener.join().expect("it heard all");
}

#[test]
fn a_stream_of_any_type_that_is_cut_off_ends_after_saying_so() {
    let (node, mut turns) = driven();
    let intake = Intake::of(SlowPolicy::Disconnect).ring_bytes(4_096);
    let mut stream = node.subscribe_any_with(&[], intake).expect("subscribes").into_stream();
    tell(&node, 0..500).expect("accepted");
    turns.drain(100);
    let mut events = 0;
    loop {
        match poll(&mut stream, Waker::noop()) {
            Poll::Ready(Some(StreamedAny::Event(_))) => events += 1,
            Poll::Ready(Some(StreamedAny::Disconnected)) => break,
            other => panic!("{other:?} after {events} events"),
        }
    }
    assert!((1..=128).contains(&events) && stream.is_terminated(), "{events}");
    assert_eq!(poll(&mut stream, Waker::noop()), Poll::Ready(None));
}

#[test]
fn a_stream_of_any_type_ends_with_its_node_and_gives_what_came_before() {
    let node = start("node");
    let mut stream = patterns(&node);
    for number in 0..3 {
        say(&node, "metric.cpu", number);
    }
    let closing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        node.close()
    });
    block_on(async {
        for expected in 0..3_u64 {
            let event = event(stream.next().await);
            assert_eq!(event.payload, expected.to_string().as_bytes());
        }
        assert_eq!(stream.next().await, None, "woken by the end");
        assert_eq!(stream.next().await, None);
    });
    assert!(closing.join().expect("closes").balanced);
}

/// Nothing is as it must be.
#[derive(Debug)]
struct Never;

impl PayloadSchema for Never {
    fn check(&self, _: &[u8]) -> Result<(), SchemaFault> {
        Err(SchemaFault { path: String::new(), reason: "never".into() })
    }
}

#[test]
fn a_flood_that_is_passed_over_leaves_other_tasks_their_turn() {
    const EVENTS: u64 = 1_000;
    let listener = Node::builder("listens").json_schema("metric.cpu", Arc::new(Never));
    let listener = listener.start().expect("a node on loopback starts");
    let speaker = start("speaks");
    let mut stream = patterns(&listener);
    let (mut router, to) = (speaker.router(), Target::Reliable(listener.address()));
    let mut say = |name, json: &[u8]| {
        while router.route_json(name, Priority::Low, json, &to).is_err() {
            thread::sleep(Duration::from_micros(100));
        }
    };
    for _ in 0..EVENTS {
        say("metric.cpu", b"1");
    }
    say("metric.load", b"2");
    let waits = |listener: &Node| {
        let rings = listener.ledger().rings;
        rings.values().map(|ring| ring.taken_in).sum::<u64>() <= EVENTS
    };
    let until = Instant::now() + PATIENCE;
    while waits(&listener) {
        assert!(Instant::now() < until, "{:?}", listener.ledger());
        thread::sleep(Duration::from_millis(1));
    }
    let task = Task::new();
    let waker = Waker::from(Arc::clone(&task));
    let mut turns = 0;
    let item = loop {
        match poll(&mut stream, &waker) {
            Poll::Ready(item) => break item,
            Poll::Pending => turns += 1,
        }
        // The receiver's word of the last event may come only now.
        let woken = (turns..=turns + 1).contains(&task.wakes());
        assert!(turns < 20 && woken, "it goes on by itself: {turns} turns, {} wakes", task.wakes());
    };
    assert_eq!(event(item).payload, b"2");
    assert!((3..=4).contains(&turns), "{turns}");
}
