//! Events as an async stream, and an event awaited: in no runtime but a thread that parks until it
//! is woken, so that a wake-up that is lost is a test that fails.
#![forbid(unsafe_code)]

#[path = "stream/any.rs"]
mod any;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_core::stream::FusedStream;
use wireloom::{
    Accepted, Event, EventStream, Intake, Invoker, Node, Refused, ShedReason, SlowPolicy, Streamed,
    Target, WaitError,
};

/// Nothing here takes as long, unless it was not woken.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, PartialEq, Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "tick")]
struct Tick {
    number: u64,
}

/// A task: its wakes are counted, and unpark its thread.
struct Task {
    thread: thread::Thread,
    wakes: AtomicU64,
}

impl Task {
    fn new() -> Arc<Self> {
        Arc::new(Self { thread: thread::current(), wakes: AtomicU64::new(0) })
    }

    fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Acquire)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Release);
        self.thread.unpark();
    }
}

/// Polls only when it was woken.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (mut future, task) = (pin!(future), Task::new());
    let waker = Waker::from(Arc::clone(&task));
    loop {
        let wakes = task.wakes();
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        let until = Instant::now() + PATIENCE;
        while task.wakes() == wakes {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "not woken within {PATIENCE:?}");
            thread::park_timeout(left);
        }
    }
}

fn poll(stream: &mut EventStream<Tick>, waker: &Waker) -> Poll<Option<Streamed<Tick>>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(waker))
}

fn number(item: Option<Streamed<Tick>>) -> u64 {
    match item {
        Some(Streamed::Event(tick, _)) => tick.number,
        other => panic!("no event: {other:?}"),
    }
}

fn start(name: &str) -> Node {
    Node::builder(name).start().expect("a node on loopback starts")
}

/// A node whose turns are the test's.
fn driven() -> (Node, Invoker) {
    Node::builder("driven").start_invoker().expect("a node on loopback starts")
}

fn tell(node: &Node, numbers: impl IntoIterator<Item = u64>) -> Result<(), Refused> {
    let mut router = node.router();
    let mut tell = |number| router.route(&Tick { number }, Target::Local);
    numbers.into_iter().try_for_each(|number| tell(number).map(|_: Accepted| ()))
}

#[test]
fn every_event_of_a_loaded_stream_comes_owned_and_in_order() {
    const EVENTS: u64 = 200_000;
    let (desk, feed) = (start("desk"), start("feed"));
    let policy = SlowPolicy::Block(Duration::from_millis(100));
    let mut stream = desk.subscribe_with::<Tick>(policy).expect("subscribes").into_stream();
    let (source, target) = (feed.id(), Target::Reliable(desk.address()));
    let speaker = thread::spawn(move || {
        let mut router = feed.router();
        for number in 0..EVENTS {
            while router.route(&Tick { number }, &target).is_err() {
                thread::sleep(Duration::from_micros(50));
            }
            if number % 1_000 < 20 {
                // Here the stream sleeps between any two.
                thread::sleep(Duration::from_micros(number % 200));
            }
        }
        feed
    });
    block_on(async {
        for expected in 0..EVENTS {
            match stream.next().await {
                Some(Streamed::Event(tick, envelope)) => {
                    assert_eq!((tick.number, envelope.source), (expected, source));
                    assert_eq!(envelope.sequence, expected);
                }
                other => panic!("{other:?} instead of {expected}"),
            }
        }
    });
    drop(speaker.join().expect("it routed all"));
}

#[test]
fn a_sleeping_task_is_woken_for_every_single_event() {
    const EVENTS: u64 = 20_000;
    let node = start("node");
    let (mut stream, mut router) = (node.stream::<Tick>().expect("subscribes"), node.router());
    let taken = Arc::new(AtomicU64::new(0));
    let theirs = Arc::clone(&taken);
    let listener = thread::spawn(move || {
        block_on(async {
            for expected in 0..EVENTS {
                assert_eq!(number(stream.next().await), expected);
                theirs.store(expected + 1, Ordering::Release);
            }
        });
    });
    for number in 0..EVENTS {
        router.route(&Tick { number }, Target::Local).expect("accepted");
        let until = Instant::now() + PATIENCE;
        while taken.load(Ordering::Acquire) <= number {
            assert!(Instant::now() < until, "event {number} woke nobody");
            thread::yield_now();
        }
        for _ in 0..(number * 7) % 2_003 {
            std::hint::spin_loop();
        }
    }
    listener.join().expect("it heard all");
}

#[test]
fn the_task_that_polled_last_is_woken_once_and_no_other() {
    let (node, mut turns) = driven();
    let mut stream = node.stream::<Tick>().expect("subscribes");
    let (first, last) = (Task::new(), Task::new());
    assert!(poll(&mut stream, &Arc::clone(&first).into()).is_pending());
    assert!(poll(&mut stream, &Arc::clone(&last).into()).is_pending());
    assert_eq!(Arc::strong_count(&first), 1, "its waker is not kept");
    for from in [1, 3] {
        tell(&node, from..from + 2).expect("accepted");
        turns.drain(100);
    }
    assert_eq!((first.wakes(), last.wakes()), (0, 1));
    for expected in 1..=4 {
        let Poll::Ready(item) = poll(&mut stream, Waker::noop()) else { panic!("it is there") };
        assert_eq!(number(item), expected);
    }
    assert!(poll(&mut stream, Waker::noop()).is_pending());
    assert!(!stream.is_terminated());
}

