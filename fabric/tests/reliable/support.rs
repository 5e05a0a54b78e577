//! What the tests share: numbered events, nodes that keep what they see, patience.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wireloom::{Event, Node, NodeBuilder, Refused, ReliableSettings};

/// Longer than any of these waits should take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "numbered")]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) filler: Vec<u8>,
}

impl Numbered {
    pub(crate) fn new(number: u64) -> Self {
        let length = usize::try_from(number * 37 % 90).expect("short");
        Self { number, filler: vec![number.to_le_bytes()[0]; length] }
    }
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "alarm", priority = "critical")]
pub(crate) struct Alarm {
    pub(crate) number: u64,
}

/// The numbers a node's handler saw, in the order in which it saw them.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<u64>>>);

impl Seen {
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.0.lock().expect("no panic").clone()
    }

    pub(crate) fn note(&self, number: u64) {
        self.0.lock().expect("no panic").push(number);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().expect("no panic").len()
    }

    /// Lets a node's handler write down what it sees, its content checked.
    pub(crate) fn by(node: &Node) -> Self {
        let seen = Self::default();
        let book = seen.clone();
        node.on::<Numbered>(move |event, _| {
            let number = event.number.to_native();
            assert_eq!(event.filler[..], Numbered::new(number).filler, "altered content");
            book.note(number);
        })
        .expect("subscribes");
        seen
    }

    /// Waits until so many have come.
    pub(crate) fn wait_for(&self, count: usize) {
        eventually("events to come", || self.count() >= count);
    }
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Makes the call until it is not back-pressured.
pub(crate) fn patiently<T>(mut call: impl FnMut() -> Result<T, Refused>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        match call() {
            Err(Refused::BackPressured) => {
                assert!(Instant::now() < until, "back-pressured for ever");
                std::thread::sleep(Duration::from_micros(100));
            }
            other => return other.expect("accepted"),
        }
    }
}

/// Settings that fail soon, for tests of failure.
pub(crate) fn hasty() -> ReliableSettings {
    ReliableSettings {
        connect_timeout: Duration::from_millis(400),
        ack_timeout: Duration::from_millis(400),
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_millis(20),
        attempts: 3,
        undelivered_after: Duration::ZERO,
        ..ReliableSettings::default()
    }
}

pub(crate) fn node(name: &str) -> NodeBuilder {
    Node::builder(name)
}

/// A node in its next life: it takes events when its handlers stand.
pub(crate) fn again(name: &str, address: SocketAddr) -> NodeBuilder {
    node(name).listen(&address.to_string()).accept_later()
}

/// What a node has counted under a name.
pub(crate) fn counted(node: &Node, name: &str) -> u64 {
    let counters = node.counters();
    counters.into_iter().find(|(meaning, _)| meaning.name == name).map_or(0, |(_, count)| count)
}
