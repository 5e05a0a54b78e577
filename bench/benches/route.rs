//! `Router::route` beside a bare `Publisher::publish`, to targets that are resolved: with 1 rule
//! and with 1,000, with 1 type and with 1,000. What a router decides may cost no more than
//! [`ABOVE_NS_MAX`] an event, however many rules and types there are.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a bench says what it found")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::UdpSocket;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group};
use wireloom::event::Priority;
use wireloom::{FlowControl, Invoker, Node, Publisher, Router, RuleSet, Target};
use wireloom_bench::Flat;

const BURST_EVENTS: u64 = 256;
/// A routed event may cost this much more than a published one.
const ABOVE_NS_MAX: f64 = 60.0;
const ROUNDS: usize = 15;
/// A payload of 64 bytes.
const JSON: &[u8] = br#"{"meter":"north-7","watts":1480,"ok":true,"phases":[0.98,1,1.2]}"#;

/// Rules that are all for other types than the one that is published.
fn rules(count: usize) -> RuleSet {
    let mut text = String::new();
    for index in 0..count {
        let _ = writeln!(text, "[[rule]]\ntype = \"other-{index}.*\"\ntransport = \"tcp\"\n");
    }
    RuleSet::parse("bench", text).expect("good rules")
}

/// A node of which every turn is ours; its datagrams go to a socket that nobody reads.
struct Loop {
    node: Node,
    invoker: Invoker,
    publisher: Publisher<Flat>,
    router: Router,
    _sink: UdpSocket,
    address: Target,
    open: Target,
}

impl Loop {
    fn with(rule_count: usize, types: usize) -> Self {
        let sink = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let to = sink.local_addr().expect("it is bound");
        let (address, open) = (Target::Node(to), Target::Machine(to));
        let builder = Node::builder("route").ring_bytes(1 << 20, 4 << 10).rules(rules(rule_count));
        let builder = builder.flow_control(FlowControl::Off);
        let (node, mut invoker) = builder.start_invoker().expect("a node on loopback");
        let publisher = node.publisher::<Flat>(&address).expect("a way");
        let mut router = node.router();
        for other in 1..types {
            let name = format!("other-type-{other}");
            let routed = router.route_json(&name, Priority::Normal, b"{}", &open);
            routed.expect("a ring that is drained");
            if other % 64 == 0 {
                invoker.drain(100);
            }
        }
        invoker.drain(10_000);
        Self { node, invoker, publisher, router, _sink: sink, address, open }
    }

    /// Sends what there is, outside of what is measured.
    fn drain(&mut self) {
        while self.invoker.do_work() > 0 {}
    }

    fn publish(&mut self) {
        for event in 0..BURST_EVENTS {
            black_box(self.publisher.publish(&Flat::new(event))).expect("room in the ring");
        }
    }

    fn route(&mut self, open: bool) {
        let target = if open { &self.open } else { &self.address };
        for event in 0..BURST_EVENTS {
            black_box(self.router.route(&Flat::new(event), target)).expect("room in the ring");
        }
    }

    /// Events as tools publish them: the type by its name, the payload as text that is checked.
    fn route_json(&mut self) {
        for _ in 0..BURST_EVENTS {
            let (name, target) = ("meter-reading", &self.address);
            let routed = self.router.route_json(name, Priority::Normal, JSON, target);
            black_box(routed).expect("room in the ring");
        }
    }

    /// Nanoseconds an event of one way to publish, over `turns` bursts.
    fn cost_ns(&mut self, turns: u32, mut burst: impl FnMut(&mut Self)) -> f64 {
        let mut spent = std::time::Duration::ZERO;
        for _ in 0..turns {
            let begun = Instant::now();
            burst(self);
            spent += begun.elapsed();
            self.drain();
        }
        spent.as_secs_f64() * 1e9 / (f64::from(turns) * 256.0)
    }
}

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    group.throughput(Throughput::Elements(BURST_EVENTS));
    for (rule_count, types) in [(1, 1), (1_000, 1_000)] {
        let mut around = Loop::with(rule_count, types);
        for (what, open) in [("an address", false), ("a target left open", true)] {
            let name = format!("256 events to {what}, {rule_count} rules, {types} types");
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    around.route(open);
                    around.drain();
                });
            });
        }
        group.bench_function(format!("256 events of JSON, {rule_count} rules"), |bencher| {
            bencher.iter(|| {
                around.route_json();
                around.drain();
            });
        });
        assert!(around.node.ledger().balanced, "{:?}", around.node.ledger());
    }
    group.finish();
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

/// Measures the three ways in turn, so that they meet the same machine; gives the most that a
/// routed event costs above a published one.
fn compare(rounds: usize, turns: u32) -> f64 {
    let mut most = f64::MIN;
    for (rule_count, types) in [(1, 1), (1_000, 1), (1, 1_000), (1_000, 1_000)] {
        let mut around = Loop::with(rule_count, types);
        let mut costs = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..rounds {
            costs[0].push(around.cost_ns(turns, Loop::publish));
            costs[1].push(around.cost_ns(turns, |around| around.route(false)));
            costs[2].push(around.cost_ns(turns, |around| around.route(true)));
        }
        let [published, address, open] = costs.map(median);
        println!(
            "{rule_count} rules, {types} types: published {published:.1} ns, routed to an address \
             + {:.1} ns, to a target left open + {:.1} ns",
            address - published,
            open - published
        );
        most = most.max(address - published).max(open - published);
    }
    most
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
        let above = compare(ROUNDS, 200);
        assert!(above <= ABOVE_NS_MAX, "routing costs {above:.1} ns, at most {ABOVE_NS_MAX}");
    }
}
