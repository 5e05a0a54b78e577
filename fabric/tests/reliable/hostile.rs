//! Strangers at a node's TCP port, and peers that break the protocol: refused by name, counted,
//! bounded; honest links go on.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use wireloom::{Delivery, Node, ReliableSettings, Target, Undelivered};
use wireloom_wire::{
    CONTROL_PACKET_BYTES_MAX, Control, HELLO_STREAMS_MAX, Hello, LINK_PROTOCOL, NodeId,
    PacketFlags, PacketHeader, Refusal, SessionId, Status, StreamPoint, body_hash, decode_packet,
    seal_block,
};

use crate::support::{Numbered, PATIENCE, Seen, counted, eventually, hasty, node, patiently};

pub(crate) fn hello(name: &str) -> Hello<'_> {
    let mut streams = [StreamPoint::default(); HELLO_STREAMS_MAX];
    streams[0] = StreamPoint { lane: 2, pieces: false, session: 77, sequence: 0 };
    Hello {
        protocol: LINK_PROTOCOL,
        // That of a node which was told none.
        cluster: xxhash_rust::xxh3::xxh3_64(b"default"),
        node: NodeId(5),
        incarnation: 9,
        listens: ([127, 0, 0, 1], 9).into(),
        event_bytes_max: 1 << 20,
        compresses: false,
        streams,
        stream_count: 1,
        name,
    }
}

pub(crate) fn encoded(control: &Control<'_>) -> Vec<u8> {
    let mut packet = [0; CONTROL_PACKET_BYTES_MAX];
    let length = control.encode(NodeId(5), &mut packet);
    packet[..length].to_vec()
}

pub(crate) fn dial(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.address()).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Everything the node says until it closes the socket.
pub(crate) fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

fn refusal(bytes: &[u8]) -> Option<Refusal> {
    match Control::of(&decode_packet(bytes, true).ok()?)? {
        Control::Refusal(refusal) => Some(refusal),
        _ => None,
    }
}

/// A packet of the stream that [`hello`] opens, without events.
fn marker(sequence: u64) -> Vec<u8> {
    let header = PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: 2,
        frame_count: 0,
        length: 48,
        session: SessionId(77),
        source: NodeId(5),
        sequence,
        first_event: 0,
    };
    header.encode(Some(body_hash(&[]))).to_vec()
}

#[test]
fn what_is_no_hello_is_refused_and_counted_while_honest_events_flow() {
    let desk = node("desk").start().expect("starts");
    let seen = Seen::by(&desk);
    let feed = node("feed").start().expect("starts");
    let mut honest =
        feed.publisher::<Numbered>(&Target::Reliable(desk.address())).expect("a route");
    let mut random = 7_u64;
    let mut lying = encoded(&Control::Hello(hello("liar")));
    lying[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    for round in 0..60 {
        let noise: Vec<u8> = (0..600)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                random.to_be_bytes()[0]
            })
            .collect();
        let first_words: &[&[u8]] =
            &[b"GET / HTTP/1.1\r\n\r\n", &noise, &lying, &marker(0), &[0xff; 5000]];
        let mut stream = dial(&desk);
        let _ = stream.write_all(first_words[round % first_words.len()]);
        let said = answer(&mut stream);
        assert!(said.is_empty() || refusal(&said) == Some(Refusal::Malformed), "{said:?}");
        patiently(|| honest.publish(&Numbered::new(round as u64)));
    }
    seen.wait_for(60);
    assert_eq!(seen.numbers(), (0..60).collect::<Vec<_>>());
    assert_eq!(counted(&desk, "hellos_refused_malformed"), 60);
}

#[test]
fn other_versions_and_gaps_are_refused_by_name() {
    let desk = node("desk").start().expect("starts");
    let mut stream = dial(&desk);
    let other = Hello { protocol: 9, ..hello("other") };
    stream.write_all(&encoded(&Control::Hello(other))).expect("sent");
    assert_eq!(refusal(&answer(&mut stream)), Some(Refusal::Protocol));

    // A stream that is known, and is then to go on behind what has come.
    let mut stream = dial(&desk);
    stream.write_all(&encoded(&Control::Hello(hello("gap")))).expect("sent");
    eventually("the link", || counted(&desk, "links_opened") == 1);
    let mut far = hello("gap");
    far.streams[0].sequence = 1 << 40;
    let mut second = dial(&desk);
    second.write_all(&encoded(&Control::Hello(far))).expect("sent");
    assert_eq!(refusal(&answer(&mut second)), Some(Refusal::Stream));

    // A question about a packet that never came is a gap; so is a packet of no stream of the link.
    stream.write_all(&marker(1 << 40)).expect("sent");
    eventually("the break", || counted(&desk, "links_broken") == 1);
    assert!(!answer(&mut stream).is_empty(), "the welcome, then the end");
    assert_eq!(counted(&desk, "hellos_refused_protocol"), 1);
    assert_eq!(counted(&desk, "hellos_refused_stream"), 1);
}

