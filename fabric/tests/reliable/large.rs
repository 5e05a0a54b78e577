//! Events larger than a packet, over real TCP: whole, once, in order among themselves, beside small
//! ones that do not wait for them, through cuts and restarts, and told when they cannot arrive.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wireloom::{Delivery, Event, Node, Refused, ReliableSettings, Target, Undelivered};

use crate::cuts::Proxy;
use crate::support::{
    Numbered, PATIENCE, Seen, again, counted, eventually, hasty, node, patiently,
};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "blob")]
pub(crate) struct Blob {
    number: u64,
    bytes: Vec<u8>,
}

impl Blob {
    pub(crate) fn new(number: u64, length: usize) -> Self {
        let bytes = (0..length as u64).map(|at| (at / 251 + at + number).to_le_bytes()[0]);
        Self { number, bytes: bytes.collect() }
    }
}

/// The numbers and lengths of the blobs a node's handler saw, their content checked.
#[derive(Clone, Default)]
pub(crate) struct Blobs(Arc<Mutex<Vec<(u64, usize)>>>);

impl Blobs {
    pub(crate) fn by(node: &Node) -> Self {
        let blobs = Self::default();
        let book = blobs.clone();
        node.on::<Blob>(move |blob, _| {
            let (number, length) = (blob.number.to_native(), blob.bytes.len());
            assert!(blob.bytes[..] == Blob::new(number, length).bytes, "altered content");
            book.0.lock().expect("no panic").push((number, length));
        })
        .expect("subscribes");
        blobs
    }

    pub(crate) fn seen(&self) -> Vec<(u64, usize)> {
        self.0.lock().expect("no panic").clone()
    }
}

fn stubborn() -> ReliableSettings {
    ReliableSettings {
        attempts: u32::MAX,
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(10),
        ..ReliableSettings::default()
    }
}

#[test]
fn an_event_of_64_mib_arrives_whole_and_its_receipt_says_so() {
    let desk = node("desk").start().expect("starts");
    let blobs = Blobs::by(&desk);
    let feed = node("feed").start().expect("starts");
    let mut router = feed.router();
    let target = Target::Reliable(desk.address());
    let length = (64 << 20) - 100;
    let blob = Blob::new(7, length);
    let begin = Instant::now();
    let accepted = router.route(&blob, &target).expect("accepted");
    let receipt = router.receipt(accepted).expect("reliable");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    println!("64 MiB in {:?}", begin.elapsed());
    assert_eq!(blobs.seen(), [(7, length)]);
    eventually("the memory to be free", || counted(&desk, "reassembly_bytes") == 0);
    let ledger = feed.ledger();
    assert!(ledger.balanced && ledger.reliable.delivered == 1, "{ledger:?}");
    assert_eq!(counted(&feed, "pieces_sent"), counted(&desk, "pieces_received"));
    let ledger = desk.close();
    assert!(ledger.balanced && ledger.received.events == 1, "{ledger:?}");
}

#[test]
fn large_events_keep_their_order_and_small_ones_theirs_beside_them() {
    let desk = node("desk").start().expect("starts");
    let (blobs, seen) = (Blobs::by(&desk), Seen::by(&desk));
    let feed = node("feed").start().expect("starts");
    let target = Target::Reliable(desk.address());
    let mut large = feed.publisher::<Blob>(&target).expect("a route");
    let mut small = feed.publisher::<Numbered>(&target).expect("a route");
    let blob = |number: u64| Blob::new(number, (8 << 20) + 17 * usize::try_from(number).unwrap());
    let mut receipts = Vec::new();
    for number in 0..10 {
        let accepted = patiently(|| large.publish(&blob(number)));
        receipts.push(large.receipt(accepted).expect("reliable"));
        for small_number in number * 100..(number + 1) * 100 {
            patiently(|| small.publish(&Numbered::new(small_number)));
        }
    }
    for receipt in &receipts {
        assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    }
    let lengths: Vec<(u64, usize)> = (0..10).map(|n| (n, blob(n).bytes.len())).collect();
    assert_eq!(blobs.seen(), lengths);
    eventually("the small ones' word", || feed.ledger().reliable.in_flight == 0);
    assert_eq!(seen.numbers(), (0..1_000).collect::<Vec<_>>());
    let most = counted(&desk, "reassembly_bytes_most");
    assert!((8 << 20..=64 << 20).contains(&most), "the budget of one peer: {most}");
    assert!(feed.ledger().balanced && desk.ledger().balanced);
}

