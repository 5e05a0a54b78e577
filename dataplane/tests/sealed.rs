//! Attacks on sealed links over real sockets: a recorded session sent again (F35), a flood of
//! forged packets (F36), and everything that a stranger can send (F37).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test times itself")]

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom_dataplane::agent::Invoker;
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::command::{ReceiverCommand, SenderCommand};
use wireloom_dataplane::config::PlaneConfig;
use wireloom_dataplane::counters::Counter;
use wireloom_dataplane::dispatch::{
    Origin, Subscriber, Subscription, SubscriptionId, Verdict, Wanted,
};
use wireloom_dataplane::flow::FlowControl;
use wireloom_dataplane::keyring::{Demand, PeerKeys};
use wireloom_dataplane::launch::{Plane, launch_invoker};
use wireloom_dataplane::link::{Link, LinkConfig, LinkId, LinkSeal};
use wireloom_dataplane::outbound::{Outbound, mark};
use wireloom_ring::{Producer, RingConfig, ring};
use wireloom_seal::{Cipher, Direction, Mode, OpeningKey, PHASE_NS, SealingKey, Secret};
use wireloom_wire::{
    EventTypeId, Frame, FrameEncoder, FrameHeader, KeySetId, LANES, NodeId, PacketFlags,
    PacketHeader, Priority, SessionId, Status, body_hash, gossip,
};

const SET: KeySetId = KeySetId(7);
const SENDER: NodeId = NodeId(11);
const WAY: Direction = Direction::FromDialler;

fn secret(byte: u8) -> Secret {
    Secret::new(Cipher::of_this_processor(), &[byte; 32])
}

struct Counting(Arc<AtomicU64>);

impl Subscriber for Counting {
    fn on_event(&mut self, frame: &Frame<'_>, _origin: &Origin) -> Verdict {
        assert_eq!(frame.payload(), [9; 64]);
        self.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Delivered
    }
}

/// A receiving node whose lanes all ask for encryption.
struct Target {
    plane: Plane,
    invoker: Invoker,
    delivered: Arc<AtomicU64>,
}

impl Target {
    fn new(clock: &Clock) -> Self {
        let config = PlaneConfig::new((Ipv4Addr::LOCALHOST, 0).into());
        let (plane, invoker) = launch_invoker(&config, clock.clone()).unwrap();
        let delivered = Arc::new(AtomicU64::new(0));
        let counting = Box::new(Counting(Arc::clone(&delivered)));
        let subscription = Subscription::new(SubscriptionId(1), Wanted::Every, counting);
        let mut target = Self { plane, invoker, delivered };
        target.command(ReceiverCommand::Subscribe(Box::new(subscription)));
        target.command(ReceiverCommand::RequireSealed([Demand::Full; LANES]));
        target
    }

    fn command(&mut self, command: ReceiverCommand) {
        self.plane.receivers[0].commands.push(command).unwrap();
        self.invoker.drain(10);
    }

    fn share(&mut self, secret: &Secret) {
        let slots = Box::new([OpeningKey::new(secret, WAY, 0)]);
        let words = Some(SealingKey::new(secret, WAY.back(), SET, 2));
        let keys = PeerKeys { peer: SENDER, set: SET, slots, words };
        self.command(ReceiverCommand::SetKeys(Box::new(keys)));
    }

    fn read(&self, counter: Counter) -> u64 {
        self.plane.receivers[0].counters.read(counter)
    }

    fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Sends datagrams to it, as fast as it takes them; all of them arrive.
    fn take(&mut self, from: &UdpSocket, datagrams: &[&[u8]]) {
        for some in datagrams.chunks(100) {
            let expected = self.read(Counter::DatagramsReceived) + some.len() as u64;
            for bytes in some {
                from.send_to(bytes, self.plane.local).unwrap();
            }
            let until = Instant::now() + Duration::from_secs(10);
            while self.read(Counter::DatagramsReceived) < expected && Instant::now() < until {
                self.invoker.drain(10);
            }
            assert_eq!(self.read(Counter::DatagramsReceived), expected, "the kernel dropped some");
        }
    }
}

