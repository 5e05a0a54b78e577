//! What one event costs its sender and those who take it: events in rounds, each of which is
//! published, sent and taken before the next, so that nothing waits and nothing overflows.
//!
//! The sender's time is that of publishing a round and driving the node until it is sent; the
//! receivers' that of the turns of their loop that found work. One thread a side.

use anyhow::Result;
use wireloom::{AnySubscriber, Clock, Node, Published, Target};

use super::arrivals::Counts;
use super::event::{BenchEvent, FIXED_PAYLOAD_BYTES};
use super::figures::{median, real};
use super::local::other_types;
use super::machine::{pin, thread_cpu_ns};
use super::peer::{Peer, PeerPlan, Question};
use super::place::Place;
use super::publish::Pump;
use super::receive::{Driven, Watch, install};
use super::report::CrossLedger;
use super::udp::group;

/// Events of a round inside one process.
const LOCAL_ROUND_EVENTS: u64 = 512;
/// How long a round may take to arrive; what is missing then is lost.
const PATIENCE_NS: u64 = 50_000_000;
/// Silence in which the sender marks how far its streams have come, before the end.
const TAIL_NS: u64 = 12_000_000;

/// Who publishes to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// So many publishers, one node with one handler.
    Publishers(usize),
    /// One publisher, one node with so many handlers of the type.
    Handlers(usize),
    /// So many nodes, each a target of its own.
    Targets(usize),
    /// So many nodes that joined one group.
    Group(usize),
}

/// What the rounds of a slice cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// Events; one to many counts once.
    pub(super) events: u64,
    /// Calls of handlers that were due.
    pub(super) deliveries: u64,
    /// Of the median round, so that what interrupted the machine is not in it.
    pub(super) sender_ns_per_event: f64,
    /// CPU time of the sending thread; the kernel's share for it included.
    pub(super) sender_cpu_ns_per_event: f64,
    /// What the sending node gave the kernel in the slice.
    pub(super) given: Given,
    pub(super) receiver_ns_per_event: f64,
}

/// What a node has given the kernel to send.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Given {
    pub(super) calls: u64,
    pub(super) datagrams: u64,
    pub(super) bytes: u64,
}

impl Given {
    /// So far, by the node's own counters.
    fn by(node: &Node) -> Self {
        let counters = node.counters();
        let of = |name| counters.iter().find(|(of, _)| of.name == name).map_or(0, |(_, n)| *n);
        Self { calls: of("send_runs"), datagrams: of("packets_sent"), bytes: of("bytes_sent") }
    }

