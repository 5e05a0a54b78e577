//! Nodes on loopback, and waiting for what they say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::{Event, Node};

pub(crate) fn node(name: &str) -> Node {
    Node::builder(name).start().expect("a node on loopback")
}

pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Counts the events of a type.
pub(crate) fn taken<E: Event>(node: &Node) -> Arc<AtomicU64> {
    let taken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&taken);
    node.on::<E>(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
    })
    .expect("a handler");
    taken
}