#[test]
fn a_small_event_overtakes_a_large_one_that_was_accepted_before() {
    let desk = node("desk").start().expect("starts");
    let (blobs, seen) = (Blobs::by(&desk), Seen::by(&desk));
    let feed = node("feed").start().expect("starts");
    let target = Target::Reliable(desk.address());
    let mut router = feed.router();
    let large = patiently(|| router.route(&Blob::new(1, 48 << 20), &target));
    let large = router.receipt(large).expect("reliable");
    // Each waits for the one before: their round trips pass the pieces.
    let mut passed = 0;
    let mut trips = Vec::new();
    while large.state() == Delivery::Pending {
        let begin = Instant::now();
        let accepted = patiently(|| router.route(&Numbered::new(passed), &target));
        let receipt = router.receipt(accepted).expect("reliable");
        assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
        trips.push(begin.elapsed());
        passed += 1;
    }
    assert_eq!(large.wait(PATIENCE), Delivery::Delivered);
    trips.sort_unstable();
    let (middle, longest) = (trips.get(trips.len() / 2), trips.last());
    println!("{passed} round trips beside 48 MiB: median {middle:?}, longest {longest:?}");
    assert!(passed > 3 && blobs.seen().len() == 1 && seen.count() as u64 == passed, "{passed}");
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "words")]
struct Words {
    words: Vec<String>,
}

#[test]
fn large_events_may_be_lists_of_what_owns_memory_and_json_as_well() {
    let desk = node("desk").start().expect("starts");
    let heard = Arc::new(Mutex::new((0, 0)));
    let book = Arc::clone(&heard);
    desk.on::<Words>(move |words, _| {
        let right = (0..).zip(words.words.iter()).all(|(at, word)| *word == word_of(at));
        *book.lock().expect("no panic") = (words.words.len(), usize::from(right));
    })
    .expect("subscribes");
    let mut any = desk.subscribe_any(&["notes"]).expect("subscribes");
    let feed = node("feed").start().expect("starts");
    let (mut router, target) = (feed.router(), Target::Reliable(desk.address()));
    let words = Words { words: (0..100_000).map(word_of).collect() };
    let accepted = router.route(&words, &target).expect("accepted");
    let receipt = router.receipt(accepted).expect("reliable");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    assert_eq!(*heard.lock().expect("no panic"), (100_000, 1));
    // A ring subscriber's ring takes records of up to a quarter of it; what is larger is shed by
    // name, and told.
    for (length, taken) in [(200_000, true), (400_000, false)] {
        let json = format!("[\"{}\"]", "x".repeat(length));
        let priority = wireloom::Priority::Normal;
        let accepted = router.route_json("notes", priority, json.as_bytes(), &target);
        let receipt = router.receipt(accepted.expect("accepted")).expect("reliable");
        assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
        let mut lengths = Vec::new();
        any.poll(8, |polled| {
            if let wireloom::PolledAny::Event(event) = polled {
                lengths.push(event.payload().len());
            }
        });
        assert_eq!(lengths == [length + 4], taken, "{lengths:?}");
    }
    assert_eq!(counted(&desk, "events_shed_too_large"), 1);
    assert!(desk.ledger().balanced && feed.ledger().balanced);
}

fn word_of(at: usize) -> String {
    format!("word {at} of many")
}