/// A sending node with one sealed link.
struct Source {
    _plane: Plane,
    invoker: Invoker,
    producer: Producer,
    sequence: u64,
}

impl Source {
    fn new(clock: &Clock, to: std::net::SocketAddr, secret: &Secret) -> Self {
        let config = PlaneConfig::new((Ipv4Addr::LOCALHOST, 0).into());
        let (plane, mut invoker) = launch_invoker(&config, clock.clone()).unwrap();
        let link = Link::new(LinkConfig {
            id: LinkId(0),
            destination: plane.destination(to).unwrap(),
            source: SENDER,
            session: SessionId(5),
            packet_bytes: 176,
            packet_bytes_max: 1_400,
            multicast: false,
            flow: FlowControl::Off,
            demands_key: [false; LANES],
        });
        let key = SealingKey::new(secret, WAY, SET, 0);
        let seal = Box::new(LinkSeal { key, modes: [Some(Mode::Full); LANES] });
        let config = RingConfig { capacity_bytes: 64 << 10, huge_pages: false };
        let (mut producer, consumer) = ring(config).unwrap();
        let outbound = Box::new(Outbound::new(consumer, Priority::Normal.index()));
        for command in [
            SenderCommand::AddLink(Box::new(link)),
            SenderCommand::SetKey(LinkId(0), seal),
            SenderCommand::Attach(outbound),
        ] {
            plane.sender.commands.push(command).unwrap();
        }
        invoker.drain(10);
        mark(&mut producer, LinkId(0)).unwrap();
        Self { _plane: plane, invoker, producer, sequence: 0 }
    }

    /// Sends events, a packet each.
    fn send(&mut self, events: u64) {
        for _ in 0..events {
            let mut claim = self.producer.claim(96).unwrap();
            let frame = FrameEncoder::new(FrameHeader {
                sequence: self.sequence,
                ..FrameHeader::bare(EventTypeId(77), Priority::Normal)
            });
            frame.write(&[9; 64], &mut claim).unwrap();
            claim.commit(96);
            self.sequence += 1;
        }
        self.invoker.drain(10);
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// What has arrived at a socket.
fn heard(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let mut bytes = [0; 2_048];
    std::iter::from_fn(|| socket.recv(&mut bytes).ok().map(|length| bytes[..length].to_vec()))
        .collect()
}

/// Events over a socket in between, which writes down every datagram before it passes it on.
fn recorded(
    target: &mut Target,
    source: &mut Source,
    tap: &UdpSocket,
    events: u64,
) -> Vec<Vec<u8>> {
    let before = target.delivered();
    let mut record = Vec::new();
    for _ in 0..events / 50 {
        source.send(50);
        let mut passed = heard(tap);
        // What the target says of the stream is not passed on.
        passed.retain(|bytes| bytes[1] & PacketFlags::STATUS.bits() == 0);
        target.take(tap, &passed.iter().map(Vec::as_slice).collect::<Vec<_>>());
        record.extend(passed);
    }
    assert_eq!(target.delivered() - before, events);
    assert!(record.len() as u64 >= events, "an event a packet, and markers");
    record
}

/// Some order that is not the one they were sent in.
fn shuffled<'a>(record: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut keyed: Vec<_> =
        record.iter().enumerate().map(|(n, bytes)| ((n * 7_919) % 10_007, *bytes)).collect();
    keyed.sort_by_key(|entry| entry.0);
    keyed.into_iter().map(|entry| entry.1).collect()
}

#[test]
fn f35_a_recorded_session_sent_again_is_refused_each_time() {
    let clock = Clock::simulated();
    let (mut target, tap, attacker) = (Target::new(&clock), socket(), socket());
    let mut source = Source::new(&clock, tap.local_addr().unwrap(), &secret(1));
    target.share(&secret(1));
    let first = recorded(&mut target, &mut source, &tap, 1_100);
    let first: Vec<&[u8]> = first.iter().map(Vec::as_slice).collect();
    let mut replayed = 0;
    let again = |target: &mut Target, record: &[&[u8]], counter, times: u64| {
        let (before, delivered) = (target.read(counter), target.delivered());
        for round in 0..times {
            let order = if round % 2 == 0 { record.to_vec() } else { shuffled(record) };
            target.take(&attacker, &order);
        }
        let refused = target.read(counter) - before;
        assert_eq!((refused, target.delivered()), (times * record.len() as u64, delivered));
        refused
    };
    replayed += again(&mut target, &first, Counter::SealedReplayed, 10);
    // After a phase change, while the phase before is still taken.
    clock.advance(Duration::from_nanos(PHASE_NS));
    let second = recorded(&mut target, &mut source, &tap, 100);
    let second: Vec<&[u8]> = second.iter().map(Vec::as_slice).collect();
    let whole: Vec<&[u8]> = first.iter().chain(&second).copied().collect();
    replayed += again(&mut target, &whole, Counter::SealedReplayed, 10);
    assert_eq!(target.read(Counter::SealedReplayed), replayed);
    clock.advance(Duration::from_secs(2));
    again(&mut target, &first, Counter::SealedWrongPhase, 2);
    again(&mut target, &second, Counter::SealedReplayed, 2);
    // After a restart: the same peer has new keys, by chance under the same number.
    target.command(ReceiverCommand::ForgetPeer(SENDER));
    again(&mut target, &whole, Counter::SealedWithoutKeys, 1);
    target.share(&secret(2));
    again(&mut target, &first, Counter::SealedForged, 10);
    assert_eq!(target.delivered(), 1_200);
    assert!(heard(&attacker).is_empty(), "somebody was answered");
}

fn header(flags: PacketFlags, frame_count: u16) -> PacketHeader {
    PacketHeader {
        flags,
        lane: 2,
        frame_count,
        length: 48 + 96 * u32::from(frame_count),
        session: SessionId(5),
        source: SENDER,
        sequence: 1 << 30,
        first_event: 1 << 40,
    }
}

/// Sealed by somebody without the key, but with everything else right.
fn forged(key: &mut SealingKey, flags: PacketFlags, frames: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64 + frames.len()];
    let frame_count = u16::from(!frames.is_empty());
    key.seal((&header(flags, frame_count), Mode::Full), [frames], &mut bytes, 1).unwrap();
    bytes
}

