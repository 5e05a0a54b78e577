//! Datagrams nobody should believe, over real sockets, while a good flow goes on: each is dropped
//! and counted by reason, nothing beside it is lost (F05, F06, F31, F33).

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::{Event, Node, PolledAny, Target, TypePattern};
use wireloom_wire::{
    Encoding, Fingerprint, FrameEncoder, FrameFlags, FrameHeader, NodeId, PACKET_HEADER_BYTES,
    PacketFlags, PacketHeader, Priority, SessionId, body_hash, event_type_id,
};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "order")]
struct Order {
    number: u64,
    text: String,
}

/// A packet as a real node sends it, caught by a plain socket.
fn catch_a_packet() -> Vec<u8> {
    let trap = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    trap.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    let victim = Node::builder("victim").start().expect("starts");
    let order = Order { number: 1, text: "twelve dozen eggs".into() };
    let target = Target::Node(trap.local_addr().expect("bound"));
    victim.router().route(&order, target).expect("accepted");
    let mut packet = vec![0; 2_048];
    let length = trap.recv(&mut packet).expect("the packet comes");
    packet.truncate(length);
    packet
}

/// The packet with a header that is valid for whatever body it has, as a liar would write it.
fn resealed(packet: &[u8], change: impl FnOnce(&mut PacketHeader)) -> Vec<u8> {
    let (head, body) = packet.split_first_chunk::<PACKET_HEADER_BYTES>().expect("a header");
    let mut header = PacketHeader::peek(head);
    change(&mut header);
    let mut lie = header.encode(Some(body_hash(body))).to_vec();
    lie.extend_from_slice(body);
    lie
}

struct Rig {
    listener: Node,
    delivered: Arc<AtomicU64>,
    attacker: UdpSocket,
    thrown: u64,
}

