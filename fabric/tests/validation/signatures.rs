//! Events of signed types: who has published them is proven, by datagram and by link, and what is
//! not proven reaches nobody.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use wireloom::identity::{Credentials, PublicKey};
use wireloom::{
    Event, Failure, Node, NodeBuilder, NodeId, Polled, Priority, Protection, Reason, Refused,
    RequestError, Router, Target,
};
use wireloom_wire::{PacketHeader, body_hash, decode_packet};

use crate::loopback::{node, taken, until};
use crate::secured::Cluster;
use crate::support::{entry, refused};

#[derive(
    Debug,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[event(type = "order", signed)]
struct Order {
    number: u64,
    words: String,
}

/// The same without a signature: what somebody would send under the same name.
mod unsigned {
    #[derive(wireloom::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(type = "order")]
    pub(super) struct Order {
        pub(super) number: u64,
        pub(super) words: String,
    }
}

fn order(number: u64) -> Order {
    Order { number, words: "sell".to_owned() }
}

/// A node of the cluster that says everything in clear, so that others can say what they like.
fn clear(cluster: &Cluster, name: &str) -> (Node, Credentials) {
    let own = cluster.credentials(name);
    let off = |node: NodeBuilder, priority| node.protect(priority, Protection::Off);
    let node = Node::builder(name).credentials(&own);
    (Priority::ALL.into_iter().fold(node, off).start().expect("a node"), own)
}

fn know(node: &Node, known: &[(&Node, &Credentials)]) {
    let keys = known.iter().map(|(of, own)| (of.id(), own.public_key()));
    let keys: BTreeMap<NodeId, PublicKey> = keys.collect();
    node.signers_from(Arc::new(keys));
}

fn invalid(node: &Node) -> u64 {
    refused(node, Reason::InvalidSignature)
}

#[test]
fn signed_events_arrive_by_either_way_alone_and_in_batches() {
    let cluster = Cluster::new();
    let ((desk, _), (feed, own)) = (clear(&cluster, "desk"), clear(&cluster, "feed"));
    know(&desk, &[(&feed, &own)]);
    let handled = taken::<Order>(&desk);
    let mut subscriber = desk.subscribe::<Order>().expect("a ring");
    let mut router = feed.router();
    let mut sent = 0;
    for to in [Target::Node(desk.address()), Target::Reliable(desk.address())] {
        let mut publisher = feed.publisher::<Order>(&to).expect("a publisher");
        for number in 0..3 {
            router.route(&order(number), &to).expect("signed");
            publisher.publish(&order(number)).expect("signed");
        }
        let orders: Vec<Order> = (0..150).map(order).collect();
        let batch = router.route_batch(&orders, &to);
        assert_eq!((batch.accepted, batch.refused), (150, None));
        sent += 6 + 150;
        let mut seen = 0;
        until("all have come", || {
            subscriber.poll(1_000, |polled| {
                let Polled::Event(event, envelope) = polled else { panic!("{polled:?}") };
                assert_eq!((event.words.as_str(), envelope.source()), ("sell", feed.id()));
                seen += 1;
            });
            seen == 156
        });
        until("the handler too", || handled.load(Ordering::Relaxed) == sent);
    }
    assert_eq!(invalid(&desk), 0);
    assert!(desk.close().balanced);
}

#[test]
fn what_is_not_proven_reaches_nobody_and_is_counted() {
    let cluster = Cluster::new();
    let ((desk, _), (feed, own), (other, others)) =
        (clear(&cluster, "desk-2"), clear(&cluster, "feed-2"), clear(&cluster, "other-2"));
    let handled = taken::<Order>(&desk);
    desk.register_json::<Order>().expect("its codec");
    let to = Target::Node(desk.address());
    let last = |node: &Node| entry(node, "events_refused_signature").and_then(|of| of.last);
    // Nobody knows anybody's keys.
    know(&desk, &[]);
    feed.router().route(&order(1), &to).expect("signed");
    until("no key", || invalid(&desk) == 1);
    assert!(last(&desk).expect("why").contains("no key of node"), "{:?}", last(&desk));
    // Without a signature, as an archive and as JSON.
    know(&desk, &[(&feed, &own)]);
    let plain = unsigned::Order { number: 2, words: "buy".to_owned() };
    feed.router().route(&plain, &to).expect("sent");
    until("no signature", || invalid(&desk) == 2);
    assert!(last(&desk).expect("why").contains("without a signature"), "{:?}", last(&desk));
    let json = br#"{"number":3,"words":"buy"}"#;
    feed.router().route_json("order", Priority::Normal, json, &to).expect("sent");
    until("nor in JSON", || invalid(&desk) == 3);
    // By a node whose key is another one here.
    know(&desk, &[(&feed, &own), (&other, &own)]);
    other.router().route(&order(4), &to).expect("signed");
    until("another's key", || invalid(&desk) == 4);
    assert!(last(&desk).expect("why").contains("is not its own"), "{:?}", last(&desk));
    assert_eq!(handled.load(Ordering::Relaxed), 0);
    // And by its own.
    know(&desk, &[(&other, &others)]);
    other.router().route(&order(5), &to).expect("signed");
    until("its own", || handled.load(Ordering::Relaxed) == 1);
    // A key that is known no more is good for nothing that it has signed.
    know(&desk, &[]);
    other.router().route(&order(6), &to).expect("signed");
    until("taken back", || invalid(&desk) == 5);
    let ledger = desk.ledger();
    assert_eq!((ledger.handlers["order"].refused, ledger.handlers["order"].delivered), (5, 1));
    let why = ledger.handlers["order"].refusal.as_deref().expect("why");
    // Of one of the two forms it came in.
    assert!(why.starts_with("Invalid signature: "), "{why}");
    assert!(desk.close().balanced);
}

