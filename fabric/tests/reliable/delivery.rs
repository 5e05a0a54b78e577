//! What is accepted arrives, once, in order, and the books say so.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use wireloom::{Delivery, Node, ReliableSettings, Target};

use crate::support::{Alarm, Numbered, PATIENCE, Seen, eventually, node, patiently};

#[test]
fn routed_events_arrive_in_order_and_their_receipts_say_so() {
    let desk = node("desk").start().expect("starts");
    let seen = Seen::by(&desk);
    let feed = node("feed").start().expect("starts");
    let mut router = feed.router();
    let target = Target::Reliable(desk.address());
    let mut receipts = Vec::new();
    for number in 0..10_000 {
        let accepted = patiently(|| router.route(&Numbered::new(number), &target));
        if number % 1_000 == 0 {
            receipts.push(router.receipt(accepted).expect("reliable"));
        }
    }
    for receipt in &receipts {
        assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    }
    seen.wait_for(10_000);
    assert_eq!(seen.numbers(), (0..10_000).collect::<Vec<_>>());
    eventually("the last acknowledgement", || feed.ledger().reliable.in_flight == 0);
    let ledger = feed.ledger();
    assert!(ledger.balanced, "{ledger:?}");
    assert_eq!((ledger.reliable.accepted, ledger.reliable.delivered), (10_000, 10_000));
    assert_eq!(ledger.links[&target.to_string()], 10_000);
    let ledger = desk.close();
    assert!(ledger.balanced, "{ledger:?}");
    assert_eq!(ledger.received.events, 10_000);
}

#[test]
fn a_publisher_fills_its_ring_without_loss_and_lanes_keep_their_order() {
    let desk = node("desk").start().expect("starts");
    let (seen, alarms) = (Seen::by(&desk), Arc::new(std::sync::Mutex::new(Vec::new())));
    let book = Arc::clone(&alarms);
    desk.on::<Alarm>(move |alarm, _| {
        book.lock().expect("no panic").push(alarm.number.to_native());
    })
    .expect("subscribes");
    let feed = node("feed").start().expect("starts");
    let target = Target::Reliable(desk.address());
    let mut numbers = feed.publisher::<Numbered>(&target).expect("a route");
    let mut urgent = feed.publisher::<Alarm>(&target).expect("a route");
    for number in 0..200_000 {
        let accepted = patiently(|| numbers.publish(&Numbered::new(number)));
        assert_eq!(accepted.sequence, number);
        if number % 1_000 == 0 {
            patiently(|| urgent.publish(&Alarm { number }));
        }
    }
    seen.wait_for(200_000);
    assert_eq!(seen.numbers(), (0..200_000).collect::<Vec<_>>());
    eventually("the alarms", || alarms.lock().expect("no panic").len() == 200);
    let in_order: Vec<u64> = (0..200).map(|number| number * 1_000).collect();
    assert_eq!(*alarms.lock().expect("no panic"), in_order);
    drop((numbers, urgent));
    let ledger = feed.close();
    assert!(ledger.balanced && ledger.reliable.delivered == 200_200, "{ledger:?}");
}

struct Woken(AtomicBool, Thread);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
        self.1.unpark();
    }
}

#[test]
fn a_receipt_can_be_awaited_without_a_runtime() {
    let desk = node("desk").start().expect("starts");
    let _seen = Seen::by(&desk);
    let feed = node("feed").start().expect("starts");
    let mut publisher =
        feed.publisher::<Numbered>(&Target::Reliable(desk.address())).expect("a route");
    let accepted = publisher.publish(&Numbered::new(0)).expect("accepted");
    let mut receipt = pin!(publisher.receipt(accepted).expect("reliable"));
    let woken = Arc::new(Woken(AtomicBool::new(false), std::thread::current()));
    let waker = Waker::from(Arc::clone(&woken));
    let outcome = loop {
        if let Poll::Ready(outcome) = receipt.as_mut().poll(&mut Context::from_waker(&waker)) {
            break outcome;
        }
        // Only a wake-up leads to another look: it must come.
        while !woken.0.swap(false, Ordering::AcqRel) {
            std::thread::park_timeout(PATIENCE);
        }
    };
    assert_eq!(outcome, Ok(()));
}