#[test]
fn receipts_of_a_publisher_tell_small_and_large_events_apart() {
    let desk = node("desk").start().expect("starts");
    let blobs = Blobs::by(&desk);
    let feed = node("feed").start().expect("starts");
    let mut publisher = feed.publisher::<Blob>(&Target::Reliable(desk.address())).expect("a route");
    let lengths = [10, 300_000, 20, 70_000, 200_000, 30, 65_000];
    for round in 0..3_u64 {
        let numbers = (round * 7..).zip(lengths);
        let accepted: Vec<_> = numbers
            .map(|(number, length)| patiently(|| publisher.publish(&Blob::new(number, length))))
            .collect();
        for (number, accepted) in (round * 7..).zip(accepted) {
            assert_eq!(accepted.sequence, number);
            let receipt = publisher.receipt(accepted).expect("reliable");
            assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
            assert!(blobs.seen().iter().any(|(seen, _)| *seen == number), "not before {number}");
        }
    }
    assert_eq!(blobs.seen().len(), 21);
    assert!(feed.ledger().balanced && feed.ledger().reliable.delivered == 21);
}

#[test]
fn links_cut_in_the_middle_go_on_there_and_events_come_once() {
    let desk = node("desk").start().expect("starts");
    let blobs = Blobs::by(&desk);
    let feed = node("feed").reliable(stubborn()).start().expect("starts");
    let proxy = Proxy::within(desk.address(), 40, 1_500_000);
    let target = Target::Reliable(proxy.address);
    let mut publisher = feed.publisher::<Blob>(&target).expect("a route");
    let mut number = 0;
    while proxy.cuts() < 40 {
        patiently(|| publisher.publish(&Blob::new(number, 3_000_000)));
        number += 1;
    }
    eventually("every acknowledgement", || feed.ledger().reliable.in_flight == 0);
    let all: Vec<(u64, usize)> = (0..number).map(|number| (number, 3_000_000)).collect();
    assert_eq!(blobs.seen(), all);
    let (sent, least) = (counted(&feed, "pieces_sent"), number * 46);
    // Each cut costs what was on its way, and not the event from its first piece on.
    assert!(sent >= least && sent < least + 40 * 30, "{sent} pieces where {least} are enough");
    assert!(counted(&feed, "packets_resent") > 0 && feed.ledger().balanced);
}

#[test]
fn a_receiver_that_starts_again_gets_the_event_from_its_first_piece() {
    let desk = node("desk").start().expect("starts");
    let address = desk.address();
    let first = Blobs::by(&desk);
    let feed = node("feed").reliable(stubborn()).start().expect("starts");
    let mut publisher = feed.publisher::<Blob>(&Target::Reliable(address)).expect("a route");
    // It is stopped as soon as the first pieces have come, while events are still published.
    let again = std::thread::spawn(move || {
        eventually("a part of an event", || counted(&desk, "pieces_received") > 50);
        drop(desk);
        let desk = again("desk", address).start().expect("starts again");
        let second = Blobs::by(&desk);
        desk.accept().expect("it runs");
        (desk, second)
    });
    let mut accepted = Vec::new();
    for number in 0..4 {
        accepted.push(patiently(|| publisher.publish(&Blob::new(number, 30 << 20))));
    }
    let (_desk, second) = again.join().expect("no panic");
    for accepted in accepted {
        let receipt = publisher.receipt(accepted).expect("reliable");
        assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    }
    let (seen_first, second) = (first.seen(), second.seen());
    assert!(!second.is_empty(), "it was stopped after {seen_first:?}, with nothing to do");
    let begin = usize::try_from(second[0].0).expect("small");
    let expected: Vec<(u64, usize)> = (0..4).map(|number| (number, 30 << 20)).collect();
    assert_eq!(second, expected[begin..], "in order, to the end");
    assert!(begin <= seen_first.len() && seen_first == expected[..seen_first.len()]);
    assert!(feed.ledger().balanced);
}

