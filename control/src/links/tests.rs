//! Two nodes' links over one network in memory, their handlers in the hand of the test: what two
//! directions on one line do to each other. A side sleeps when it has nothing to do, and so do its
//! handlers, as their threads would, so that what it forgets stays forgotten.

mod both_ways;
mod hostile;
mod notes;
mod secured;

use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::inbound::ORIGIN_BYTES;
use wireloom_dataplane::launch::ReceiverPort;
use wireloom_dataplane::wake::Wake;
use wireloom_ring::{ClaimError, Producer, Records, Retained, record_spacing};
use wireloom_wire::{
    CONTROL_PACKET_BYTES_MAX, Control, FrameEncoder, FrameHeader, Frames, Hello, LINK_PROTOCOL,
    NodeId, Priority, Refusal, event_type_id,
};

use super::*;
use crate::outgoing::Feed;
use crate::settings::ReliableSettings;
use crate::simulated::{SimulatedSockets, SimulatedStreams, StreamModel};
use crate::sockets::Secret;
use crate::tally::Tally;
use crate::tls::tests::config as tls_config;
use crate::tls::{Credentials, PeerIdentity};
use crate::tls::{Distrust, TlsSockets};

const LANE: Lane = 2;
const STEP_NS: u64 = 50_000;

fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, u8::try_from(index + 1).expect("few")], 7_000))
}

/// What a peer of the test's own making says of itself, of no stream yet.
fn hello_of(node: NodeId, cluster: u64) -> Hello<'static> {
    Hello {
        protocol: LINK_PROTOCOL,
        cluster,
        node,
        incarnation: 1,
        listens: address(5),
        event_bytes_max: 1 << 20,
        compresses: false,
        streams: Default::default(),
        stream_count: 0,
        name: "liar",
    }
}

/// What an event carries: half of it nothing that could be compressed.
fn content(number: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(number);
    let noise = |at: usize| if at < bytes / 2 { random.next().to_le_bytes()[0] } else { 7 };
    (0..bytes).map(noise).collect()
}

/// Times as they are by default but for silence, which is to show within a test.
fn settings() -> ReliableSettings {
    ReliableSettings {
        pool: 1,
        ack_timeout: Duration::from_secs(2),
        keep_alive: Duration::from_secs(1),
        attempts: u32::MAX,
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(20),
        ..ReliableSettings::default()
    }
}

fn refusal_of(refusal: Refusal) -> Vec<u8> {
    let mut packet = [0; CONTROL_PACKET_BYTES_MAX];
    let length = Control::Refusal(refusal).encode(NodeId(0), &mut packet);
    packet[..length].to_vec()
}

/// With TLS or without.
type AnySockets = Box<dyn Sockets>;

impl Sockets for AnySockets {
    fn dial(&mut self, peer: SocketAddr) -> io::Result<SocketId> {
        (**self).dial(peer)
    }

    fn accept(&mut self) -> Option<SocketId> {
        (**self).accept()
    }

    fn poll(&mut self, ready: &mut Vec<Ready>) {
        (**self).poll(ready);
    }

    fn is_open(&mut self, socket: SocketId) -> io::Result<bool> {
        (**self).is_open(socket)
    }

    fn peer(&self, socket: SocketId) -> Option<SocketAddr> {
        (**self).peer(socket)
    }

    fn read(&mut self, socket: SocketId, into: &mut [u8]) -> io::Result<usize> {
        (**self).read(socket, into)
    }

    fn write(&mut self, socket: SocketId, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (**self).write(socket, slices)
    }

    fn close(&mut self, socket: SocketId) {
        (**self).close(socket);
    }

    fn peer_identity(&self, socket: SocketId) -> Option<&PeerIdentity> {
        (**self).peer_identity(socket)
    }

    fn export(&self, socket: SocketId, label: &str) -> Option<Secret> {
        (**self).export(socket, label)
    }

    fn distrust(&self, socket: SocketId) -> Option<Distrust> {
        (**self).distrust(socket)
    }

    fn deadline_ns(&self) -> Option<u64> {
        (**self).deadline_ns()
    }
}

/// One node's links, publishers and handlers.
struct Side {
    links: Links<AnySockets>,
    address: SocketAddr,
    port: LinksPort,
    receiver: ReceiverPort,
    publisher: Option<Producer>,
    tally: Arc<Tally>,
    published: u64,
    local: Option<Box<LocalRing>>,
    /// Its handlers take nothing.
    stuck: bool,
    seen: Vec<u64>,
    asleep: bool,
    handlers: Arc<Handlers>,
}

