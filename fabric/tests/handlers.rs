//! Handlers: when they run, when they have run for the last time, and what a panic costs.

#[path = "handlers/objects.rs"]
mod objects;
#[path = "handlers/panics.rs"]
mod panics;
#[path = "handlers/subscriptions.rs"]
mod subscriptions;
#[path = "handlers/waiting.rs"]
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::{Envelope, Event, Mode, Node};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "tick")]
struct Tick {
    number: u64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "tock")]
struct Tock {
    number: u64,
    words: String,
}

fn start(name: &str) -> Node {
    Node::builder(name).start().expect("a node on loopback starts")
}

fn start_in(mode: Mode) -> Node {
    Node::builder("node").mode(mode).start().expect("a node on loopback starts")
}

/// Waits until `done`; what the workers do takes its time.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A handler of anything, which counts how often it runs.
fn counting<A>(runs: &Arc<AtomicU64>) -> impl FnMut(&A, &Envelope<'_>) + Send + use<A> + 'static {
    let runs = Arc::clone(runs);
    move |_event, _envelope| {
        runs.fetch_add(1, Ordering::Relaxed);
    }
}