#[test]
fn what_is_larger_than_this_node_sends_is_refused_with_the_figure() {
    let settings = ReliableSettings { stream_bytes_max: 100_000, ..hasty() };
    let feed = node("feed").reliable(settings).start().expect("starts");
    let desk = node("desk").start().expect("starts");
    let blobs = Blobs::by(&desk);
    let mut router = feed.router();
    let target = Target::Reliable(desk.address());
    let refused = router.route(&Blob::new(0, 100_001), &target);
    assert_eq!(refused, Err(Refused::TooLarge { limit: 100_000 }));
    let refused = router.route(&Blob::new(0, 100_001), Target::Node(desk.address()));
    let refused = refused.expect_err("no datagram holds it").to_string();
    assert!(refused.contains("tcp.stream_bytes_max"), "{refused}");
    let fits = router.route(&Blob::new(1, 99_000), &target).expect("accepted");
    assert_eq!(router.receipt(fits).expect("reliable").wait(PATIENCE), Delivery::Delivered);
    assert_eq!(blobs.seen(), [(1, 99_000)]);
    let ledger = feed.ledger();
    assert!(ledger.balanced && ledger.published.refused == 2, "{ledger:?}");
}

#[test]
fn what_is_larger_than_the_peer_takes_is_undelivered_by_name_and_others_go_on() {
    let narrow = ReliableSettings { stream_bytes_max: 200_000, ..ReliableSettings::default() };
    let desk = node("desk").reliable(narrow).start().expect("starts");
    let blobs = Blobs::by(&desk);
    let feed = node("feed").start().expect("starts");
    let letters = Arc::new(Mutex::new(Vec::new()));
    let book = Arc::clone(&letters);
    feed.on_undelivered(move |letter| {
        let told = (letter.reason, letter.sequence(), letter.payload().len() > 200_000);
        book.lock().expect("no panic").push(told);
    })
    .expect("the links listen");
    let mut publisher = feed.publisher::<Blob>(&Target::Reliable(desk.address())).expect("a route");
    let lengths = [150_000, 250_000, 190_000, 50, 300_000, 100_000];
    let receipts: Vec<_> = (0..)
        .zip(lengths)
        .map(|(number, length)| {
            let accepted = patiently(|| publisher.publish(&Blob::new(number, length)));
            publisher.receipt(accepted).expect("reliable")
        })
        .collect();
    for (receipt, length) in receipts.iter().zip(lengths) {
        let fate = match length {
            250_000 | 300_000 => Delivery::Undelivered(Undelivered::TooLarge),
            _ => Delivery::Delivered,
        };
        assert_eq!(receipt.wait(PATIENCE), fate, "{length}");
    }
    let mut seen = blobs.seen();
    seen.sort_unstable();
    assert_eq!(seen, [(0, 150_000), (2, 190_000), (3, 50), (5, 100_000)]);
    let letter = |number| (Undelivered::TooLarge, number, true);
    assert_eq!(*letters.lock().expect("no panic"), [letter(1), letter(4)]);
    let ledger = feed.ledger();
    assert!(ledger.balanced && ledger.reliable.undelivered["too_large"] == 2, "{ledger:?}");
    assert_eq!(counted(&feed, "links_dialled"), counted(&feed, "links_opened"), "no new attempt");
}

#[test]
fn a_large_event_to_nobody_is_undelivered_and_its_room_is_free_again() {
    let feed = node("feed").reliable(hasty()).start().expect("starts");
    let target = Target::Reliable(([127, 0, 0, 1], 1).into());
    let mut publisher = feed.publisher::<Blob>(&target).expect("a route");
    for round in 0..3 {
        let accepted = publisher.publish(&Blob::new(round, 60 << 20)).expect("there is room");
        let receipt = publisher.receipt(accepted).expect("reliable");
        let fate = receipt.wait(PATIENCE);
        assert_eq!(fate, Delivery::Undelivered(Undelivered::Unreachable));
    }
    for round in 0..2 {
        publisher.publish(&Blob::new(round, 60 << 20)).expect("two may wait");
    }
    let full = publisher.publish(&Blob::new(9, 60 << 20));
    assert!(matches!(full, Err(Refused::BackPressured) | Ok(_)), "{full:?}");
    eventually("the end of it", || feed.ledger().reliable.in_flight == 0);
    assert!(feed.ledger().balanced);
}