/// A datagram that was recorded, sent again with one bit changed at a time, or under another name.
#[test]
fn no_bit_of_a_signed_event_can_be_changed() {
    let cluster = Cluster::new();
    let ((desk, _), (feed, own), (other, others)) =
        (clear(&cluster, "desk-3"), clear(&cluster, "feed-3"), clear(&cluster, "other-3"));
    know(&desk, &[(&feed, &own), (&other, &others)]);
    let handled = taken::<Order>(&desk);
    let recorder = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = Target::Node(recorder.local_addr().expect("bound"));
    let orders = [order(1), order(2)];
    assert_eq!(feed.router().route_batch(&orders, &to).accepted, 2);
    let mut datagram = [0; 4096];
    let length = recorder.recv(&mut datagram).expect("recorded");
    let packet = decode_packet(&datagram[..length], true).expect("a packet");
    assert_eq!(packet.header.frame_count, 2);
    let mut frames = packet.frames();
    let first = frames.next().expect("one").expect("good").bytes().to_vec();
    let mut sequence = 0;
    let mut send = |source: NodeId, frame: &[u8]| {
        let mut body = frame.to_vec();
        body.resize(frame.len().next_multiple_of(16), 0);
        let header = PacketHeader {
            source,
            sequence,
            first_event: sequence,
            frame_count: 1,
            length: u32::try_from(48 + body.len()).expect("short"),
            ..packet.header
        };
        sequence += 1;
        let mut datagram = header.encode(Some(body_hash(&body))).to_vec();
        datagram.extend_from_slice(&body);
        recorder.send_to(&datagram, desk.address()).expect("sent");
        // A little at a time: nothing is to be lost.
        if sequence % 64 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    for bit in 0..first.len() * 8 {
        let mut changed = first.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        send(feed.id(), &changed);
    }
    send(other.id(), &first);
    send(feed.id(), &first);
    until("as it was", || handled.load(Ordering::Relaxed) > 0);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(handled.load(Ordering::Relaxed), 1, "no other");
    assert!(invalid(&desk) > 1_000, "{}", invalid(&desk));
}

#[test]
fn within_a_process_nothing_is_signed_and_beyond_it_a_certificate_is_needed() {
    let plain = node("plain");
    let handled = taken::<Order>(&plain);
    let mut router = plain.router();
    router.route(&order(1), &Target::Local).expect("local");
    let mut publisher = plain.publisher::<Order>(&Target::Local).expect("a publisher");
    publisher.publish(&order(2)).expect("local");
    let orders = [order(3), order(4)];
    assert_eq!(router.route_batch(&orders, &Target::Local).accepted, 2);
    until("all four", || handled.load(Ordering::Relaxed) == 4);
    let elsewhere = Target::Node(plain.address());
    assert_eq!(router.route(&order(5), &elsewhere), Err(Refused::Unsigned));
    assert_eq!(router.route_batch(&orders, &elsewhere).refused, Some(Refused::Unsigned));
    let mut publisher = plain.publisher::<Order>(&elsewhere).expect("a publisher");
    assert_eq!(publisher.publish(&order(6)), Err(Refused::Unsigned));
    assert_eq!(plain.ledger().published.refused, 3);
    assert!(plain.close().balanced);
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, Debug, PartialEq, Eq)]
#[event(type = "receipt")]
struct Receipt {
    number: u64,
}

