//! What a node's profile costs in memory under load: the whole process, by the kernel's account.
//! One test, because the account is the process's.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::config::{Config, Profile};
use wireloom::{Event, Node, NodeBuilder, Refused, Target};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "load")]
struct Load {
    bytes: [u8; 64],
}

/// Peak resident memory of this process, bytes (`proc_pid_status(5)`).
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// Sends a node events through itself until the rings have been gone round many times, half of them
/// to a handler and half to a subscriber that reads none.
fn load(builder: NodeBuilder) {
    const EVENTS: u64 = 400_000;
    let node = builder.start().expect("loopback is there");
    let handled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&handled);
    node.on::<Load>(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
    })
    .expect("a new node takes handlers");
    let _unread = node.subscribe::<Load>().expect("and subscribers");
    let target = Target::Node(node.address());
    let mut publisher = node.publisher::<Load>(&target).expect("it reaches itself");
    let until = Instant::now() + Duration::from_secs(60);
    let event = Load { bytes: [7; 64] };
    let mut accepted = 0;
    while accepted < EVENTS {
        assert!(Instant::now() < until, "{accepted} events in a minute");
        match publisher.publish(&event) {
            Ok(_) => accepted += 1,
            Err(Refused::BackPressured) => std::thread::yield_now(),
            Err(refused) => panic!("{refused}"),
        }
    }
    while handled.load(Ordering::Relaxed) < EVENTS {
        assert!(Instant::now() < until, "{} handled", handled.load(Ordering::Relaxed));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_node_without_a_profile_has_ten_megabytes_and_a_profile_adds_its_rings() {
    load(Node::builder("memory").config(&Config::default()));
    let plain = peak_bytes();
    load(Node::builder("memory").profile(Profile::Browser));
    let browser = peak_bytes();
    load(Node::builder("memory").profile(Profile::Server));
    let server = peak_bytes();
    println!("peak bytes: no profile {plain}, browser {browser}, server {server}");
    assert!(plain < 10_000_000, "{plain}");
    assert!(browser < 10_000_000, "{browser}");
    // One ring each for the publisher and the subscriber: 100,000 events of 80 bytes, 8 MiB.
    assert!(server < 10_000_000 + (16 << 20), "{server}");
    assert!(server > browser + (8 << 20), "the rings of 100,000 events were not used: {server}");
}
