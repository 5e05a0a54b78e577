//! A path becomes narrower while events flow: packets follow it. In a network namespace of its own,
//! whose loopback interface takes what it is told; the test starts itself again inside.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::{Event, Node, Target};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "reading")]
struct Reading {
    number: u64,
    filler: [u64; 30],
}

const INSIDE: &str = "WIRELOOM_INSIDE_NAMESPACE";
const NAME: &str = "packets_follow_a_path_that_becomes_narrower_and_wider";

fn set_mtu(bytes: u32) {
    let words = ["link", "set", "dev", "lo", "up", "mtu", &bytes.to_string()];
    let status = Command::new("ip").args(words).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {words:?}");
}

#[test]
fn packets_follow_a_path_that_becomes_narrower_and_wider() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let program = std::env::current_exe().expect("this test");
    let mut again = Command::new("unshare");
    again.args(["--net", "--"]).arg(program).args(["--exact", NAME, "--nocapture"]);
    let outcome = again.env(INSIDE, "1").output();
    let Ok(outcome) = outcome else { return println!("skipped: unshare(1) is not here") };
    let said = String::from_utf8_lossy(&outcome.stderr);
    if said.contains("Operation not permitted") {
        return println!("skipped: network namespaces are not permitted here");
    }
    assert!(outcome.status.success(), "{said}");
}

/// Publishes in bursts until `enough`, or too long.
fn publish_until(feed: &Node, desk: &Node, mut enough: impl FnMut() -> bool) {
    let mut publisher = feed.publisher(&Target::Node(desk.address())).expect("a route");
    let (begun, mut number) = (Instant::now(), 0);
    while !enough() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", feed.counters());
        for _ in 0..50 {
            let _ = publisher.publish(&Reading { number, filler: [1; 30] });
            number += 1;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn inside() {
    set_mtu(9_000);
    let desk = Node::builder("desk").start().expect("starts");
    let handled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&handled);
    desk.on::<Reading>(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
    })
    .expect("subscribes");
    let feed = Node::builder("feed").packet_bytes(8_900).start().expect("starts");
    let handled = || handled.load(Ordering::Relaxed);
    publish_until(&feed, &desk, || handled() > 1_000);
    let refused = |node: &Node| {
        let counters = node.counters();
        let refused = counters.iter().find(|(meaning, _)| meaning.name == "datagrams_refused");
        refused.map_or(0, |(_, datagrams)| *datagrams)
    };
    assert_eq!(refused(&feed), 0);
    set_mtu(1_300);
    let before = handled();
    publish_until(&feed, &desk, || refused(&feed) > 0 && handled() > before + 2_000);
    // It has found its size: nothing more is refused, and nothing of what it says is lost.
    let (settled, before) = (refused(&feed), handled());
    publish_until(&feed, &desk, || handled() > before + 2_000);
    assert_eq!(refused(&feed), settled);
    let ledger = feed.close();
    assert!(ledger.balanced, "{ledger:?}");
}