/// The thread of a side's handlers: whether something has woken it.
#[derive(Default)]
struct Handlers {
    awake: AtomicBool,
}

impl std::task::Wake for Handlers {
    fn wake(self: Arc<Self>) {
        self.awake.store(true, Ordering::Relaxed);
    }
}

impl Side {
    fn new(network: &SimulatedStreams, index: usize, config: (&Clock, ReliableSettings)) -> Self {
        Self::with(network, (index, 1), config, None)
    }

    /// The node at a place, in a life of its.
    fn with(
        network: &SimulatedStreams,
        (index, life): (usize, u64),
        config: (&Clock, ReliableSettings),
        credentials: Option<Credentials>,
    ) -> Self {
        let (clock, settings) = config;
        let identity = Identity {
            node: NodeId(index as u64 + 1),
            incarnation: life,
            name: format!("node-{index}"),
            cluster: 1,
            listens: address(index),
            event_bytes_max: 1 << 20,
            compresses: settings.compression,
        };
        let (handlers, wake) = (Arc::<Handlers>::default(), Wake::of_task_symmetric());
        wake.sleep_task(&Waker::from(Arc::clone(&handlers)));
        let receiver = ReceiverPort {
            commands: Default::default(),
            counters: Arc::default(),
            wake: Some(wake),
        };
        let port = LinksPort {
            commands: Default::default(),
            counters: Arc::default(),
            accepted_most: Arc::default(),
            wake: None,
        };
        let config = LinksConfig {
            accepts: true,
            identity,
            settings,
            clock: clock.clone(),
            receiver: receiver.clone(),
            port: port.clone(),
        };
        let plain = network.node(address(index));
        let sockets: AnySockets = match credentials {
            None => Box::new(plain),
            Some(credentials) => {
                let mut tls = tls_config(credentials, clock);
                tls.counters = Arc::clone(&port.counters);
                tls.plain_answer = refusal_of(Refusal::Secured);
                Box::new(TlsSockets::new(plain, tls))
            }
        };
        Self {
            links: Links::new(sockets, config, index as u64 + 1_000 * (life - 1)),
            address: address(index),
            port,
            receiver,
            publisher: None,
            tally: Arc::default(),
            published: 0,
            local: None,
            stuck: false,
            seen: Vec::new(),
            asleep: false,
            handlers,
        }
    }

    fn counted(&self, counter: Counter) -> u64 {
        self.port.counters.read(counter)
    }

    /// A ring of this size, whose events go to `to`.
    fn attach(&mut self, to: SocketAddr, ring_bytes: usize) {
        let (producer, consumer) =
            ring(RingConfig { capacity_bytes: ring_bytes, huge_pages: false }).expect("memory");
        (self.publisher, self.tally, self.published) = (Some(producer), Arc::default(), 0);
        let feed = Feed::new(Retained::new(consumer), Arc::clone(&self.tally));
        self.port.commands.push(LinksCommand::Attach(to, LANE, feed)).expect("room");
        self.asleep = false;
    }

    /// Publishes as many events of this size as there is room for, at most `count`.
    fn publish(&mut self, count: u64, bytes: usize) -> u64 {
        let Some(producer) = &mut self.publisher else { return 0 };
        for done in 0..count {
            let encoder = FrameEncoder::new(FrameHeader {
                sequence: self.published,
                ..FrameHeader::bare(event_type_id("numbered"), Priority::Normal)
            });
            match producer.claim(bytes + 64) {
                Ok(mut claim) => {
                    let payload = content(self.published, bytes.next_multiple_of(16));
                    let length = encoder.write(&payload, &mut claim).expect("it fits");
                    claim.commit(length);
                }
                Err(ClaimError::Full) => return done,
                Err(other) => panic!("{other}"),
            }
            (self.published, self.asleep) = (self.published + 1, false);
        }
        count
    }

    /// Its handlers take what there is, unless they sleep and nothing has woken them.
    fn handle(&mut self) {
        if self.stuck || !self.handlers.awake.swap(false, Ordering::Relaxed) {
            return;
        }
        while let Some(command) = self.receiver.commands.pop() {
            if let ReceiverCommand::AttachLocal(local) = command {
                self.local = Some(local);
            }
        }
        while self.take() > 0 {
            self.asleep = false;
        }
        if let Some(wake) = &self.receiver.wake {
            wake.sleep_task(&Waker::from(Arc::clone(&self.handlers)));
        }
    }