#[test]
fn a_hello_one_byte_at_a_time_is_a_hello_and_half_of_one_expires() {
    let settings = ReliableSettings { connect_timeout: Duration::from_secs(1), ..hasty() };
    let desk = node("desk").reliable(settings).start().expect("starts");
    let mut slow = dial(&desk);
    let bytes = [encoded(&Control::Hello(hello("slow"))), marker(0)].concat();
    for byte in &bytes {
        slow.write_all(&[*byte]).expect("sent");
        std::thread::sleep(Duration::from_micros(300));
    }
    let mut said = [0; 48];
    slow.read_exact(&mut said).expect("a welcome");
    assert!(refusal(&said).is_none());
    eventually("the answer to the question", || counted(&desk, "statuses_sent") == 1);

    // Sixty-five strangers who never finish: the first is shed, the others expire.
    let mut strangers: Vec<TcpStream> = (0..65).map(|_| dial(&desk)).collect();
    for stranger in &mut strangers {
        let _ = stranger.write_all(&bytes[..20]);
    }
    eventually("the shedding", || counted(&desk, "handshakes_shed") == 1);
    strangers[1].set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
    assert!(answer(&mut strangers[0]).is_empty());
    assert!(strangers[1].read(&mut [0]).is_err(), "the second stays");
    strangers[1].set_read_timeout(Some(PATIENCE)).expect("a timeout");
    for stranger in &mut strangers {
        assert!(answer(stranger).is_empty());
    }
    eventually("the deadline", || counted(&desk, "handshakes_expired") >= 64);
}

#[test]
fn who_says_hello_at_once_gets_in_among_strangers_that_do_not() {
    let patient = || ReliableSettings { connect_timeout: PATIENCE, ..ReliableSettings::default() };
    let desk = node("desk").reliable(patient()).start().expect("starts");
    let feed = node("feed").reliable(patient()).start().expect("starts");
    // Every other one says half a hello.
    let half = &encoded(&Control::Hello(hello("half")))[..20];
    let _strangers: Vec<TcpStream> = (0..64)
        .map(|stranger| {
            let mut stream = dial(&desk);
            stream.write_all(if stranger % 2 == 0 { half } else { &[] }).expect("sent");
            stream
        })
        .collect();
    let mut honest =
        feed.publisher::<Numbered>(&Target::Reliable(desk.address())).expect("a route");
    let accepted = honest.publish(&Numbered::new(1)).expect("accepted");
    let receipt = honest.receipt(accepted).expect("reliable");
    assert_eq!(receipt.wait(PATIENCE / 4), Delivery::Delivered);
    assert_eq!((counted(&desk, "handshakes_shed"), counted(&desk, "handshakes_expired")), (1, 0));
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_ends_the_link_by_name() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let liar = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().expect("dialled");
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).expect("a hello");
            let packet = decode_packet(&bytes[..read], true).expect("a packet");
            let Some(Control::Hello(theirs)) = Control::of(&packet) else { panic!("a hello") };
            let welcome = Hello {
                streams: theirs.streams,
                stream_count: theirs.stream_count,
                ..hello("liar")
            };
            let status = Status {
                source: theirs.node,
                session: SessionId(theirs.streams[0].session),
                lane: theirs.streams[0].lane,
                next_sequence: 1 << 40,
                window_bytes: 0,
            };
            let said = [encoded(&Control::Welcome(welcome)), status.encode().to_vec()].concat();
            stream.write_all(&said).expect("sent");
            let _ = answer(&mut stream);
        }
    });
    let feed = node("feed").reliable(hasty()).start().expect("starts");
    let mut publisher = feed.publisher::<Numbered>(&Target::Reliable(address)).expect("a route");
    let accepted = publisher.publish(&Numbered::new(1)).expect("accepted");
    let receipt = publisher.receipt(accepted).expect("reliable");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Undelivered(Undelivered::Protocol));
    assert_eq!(counted(&feed, "links_broken"), 3);
    liar.join().expect("it was dialled three times");
}

