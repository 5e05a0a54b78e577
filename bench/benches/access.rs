//! What a policy costs an event that is let in: packets from another node, received and handled by
//! nodes that differ in their policy alone, in turn. One thread, a network in memory, a clock that
//! moves on with each turn; what is sent is made before the time is taken.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a bench says what it found")]

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::simulated::{LinkModel, SimulatedNetwork, SimulatedTransmit};
use wireloom::{Clock, Invoker, Node, Policy};
use wireloom_bench::{datagram, handled};
use wireloom_dataplane::io::{Destination, Message, Transmit as _};

/// Packets that wait for a turn: as many as a receiver takes in one look.
const PACKETS: u64 = 64;
/// The clock of a turn: a bucket of the limit below gains 1,000 events in it, more than come.
const TURN: Duration = Duration::from_micros(100);
const TURNS: usize = 1_500;
const ROUNDS: usize = 5;
/// An event may cost this much more with a table and a limit than without.
const COST_NS_MAX: f64 = 5.0;

const VARIANTS: [(&str, &str); 4] = [
    ("no table", ""),
    ("a table: publish and request", "verb = [\"publish\", \"request\"]"),
    ("a table: publish alone", "verb = \"publish\""),
    ("a table and a limit", "verb = \"publish\"\nlimit"),
];

/// A node under a policy, and who sends to it.
struct Guarded {
    node: Node,
    invoker: Invoker,
    clock: Clock,
    transmit: SimulatedTransmit,
    to: Destination,
    handled: Arc<AtomicU64>,
    sequence: u64,
}

impl Guarded {
    fn new(verbs: &str) -> Self {
        let (network, clock) = (SimulatedNetwork::new(1, LinkModel::LOSSLESS), Clock::simulated());
        let address = "10.0.0.1:7000".parse().expect("an address");
        let from = "10.0.0.2:7000".parse().expect("an address");
        let builder = Node::builder("guarded").listen("10.0.0.1:7000");
        let (node, mut invoker) = builder.start_simulated(&network, clock.clone()).expect("starts");
        let handled = handled(&node);
        invoker.drain(10_000);
        let (verbs, limit) = match verbs.split_once("\nlimit") {
            Some((verbs, _)) => (verbs, "[[limit]]\nnode=\"*\"\ntypes=\"**\"\nrate=10000000\n"),
            None => (verbs, ""),
        };
        if !verbs.is_empty() {
            let text = format!("[[allow]]\nnode=\"*\"\ntypes=\"**\"\n{verbs}\n{limit}");
            let policy = Policy::parse("policy", text).expect("a policy");
            assert!(node.apply_policy(Some(policy)).expect("room").is_none());
        }
        invoker.drain(10_000);
        let (transmit, _) = network.endpoint(from, &[]);
        let to = Destination::new(0, address);
        Self { node, invoker, clock, transmit, to, handled, sequence: 0 }
    }

    /// Sends packets of so many events, and times how they are received and handled.
    fn turn(&mut self, events: u16) -> Duration {
        for _ in 0..PACKETS {
            let (bytes, length) = datagram(events, self.sequence);
            self.sequence += 1;
            let slices = [IoSlice::new(&bytes.0[..length])];
            let sent = self.transmit.send(&[Message::single(&self.to, &slices)]);
            assert_eq!(sent.messages, 1);
        }
        self.clock.advance(TURN);
        let expected = self.handled.load(Ordering::Relaxed) + PACKETS * u64::from(events);
        let begun = Instant::now();
        while self.handled.load(Ordering::Relaxed) < expected && self.invoker.do_work() > 0 {}
        let time = begun.elapsed();
        assert_eq!(self.handled.load(Ordering::Relaxed), expected, "{:?}", self.node.counters());
        while self.invoker.do_work() > 0 {}
        time
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds an event of each variant: the median of rounds, each the median of turns; and the
/// least that any turn took.
fn costs(events: u16, (rounds, turns): (usize, usize)) -> Vec<(f64, f64)> {
    let mut guarded: Vec<Guarded> = VARIANTS.map(|(_, verbs)| Guarded::new(verbs)).into();
    let each = (PACKETS * u64::from(events)) as f64;
    let mut medians = vec![Vec::new(); VARIANTS.len()];
    let mut least = vec![f64::MAX; VARIANTS.len()];
    for _ in 0..rounds {
        let mut times = vec![Vec::new(); VARIANTS.len()];
        for turn in 0..turns {
            // Each is first, and behind each other one, as often as the others.
            for place in 0..VARIANTS.len() {
                let index = (turn + place) % VARIANTS.len();
                let ns = guarded[index].turn(events).as_nanos() as f64 / each;
                times[index].push(ns);
                least[index] = least[index].min(ns);
            }
        }
        for (medians, times) in medians.iter_mut().zip(times) {
            medians.push(median(times));
        }
    }
    medians.into_iter().map(median).zip(least).collect()
}

/// Prints what each variant costs, and gives what the dearest adds, ns an event.
fn compare(events: u16, amount: (usize, usize)) -> f64 {
    let costs = costs(events, amount);
    let (base, base_least) = costs[0];
    println!("packets of {events}: ns an event, median of {} and least", amount.0);
    let mut most = 0.0_f64;
    for ((name, _), (median, least)) in VARIANTS.iter().zip(&costs) {
        let (more, more_least) = (median - base, least - base_least);
        println!("  {name:30} {median:7.2} ({more:+.2})   {least:7.2} ({more_least:+.2})");
        most = most.max(more);
    }
    most
}

fn main() {
    // Tiny mode runs everything and judges nothing: figures of a test build mean nothing.
    let is_tiny = std::env::args().any(|argument| argument == "--test");
    let amount = if is_tiny { (1, 4) } else { (ROUNDS, TURNS) };
    let most = [14, 4, 1].map(|events| compare(events, amount));
    assert!(is_tiny || most[0] <= COST_NS_MAX, "a policy costs {:.2} ns an event", most[0]);
}