    const fn since(self, before: Self) -> Self {
        Self {
            calls: self.calls - before.calls,
            datagrams: self.datagrams - before.datagrams,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// The times of the rounds of a slice.
#[derive(Debug, Default)]
struct Rounds {
    sender_ns: Vec<f64>,
    sender_cpu_ns: Vec<f64>,
    receiver_ns: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, (sender_ns, sender_cpu_ns): (u64, u64), receiver_ns: u64) {
        self.sender_ns.push(real(sender_ns));
        self.sender_cpu_ns.push(real(sender_cpu_ns));
        self.receiver_ns.push(real(receiver_ns));
    }

    /// What `events` events and `deliveries` handler calls a round cost.
    fn cost(&self, events: u64, deliveries: u64) -> Cost {
        let rounds = self.sender_ns.len() as u64;
        let each = |times: &[f64]| median(times).unwrap_or(0.0) / real(events.max(1));
        Cost {
            events: rounds * events,
            deliveries: rounds * deliveries,
            sender_ns_per_event: each(&self.sender_ns),
            sender_cpu_ns_per_event: each(&self.sender_cpu_ns),
            given: Given::default(),
            receiver_ns_per_event: each(&self.receiver_ns),
        }
    }
}

/// What a whole run came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Account {
    pub(super) published: u64,
    pub(super) lost: u64,
    pub(super) counts: Counts,
    pub(super) is_balanced: bool,
}

/// A publishing node and the process that receives.
pub(super) struct Fan {
    shape: Shape,
    round_events: u64,
    node: Driven,
    pumps: Vec<Pump<BenchEvent>>,
    peer: Peer,
    /// Of the next event, where publishers share it.
    sequence: u64,
    clock: Clock,
}

impl Fan {
    /// A fan whose rounds have so many events a target: fewer than the sender takes in a cycle.
    pub(super) fn start(place: &Place, shape: Shape, round_events: u64) -> Result<Self> {
        let mut plan =
            PeerPlan { core: place.core(1), driven: true, busy: true, ..PeerPlan::default() };
        match shape {
            Shape::Publishers(_) => {}
            Shape::Handlers(handlers) => plan.handlers = handlers,
            Shape::Targets(nodes) => plan.nodes = nodes,
            Shape::Group(nodes) => (plan.nodes, plan.group) = (nodes, Some(group(4)?)),
        }
        let peer = Peer::start(&plan)?;
        pin(place.core(0));
        let builder = Node::builder("bench-fan").multicast(1, super::loopback(), true);
        let mut node = Driven::start(builder, true)?;
        let first = peer.address(&plan);
        let targets: Vec<Target> = match shape {
            Shape::Publishers(publishers) => vec![Target::Node(first); publishers],
            Shape::Handlers(_) => vec![Target::Node(first)],
            Shape::Targets(_) => peer.addresses.iter().map(|to| Target::Node(*to)).collect(),
            Shape::Group(_) => vec![Target::Multicast(first)],
        };
        let mut pumps = Vec::new();
        for target in &targets {
            pumps.push(pump(&node, target)?);
            while node.drive() > 0 {}
        }
        let clock = Clock::system();
        Ok(Self { shape, round_events, node, pumps, peer, sequence: 0, clock })
    }

    /// Events of each publisher in a round, events of the round, and handler calls.
    const fn round(&self) -> (u64, u64, u64) {
        let events = self.round_events;
        match self.shape {
            Shape::Publishers(many) => (events / many as u64, events, events),
            Shape::Handlers(many) | Shape::Targets(many) | Shape::Group(many) => {
                (events, events, events * many as u64)
            }
        }
    }

    /// Publishes a round and drives the node until it is sent.
    fn publish(&mut self, each: u64, now_ns: u64) -> Result<()> {
        for pump in &mut self.pumps {
            if matches!(self.shape, Shape::Publishers(_)) {
                // One handler hears all of them: they share its sequence.
                pump.accepted = self.sequence;
                pump.burst_of(each, |_| now_ns)?;
                self.sequence = pump.accepted;
            } else {
                pump.burst_of(each, |_| now_ns)?;
            }
        }
        while self.node.drive() > 0 {}
        Ok(())
    }

    /// Rounds for `for_ns`.
    pub(super) fn slice(&mut self, for_ns: u64) -> Result<Cost> {
        let (each, events, deliveries) = self.round();
        let deliveries = 2 * deliveries;
        let mut taken = self.peer.sample(Question::Run { timed_from_ns: u64::MAX })?;
        let (mut rounds, given) = (Rounds::default(), Given::by(&self.node.node));
        let mut now_ns = self.clock.now_ns();
        let until_ns = now_ns + for_ns;
        while now_ns < until_ns {
            // One round that is not timed: the wait before it let the caches and the core cool
            // down, and the longer the receiver took the more.
            self.publish(each, now_ns)?;
            let cpu_ns = thread_cpu_ns();
            now_ns = self.clock.now_ns();
            self.publish(each, now_ns)?;
            let sent_ns = self.clock.now_ns();
            let cpu_ns = thread_cpu_ns() - cpu_ns;
            let expected = taken.counts.handled() + deliveries;
            let busy_ns = taken.busy_ns;
            loop {
                taken = self.peer.sample(Question::Sample)?;
                let is_late = self.clock.now_ns() - sent_ns > PATIENCE_NS;
                if taken.counts.handled() >= expected || is_late {
                    break;
                }
            }
            rounds.add((sent_ns - now_ns, cpu_ns), (taken.busy_ns - busy_ns) / 2);
            now_ns = self.clock.now_ns();
        }
        self.peer.sample(Question::Pause)?;
        let cost = rounds.cost(events, deliveries);
        let given = Given::by(&self.node.node).since(given);
        Ok(Cost { events: 2 * cost.events, given, ..cost })
    }

