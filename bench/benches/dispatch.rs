//! An event published to this process and handled, or taken from a ring, one thread doing all: the
//! whole way but for the sockets. With 1 registered type and with 1,000: the cost of an event must
//! not depend on it.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a bench says what it found")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group};
use wireloom::{AnySubscriber, Invoker, Node, Polled, Publisher, Router, Subscriber, Target};
use wireloom_bench::{Flat, handled};

const BURST_EVENTS: u64 = 256;
/// An event may cost this much more with 1,000 types than with one.
const RATIO_MAX: f64 = 1.10;
const ROUNDS: usize = 15;

/// A node of which every turn is ours, with one handler and a number of types nobody publishes.
struct Loop {
    node: Node,
    invoker: Invoker,
    publisher: Publisher<Flat>,
    router: Router,
    handled: Arc<AtomicU64>,
    _others: Option<AnySubscriber>,
}

impl Loop {
    fn with_types(types: usize) -> Self {
        let builder = Node::builder("dispatch").ring_bytes(256 << 10, 4 << 10);
        let (node, mut invoker) = builder.start_invoker().expect("a node on loopback");
        let handled = handled(&node);
        let names: Vec<String> = (1..types).map(|index| format!("other-{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let others = (!names.is_empty()).then(|| node.subscribe_any(&names).expect("subscribers"));
        let publisher = node.publisher::<Flat>(&Target::Local).expect("a way to this process");
        invoker.drain(10_000);
        let router = node.router();
        Self { node, invoker, publisher, router, handled, _others: others }
    }

    /// Publishes a burst and handles it.
    fn turn(&mut self, sequence: u64) -> u64 {
        let mut burst = self.publisher.burst();
        for event in sequence..sequence + BURST_EVENTS {
            burst.publish(&Flat::new(event)).expect("the ring is drained each turn");
        }
        drop(burst);
        while self.invoker.do_work() > 0 {}
        self.handled.load(Ordering::Relaxed)
    }

    /// The same by a router.
    fn route(&mut self, events: &[Flat]) -> u64 {
        let batch = self.router.route_batch(events, &Target::Local);
        assert_eq!(batch.accepted, BURST_EVENTS, "the ring is drained each turn");
        while self.invoker.do_work() > 0 {}
        self.handled.load(Ordering::Relaxed)
    }

    /// Nanoseconds an event, over `turns`.
    fn cost_ns(&mut self, turns: u32) -> f64 {
        let begun = Instant::now();
        for turn in 0..turns {
            black_box(self.turn(u64::from(turn)));
        }
        let per_turn: Duration = begun.elapsed() / turns;
        per_turn.as_secs_f64() * 1e9 / 256.0
    }
}

/// The same with a ring subscriber in the handler's place.
struct Ringed {
    node: Node,
    invoker: Invoker,
    publisher: Publisher<Flat>,
    subscriber: Subscriber<Flat>,
}

impl Ringed {
    fn new() -> Self {
        let builder = Node::builder("ringed").ring_bytes(256 << 10, 256 << 10);
        let (node, mut invoker) = builder.start_invoker().expect("a node on loopback");
        let subscriber = node.subscribe::<Flat>().expect("a subscriber");
        let publisher = node.publisher::<Flat>(&Target::Local).expect("a way to this process");
        invoker.drain(10_000);
        Self { node, invoker, publisher, subscriber }
    }

    /// Publishes a burst, has it put into the subscriber's ring, and takes it there.
    fn turn(&mut self, sequence: u64) -> u64 {
        let mut burst = self.publisher.burst();
        for event in sequence..sequence + BURST_EVENTS {
            burst.publish(&Flat::new(event)).expect("the ring is drained each turn");
        }
        drop(burst);
        while self.invoker.do_work() > 0 {}
        let mut taken = 0;
        self.subscriber.poll(usize::MAX, |polled| match polled {
            Polled::Event(event, _) => taken += 1 + (event.sequence.to_native() >> 63),
            notice => panic!("the ring is drained each turn: {notice:?}"),
        });
        assert_eq!(taken, BURST_EVENTS);
        taken
    }
}

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dispatch");
    group.throughput(Throughput::Elements(BURST_EVENTS));
    for types in [1, 1_000] {
        let mut around = Loop::with_types(types);
        let name = format!("publish and handle 256 events beside {} other types", types - 1);
        group.bench_function(name, |bencher| bencher.iter(|| around.turn(0)));
        assert!(around.node.ledger().balanced, "{:?}", around.node.ledger());
    }
    let (mut routed, events) = (Loop::with_types(1), [0; 256].map(Flat::new));
    group.bench_function("route and handle 256 events", |bencher| {
        bencher.iter(|| routed.route(&events));
    });
    assert!(routed.node.ledger().balanced, "{:?}", routed.node.ledger());
    let mut ringed = Ringed::new();
    group.bench_function("publish and take 256 events from a ring", |bencher| {
        bencher.iter(|| ringed.turn(0));
    });
    assert!(ringed.node.ledger().balanced, "{:?}", ringed.node.ledger());
    group.finish();
}

/// Measures both in turn, so that they meet the same machine, and compares the medians.
fn compare(rounds: usize, turns: u32) -> f64 {
    let (mut one, mut many) = (Loop::with_types(1), Loop::with_types(1_000));
    let mut costs = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        costs[0].push(one.cost_ns(turns));
        costs[1].push(many.cost_ns(turns));
    }
    let [one, many] = costs.map(|mut costs| {
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 2]
    });
    println!(
        "an event costs {one:.2} ns with 1 type, {many:.2} ns with 1,000: × {:.3}",
        many / one
    );
    many / one
}

criterion_group!(benches, events);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
    // Tiny mode runs everything and judges nothing: figures of a test build mean nothing.
    let is_tiny = std::env::args().any(|argument| argument == "--test");
    if is_tiny {
        compare(1, 1);
    } else {
        let ratio = compare(ROUNDS, 400);
        assert!(ratio <= RATIO_MAX, "types cost: × {ratio:.3}, at most × {RATIO_MAX}");
    }
}
