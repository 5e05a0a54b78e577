//! Links that compress: what two nodes agree on, what is saved, and that nothing else changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wireloom::{Node, ReliableSettings, Target};

use crate::cuts::Proxy;
use crate::support::{Numbered, Seen, counted, eventually, node, patiently};

fn compressing(compression: bool) -> ReliableSettings {
    ReliableSettings {
        compression,
        attempts: u32::MAX,
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(4),
        ..ReliableSettings::default()
    }
}

fn pair(feed: bool, desk: bool) -> (Node, Node) {
    let start =
        |name, compresses| node(name).reliable(compressing(compresses)).start().expect("starts");
    (start("feed", feed), start("desk", desk))
}

fn publish(feed: &Node, target: Target, numbers: std::ops::Range<u64>) {
    let mut publisher = feed.publisher::<Numbered>(&target).expect("a route");
    for number in numbers {
        patiently(|| publisher.publish(&Numbered::new(number)));
    }
    eventually("every acknowledgement", || feed.ledger().reliable.in_flight == 0);
}

#[test]
fn two_that_agree_send_less_and_deliver_the_same() {
    let (feed, desk) = pair(true, true);
    let seen = Seen::by(&desk);
    publish(&feed, Target::Reliable(desk.address()), 0..30_000);
    assert_eq!(seen.numbers(), (0..30_000).collect::<Vec<_>>());
    let (sent, packed) = (counted(&feed, "bytes_sent"), counted(&feed, "bytes_packed"));
    assert!(packed > 1_000_000 && sent < packed * 3 / 4, "{sent} bytes for {packed}");
    assert_eq!(counted(&feed, "blocks_sent"), counted(&desk, "blocks_received"));
    assert_eq!(counted(&desk, "packets_duplicate"), 0);
}

#[test]
fn one_that_does_not_want_it_gets_packets() {
    for (feed, desk) in [(true, false), (false, true)] {
        let (feed, desk) = pair(feed, desk);
        let seen = Seen::by(&desk);
        publish(&feed, Target::Reliable(desk.address()), 0..3_000);
        assert_eq!(seen.numbers(), (0..3_000).collect::<Vec<_>>());
        assert_eq!(counted(&feed, "blocks_sent"), 0);
    }
}

#[test]
fn cuts_in_the_middle_of_blocks_lose_nothing_and_double_nothing() {
    let (feed, desk) = pair(true, true);
    let seen = Seen::by(&desk);
    let proxy = Proxy::within(desk.address(), 60, 12_000);
    let mut publisher =
        feed.publisher::<Numbered>(&Target::Reliable(proxy.address)).expect("a route");
    let mut events = 0;
    while proxy.cuts() < 60 {
        for _ in 0..200 {
            patiently(|| publisher.publish(&Numbered::new(events)));
            events += 1;
        }
    }
    eventually("every acknowledgement", || feed.ledger().reliable.in_flight == 0);
    assert_eq!(seen.numbers(), (0..events).collect::<Vec<_>>());
    assert!(counted(&feed, "blocks_sent") > 0 && counted(&feed, "packets_resent") > 0);
}

#[test]
fn handlers_that_are_stuck_in_the_middle_of_a_block_get_the_rest_later_and_once() {
    let (feed, desk) = pair(true, true);
    let seen = Seen::default();
    let open = Arc::new(AtomicBool::new(false));
    let (gate, book) = (Arc::clone(&open), seen.clone());
    desk.on::<Numbered>(move |event, _| {
        while !gate.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        book.note(event.number.to_native());
    })
    .expect("subscribes");
    let mut publisher =
        feed.publisher::<Numbered>(&Target::Reliable(desk.address())).expect("a route");
    // More than the ring of the publisher, both sockets and the receiver's ring hold.
    let mut number = 0;
    while publisher.publish(&Numbered::new(number)).is_ok() || number < 20_000 {
        number += 1;
    }
    let full = number;
    open.store(true, Ordering::Relaxed);
    patiently(|| publisher.publish(&Numbered::new(full)));
    eventually("every acknowledgement", || feed.ledger().reliable.in_flight == 0);
    let accepted = feed.ledger().reliable.accepted;
    let numbers = seen.numbers();
    assert_eq!(numbers.len() as u64, accepted);
    assert!(numbers.is_sorted_by(|a, b| a < b), "in order, each once");
    assert_eq!(counted(&desk, "packets_duplicate"), 0);
    assert_eq!(counted(&desk, "links_broken"), 0);
}