/// A block of these bytes, said to become so many.
fn block(compressed: &[u8], packets_bytes: usize) -> Vec<u8> {
    let mut block = vec![0; 48];
    block.extend_from_slice(compressed);
    block.resize(block.len() + 15, 0);
    let length = seal_block(&mut block, compressed.len(), packets_bytes).expect("a block");
    block.truncate(length);
    block
}

#[test]
fn blocks_before_a_hello_are_not_unpacked() {
    let settings = ReliableSettings { compression: true, ..hasty() };
    let desk = node("desk").reliable(settings).start().expect("starts");
    let mut bomb = vec![0x1f, 7, 1, 0];
    bomb.resize(520, 0xff);
    for (number, packets_bytes) in [(1, 2_000), (2, 131_072)] {
        let mut stream = dial(&desk);
        stream.write_all(&block(&bomb, packets_bytes)).expect("sent");
        let said = answer(&mut stream);
        assert!(said.is_empty() || refusal(&said) == Some(Refusal::Malformed), "{said:?}");
        eventually("the refusal", || counted(&desk, "hellos_refused_malformed") == number);
    }
    assert_eq!(counted(&desk, "blocks_received"), 0);
}

#[test]
fn blocks_nobody_agreed_on_and_blocks_that_lie_end_their_link_alone() {
    let settings = ReliableSettings { compression: true, ..hasty() };
    let desk = node("desk").reliable(settings).start().expect("starts");
    let seen = Seen::by(&desk);
    let feed = node("feed").start().expect("starts");
    let mut honest =
        feed.publisher::<Numbered>(&Target::Reliable(desk.address())).expect("a route");
    // 100 literals; a run of one byte that becomes 128 KiB; the same, cut short; nonsense.
    let literals = [&[0xf0, 85][..], &[7; 100]].concat();
    let mut bomb = vec![0x1f, 7, 1, 0];
    bomb.resize(520, 0xff);
    let in_itself = {
        let inner = block(&literals, 200);
        [&[0xf0, u8::try_from(inner.len() - 15).expect("short")][..], &inner].concat()
    };
    // Ten honest questions: a marker, eight copies of it by reference, and the last one.
    let questions =
        [&[0xff, 33][..], &marker(0), &[48, 0, 255, 110, 0xf0, 33], &marker(0)].concat();
    let cut_short =
        [&[0xff, 33][..], &marker(0), &[48, 0, 255, 110, 0xf0, 17], &marker(0)[..32]].concat();
    let lies = [
        (false, block(&questions, 480)),
        (true, block(&cut_short, 464)),
        (true, block(&literals, 131_072)),
        (true, block(&bomb, 131_072)),
        (true, block(&bomb[..40], 131_072)),
        (true, block(&[0xff; 300], 60_000)),
        (true, block(&in_itself, 300)),
        (false, block(&literals, 1_000)),
    ];
    for (number, (agreed, lie)) in (0_u64..).zip(&lies) {
        let mut stream = dial(&desk);
        let mut greeting = hello("bomber");
        (greeting.compresses, greeting.incarnation) = (*agreed, 10 + number);
        stream.write_all(&encoded(&Control::Hello(greeting))).expect("sent");
        stream.write_all(lie).expect("sent");
        answer(&mut stream);
        patiently(|| honest.publish(&Numbered::new(number)));
        eventually("the break", || counted(&desk, "links_broken") == number + 1);
    }
    seen.wait_for(lies.len());
    assert_eq!(seen.numbers(), (0..lies.len() as u64).collect::<Vec<_>>());
    assert_eq!(counted(&desk, "blocks_received"), 0);
    // The same questions are answered where they were agreed on.
    let mut stream = dial(&desk);
    let greeting = Hello { compresses: true, incarnation: 99, ..hello("honest") };
    stream.write_all(&encoded(&Control::Hello(greeting))).expect("sent");
    stream.write_all(&block(&questions, 480)).expect("sent");
    eventually("the block", || counted(&desk, "blocks_received") == 1);
    assert_eq!(counted(&desk, "links_broken"), lies.len() as u64);
}
