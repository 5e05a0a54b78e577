//! Two nodes on a simulated network, and a stranger who throws datagrams at one of them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use wireloom_dataplane::agent::Invoker;
use wireloom_dataplane::clock::Clock;
use wireloom_dataplane::command::{ReceiverCommand, SenderCommand};
use wireloom_dataplane::counters::Counter;
use wireloom_dataplane::dispatch::{
    Lost, Origin, Subscriber, Subscription, SubscriptionId, Verdict, Wanted,
};
use wireloom_dataplane::flow::{FlowControl, Watch};
use wireloom_dataplane::io::simulated::{LinkModel, SimulatedNetwork, SimulatedTransmit};
use wireloom_dataplane::io::{Destination, Message, Transmit};
use wireloom_dataplane::launch::{Plane, simulate};
use wireloom_dataplane::link::{Link, LinkConfig, LinkId};
use wireloom_dataplane::outbound::Outbound;
use wireloom_ring::{ClaimError, Producer, RingConfig, ring};
use wireloom_wire::{
    EventTypeId, Frame, FrameEncoder, FrameHeader, LANES, NodeId, Priority, SessionId,
};

/// (lane, sequence, payload length) of each event, and the gaps.
pub(crate) type Seen = Arc<Mutex<(Vec<(u8, u64, usize)>, Vec<Lost>)>>;

/// What each byte of a payload of this length is.
pub(crate) fn tag(length: usize) -> u8 {
    length.to_le_bytes()[0]
}

pub(crate) struct Recording(pub(crate) Seen);

impl Subscriber for Recording {
    fn on_event(&mut self, frame: &Frame<'_>, origin: &Origin) -> Verdict {
        let payload = frame.payload();
        assert!(payload.iter().all(|byte| *byte == tag(payload.len())), "altered payload");
        let event = (origin.lane, frame.header.sequence, payload.len());
        self.0.lock().expect("one thread").0.push(event);
        Verdict::Delivered
    }

    fn on_lost(&mut self, lost: &Lost) {
        self.0.lock().expect("one thread").1.push(*lost);
    }
}

pub(crate) struct Pair {
    pub(crate) network: SimulatedNetwork,
    pub(crate) clock: Clock,
    pub(crate) sender: Plane,
    pub(crate) sending: Invoker,
    pub(crate) receiver: Plane,
    pub(crate) receiving: Invoker,
    pub(crate) stranger: SimulatedTransmit,
    pub(crate) seen: Seen,
}

pub(crate) fn host(number: u8) -> SocketAddr {
    ([10, 0, 0, number], 7000).into()
}

impl Pair {
    pub(crate) fn new() -> Self {
        let network = SimulatedNetwork::new(1, LinkModel::LOSSLESS);
        let clock = Clock::simulated();
        let (transmit, receive) = network.endpoint(host(1), &[]);
        let (sender, sending) = simulate(host(1), transmit, receive, clock.clone());
        let (transmit, receive) = network.endpoint(host(2), &[]);
        let (receiver, receiving) = simulate(host(2), transmit, receive, clock.clone());
        let (stranger, _) = network.endpoint(host(3), &[]);
        let seen = Seen::default();
        let recording = Box::new(Recording(Arc::clone(&seen)));
        let subscription = Subscription::new(SubscriptionId(1), Wanted::Every, recording);
        let command = ReceiverCommand::Subscribe(Box::new(subscription));
        receiver.receivers[0].commands.push(command).expect("room");
        Self { network, clock, sender, sending, receiver, receiving, stranger, seen }
    }

    pub(crate) fn link(&self, id: u32, packet_bytes: usize, packet_bytes_max: usize) -> LinkId {
        self.link_with(id, packet_bytes, packet_bytes_max, FlowControl::Hold)
    }

    /// A link whose peer's words reach the sender.
    pub(crate) fn link_with(
        &self,
        id: u32,
        packet_bytes: usize,
        packet_bytes_max: usize,
        flow: FlowControl,
    ) -> LinkId {
        self.add(LinkConfig { packet_bytes, packet_bytes_max, flow, ..self.config(id) })
    }

    /// A link as most tests want it.
    pub(crate) fn config(&self, id: u32) -> LinkConfig {
        LinkConfig {
            id: LinkId(id),
            destination: self.sender.destination(host(2)).expect("a destination"),
            source: NodeId(11),
            session: SessionId(100 + id),
            packet_bytes: 1_400,
            packet_bytes_max: 1_400,
            multicast: false,
            flow: FlowControl::Hold,
            demands_key: [false; LANES],
        }
    }

    /// Adds a link whose peer's words reach the sender.
    pub(crate) fn add(&self, config: LinkConfig) -> LinkId {
        let (id, link) = (config.id, Link::new(config));
        let (window, session) = (Arc::clone(link.window()), link.session());
        let watch = Box::new(Watch { source: NodeId(11), session, window, wake: None });
        self.sender.receivers[0].commands.push(ReceiverCommand::Watch(watch)).expect("room");
        self.sender.sender.commands.push(SenderCommand::AddLink(Box::new(link))).expect("room");
        id
    }

    pub(crate) fn attach(&self, lane: Priority) -> Producer {
        let config = RingConfig { capacity_bytes: 256 << 10, huge_pages: false };
        let (producer, consumer) = ring(config).expect("memory");
        let outbound = Box::new(Outbound::new(consumer, lane.index()));
        self.sender.sender.commands.push(SenderCommand::Attach(outbound)).expect("room");
        producer
    }

    pub(crate) fn settle(&mut self) {
        for _ in 0..50 {
            self.sending.drain(100);
            self.clock.advance(std::time::Duration::from_micros(10));
            self.network.advance_to(self.clock.now_ns());
            self.receiving.drain(100);
        }
    }

    pub(crate) fn events(&self) -> Vec<(u8, u64, usize)> {
        std::mem::take(&mut self.seen.lock().expect("one thread").0)
    }

    pub(crate) fn sent(&self, counter: Counter) -> u64 {
        self.sender.sender.counters.read(counter)
    }

    pub(crate) fn received(&self, counter: Counter) -> u64 {
        self.receiver.receivers[0].counters.read(counter)
    }

    /// A datagram from a stranger.
    pub(crate) fn throw(&mut self, bytes: &[u8]) {
        self.throw_at(host(2), bytes);
        self.settle();
    }

    /// The same at any host, which is not run.
    pub(crate) fn throw_at(&mut self, to: SocketAddr, bytes: &[u8]) {
        let destination = Destination::new(0, to);
        let slices = [std::io::IoSlice::new(bytes)];
        self.stranger.send(&[Message::single(&destination, &slices)]);
    }
}

pub(crate) fn encoder<'a>(sequence: u64, priority: Priority) -> FrameEncoder<'a> {
    let bare = FrameHeader::bare(EventTypeId(77), priority);
    FrameEncoder::new(FrameHeader { sequence, ..bare })
}

/// Publishes an event, or says why the ring does not take it.
pub(crate) fn try_put(
    producer: &mut Producer,
    sequence: u64,
    payload: usize,
) -> Result<(), ClaimError> {
    let mut claim = producer.claim((32 + payload).next_multiple_of(16))?;
    let bytes = vec![tag(payload); payload];
    encoder(sequence, Priority::Normal).write(&bytes, &mut claim).expect("fits");
    claim.commit(32 + payload);
    Ok(())
}

pub(crate) fn put(producer: &mut Producer, sequence: u64, payload: usize) {
    try_put(producer, sequence, payload).expect("room");
}
