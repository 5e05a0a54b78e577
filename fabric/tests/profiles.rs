//! The figures of the three profiles, as the user gave them: each is in effect, or says why not,
//! and those of queues and packets are seen in what a node does.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::config::{Config, Profile};
use wireloom::{Event, Invoker, Levels, Node, NodeBuilder, Priority, Refused, Target};

macro_rules! events {
    ($($name:ident $event_type:literal $priority:literal),+) => {
        $(
            #[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
            #[event(type = $event_type, priority = $priority)]
            struct $name {
                number: u64,
                filler: [u64; 5],
            }
        )+
    };
}

events! {
    Urgent "urgent" "critical", Soon "soon" "high", Usual "usual" "normal", Later "later" "low",
    Whenever "whenever" "background"
}

/// Path, and what browser, server and cluster say. What this version does not do is marked.
const FIGURES: [(&str, [&str; 3]); 19] = [
    ("events.batch", ["10", "1000", "1000"]),
    ("events.flush_interval", ["100 ms", "1 s", "1 s"]),
    // At the latest: natural batching first.
    ("events.flush", ["wait", "natural", "natural"]),
    ("events.queue", ["1000", "100000", "100000"]),
    ("events.priorities", ["3", "5", "5"]),
    ("tcp.connect_timeout", ["5 s", "30 s", "30 s"]),
    ("tcp.pool", ["2", "100", "100"]),
    ("tcp.keep_alive", ["15 s", "15 s", "15 s"]),
    ("udp.packet_bytes", ["1200 B", "1400 B", "1400 B"]),
    ("udp.broadcast", ["true", "true", "true"]),
    ("udp.multicast_ttl", ["1", "64", "64"]),
    ("tcp.compression", ["false", "false", "true"]),
    ("security.encryption", ["false", "false", "true!"]),
    ("udp.checksum", ["true", "true", "true"]),
    ("udp.sequencing", ["true", "true", "true"]),
    ("cluster.replication", ["1!", "1!", "3!"]),
    ("tcp.ack_timeout", ["10 s", "10 s", "10 s"]),
    ("tcp.attempts", ["5", "5", "5"]),
    ("node.profile", ["browser", "server", "cluster"]),
];

#[test]
fn every_figure_is_in_effect_or_says_that_it_is_not() {
    for (path, figures) in FIGURES {
        for (profile, figure) in Profile::ALL.into_iter().zip(figures) {
            let config = Config::of(Some(profile));
            let entry = config.entry(path).expect(path);
            let mark = if entry.no_effect().is_some() { "!" } else { "" };
            assert_eq!(format!("{}{mark}", entry.text()), figure, "{profile}: {path}");
        }
    }
}

/// A node nobody drives yet, and one that listens to it in its own time.
fn driven(builder: NodeBuilder) -> (Node, Invoker) {
    builder.start_invoker().expect("starts")
}

