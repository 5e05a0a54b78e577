//! Two nodes that talk to each other by one connection: who dials, what each direction leaves the
//! other, and what a stranger cannot draw to itself.

use std::io::Write as _;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use wireloom::{Delivery, Node, ReliableSettings, Target};
use wireloom_wire::{Control, StreamPoint, decode_packet};

use crate::cuts::Proxy;
use crate::hostile::{answer, dial, encoded, hello};
use crate::support::{Numbered, PATIENCE, Seen, again, counted, eventually, node, patiently};

/// Much less than any time after which a link is given up.
const SOON: Duration = Duration::from_secs(2);

fn publisher(from: &Node, to: &Node) -> wireloom::Publisher<Numbered> {
    from.publisher::<Numbered>(&Target::Reliable(to.address())).expect("a route")
}

fn two() -> (Node, Node) {
    (node("near").start().expect("starts"), node("far").start().expect("too"))
}

fn numbers(until: u64) -> Vec<u64> {
    (0..until).collect()
}

#[test]
fn an_answer_goes_by_the_connection_of_the_question() {
    let (near, far) = two();
    let (questions, answers) = (Seen::default(), Seen::by(&near));
    let (book, back) = (questions.clone(), Mutex::new(publisher(&far, &near)));
    far.on::<Numbered>(move |event, _| {
        let number = event.number.to_native();
        book.note(number);
        let mut back = back.lock().expect("no panic");
        patiently(|| back.publish(&Numbered::new(number)));
    })
    .expect("subscribes");
    let mut there = publisher(&near, &far);
    for number in 0..2_000 {
        let accepted = patiently(|| there.publish(&Numbered::new(number)));
        if number % 100 == 0 {
            let receipt = there.receipt(accepted).expect("reliable");
            assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
            answers.wait_for(usize::try_from(number).expect("few") + 1);
        }
    }
    answers.wait_for(2_000);
    eventually("every acknowledgement", || {
        [&near, &far].iter().all(|node| node.ledger().reliable.in_flight == 0)
    });
    assert_eq!((questions.numbers(), answers.numbers()), (numbers(2_000), numbers(2_000)));
    let counts =
        |node| ["links_dialled", "links_borrowed", "links_opened"].map(|of| counted(node, of));
    assert_eq!((counts(&near), counts(&far)), ([1, 0, 2], [0, 1, 2]));
    for node in [&near, &far] {
        assert!(node.ledger().balanced);
        for ended in ["links_cut", "links_broken", "links_silent", "links_superseded"] {
            assert_eq!(counted(node, ended), 0, "{ended}");
        }
    }
}

#[test]
fn who_has_much_to_say_goes_on_by_a_connection_of_its_own() {
    for compression in [false, true] {
        let settings = ReliableSettings { compression, ..ReliableSettings::default() };
        let start = |name| node(name).reliable(settings.clone()).start().expect("starts");
        let (near, far) = (start("near"), start("far"));
        let (at_near, at_far) = (Seen::by(&near), Seen::by(&far));
        let (mut there, mut back) = (publisher(&near, &far), publisher(&far, &near));
        patiently(|| there.publish(&Numbered::new(0)));
        at_far.wait_for(1);
        patiently(|| back.publish(&Numbered::new(0)));
        at_near.wait_for(1);
        assert_eq!(counted(&far, "links_borrowed"), 1);
        let flood = std::thread::spawn(move || {
            (1..60_000).for_each(|n| {
                patiently(|| back.publish(&Numbered::new(n)));
            });
            back
        });
        for number in 1..60_000 {
            patiently(|| there.publish(&Numbered::new(number)));
        }
        let _back = flood.join().expect("no panic");
        for seen in [&at_near, &at_far] {
            seen.wait_for(60_000);
            assert_eq!(seen.numbers(), numbers(60_000));
        }
        assert_eq!((counted(&far, "links_parted"), counted(&far, "links_dialled")), (1, 1));
        assert_eq!(counted(&near, "links_dialled"), 1, "the other direction stays");
        for node in [&near, &far] {
            assert_eq!(counted(node, "links_cut") + counted(node, "links_broken"), 0);
            eventually("every acknowledgement", || node.ledger().reliable.in_flight == 0);
            assert!(node.ledger().balanced);
        }
    }
}

#[derive(wireloom::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "blob")]
struct Blob {
    number: u64,
    bytes: Vec<u8>,
}

