//! What cannot be delivered is told: to the caller, to the dead-letter handler, in the ledger.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wireloom::{Delivery, ReliableSettings, Target, Undelivered};

use crate::support::{
    Numbered, PATIENCE, Seen, again, counted, eventually, hasty, node, patiently,
};

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

#[test]
fn nobody_there_is_told_by_receipt_dead_letter_and_ledger() {
    let feed = node("feed").reliable(hasty()).start().expect("starts");
    let letters = Arc::new(Mutex::new(Vec::new()));
    let book = Arc::clone(&letters);
    let target = nobody();
    feed.on_undelivered(move |letter| {
        assert_eq!((letter.target, letter.reason), (target, Undelivered::Unreachable));
        assert!(!letter.payload().is_empty());
        book.lock().expect("no panic").push(letter.sequence());
    })
    .expect("the control thread runs");
    let mut publisher = feed.publisher::<Numbered>(&Target::Reliable(target)).expect("a route");
    let receipts: Vec<_> = (0..100)
        .map(|number| {
            let accepted = publisher.publish(&Numbered::new(number)).expect("accepted");
            publisher.receipt(accepted).expect("reliable")
        })
        .collect();
    for receipt in &receipts {
        assert_eq!(receipt.wait(PATIENCE), Delivery::Undelivered(Undelivered::Unreachable));
    }
    eventually("the letters", || letters.lock().expect("no panic").len() == 100);
    assert_eq!(*letters.lock().expect("no panic"), (0..100).collect::<Vec<_>>());
    let ledger = feed.ledger();
    assert!(ledger.balanced, "{ledger:?}");
    assert_eq!(ledger.reliable.undelivered["unreachable"], 100);
    // The ring is free again, and what comes next has attempts of its own.
    let accepted = publisher.publish(&Numbered::new(100)).expect("accepted");
    let receipt = publisher.receipt(accepted).expect("reliable");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Undelivered(Undelivered::Unreachable));
}

#[test]
fn a_node_that_accepts_later_has_its_handlers_before_its_events() {
    let desk = node("desk").start().expect("starts");
    let address = desk.address();
    let feed = node("feed").start().expect("starts");
    let mut publisher = feed.publisher::<Numbered>(&Target::Reliable(address)).expect("a route");
    drop(desk);
    for number in 0..100 {
        publisher.publish(&Numbered::new(number)).expect("accepted");
    }
    let desk = again("desk", address).start().expect("starts again");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(desk.ledger().received.events, 0);
    let seen = Seen::by(&desk);
    desk.accept().expect("it runs");
    eventually("all events", || seen.numbers().len() == 100);
    assert_eq!(seen.numbers(), (0..100).collect::<Vec<_>>());
    eventually("acknowledged", || feed.ledger().reliable.delivered == 100);
}

#[test]
fn a_node_that_accepts_later_takes_nothing_by_its_own_lines_either() {
    let (desk, feed) = (node("desk").accept_later().start().expect("starts"), node("feed"));
    let feed = feed.start().expect("starts");
    let mut back = desk.publisher::<Numbered>(&Target::Reliable(feed.address())).expect("a route");
    let accepted = back.publish(&Numbered::new(7)).expect("accepted");
    let receipt = back.receipt(accepted).expect("reliable");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    let target = Target::Reliable(desk.address());
    let mut publisher = feed.publisher::<Numbered>(&target).expect("a route");
    publisher.publish(&Numbered::new(0)).expect("accepted");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(desk.ledger().received.events, 0);
    let seen = Seen::by(&desk);
    desk.accept().expect("it runs");
    eventually("the event", || seen.numbers() == [0]);
    assert_eq!(counted(&feed, "links_dialled"), 0, "by the line of the desk");
}

#[test]
fn a_peer_that_starts_again_after_all_attempts_but_in_time_gets_its_events() {
    let first = node("desk").start().expect("starts");
    let address = first.address();
    drop(first);
    let settings = ReliableSettings { undelivered_after: PATIENCE, ..hasty() };
    let feed = node("feed").reliable(settings).start().expect("starts");
    let mut publisher = feed.publisher::<Numbered>(&Target::Reliable(address)).expect("a route");
    let accepted = publisher.publish(&Numbered::new(7)).expect("accepted");
    let receipt = publisher.receipt(accepted).expect("reliable");
    eventually("more attempts than three", || counted(&feed, "links_unreachable") > 6);
    let desk = again("desk", address).start().expect("starts again");
    let seen = Seen::by(&desk);
    desk.accept().expect("it runs");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    assert_eq!(seen.numbers(), [7]);
}