#[test]
fn a_queue_takes_as_many_events_as_it_says_and_then_refuses() {
    for (profile, queue) in
        [(Profile::Browser, 1_000), (Profile::Server, 100_000), (Profile::Cluster, 100_000)]
    {
        let (node, _turns) = driven(Node::builder("feed").profile(profile));
        let mut publisher = node.publisher::<Usual>(&Target::Node(node.address())).expect("routes");
        let mut accepted = 0_u64;
        let refused = loop {
            match publisher.publish(&Usual { number: accepted, filler: [0; 5] }) {
                Ok(_) => accepted += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, Refused::BackPressured);
        // Rings are powers of two, and no event is split at their end.
        assert!((queue..=2 * queue).contains(&accepted), "{profile}: {accepted}");
        let published = node.ledger().published;
        assert_eq!((published.accepted, published.refused), (accepted, 1), "{profile}");
        assert_eq!(published.in_flight, accepted, "{profile}");
    }
}

#[test]
fn priorities_share_as_many_lanes_as_the_profile_says_and_arrive_as_what_they_are() {
    let five = ["critical", "high", "normal", "low", "background"];
    let of = |lanes: &[(&'static str, u64)]| lanes.iter().copied().collect::<BTreeMap<_, _>>();
    let three = of(&[("critical", 2), ("normal", 1), ("low", 2)]);
    let each = of(&five.map(|name| (name, 1)));
    for (profile, expected) in
        [(Profile::Browser, &three), (Profile::Server, &each), (Profile::Cluster, &each)]
    {
        let (node, mut turns) = driven(Node::builder("node").profile(profile));
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        macro_rules! hear {
            ($($name:ident),+) => {$(
                let book = Arc::clone(&seen);
                node.on::<$name>(move |_, envelope| {
                    book.lock().expect("one thread").push(envelope.priority());
                }).expect("subscribes");
            )+};
        }
        hear!(Urgent, Soon, Usual, Later, Whenever);
        let (mut router, target) = (node.router(), Target::Node(node.address()));
        let filler = [0; 5];
        router.route(&Whenever { number: 0, filler }, &target).expect("accepted");
        router.route(&Later { number: 0, filler }, &target).expect("accepted");
        router.route(&Usual { number: 0, filler }, &target).expect("accepted");
        router.route(&Soon { number: 0, filler }, &target).expect("accepted");
        router.route(&Urgent { number: 0, filler }, &target).expect("accepted");
        let until = Instant::now() + Duration::from_secs(5);
        while seen.lock().expect("one thread").len() < 5 && Instant::now() < until {
            turns.do_work();
        }
        let mut heard = seen.lock().expect("one thread").clone();
        let lane = |priority: &Priority| {
            let levels = if expected.len() == 3 { Levels::Three } else { Levels::Five };
            levels.lane_of(*priority)
        };
        assert!(heard.is_sorted_by_key(lane), "{profile}: {heard:?}");
        heard.sort_unstable();
        assert_eq!(heard, Priority::ALL, "{profile}");
        assert_eq!(&node.ledger().published.lanes, expected, "{profile}");
    }
}

#[test]
fn packets_are_filled_to_what_the_profile_says() {
    for (profile, packet_bytes) in
        [(Profile::Browser, 1_200), (Profile::Server, 1_400), (Profile::Cluster, 1_400)]
    {
        let (node, mut turns) = driven(Node::builder("node").profile(profile));
        let mut publisher = node.publisher::<Usual>(&Target::Node(node.address())).expect("routes");
        for number in 0..900 {
            publisher.publish(&Usual { number, filler: [0; 5] }).expect("accepted");
        }
        turns.drain(1_000);
        let counters = node.counters();
        let of = |name| counters.iter().find(|(of, _)| of.name == name).map_or(0, |(_, n)| *n);
        let each = of("bytes_sent") / of("packets_sent");
        assert!(each <= packet_bytes && each > packet_bytes * 9 / 10, "{profile}: {each}");
    }
}

/// Publishes with a long flush interval; returns how often a full batch ended it.
fn batches(batch: usize) -> u64 {
    let desk = Node::builder("desk").start().expect("starts");
    let handled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&handled);
    desk.on::<Usual>(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
    })
    .expect("subscribes");
    let text = format!("[events]\nflush = \"wait\"\nflush_interval = \"4 ms\"\nbatch = {batch}");
    let config = Config::parse(&text).expect("a configuration");
    let feed = Node::builder("feed").config(&config).start().expect("starts");
    let mut publisher = feed.publisher::<Usual>(&Target::Node(desk.address())).expect("routes");
    for number in 0..2_000 {
        publisher.publish(&Usual { number, filler: [0; 5] }).expect("accepted");
        std::thread::sleep(Duration::from_micros(50));
    }
    let until = Instant::now() + Duration::from_secs(5);
    while handled.load(Ordering::Relaxed) < 2_000 {
        assert!(Instant::now() < until, "{handled:?} arrived");
        std::thread::sleep(Duration::from_millis(1));
    }
    let counters = feed.counters();
    counters.iter().find(|(of, _)| of.name == "batches_full").map_or(0, |(_, times)| *times)
}

#[test]
fn a_full_batch_ends_the_wait_and_is_counted() {
    let (small, large) = (batches(10), batches(10_000));
    assert!((20..=200).contains(&small), "{small} batches of 10 in 2,000 events");
    assert_eq!(large, 0, "none of 10,000");
}