impl Rig {
    fn new() -> Self {
        let listener = Node::builder("listener").start().expect("starts");
        let delivered = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&delivered);
        listener
            .on::<Order>(move |order, _| {
                if order.text == "good" {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
            .expect("subscribes");
        let attacker = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        attacker.connect(listener.address()).expect("connects");
        Self { listener, delivered, attacker, thrown: 0 }
    }

    fn throw(&mut self, datagram: &[u8]) {
        self.attacker.send(datagram).expect("loopback takes it");
        self.thrown += 1;
        if self.thrown.is_multiple_of(64) {
            // Bounded: never more than the receive buffer holds.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn counter(&self, name: &str) -> u64 {
        let all = self.listener.counters();
        all.iter().find(|(meaning, _)| meaning.name == name).map_or(0, |(_, value)| *value)
    }

    fn wait_for(&self, name: &str, at_least: u64) {
        let until = Instant::now() + Duration::from_secs(10);
        while self.counter(name) < at_least {
            assert!(Instant::now() < until, "{name}: {} of {at_least}", self.counter(name));
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn no_flipped_bit_no_truncation_and_no_garbage_is_ever_delivered() {
    let packet = catch_a_packet();
    let mut rig = Rig::new();
    for bit in 0..packet.len() * 8 {
        let mut flipped = packet.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        rig.throw(&flipped);
    }
    for length in 0..packet.len() {
        rig.throw(&packet[..length]);
    }
    for extra in [1, 16, 1_000] {
        let mut longer = packet.clone();
        longer.resize(packet.len() + extra, 0xee);
        rig.throw(&longer);
    }
    rig.throw(&vec![0; 65_507]);
    rig.throw(&vec![0xff; 65_507]);
    rig.wait_for("datagrams_received", rig.thrown - rig.counter("kernel_drops"));
    assert_eq!(rig.counter("packets_received"), 0, "{:?}", rig.listener.counters());
    assert_eq!(rig.counter("kernel_drops"), 0);
    let dropped: u64 = rig.listener.ledger().dropped_datagrams.values().sum();
    assert_eq!(dropped, rig.thrown, "each has a reason: {:?}", rig.listener.ledger());
    for reason in [
        "datagrams_truncated",
        "datagrams_wrong_version",
        "datagrams_bad_lane",
        "datagrams_bad_length",
        "datagrams_bad_checksum",
        "datagrams_trailing_bytes",
    ] {
        assert!(rig.counter(reason) > 0, "{reason}: {:?}", rig.listener.counters());
    }
    assert_eq!(rig.delivered.load(Ordering::Relaxed), 0);
}

#[test]
fn a_liar_with_valid_checksums_gets_nowhere_and_the_good_flow_stays_whole() {
    let packet = catch_a_packet();
    let mut rig = Rig::new();
    let speaker = Node::builder("speaker").start().expect("starts");
    let mut router = speaker.router();
    let target = Target::Node(rig.listener.address());
    for number in 0..500_u64 {
        router.route(&Order { number, text: "good".into() }, &target).expect("accepted");
        let lie = match number % 5 {
            // More frames than there are, fewer bytes than said, a length beyond the datagram.
            0 => resealed(&packet, |header| header.frame_count = u16::MAX),
            1 => resealed(&packet, |header| header.length = u32::MAX),
            2 => resealed(&packet, |header| header.length = 64),
            // A flood of invented sources, and a stream that jumps by 2^60 events.
            3 => resealed(&packet, |header| header.source.0 = 1_000_000 + number),
            _ => resealed(&packet, |header| {
                header.sequence = number;
                header.first_event = number << 60;
            }),
        };
        rig.throw(&lie);
    }
    let until = Instant::now() + Duration::from_secs(10);
    while rig.delivered.load(Ordering::Relaxed) < 500 {
        assert!(Instant::now() < until, "{:?}", rig.listener.ledger());
        std::thread::sleep(Duration::from_millis(1));
    }
    rig.wait_for("datagrams_received", rig.thrown);
    let ledger = rig.listener.close();
    assert!(ledger.balanced, "{ledger:?}");
    assert!(ledger.dropped_datagrams["datagrams_bad_length"] >= 200, "{ledger:?}");
    assert!(ledger.dropped_datagrams["packets_inconsistent"] > 0, "{ledger:?}");
}

#[test]
fn an_archive_whose_text_is_no_utf_8_is_refused_and_counted() {
    let mut rig = Rig::new();
    let mut packet = catch_a_packet();
    let text = packet.windows(6).position(|bytes| bytes == b"twelve").expect("the order's text");
    packet[text] = 0xff;
    rig.throw(&resealed(&packet, |_| ()));
    rig.wait_for("events_refused_archive", 1);
    let speaker = Node::builder("speaker").start().expect("starts");
    let target = Target::Node(rig.listener.address());
    let order = Order { number: 2, text: "good".into() };
    speaker.router().route(&order, target).expect("accepted");
    rig.wait_for("events_delivered", 1);
    assert_eq!(rig.delivered.load(Ordering::Relaxed), 1);
    let ledger = rig.listener.close();
    assert_eq!(ledger.received.shed["events_refused_archive"], 1, "{ledger:?}");
    assert!(ledger.balanced, "{ledger:?}");
}

/// A packet with one dynamic event of this name.
fn named(name: &str, sequence: u64) -> Vec<u8> {
    let header = FrameHeader {
        length: 0, // the encoder's to fill
        event_type: event_type_id(name),
        fingerprint: Fingerprint::NONE,
        priority: Priority::Normal,
        encoding: Encoding::Json,
        flags: FrameFlags::empty(),
        sequence,
        timestamp_ns: 1,
    };
    let encoder = FrameEncoder::new(header).with_name(name).expect("short");
    let mut body = vec![0; 512];
    let length = encoder.write(b"{}", &mut body).expect("it fits");
    body.truncate(length);
    let header = PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: Priority::Normal.lane(),
        frame_count: 1,
        length: u32::try_from(PACKET_HEADER_BYTES + body.len()).expect("small"),
        session: SessionId(9),
        source: NodeId(9),
        sequence,
        first_event: sequence,
    };
    [header.encode(Some(body_hash(&body))).as_slice(), &body].concat()
}

#[test]
fn a_name_that_no_type_has_matches_nothing_and_is_told_nobody() {
    let mut rig = Rig::new();
    let mut matching =
        rig.listener.subscribe_matching(&[TypePattern::every()]).expect("subscribes");
    let mut every = rig.listener.subscribe_any(&[]).expect("subscribes");
    let names = ["a\x1b[2Jb", "a\r\nX-Injected: 1", "größe", "A B", "good-one"];
    for (name, sequence) in names.iter().zip(0..) {
        rig.throw(&named(name, sequence));
    }
    rig.wait_for("events_delivered", 5);
    let mut told = Vec::new();
    for subscriber in [&mut matching, &mut every] {
        subscriber.poll(10, |polled| match polled {
            PolledAny::Event(event) => told.push(event.type_name().map(str::to_owned)),
            other => panic!("{other:?}"),
        });
    }
    let good = Some("good-one".to_owned());
    assert_eq!(told, [good.clone(), None, None, None, None, good]);
    let ledger = rig.listener.close();
    assert!(ledger.balanced, "{ledger:?}");
}