#[test]
fn events_in_pieces_go_by_a_connection_of_the_own() {
    let (near, far) = two();
    let (at_near, at_far, blobs) = (Seen::by(&near), Seen::by(&far), Seen::default());
    let book = blobs.clone();
    near.on::<Blob>(move |event, _| {
        let number = event.number.to_native();
        assert!(event.bytes.iter().all(|byte| *byte == number.to_le_bytes()[0]));
        book.note(number);
    })
    .expect("subscribes");
    let (mut there, mut back) = (publisher(&near, &far), publisher(&far, &near));
    let mut large = far.publisher::<Blob>(&Target::Reliable(near.address())).expect("a route");
    patiently(|| there.publish(&Numbered::new(0)));
    at_far.wait_for(1);
    for number in 0..20 {
        patiently(|| back.publish(&Numbered::new(number)));
        let bytes = vec![number.to_le_bytes()[0]; 300_000];
        patiently(|| large.publish(&Blob { number, bytes: bytes.clone() }));
    }
    at_near.wait_for(20);
    blobs.wait_for(20);
    assert_eq!((at_near.numbers(), blobs.numbers()), (numbers(20), numbers(20)));
    eventually("every acknowledgement", || far.ledger().reliable.in_flight == 0);
    assert!(far.ledger().balanced);
    assert!(counted(&far, "links_dialled") <= 1 && counted(&near, "links_dialled") == 1);
}

/// Handlers that take nothing until the sender of this is dropped.
fn stuck(node: &Node) -> (Sender<()>, Seen) {
    let (open, gate): (Sender<()>, Receiver<()>) = channel();
    let (seen, gate) = (Seen::default(), Mutex::new(gate));
    let book = seen.clone();
    node.on::<Numbered>(move |event, _| {
        let _ = gate.lock().expect("no panic").recv();
        book.note(event.number.to_native());
    })
    .expect("subscribes");
    (open, seen)
}

/// Publishes until nothing is taken any more, or so many are; gives how many.
fn fill(publisher: &mut wireloom::Publisher<Numbered>, from: u64, most: u64) -> u64 {
    let (mut number, mut refused) = (from, 0);
    while refused < 200 && number < most {
        match publisher.publish(&Numbered::new(number)) {
            Ok(_) => (number, refused) = (number + 1, 0),
            Err(wireloom::Refused::BackPressured) => {
                refused += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(other) => panic!("{other}"),
        }
    }
    number
}

/// The node's small events are acknowledged soon, one after the other.
fn goes_on(publisher: &mut wireloom::Publisher<Numbered>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let begin = Instant::now();
        let accepted = patiently(|| publisher.publish(&Numbered::new(number)));
        let outcome = publisher.receipt(accepted).expect("reliable").wait(PATIENCE);
        assert_eq!(outcome, Delivery::Delivered);
        assert!(begin.elapsed() < SOON, "{number} waited for {:?}", begin.elapsed());
    }
}

#[test]
fn a_flood_at_stuck_handlers_leaves_their_nodes_own_events_alone() {
    let (near, far) = two();
    let ((open, at_near), at_far) = (stuck(&near), Seen::by(&far));
    let (mut there, mut back) = (publisher(&near, &far), publisher(&far, &near));
    goes_on(&mut there, 0..1);
    let flood = fill(&mut back, 0, u64::MAX);
    assert!(flood > 10_000, "{flood}");
    assert_eq!(counted(&far, "links_borrowed"), 1);
    goes_on(&mut there, 1..50);
    drop(open);
    at_near.wait_for(usize::try_from(flood).expect("some"));
    assert_eq!((at_near.numbers(), at_far.numbers()), (numbers(flood), numbers(50)));
    assert_eq!(counted(&near, "links_dialled"), 1);
}

#[test]
fn who_is_flooded_and_stuck_still_gets_its_own_events_through() {
    for talks_before in [true, false] {
        // More than the ring to the handlers and what is set aside hold.
        let roomy = ReliableSettings { ring_bytes: 8 << 20, ..ReliableSettings::default() };
        let near = node("near").reliable(roomy).start().expect("starts");
        let far = node("far").start().expect("too");
        let (at_near, (open, at_far)) = (Seen::by(&near), stuck(&far));
        let (mut there, mut back) = (publisher(&near, &far), publisher(&far, &near));
        patiently(|| there.publish(&Numbered::new(0)));
        eventually("the link", || counted(&far, "links_opened") == 1);
        if talks_before {
            goes_on(&mut back, 0..1);
            assert_eq!(counted(&far, "links_borrowed"), 1);
        }
        let flood = fill(&mut there, 1, u64::MAX);
        let from = u64::from(talks_before);
        goes_on(&mut back, from..from + 50);
        assert_eq!(counted(&far, "links_parted"), 1, "what found no room held it up");
        drop(open);
        at_far.wait_for(usize::try_from(flood).expect("some"));
        assert_eq!(at_far.numbers(), numbers(flood));
        assert_eq!(at_near.numbers(), numbers(from + 50));
    }
}