#[test]
fn nothing_is_given_up_before_its_time_and_all_attempts_are_used_up() {
    let after = Duration::from_millis(300);
    let settings = ReliableSettings { undelivered_after: after, ..hasty() };
    let feed = node("feed").reliable(settings).start().expect("starts");
    let mut publisher = feed.publisher::<Numbered>(&Target::Reliable(nobody())).expect("a route");
    let begun = Instant::now();
    let accepted = publisher.publish(&Numbered::new(0)).expect("accepted");
    let receipt = publisher.receipt(accepted).expect("reliable");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Undelivered(Undelivered::Unreachable));
    assert!(begun.elapsed() >= after, "{:?}", begun.elapsed());
    let dials = counted(&feed, "links_dialled");
    assert!(dials > 6, "at most 20 ms apart: {dials}");
}

#[test]
fn one_router_learns_of_each_target_apart() {
    let desk = node("desk").start().expect("starts");
    let seen = Seen::by(&desk);
    let feed = node("feed").reliable(hasty()).start().expect("starts");
    let mut router = feed.router();
    let (there, nowhere) = (Target::Reliable(desk.address()), Target::Reliable(nobody()));
    let mut receipts = Vec::new();
    for number in 0..300 {
        let target = if number % 3 == 0 { &nowhere } else { &there };
        let accepted = patiently(|| router.route(&Numbered::new(number), target));
        receipts.push((number % 3 != 0, router.receipt(accepted).expect("reliable")));
    }
    for (delivered, receipt) in receipts {
        let expected = if delivered {
            Delivery::Delivered
        } else {
            Delivery::Undelivered(Undelivered::Unreachable)
        };
        assert_eq!(receipt.wait(PATIENCE), expected);
    }
    assert_eq!(seen.numbers(), (0..300).filter(|number| number % 3 != 0).collect::<Vec<_>>());
    let local = router.route(&Numbered::new(0), Target::Local).expect("accepted");
    assert!(router.receipt(local).is_none(), "nobody acknowledges what is not reliable");
}

#[test]
fn handlers_that_are_stuck_are_told_as_unacknowledged() {
    let desk = node("desk").start().expect("starts");
    let stuck = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&stuck);
    desk.on::<Numbered>(move |_, _| {
        while still.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
    })
    .expect("subscribes");
    let feed = node("feed").reliable(hasty()).start().expect("starts");
    let mut publisher =
        feed.publisher::<Numbered>(&Target::Reliable(desk.address())).expect("a route");
    let accepted = publisher.publish(&Numbered::new(1)).expect("accepted");
    let receipt = publisher.receipt(accepted).expect("reliable");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Undelivered(Undelivered::Unacknowledged));
    stuck.store(false, Ordering::Release);
    // The link comes back by itself, in a new session.
    let accepted = publisher.publish(&Numbered::new(2)).expect("accepted");
    assert_eq!(publisher.receipt(accepted).expect("reliable").wait(PATIENCE), Delivery::Delivered);
}