#[test]
fn json_of_a_signed_type_is_refused_where_that_is_known_and_named_where_it_arrives() {
    let cluster = Cluster::new();
    let ((desk, _), (feed, own)) = (clear(&cluster, "desk-4"), clear(&cluster, "feed-4"));
    know(&desk, &[(&feed, &own)]);
    let (at_desk, at_feed) = (taken::<Order>(&desk), taken::<Order>(&feed));
    desk.register_json::<Order>().expect("its codec");
    feed.register_json::<Order>().expect("its codec");
    let (mut router, json) = (feed.router(), br#"{"number":1,"words":"buy"}"#);
    let mut route =
        |name, to: &Target| router.route_json(name, Priority::Normal, json, to).map(|_| ());
    for to in [Target::Node(desk.address()), Target::Reliable(desk.address())] {
        let refused = route("order", &to).expect_err("nobody would take it");
        assert_eq!(
            (&refused, refused.name()),
            (&Refused::Unsignable { what: "JSON" }, "unsignable")
        );
        assert!(refused.to_string().contains("by its Rust type"), "{refused}");
        route("note", &to).expect("another type");
    }
    route("order", &Target::Local).expect("within the process");
    until("it is handled", || at_feed.load(Ordering::Relaxed) == 1);
    // Who does not know the type sends it, and is named where it arrives.
    let (other, _) = clear(&cluster, "other-4");
    let to = Target::Node(desk.address());
    other.router().route_json("order", Priority::Normal, json, &to).expect("sent");
    until("it is refused", || invalid(&desk) == 1);
    let why = entry(&desk, "events_refused_signature").and_then(|of| of.last).expect("why");
    let of = format!("node {:016x} came without a signature", other.id().0);
    assert!(why.contains(&of) && why.contains("by its Rust type"), "{why}");
    assert_eq!(at_desk.load(Ordering::Relaxed), 0);
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "cancellation", signed)]
struct Cancellation {
    number: u64,
}

#[test]
fn json_of_a_signed_type_that_is_met_later_is_refused_from_then_on() {
    let plain = node("met-later");
    let json = br#"{"number":1,"words":"buy"}"#;
    let routed = |router: &mut Router, name: &str, to: &Target| {
        router.route_json(name, Priority::Normal, json, to).map(drop)
    };
    // By an address, and by a plan that is made before the type is met.
    let others = [Target::Node(plain.address()), Target::Machine(plain.address())];
    let mut routers = [plain.router(), plain.router()];
    for router in &mut routers {
        for to in &others {
            assert_eq!(routed(router, "order", to), Ok(()), "nobody has said that it is signed");
        }
    }
    // One that is not signed changes nothing, one that is does so for every router.
    let _ = plain.publisher::<Receipt>(&Target::Local).expect("a publisher");
    assert_eq!(routed(&mut routers[0], "order", &others[1]), Ok(()));
    let _ = plain.publisher::<Order>(&Target::Local).expect("a publisher");
    for router in &mut routers {
        for to in &others {
            for _ in 0..2 {
                let refused = routed(router, "order", to);
                assert_eq!(refused, Err(Refused::Unsignable { what: "JSON" }), "{to}");
            }
            assert_eq!(routed(router, "receipt", to), Ok(()), "it is not signed");
        }
        assert_eq!(routed(router, "order", &Target::Local), Ok(()), "within the process");
    }
    // The next one as well.
    let to = &others[1];
    assert_eq!(routed(&mut routers[0], "cancellation", to), Ok(()));
    let _ = plain.publisher::<Cancellation>(&Target::Local).expect("a publisher");
    for name in ["order", "cancellation"] {
        let refused = routed(&mut routers[0], name, to);
        assert_eq!(refused, Err(Refused::Unsignable { what: "JSON" }), "{name}");
    }
}

#[test]
fn requests_and_replies_of_signed_types_stay_within_a_process() {
    const PATIENCE: Duration = Duration::from_secs(10);
    let cluster = Cluster::new();
    let ((desk, _), (feed, _)) = (clear(&cluster, "desk-5"), clear(&cluster, "feed-5"));
    desk.respond::<Order, _>(|order, _| Receipt { number: order.number.to_native() })
        .expect("responds");
    desk.respond::<Receipt, _>(|of, _| order(of.number.to_native())).expect("responds");
    let unsignable = |what| RequestError::Refused(Refused::Unsignable { what });
    let mut router = feed.router();
    for to in [Target::Node(desk.address()), Target::Reliable(desk.address())] {
        let reply = router.request::<_, Receipt>(&order(1), &to, PATIENCE);
        assert_eq!(reply, Err(unsignable("a request")));
        let reply = router.request::<_, Order>(&Receipt { number: 1 }, &to, PATIENCE);
        assert_eq!(reply.err(), Some(unsignable("a reply")));
        // Whoever has the type unsigned is told so by the one that was asked.
        let plain = unsigned::Order { number: 2, words: "buy".to_owned() };
        let reply = router.request::<_, Receipt>(&plain, &to, PATIENCE);
        let Err(RequestError::Failed { reason: Failure::Schema, message, .. }) = &reply else {
            panic!("{reply:?}")
        };
        assert!(message.contains("its type is signed"), "{message}");
    }
    let mut router = desk.router();
    let reply = router.request::<_, Receipt>(&order(3), &Target::Local, PATIENCE);
    assert_eq!(reply, Ok(Receipt { number: 3 }));
    let reply = router.request::<_, Order>(&Receipt { number: 4 }, &Target::Local, PATIENCE);
    assert_eq!(reply.map(|of| of.number), Ok(4));
}
