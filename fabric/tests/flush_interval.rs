//! A flush interval: events wait for company, the worker is woken by the clock and not by each of
//! them, and what is critical does not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::{Event, Node, Publisher, Target};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "sample")]
struct Sample {
    number: u64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "alarm", priority = "critical")]
struct Alarm {
    number: u64,
}

/// Shorter than the wait before the first tail marker, which wakes the worker too.
const INTERVAL: Duration = Duration::from_millis(4);

/// Events a run publishes, one at a time, with a pause in which a worker falls asleep.
const EVENTS: u64 = 300;
const PAUSE: Duration = Duration::from_micros(300);

/// Publishes one by one; returns how often the worker slept and how many intervals it took.
fn parks<E: Event>(flush: Duration, event: impl Fn(u64) -> E) -> (u64, u64) {
    let desk = Node::builder("desk").start().expect("starts");
    let handled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&handled);
    desk.on::<E>(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
    })
    .expect("subscribes");
    let feed = Node::builder("feed").flush_interval(flush).start().expect("starts");
    let target = Target::Node(desk.address());
    let mut publisher: Publisher<E> = feed.publisher(&target).expect("a route");
    let parks = || feed.workers()[0].parks;
    let (before, begun) = (parks(), Instant::now());
    for number in 0..EVENTS {
        publisher.publish(&event(number)).expect("taken");
        std::thread::sleep(PAUSE);
    }
    let (parks, took) = (parks() - before, begun.elapsed());
    let patience = Instant::now();
    while handled.load(Ordering::Relaxed) < EVENTS {
        assert!(patience.elapsed().as_secs() < 5, "{handled:?} of {EVENTS} arrived");
        std::thread::sleep(INTERVAL);
    }
    (parks, u64::try_from(took.as_nanos() / INTERVAL.as_nanos()).expect("short"))
}

#[test]
fn a_flush_interval_saves_wake_ups_but_not_those_for_critical_events() {
    let (alone, _) = parks(Duration::ZERO, |number| Sample { number });
    let (together, intervals) = parks(INTERVAL, |number| Sample { number });
    let (critical, _) = parks(INTERVAL, |number| Alarm { number });
    println!("{alone} one by one, {together} in {intervals} intervals, {critical} critical");
    // Two sleeps an interval: one that the clock ends, and a word of the peer now and then.
    assert!(together <= 2 * intervals + 10, "{together} sleeps in {intervals} intervals");
    assert!(alone > EVENTS / 2 && critical > EVENTS / 2, "each wakes: {alone}, {critical}");
    assert!(together < alone / 2, "{together} against {alone}");
}