#[test]
fn f37_nothing_is_answered_to_a_stranger() {
    let clock = Clock::simulated();
    let (mut target, tap, stranger) = (Target::new(&clock), socket(), socket());
    let mut source = Source::new(&clock, tap.local_addr().unwrap(), &secret(1));
    target.share(&secret(1));
    let record = recorded(&mut target, &mut source, &tap, 50);
    let mut key = SealingKey::new(&secret(9), WAY, SET, 0);
    let frames = [0; 96];
    let clear = |flags, frame_count: u16| {
        let body = &frames[..96 * usize::from(frame_count)];
        let mut bytes = header(flags, frame_count).encode(Some(body_hash(body))).to_vec();
        bytes.extend_from_slice(body);
        bytes
    };
    let status = Status {
        source: SENDER,
        session: SessionId(5),
        lane: 2,
        next_sequence: 5,
        window_bytes: 5,
    };
    let mut control = [0; gossip::CONTROL_PACKET_BYTES_MAX];
    let mut packet = gossip::ControlPacket::new(&mut control);
    assert!(packet.push(gossip::HELLO, &[0; 1_304]));
    let hello = packet.finish(SENDER, SessionId(1)).to_vec();
    let kinds: Vec<(&str, Vec<u8>)> = vec![
        ("event", clear(PacketFlags::SEQUENCED, 1)),
        ("tail marker", clear(PacketFlags::SEQUENCED, 0)),
        ("status", status.encode().to_vec()),
        ("hello", hello),
        ("sealed event", forged(&mut key, PacketFlags::SEQUENCED, &frames)),
        ("sealed tail marker", forged(&mut key, PacketFlags::SEQUENCED, &[])),
        ("sealed status", forged(&mut key, PacketFlags::STATUS, &[])),
        ("sealed control packet", forged(&mut key, PacketFlags::empty(), &frames)),
        ("replayed event", record[0].clone()),
        ("nothing", Vec::new()),
        ("noise", vec![0xa5; 1_400]),
    ];
    println!("{:24} {:>10} {:>10}", "unauthenticated packet", "bytes in", "bytes out");
    for (name, bytes) in &kinds {
        for _ in 0..10 {
            target.take(&stranger, &[bytes]);
        }
        let out: usize = heard(&stranger).iter().map(Vec::len).sum();
        println!("{name:24} {:>10} {out:>10}", 10 * bytes.len());
        assert_eq!(out, 0, "{name} was answered");
    }
    assert_eq!((target.delivered(), target.read(Counter::EventsLost)), (50, 0));
    recorded(&mut target, &mut source, &tap, 50);
}