#[test]
fn a_dropped_stream_is_unsubscribed_and_keeps_no_waker() {
    let (node, mut turns) = driven();
    let mut stream = node.stream::<Tick>().expect("subscribes");
    let task = Task::new();
    assert!(poll(&mut stream, &Arc::clone(&task).into()).is_pending());
    drop(stream);
    assert_eq!(Arc::strong_count(&task), 1, "its waker is dropped with it");
    turns.drain(100);
    tell(&node, 0..7).expect("accepted");
    turns.drain(100);
    let ledger = node.ledger();
    assert_eq!((ledger.received.unsubscribed, task.wakes()), (7, 0), "{ledger:?}");
    assert!(ledger.balanced, "{ledger:?}");
}

#[test]
fn what_a_slow_stream_did_not_get_is_told_between_its_events() {
    let (node, mut turns) = driven();
    let intake = Intake::of(SlowPolicy::DropOldest).ring_bytes(4_096);
    let mut stream = node.subscribe_with::<Tick>(intake).expect("subscribes").into_stream();
    tell(&node, 0..500).expect("accepted");
    turns.drain(100);
    let (mut events, mut shed, mut last) = (0, 0, None);
    for _ in 0..2_000 {
        match poll(&mut stream, Waker::noop()) {
            Poll::Ready(Some(Streamed::Event(tick, _))) => {
                assert!(last < Some(tick.number), "{} after {last:?}", tick.number);
                (events, last) = (events + 1, Some(tick.number));
            }
            Poll::Ready(Some(Streamed::Shed(told))) => {
                assert_eq!(told.reason, ShedReason::Oldest);
                shed += told.events;
            }
            Poll::Ready(other) => panic!("{other:?}"),
            Poll::Pending => {
                turns.drain(100);
            }
        }
    }
    assert_eq!((events + shed, last), (500, Some(499)));
    assert!(events < 200, "the ring bounds what waits: {events}");
}

#[test]
fn a_stream_that_is_cut_off_wakes_and_ends_after_saying_so() {
    let (node, mut turns) = driven();
    let intake = Intake::of(SlowPolicy::Disconnect).ring_bytes(4_096);
    let mut stream = node.subscribe_with::<Tick>(intake).expect("subscribes").into_stream();
    tell(&node, 0..500).expect("accepted");
    turns.drain(100);
    let mut events = 0;
    loop {
        match poll(&mut stream, Waker::noop()) {
            Poll::Ready(Some(Streamed::Event(tick, _))) => {
                assert_eq!(tick.number, events);
                events += 1;
            }
            Poll::Ready(Some(Streamed::Disconnected)) => break,
            other => panic!("{other:?} after {events} events"),
        }
    }
    assert!((1..=128).contains(&events), "{events}");
    assert!(stream.is_terminated());
    assert_eq!(poll(&mut stream, Waker::noop()), Poll::Ready(None));
}

#[test]
fn a_stream_ends_with_its_node_and_gives_what_came_before() {
    let node = start("node");
    let mut stream = node.stream::<Tick>().expect("subscribes");
    tell(&node, 0..3).expect("accepted");
    let closing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        node.close()
    });
    block_on(async {
        for expected in 0..3 {
            assert_eq!(number(stream.next().await), expected);
        }
        assert_eq!(stream.next().await, None, "woken by the end");
        assert_eq!(stream.next().await, None);
    });
    assert!(closing.join().expect("closes").balanced);
}

#[test]
fn an_expected_event_can_be_awaited_and_the_end_of_its_node_too() {
    let node = start("node");
    let mut router = node.router();
    let wanted = node.expect_where::<Tick>(|tick, _| tick.number == 7).expect("subscribes");
    let never = node.expect_where::<Tick>(|_, _| false).expect("subscribes");
    let waits = node.expect_where::<Tick>(|_, _| false).expect("subscribes");
    let speaker = thread::spawn(move || {
        for number in 0..10 {
            thread::sleep(Duration::from_millis(2));
            router.route(&Tick { number }, Target::Local).expect("accepted");
        }
    });
    assert_eq!(block_on(wanted), Ok(Tick { number: 7 }));
    speaker.join().expect("it routed");
    let closing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        drop(node);
    });
    assert_eq!(block_on(never), Err(WaitError::Ended { event_type: "tick" }));
    let begun = Instant::now();
    assert_eq!(waits.wait(PATIENCE), Err(WaitError::Ended { event_type: "tick" }));
    assert!(begun.elapsed() < PATIENCE / 2, "a thread is woken by the end as well");
    closing.join().expect("closes");
}