    /// Takes a batch; gives its bytes.
    fn take(&mut self) -> usize {
        let Some(local) = &mut self.local else { return 0 };
        let batch = local.consumer.read();
        let bytes = batch.len();
        for record in Records::new(batch) {
            for frame in Frames::new(&record[ORIGIN_BYTES..]) {
                let frame = frame.expect("a frame");
                let number = frame.header.sequence;
                assert!(frame.payload() == content(number, frame.payload().len()), "altered");
                self.seen.push(number);
            }
        }
        debug_assert_eq!(bytes, record_spacing(bytes));
        local.consumer.release(bytes);
        bytes
    }

    /// What its thread does until it sleeps, unless it does and nothing wakes it.
    fn run(&mut self, now_ns: u64, news: bool) {
        if self.asleep && !news && self.links.deadline_ns().is_none_or(|at| now_ns < at) {
            return;
        }
        for _ in 0..64 {
            if self.links.do_work(now_ns) == 0 {
                self.links.before_sleep();
                self.asleep = self.links.do_work(now_ns) == 0;
                if self.asleep {
                    return;
                }
            }
            self.handle();
        }
    }

    /// Whether everything published was seen by the other side's handlers, in order, and is known
    /// to have been.
    fn is_through(&self, other: &Self) -> bool {
        self.tally.delivered() == self.published && other.seen.len() as u64 == self.published
    }
}

/// Two of them.
struct Pair {
    clock: Clock,
    network: SimulatedStreams,
    sides: [Side; 2],
}

impl Pair {
    fn new(model: StreamModel, settings: &ReliableSettings) -> Self {
        Self::with(model, settings, [None, None])
    }

    fn with(
        model: StreamModel,
        settings: &ReliableSettings,
        [a, b]: [Option<Credentials>; 2],
    ) -> Self {
        let (clock, network) = (Clock::simulated(), SimulatedStreams::new(7, model));
        let side = |index, credentials| {
            Side::with(&network, (index, 1), (&clock, settings.clone()), credentials)
        };
        let sides = [side(0, a), side(1, b)];
        Self { clock, network, sides }
    }

    fn step(&mut self) {
        let now_ns = self.clock.advance(Duration::from_nanos(STEP_NS));
        self.network.advance_to(now_ns);
        for side in &mut self.sides {
            let news = self.network.has_news(side.address);
            side.handle();
            side.run(now_ns, news);
        }
    }

    fn run(&mut self, time: Duration) {
        for _ in 0..time.as_nanos() / u128::from(STEP_NS) {
            self.step();
        }
    }

    /// Runs until something holds, in virtual time.
    fn until(&mut self, what: &str, within: Duration, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..within.as_nanos() / u128::from(STEP_NS) {
            self.step();
            if holds(self) {
                return;
            }
        }
        let told = self.sides.each_ref().map(|side| {
            let counters: Vec<_> =
                side.port.counters.non_zero().map(|(of, n)| (of.name, n)).collect();
            (side.published, side.tally.delivered(), side.seen.len(), counters)
        });
        panic!("waited in vain for {what}: {told:#?}");
    }

    /// The first publishes to the second, then the second to the first: by the same line.
    fn talking(model: StreamModel, settings: &ReliableSettings, ring_bytes: usize) -> Self {
        Self::new(model, settings).talk(ring_bytes)
    }

    fn talk(mut self, ring_bytes: usize) -> Self {
        let pair = &mut self;
        for (from, to) in [(0, 1), (1, 0)] {
            pair.sides[from].attach(address(to), ring_bytes);
            pair.sides[from].publish(1, 10);
            pair.until("the first event", Duration::from_secs(5), |pair| {
                pair.sides[from].is_through(&pair.sides[to])
            });
        }
        let [a, b] = &pair.sides;
        assert_eq!((a.counted(Counter::LinksDialled), a.counted(Counter::LinksBorrowed)), (1, 0));
        assert_eq!((b.counted(Counter::LinksDialled), b.counted(Counter::LinksBorrowed)), (0, 1));
        for side in &pair.sides {
            // The half that writes, and the half that takes.
            assert_eq!(side.counted(Counter::LinksOpened), 2);
        }
        self
    }

    fn assert_in_order(&self) {
        for (from, to) in [(0, 1), (1, 0)] {
            let all: Vec<u64> = (0..self.sides[from].published).collect();
            assert!(self.sides[to].seen == all, "from {from}: {} seen", self.sides[to].seen.len());
        }
    }
}