    pub(super) fn finish(mut self) -> Result<Account> {
        self.peer.sample(Question::Run { timed_from_ns: u64::MAX })?;
        let until_ns = self.clock.now_ns() + TAIL_NS;
        while self.clock.now_ns() < until_ns {
            self.node.drive();
        }
        let (own, _) = self.node.close();
        let mut account = self.peer.finish()?;
        let counts = account.counts;
        // A group's packet is sent once and received by each; an event is handled by each handler.
        let (copies, calls) = match self.shape {
            Shape::Group(nodes) => (nodes as u64, 1),
            Shape::Handlers(handlers) => (1, handlers as u64),
            Shape::Publishers(_) | Shape::Targets(_) => (1, 1),
        };
        let published = Published {
            accepted: own.published.accepted * copies,
            sent: own.published.sent * copies,
            shed: own.published.shed.iter().map(|(name, shed)| (*name, shed * copies)).collect(),
            ..Published::default()
        };
        account.counts = Counts { delivered: counts.handled() / calls, ..Counts::default() };
        let (_, adds_up) = CrossLedger::between(&published, &account);
        let whole = counts.handled().is_multiple_of(calls);
        Ok(Account {
            published: published.accepted * calls,
            lost: (published.accepted * calls).saturating_sub(counts.delivered + counts.corrupt),
            counts,
            is_balanced: adds_up && whole && own.balanced && account.balanced,
        })
    }
}

/// A publisher and a handler in one node that one thread drives, beside further registered types.
pub(super) struct LocalFan {
    node: Driven,
    pump: Pump<BenchEvent>,
    watch: Watch,
    /// Held so that the further types stay registered.
    _others: Option<AnySubscriber>,
    clock: Clock,
}

impl LocalFan {
    pub(super) fn start(place: &Place, types: usize) -> Result<Self> {
        pin(place.core(0));
        let builder = Node::builder("bench-types").ring_bytes(256 << 10, 4 << 10);
        let mut node = Driven::start(builder, true)?;
        let watch = install::<BenchEvent>(&node.node, 0)?;
        let others = other_types(&node.node, types.saturating_sub(1))?;
        let pump = pump(&node, &Target::Local)?;
        while node.drive() > 0 {}
        Ok(Self { node, pump, watch, _others: others, clock: Clock::system() })
    }

    /// Rounds for `for_ns`: the whole way from publisher to handler is the sender's.
    pub(super) fn slice(&mut self, for_ns: u64) -> Result<Cost> {
        let mut rounds = Rounds::default();
        let mut now_ns = self.clock.now_ns();
        let until_ns = now_ns + for_ns;
        while now_ns < until_ns {
            let (from_ns, cpu_ns) = (now_ns, thread_cpu_ns());
            self.pump.burst_of(LOCAL_ROUND_EVENTS, |_| from_ns)?;
            while self.node.drive() > 0 {}
            now_ns = self.clock.now_ns();
            rounds.add((now_ns - from_ns, thread_cpu_ns() - cpu_ns), 0);
        }
        Ok(rounds.cost(LOCAL_ROUND_EVENTS, LOCAL_ROUND_EVENTS))
    }

    pub(super) fn finish(self) -> Account {
        let published = self.pump.accepted;
        let (ledger, _) = self.node.close();
        let counts = self.watch.progress.counts();
        Account {
            published,
            lost: published.saturating_sub(counts.delivered + counts.corrupt),
            counts,
            is_balanced: ledger.balanced && ledger.received.delivered == counts.handled(),
        }
    }
}

fn pump(node: &Driven, target: &Target) -> Result<Pump<BenchEvent>> {
    let frame_bytes =
        wireloom_wire::align_up(wireloom_wire::FRAME_HEADER_BYTES + FIXED_PAYLOAD_BYTES);
    let publisher = node.node.publisher::<BenchEvent>(target)?;
    Ok(Pump::new(publisher, FIXED_PAYLOAD_BYTES, frame_bytes))
}