#[test]
fn another_cluster_and_a_second_life_of_a_name_are_refused_by_name() {
    let desk = node("desk").cluster("blue").start().expect("starts");
    let _seen = Seen::by(&desk);
    let target = Target::Reliable(desk.address());
    let fate = |feed: &wireloom::Node, target: &Target| {
        let mut publisher = feed.publisher::<Numbered>(target).expect("a route");
        let accepted = publisher.publish(&Numbered::new(1)).expect("accepted");
        let fate = publisher.receipt(accepted).expect("reliable").wait(PATIENCE);
        (fate, publisher)
    };
    let refused = |refusal: &str, fate: Delivery| match fate {
        Delivery::Undelivered(reason @ Undelivered::Refused(_)) => {
            assert_eq!(reason.name(), refusal);
        }
        other => panic!("{refusal}: {other:?}"),
    };
    let red = node("feed").cluster("red").reliable(hasty()).start().expect("starts");
    refused("refused_cluster", fate(&red, &target).0);
    let older = node("feed").cluster("blue").reliable(hasty()).start().expect("starts");
    let newer = node("feed").cluster("blue").reliable(hasty()).start().expect("starts");
    let (delivered, _keeps_its_link) = fate(&newer, &target);
    assert_eq!(delivered, Delivery::Delivered);
    refused("refused_name", fate(&older, &target).0);
    let own = node("own").cluster("blue").reliable(hasty()).start().expect("starts");
    refused("refused_own_node", fate(&own, &Target::Reliable(own.address())).0);
    let counted = |name: &str| {
        desk.counters().into_iter().find(|(meaning, _)| meaning.name == name).map_or(0, |c| c.1)
    };
    assert_eq!(counted("hellos_refused_cluster"), 3, "one for each attempt");
    assert_eq!(counted("hellos_refused_name"), 3);
}

#[test]
fn a_stalled_control_thread_does_not_stop_datagrams() {
    let desk = node("desk").start().expect("starts");
    let seen = Seen::by(&desk);
    let feed =
        node("feed").reliable(ReliableSettings { attempts: 1, ..hasty() }).start().expect("starts");
    let (stalled, free) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (stalls, freed) = (Arc::clone(&stalled), Arc::clone(&free));
    feed.on_undelivered(move |_| {
        stalls.store(true, Ordering::Release);
        while !freed.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
    })
    .expect("the control thread runs");
    let mut router = feed.router();
    // A link that is known before the stall.
    let target = Target::Node(desk.address());
    router.route(&Numbered::new(0), &target).expect("accepted");
    seen.wait_for(1);
    router.route(&Numbered::new(0), Target::Reliable(nobody())).expect("accepted");
    eventually("the stall", || stalled.load(Ordering::Acquire));
    let sent = AtomicU64::new(1);
    for number in 1..5_000 {
        patiently(|| router.route(&Numbered::new(number), &target));
        sent.fetch_add(1, Ordering::Relaxed);
    }
    seen.wait_for(5_000);
    free.store(true, Ordering::Release);
}

#[test]
fn a_node_that_closes_sends_what_it_holds_and_tells_what_it_could_not() {
    let desk = node("desk").start().expect("starts");
    let seen = Seen::by(&desk);
    let feed = node("feed").start().expect("starts");
    let mut router = feed.router();
    for number in 0..1_000 {
        let target = Target::Reliable(desk.address());
        patiently(|| router.route(&Numbered::new(number), &target));
    }
    router.route(&Numbered::new(0), Target::Reliable(nobody())).expect("accepted");
    let ledger = feed.close();
    assert!(ledger.balanced, "{ledger:?}");
    assert_eq!((ledger.reliable.delivered, ledger.reliable.in_flight), (1_000, 0), "{ledger:?}");
    assert_eq!(ledger.reliable.undelivered.values().sum::<u64>(), 1, "{ledger:?}");
    assert_eq!(seen.count(), 1_000);
}

#[test]
fn a_peer_that_comes_back_and_says_hello_is_not_waited_for_any_longer() {
    let first = node("desk").start().expect("starts");
    let address = first.address();
    drop(first);
    let hour = Duration::from_secs(3_600);
    let settings = ReliableSettings {
        attempts: u32::MAX,
        backoff_min: hour,
        backoff_max: hour,
        ..ReliableSettings::default()
    };
    let feed = node("feed").reliable(settings).start().expect("starts");
    let mut publisher = feed.publisher::<Numbered>(&Target::Reliable(address)).expect("a route");
    publisher.publish(&Numbered::new(0)).expect("accepted");
    eventually("the failed attempt", || counted(&feed, "links_unreachable") == 1);
    let desk = again("desk", address).start().expect("starts again");
    let seen = Seen::by(&desk);
    desk.accept().expect("it runs");
    let mut back = desk.publisher::<Numbered>(&Target::Reliable(feed.address())).expect("a route");
    back.publish(&Numbered::new(1)).expect("accepted");
    seen.wait_for(1);
    assert_eq!(seen.numbers(), [0]);
}