#[test]
fn a_slow_handler_makes_the_publisher_wait_and_loses_nothing() {
    let desk = node("desk").start().expect("starts");
    let (slow, open) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let (still_slow, entered) = (Arc::clone(&slow), Arc::clone(&open));
    let (count, counted) = {
        let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
        (Arc::clone(&count), count)
    };
    desk.on::<Numbered>(move |event, _| {
        entered.store(true, Ordering::Release);
        while still_slow.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(event.number.to_native(), counted.fetch_add(1, Ordering::Relaxed), "in order");
    })
    .expect("subscribes");
    let feed = node("feed").start().expect("starts");
    let mut publisher =
        feed.publisher::<Numbered>(&Target::Reliable(desk.address())).expect("a route");
    let (mut accepted, mut refused_in_a_row) = (0, 0);
    // Rings, socket buffers and the other node's ring fill up; then nothing is taken any more.
    while refused_in_a_row < 300 {
        match publisher.publish(&Numbered::new(accepted)) {
            Ok(_) => (accepted, refused_in_a_row) = (accepted + 1, 0),
            Err(wireloom::Refused::BackPressured) => {
                refused_in_a_row += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(open.load(Ordering::Acquire) && accepted > 5_000, "{accepted}");
    assert_eq!(feed.ledger().reliable.delivered, 0, "nothing has been taken yet");
    slow.store(false, Ordering::Release);
    eventually("everything", || count.load(Ordering::Relaxed) == accepted);
    eventually("the word of it", || feed.ledger().reliable.delivered == accepted);
}

/// What one router's ring to a peer has taken when it has grown as far as it may, bytes.
const GROWN: usize = (16 << 10) + (64 << 10) + (256 << 10) + (1 << 20);

#[test]
fn a_routers_ring_grows_when_it_is_full_and_order_and_receipts_hold() {
    let desk = node("desk").start().expect("starts");
    let gate = Arc::new(std::sync::RwLock::new(()));
    let (seen, handlers_gate) = (Seen::by(&desk), Arc::clone(&gate));
    desk.on::<Numbered>(move |_, _| drop(handlers_gate.read().expect("no panic")))
        .expect("subscribes");
    let feed = node("feed").start().expect("starts");
    let (mut router, target) = (feed.router(), Target::Reliable(desk.address()));
    let before = memory(&feed, "rings made so far").1;
    let route = |router: &mut wireloom::Router, number| {
        let accepted = router.route(&Numbered::new(number), &target)?;
        Ok::<_, wireloom::Refused>(router.receipt(accepted).expect("reliable"))
    };
    let shut = gate.write().expect("no panic");
    let (mut receipts, mut refused, mut number) = (Vec::new(), 0, 0);
    // Until every ring on the way is full, however often the links make room in this one.
    while refused < 300 {
        match route(&mut router, number) {
            Ok(receipt) => {
                receipts.push(receipt);
                number += 1;
            }
            Err(wireloom::Refused::BackPressured) => {
                refused += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(memory(&feed, "rings made so far").1 - before, GROWN);
    assert_eq!(feed.ledger().published.refused, refused, "what the caller was refused, no more");
    drop(shut);
    seen.wait_for(receipts.len());
    assert_eq!(seen.numbers(), (0..number).collect::<Vec<_>>());
    for receipt in receipts {
        assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    }
    let ledger = feed.ledger();
    assert!(ledger.balanced && ledger.reliable.delivered == number, "{ledger:?}");
}

#[derive(wireloom::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "large")]
struct Large {
    bytes: Vec<u8>,
}

#[test]
fn an_event_longer_than_a_quarter_of_a_small_ring_finds_room_in_a_larger_one_or_in_pieces() {
    let (desk, feed) = (node("desk").start().expect("starts"), node("feed").start().expect("too"));
    let lengths = Arc::new(std::sync::Mutex::new(Vec::new()));
    let book = Arc::clone(&lengths);
    desk.on::<Large>(move |event, _| book.lock().expect("no panic").push(event.bytes.len()))
        .expect("subscribes");
    let target = Target::Reliable(desk.address());
    // The second router passes by a ring without ever using it.
    for sent in [[100, 5_000, 60_000, 100], [100, 60_000, 200, 300]] {
        let (mut router, before) = (feed.router(), memory(&feed, "rings made so far").1);
        for length in sent {
            patiently(|| router.route(&Large { bytes: vec![7; length] }, &target));
        }
        // No packet holds it: it comes when it comes, the others in order.
        patiently(|| router.route(&Large { bytes: vec![7; 66_000] }, &target));
        assert_eq!(memory(&feed, "rings made so far").1 - before, GROWN - (1 << 20));
        eventually("all of them", || lengths.lock().expect("no panic").len() == 5);
        let mut seen = std::mem::take(&mut *lengths.lock().expect("no panic"));
        seen.retain(|length| *length != 66_000);
        assert_eq!(seen, sent);
    }
    assert_eq!(feed.ledger().published.refused, 0);
}

/// What a node says it can come to use, bytes: all of it, and what a part of the reasons says.
fn memory(node: &Node, reason: &str) -> (usize, usize) {
    let terms = node.memory();
    let part = terms.iter().filter(|(of, _)| of.contains(reason)).map(|(_, bytes)| bytes).sum();
    (terms.iter().map(|(_, bytes)| bytes).sum(), part)
}

#[test]
fn the_sum_of_memory_has_the_links_the_rings_to_peers_and_the_members() {
    let (to, from) = (node("to").start().expect("starts"), node("from").start().expect("starts"));
    let deaf = ReliableSettings { listens: false, ..ReliableSettings::default() };
    let deaf = node("deaf").reliable(deaf).start().expect("starts");
    let seen = Seen::by(&to);
    let (to_before, from_before) = (memory(&to, "accepted").0, memory(&from, "rings made so far"));
    let large = memory(&from, "come in pieces").1;
    assert_eq!(large, 4 * ReliableSettings::default().stream_bytes_max);
    assert_eq!(from_before.0 - memory(&deaf, "").0, large + (1 << 20), "no ring for their packets");
    assert_eq!(memory(&from, "read from one socket").1, 256 << 10);
    let target = Target::Reliable(to.address());
    patiently(|| from.router().route(&Numbered::new(1), &target));
    seen.wait_for(1);
    let (sum, rings) = memory(&from, "rings made so far");
    assert_eq!(rings - from_before.1, ReliableSettings::default().ring_bytes_first);
    let publisher = from.publisher::<Numbered>(&target).expect("a route");
    let with_publisher = memory(&from, "rings made so far").1;
    assert_eq!(with_publisher - rings, ReliableSettings::default().ring_bytes);
    drop(publisher);
    assert!(sum - from_before.0 > rings - from_before.1, "and what the peer itself takes");
    assert_eq!(memory(&from, "on their way to each peer").1, 2 * (64 << 20));
    let (sum, accepted) = memory(&to, "accepted at a time");
    // One ring more: the handler's, if it has one, was there before.
    assert_eq!(sum - to_before, accepted, "each link that came");
    assert!(accepted >= 256 << 10, "{accepted}");
    let member = node("member").cluster("memory").start().expect("starts");
    assert!(memory(&member, "members").1 >= 2 * 2_048 * 1_024, "{:?}", member.memory());
    assert_eq!(memory(&from, "members").1, 0);
}

#[test]
fn a_node_that_ends_acknowledges_what_its_handlers_have_taken() {
    for round in 0..40 {
        let desk = node("desk").start().expect("starts");
        let (saw, sees) = std::sync::mpsc::channel();
        desk.on::<Numbered>(move |_, _| {
            let _ = saw.send(());
        })
        .expect("subscribes");
        let settings = ReliableSettings {
            attempts: 1,
            undelivered_after: Duration::ZERO,
            ..ReliableSettings::default()
        };
        let feed = node("feed").reliable(settings).start().expect("starts");
        let mut router = feed.router();
        let target = Target::Reliable(desk.address());
        let accepted = router.route(&Numbered::new(round), &target).expect("room");
        let receipt = router.receipt(accepted).expect("reliable");
        sees.recv_timeout(PATIENCE).expect("handled");
        drop(desk);
        assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered, "round {round}");
    }
}
