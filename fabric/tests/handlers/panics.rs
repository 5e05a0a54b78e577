//! A handler that panics: its event is counted, the others go on, somebody hears of it.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wireloom::events::Exception;
use wireloom::{Lost, Node, Target};

use crate::{PATIENCE, Tick, Tock, counting, eventually, start};

/// The panics of these tests are meant: nobody needs to read hundreds of them.
fn quiet() {
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        if !thread::current().name().unwrap_or_default().starts_with("wl-") {
            tell(what);
        }
    }));
}

fn exceptions(node: &Node) -> mpsc::Receiver<Exception> {
    let (tells, told) = mpsc::channel();
    node.on::<Exception>(move |exception, _envelope| {
        let owned = wireloom::decode::to_owned::<Exception>(exception);
        let _ = tells.send(owned.expect("it was just checked"));
    })
    .expect("subscribes");
    told
}

fn route(node: &Node, numbers: std::ops::Range<u64>) {
    let mut router = node.router();
    for number in numbers {
        router.route(&Tick { number }, Target::Local).expect("accepted");
    }
}

#[test]
fn the_others_go_on_and_the_exception_says_who_and_what() {
    quiet();
    let node = start("panicking");
    let told = exceptions(&node);
    let runs = Arc::new(AtomicU64::new(0));
    let touchy = node.on::<Tick>(|tick, _| {
        assert!(tick.number.to_native() != 3, "three is too many");
    });
    let touchy = touchy.expect("subscribes");
    node.on::<Tick>(counting(&runs)).expect("subscribes");
    route(&node, 0..10);
    let exception = told.recv_timeout(PATIENCE).expect("told");
    assert_eq!((exception.node.as_str(), exception.event_type.as_str()), ("panicking", "tick"));
    let words = format!("three is too many (handler {}, 1 in a row)", touchy.0);
    assert_eq!((exception.component.as_str(), exception.message), ("handler", words));
    assert!(exception.timestamp_ns > 1_700_000_000_000_000_000);
    eventually("the other took all", || runs.load(Ordering::Relaxed) == 10);
    eventually("quiet", || node.ledger().balanced && node.ledger().received.local_in_flight == 0);
    let ledger = node.ledger();
    let ticks = &ledger.handlers["tick"];
    assert_eq!((ticks.delivered, ticks.panicked), (19, 1), "{ledger:?}");
}

#[test]
fn alone_it_loses_one_event_for_each_panic_and_is_ended_after_sixteen_in_a_row() {
    quiet();
    let node = start("panicking");
    let told = exceptions(&node);
    node.on::<Tick>(|tick, _| assert!(tick.number.to_native().is_multiple_of(2), "odd"))
        .expect("subscribes");
    // Every second event is taken, so no two follow each other.
    route(&node, 0..100);
    eventually("quiet", || {
        let received = node.ledger().received;
        received.shed.get("events_handler_panicked") == Some(&50) && received.local_in_flight == 0
    });
    assert!(told.try_iter().all(|of| of.message.contains(", 1 in a row")));
    route(&node, 100..101);
    eventually("it lives", || node.ledger().handlers["tick"].delivered == 51);
    // Now only what it panics over.
    let mut router = node.router();
    eventually("it is ended", || {
        router.route(&Tick { number: 1 }, Target::Local).expect("accepted");
        node.ledger().received.unsubscribed > 0
    });
    let last = eventually_ended(&told);
    assert!(last.contains("16 in a row"), "{last}");
    // Ten a second are told, the rest is a number in the next.
    assert!(last.contains("panics before it untold"), "{last}");
    eventually("quiet", || node.ledger().received.local_in_flight == 0);
    let ledger = node.close();
    assert!(ledger.handlers["tick"].panicked >= 66, "{ledger:?}");
    assert!(ledger.balanced, "{ledger:?}");
}

fn eventually_ended(told: &mpsc::Receiver<Exception>) -> String {
    loop {
        let exception = told.recv_timeout(PATIENCE).expect("told");
        if exception.message.contains("in a row, ended") {
            return exception.message;
        }
    }
}

#[test]
fn a_handler_of_exceptions_that_panics_makes_no_more_of_them() {
    quiet();
    let node = start("panicking");
    node.on::<Exception>(|_, _| panic!("also here")).expect("subscribes");
    let runs = Arc::new(AtomicU64::new(0));
    node.on::<Exception>(counting(&runs)).expect("subscribes");
    node.on::<Tock>(|tock, _| panic!("{} {}", tock.words, tock.number)).expect("subscribes");
    let tock = Tock { number: 1, words: "once".into() };
    node.router().route(&tock, Target::Local).expect("accepted");
    eventually("told", || runs.load(Ordering::Relaxed) == 1);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(node.ledger().handlers["exception"].panicked, 1);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("again");
    }
}

#[test]
fn a_panic_with_a_value_that_panics_does_not_end_the_worker() {
    quiet();
    let node = start("panicking");
    let told = exceptions(&node);
    node.once::<Tick>(|_, _| panic::panic_any(Bomb)).expect("subscribes");
    route(&node, 0..1);
    let exception = told.recv_timeout(PATIENCE).expect("told");
    assert!(exception.message.starts_with("a value that is no text (handler "), "{exception:?}");
    let (tells, said) = mpsc::channel();
    node.on::<Tick>(move |_, _| tells.send(()).unwrap_or_default()).expect("subscribes");
    route(&node, 1..2);
    said.recv_timeout(PATIENCE).expect("the worker lives");
}

#[test]
fn a_handler_of_gaps_that_panics_is_told_of_too() {
    quiet();
    let node = start("panicking");
    let told = exceptions(&node);
    node.on_lost(|_: &Lost| panic!("a gap")).expect("subscribes");
    gap(&node);
    let exception = told.recv_timeout(PATIENCE).expect("told");
    assert_eq!(
        (exception.component.as_str(), exception.event_type.as_str()),
        ("handler of gaps", "")
    );
    assert!(exception.message.starts_with("a gap (handler "), "{exception:?}");
}

/// Two packets of one stream to `node`, without the one between.
fn gap(node: &Node) {
    use wireloom_wire::*;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for sequence in [1, 3] {
        let header = FrameHeader::bare(event_type_id("tick"), Priority::Normal);
        let mut body = [0; 48];
        FrameEncoder::new(header).write(b"0123456789abcdef", &mut body).expect("fits");
        let bytes = packet(sequence, &body);
        socket.send_to(&bytes, node.address()).expect("sent");
    }
}

fn packet(sequence: u64, body: &[u8]) -> Vec<u8> {
    use wireloom_wire::*;
    let header = PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: Priority::Normal.lane(),
        frame_count: 1,
        length: u32::try_from(PACKET_HEADER_BYTES + body.len()).expect("short"),
        session: SessionId(7),
        source: NodeId(9),
        sequence,
        first_event: sequence,
    };
    [&header.encode(Some(body_hash(body)))[..], body].concat()
}