#[test]
fn who_says_it_listens_where_another_does_gets_none_of_that_ones_events() {
    // The liar comes from 127.0.0.1, as all of loopback does.
    let victim = node("victim").listen("127.0.0.2:0").start().expect("starts");
    let feed = node("feed").start().expect("too");
    let seen = Seen::by(&victim);
    let mut liar = dial(&feed);
    let mut greeting = hello("liar");
    (greeting.listens, greeting.stream_count) = (victim.address(), 4);
    for (lane, point) in (1..).zip(&mut greeting.streams[..4]) {
        *point = StreamPoint { lane, pieces: false, session: 77, sequence: 0 };
    }
    liar.write_all(&encoded(&Control::Hello(greeting))).expect("sent");
    eventually("the liar's link", || counted(&feed, "links_opened") == 1);
    let mut publisher = publisher(&feed, &victim);
    for number in 0..100 {
        patiently(|| publisher.publish(&Numbered::new(number)));
    }
    seen.wait_for(100);
    assert_eq!(seen.numbers(), numbers(100));
    assert_eq!(counted(&feed, "links_borrowed"), 0);
    assert_eq!(counted(&feed, "links_dialled"), 1);
    liar.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let said = answer(&mut liar);
    let welcome = decode_packet(&said, true).expect("one packet, and nothing behind it");
    assert!(matches!(Control::of(&welcome), Some(Control::Welcome(_))));
}

#[test]
fn a_connection_serves_the_other_direction_when_its_own_publisher_is_gone() {
    let (near, far) = two();
    let (at_near, at_far) = (Seen::by(&near), Seen::by(&far));
    let (mut there, mut back) = (publisher(&near, &far), publisher(&far, &near));
    goes_on(&mut there, 0..1);
    goes_on(&mut back, 0..1);
    drop(there);
    std::thread::sleep(Duration::from_millis(50));
    goes_on(&mut back, 1..200);
    assert_eq!((counted(&far, "links_cut"), counted(&far, "links_dialled")), (0, 0));
    let mut there = publisher(&near, &far);
    for number in 1..200 {
        patiently(|| there.publish(&Numbered::new(number)));
    }
    goes_on(&mut back, 200..300);
    at_far.wait_for(200);
    assert_eq!((at_near.numbers(), at_far.numbers()), (numbers(300), numbers(200)));
    for node in [&near, &far] {
        assert_eq!(counted(node, "links_cut") + counted(node, "links_broken"), 0);
    }
}

#[test]
fn a_node_that_starts_again_gets_and_sends_on_by_one_connection() {
    let pausing = |pause| ReliableSettings {
        attempts: u32::MAX,
        backoff_min: Duration::from_millis(pause),
        backoff_max: Duration::from_millis(4 * pause),
        ..ReliableSettings::default()
    };
    // The far one waits to be dialled: before, nobody would be there to see its events.
    let (settings, patient) = (pausing(1), pausing(20_000));
    let far = node("far").reliable(patient).start().expect("starts");
    let at_far = Seen::by(&far);
    let near = node("near").reliable(settings.clone()).start().expect("starts");
    let address = near.address();
    let first = Seen::by(&near);
    let mut back = publisher(&far, &near);
    let mut there = publisher(&near, &far);
    goes_on(&mut there, 0..10);
    goes_on(&mut back, 0..10);
    drop((there, near));
    eventually("the end of both halves", || counted(&far, "links_cut") == 2);
    for number in 10..20 {
        patiently(|| back.publish(&Numbered::new(number)));
    }
    eventually("an attempt in vain", || counted(&far, "links_unreachable") > 0);
    let near = again("near", address).reliable(settings).start().expect("starts again");
    let second = Seen::by(&near);
    near.accept().expect("it runs");
    let mut there = publisher(&near, &far);
    goes_on(&mut there, 10..20);
    goes_on(&mut back, 20..30);
    assert_eq!((first.numbers(), at_far.numbers()), (numbers(10), numbers(20)));
    assert_eq!(second.numbers(), (10..30).collect::<Vec<_>>());
}

#[test]
fn cuts_lose_and_double_nothing_in_either_direction() {
    let start = |name, pause| {
        let settings = ReliableSettings {
            attempts: u32::MAX,
            backoff_min: Duration::from_millis(pause),
            backoff_max: Duration::from_millis(4 * pause),
            ..ReliableSettings::default()
        };
        node(name).reliable(settings).start().expect("starts")
    };
    // The far one would dial past the proxy; the near one is there again before.
    let (near, far) = (start("near", 1), start("far", 20_000));
    let (at_near, at_far) = (Seen::by(&near), Seen::by(&far));
    let proxy = Proxy::within(far.address(), 40, 60_000);
    let mut there = near.publisher::<Numbered>(&Target::Reliable(proxy.address)).expect("a route");
    let mut back = publisher(&far, &near);
    goes_on(&mut there, 0..1);
    goes_on(&mut back, 0..1);
    let mut events = 1;
    while proxy.cuts() < 40 {
        for publisher in [&mut there, &mut back] {
            patiently(|| publisher.publish(&Numbered::new(events)));
        }
        events += 1;
        if events % 20 == 0 {
            // So little that it goes by the borrowed line.
            eventually("the line again", || far.ledger().reliable.in_flight < 200);
        }
    }
    for node in [&near, &far] {
        eventually("every acknowledgement", || node.ledger().reliable.in_flight == 0);
        assert!(node.ledger().balanced);
    }
    assert_eq!((at_near.numbers(), at_far.numbers()), (numbers(events), numbers(events)));
    // Who has nothing to say when the line is cut, and then has, dials before the other one does.
    assert!(counted(&far, "links_borrowed") > 0, "{:?}", far.counters());
}
