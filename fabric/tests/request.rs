//! Requests and replies between nodes on loopback: every way they go, and every way they end.
#![forbid(unsafe_code)]

#[path = "request/clocks.rs"]
mod clocks;
#[path = "request/ends.rs"]
mod ends;
#[path = "request/hostile.rs"]
mod hostile;
#[path = "request/peer.rs"]
mod peer;
#[path = "request/rules.rs"]
mod rules;
#[path = "request/ways.rs"]
mod ways;

use std::time::{Duration, Instant};

use wireloom::{Event, Node};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "sum-request", priority = "high")]
struct SumRequest {
    numbers: Vec<u64>,
    repeat: u32,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, Debug, PartialEq, Eq)]
#[event(type = "sum")]
struct Sum {
    total: u64,
    words: String,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, Debug, PartialEq, Eq)]
#[event(type = "product")]
struct Product {
    total: u64,
}

fn asks(numbers: &[u64]) -> SumRequest {
    SumRequest { numbers: numbers.to_vec(), repeat: 1 }
}

fn start(name: &str) -> Node {
    Node::builder(name).start().expect("a node on loopback starts")
}

/// A node that adds.
fn adds(node: &Node) {
    node.respond::<SumRequest, _>(|request, _envelope| {
        let total = request.numbers.iter().map(|number| number.to_native()).sum();
        let repeat = usize::try_from(request.repeat.to_native()).expect("small");
        Sum { total, words: "sum ".repeat(repeat) }
    })
    .expect("responds");
}

/// Waits until `done`; what the workers do takes its time.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A counter of a node by its name.
fn counter(node: &Node, name: &str) -> u64 {
    let counters = node.counters();
    counters.iter().find(|(meaning, _)| meaning.name == name).map_or(0, |(_, value)| *value)
}