/// Events of a steady flow that arrive in `time`, while nobody else or an attacker sends.
fn flow(target: &mut Target, source: &mut Source, time: Duration) -> u64 {
    let before = target.delivered();
    let until = Instant::now() + time;
    let mut due = Instant::now();
    while Instant::now() < until {
        if Instant::now() >= due {
            due += Duration::from_micros(500);
            source.send(50);
        }
        target.invoker.do_work();
        source.invoker.do_work();
    }
    target.invoker.drain(1_000);
    target.delivered() - before
}

/// Honest events alone and under attack, in the same time.
fn attack(target: &mut Target, source: &mut Source) -> (u64, u64) {
    let (local, time) = (target.plane.local, Duration::from_millis(400));
    flow(target, source, time / 4);
    let alone = flow(target, source, time);
    let stop = AtomicBool::new(false);
    let (attacked, thrown) = std::thread::scope(|scope| {
        let attack = scope.spawn(|| {
            let attacker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let mut key = SealingKey::new(&secret(9), WAY, SET, 0);
            let mut bytes = forged(&mut key, PacketFlags::SEQUENCED, &[0; 1_248]);
            // Ahead of the honest counter, so that the tag has to be looked at.
            bytes[40..48].copy_from_slice(&(1_u64 << 21).to_le_bytes());
            let mut thrown = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                thrown += u64::from(attacker.send_to(&bytes, local).is_ok());
            }
            thrown
        });
        let attacked = flow(target, source, time);
        stop.store(true, Ordering::Relaxed);
        (attacked, attack.join().unwrap())
    });
    println!("honest events in {time:?}: {alone} alone, {attacked} while {thrown} were thrown");
    (alone, attacked)
}

#[test]
fn f36_a_flood_of_forged_packets_changes_nothing_but_counters() {
    let clock = Clock::system();
    let mut target = Target::new(&clock);
    let mut source = Source::new(&clock, target.plane.local, &secret(1));
    target.share(&secret(1));
    let (_, attacked) = attack(&mut target, &mut source);
    let forged = target.read(Counter::SealedForged);
    assert!(forged > 1_000 && attacked > 0, "{forged} forged, {attacked} honest");
    // Windows and counters stand where the honest packets left them: all that come now are taken.
    let before = target.delivered();
    for _ in 0..20 {
        source.send(50);
        source.invoker.do_work();
        target.invoker.drain(1_000);
    }
    assert_eq!(target.delivered() - before, 1_000);
    assert_eq!(target.read(Counter::SealedReplayed), 0);
}

/// How much of its rate the honest flow keeps is the machine's matter: two free processors.
#[test]
#[ignore = "a measurement: cargo test --release -p wireloom-dataplane --test sealed -- --ignored"]
fn f36_the_honest_flow_keeps_seven_tenths_of_its_rate() {
    let clock = Clock::system();
    let mut target = Target::new(&clock);
    let mut source = Source::new(&clock, target.plane.local, &secret(1));
    target.share(&secret(1));
    let mut kept: Vec<u64> = (0..5)
        .map(|_| attack(&mut target, &mut source))
        .map(|(alone, attacked)| attacked * 100 / alone.max(1))
        .collect();
    kept.sort_unstable();
    println!("kept in five rounds, percent: {kept:?}");
    assert!(kept[2] >= 70, "{kept:?}");
}
