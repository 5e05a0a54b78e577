//! A network in memory with faults of our choosing, the same for the same seed.
//!
//! One thread, one loop, virtual time: every node's agents run against their endpoints, and the
//! test moves time on. Owned by whoever builds the simulation; endpoints share it. It allocates, as
//! no real way in or out does.
//!
//! Every datagram that a message holds becomes one *copy* for each endpoint it is addressed to, and
//! each copy meets the faults on its own. Always, and exactly:
//!
//! ```text
//! copies + duplicated = delivered + lost + overflowed + in_flight
//! ```
//!
//! Corrupted and reordered copies are among the delivered (or overflowed, or in flight) ones.

mod endpoint;
mod random;

use std::cell::RefCell;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

pub use self::endpoint::{SimulatedReceive, SimulatedTransmit};
use self::random::Random;

/// Datagrams an endpoint holds for its reader unless told otherwise; one more is a kernel drop.
const QUEUE_DATAGRAMS: usize = 4_096;

/// Copies on the way at one time; beyond that they are dropped as by a router (counted overflowed).
const IN_FLIGHT_MAX: usize = 1 << 20;

/// How far a reordered copy falls behind, at most: those sent up to this much later overtake it.
const REORDER_NS_MAX: u64 = 1_000_000;

/// What a link does to datagrams. Probabilities are from 0 to 1, each tried for each copy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinkModel {
    /// Probability that a copy vanishes.
    pub loss: f64,
    /// Probability that a copy arrives twice.
    pub duplicate: f64,
    /// Probability that a copy is held back, up to 1 ms, so that later ones overtake it. All other
    /// copies from one endpoint to another arrive in order.
    pub reorder: f64,
    /// Probability that one bit of a copy is flipped.
    pub corrupt: f64,
    /// The shortest delay, ns.
    pub delay_ns_min: u64,
    /// The longest delay, ns; each copy's is chosen evenly between the two.
    pub delay_ns_max: u64,
}

impl LinkModel {
    /// No faults, no delay.
    pub const LOSSLESS: Self = Self {
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
        corrupt: 0.0,
        delay_ns_min: 0,
        delay_ns_max: 0,
    };
}

/// What the network has done; see the equation of this module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultCounts {
    /// Datagrams sent.
    pub datagrams: u64,
    /// Datagrams addressed to nobody here; they make no copy.
    pub unrouted: u64,
    /// Copies made, one for each datagram and endpoint it is addressed to.
    pub copies: u64,
    /// Further copies made by duplication.
    pub duplicated: u64,
    /// Copies lost.
    pub lost: u64,
    /// Copies held back.
    pub reordered: u64,
    /// Copies with a flipped bit.
    pub corrupted: u64,
    /// Copies that found a full queue.
    pub overflowed: u64,
    /// Copies handed to a reader.
    pub delivered: u64,
    /// Copies on the way or waiting for their reader.
    pub in_flight: u64,
}

/// A copy on its way. Ordered by arrival, then by departure.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Travelling {
    due_ns: u64,
    order: u64,
    endpoint: usize,
    source: SocketAddr,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Endpoint {
    address: SocketAddr,
    groups: Vec<SocketAddr>,
    queue: VecDeque<(SocketAddr, Vec<u8>)>,
    queue_max: usize,
    kernel_drops: u64,
    /// Datagrams it may still send before it would block.
    send_limit: Option<usize>,
    /// When the last copy from each other endpoint arrives, so that order holds.
    last_due_ns: Vec<u64>,
}

impl Endpoint {
    /// Whether a datagram to `destination` is for this endpoint.
    fn hears(&self, destination: SocketAddr) -> bool {
        let same_port = self.address.port() == destination.port();
        let broadcast = destination.ip() == std::net::Ipv4Addr::BROADCAST && self.address.is_ipv4();
        let any = self.address.ip().is_unspecified()
            && self.address.is_ipv4() == destination.is_ipv4()
            && !destination.ip().is_multicast();
        self.address == destination
            || self.groups.contains(&destination)
            || (same_port && (broadcast || any))
    }
}

#[derive(Debug)]
struct State {
    random: Random,
    model: LinkModel,
    now_ns: u64,
    order: u64,
    travelling: BinaryHeap<std::cmp::Reverse<Travelling>>,
    endpoints: Vec<Endpoint>,
    counts: FaultCounts,
}

/// The network; clones are the same one.
#[derive(Debug, Clone)]
pub struct SimulatedNetwork(Rc<RefCell<State>>);

impl SimulatedNetwork {
    /// A network without endpoints at time 0. The same `seed` and the same calls give the same
    /// faults.
    #[must_use]
    pub fn new(seed: u64, model: LinkModel) -> Self {
        Self(Rc::new(RefCell::new(State {
            random: Random::new(seed),
            model,
            now_ns: 0,
            order: 0,
            travelling: BinaryHeap::new(),
            endpoints: Vec::new(),
            counts: FaultCounts::default(),
        })))
    }

    /// Adds an endpoint: it hears its address (an unspecified one hears every address with its
    /// port), the `groups` and broadcasts to its port, and sends from its address.
    #[must_use]
    pub fn endpoint(
        &self,
        address: SocketAddr,
        groups: &[SocketAddr],
    ) -> (SimulatedTransmit, SimulatedReceive) {
        let mut state = self.0.borrow_mut();
        let index = state.endpoints.len();
        state.endpoints.push(Endpoint {
            address,
            groups: groups.to_vec(),
            queue: VecDeque::new(),
            queue_max: QUEUE_DATAGRAMS,
            kernel_drops: 0,
            send_limit: None,
            last_due_ns: Vec::new(),
        });
        (SimulatedTransmit::new(self.clone(), index), SimulatedReceive::new(self.clone(), index))
    }

    /// Moves time on, never back: copies that are due arrive.
    pub fn advance_to(&self, now_ns: u64) {
        let mut state = self.0.borrow_mut();
        state.now_ns = state.now_ns.max(now_ns);
        state.arrive();
    }

    /// When the next copy arrives; `None` when nothing is on its way.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.0.borrow().travelling.peek().map(|next| next.0.due_ns)
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> FaultCounts {
        let state = self.0.borrow();
        let waiting: usize = state.endpoints.iter().map(|endpoint| endpoint.queue.len()).sum();
        FaultCounts { in_flight: (state.travelling.len() + waiting) as u64, ..state.counts }
    }

    /// Changes what links do from now on; copies on their way keep their fate.
    pub fn set_model(&self, model: LinkModel) {
        self.0.borrow_mut().model = model;
    }

    /// Bounds what the endpoint at `address` holds for its reader, like a receive buffer.
    pub fn set_queue(&self, address: SocketAddr, datagrams_max: usize) {
        self.0.borrow_mut().each_at(address, |endpoint| endpoint.queue_max = datagrams_max);
    }

    /// Lets the endpoint at `address` send this many datagrams more, then would-block; `None` lifts
    /// the limit.
    pub fn set_send_limit(&self, address: SocketAddr, datagrams: Option<usize>) {
        self.0.borrow_mut().each_at(address, |endpoint| endpoint.send_limit = datagrams);
    }
}

impl State {
    fn each_at(&mut self, address: SocketAddr, change: impl FnMut(&mut Endpoint)) {
        self.endpoints.iter_mut().filter(|endpoint| endpoint.address == address).for_each(change);
    }

    /// One datagram leaves `from`.
    fn depart(&mut self, from: usize, destination: SocketAddr, bytes: &[u8]) {
        self.counts.datagrams += 1;
        let mut heard = false;
        for to in 0..self.endpoints.len() {
            if self.endpoints[to].hears(destination) {
                heard = true;
                self.counts.copies += 1;
                self.copy(from, to, bytes);
            }
        }
        if !heard {
            self.counts.unrouted += 1;
        }
        self.arrive();
    }

    /// One copy meets loss and duplication.
    fn copy(&mut self, from: usize, to: usize, bytes: &[u8]) {
        if self.random.chance(self.model.loss) {
            self.counts.lost += 1;
            return;
        }
        self.travel(from, to, bytes.to_vec());
        if self.random.chance(self.model.duplicate) {
            self.counts.duplicated += 1;
            self.travel(from, to, bytes.to_vec());
        }
    }

    /// One copy meets corruption, delay and reordering.
    fn travel(&mut self, from: usize, to: usize, mut bytes: Vec<u8>) {
        if !bytes.is_empty() && self.random.chance(self.model.corrupt) {
            let bit = self.random.below(bytes.len() as u64 * 8);
            let index = usize::try_from(bit / 8).expect("an index into bytes");
            bytes[index] ^= 1 << (bit % 8);
            self.counts.corrupted += 1;
        }
        let span_ns = self.model.delay_ns_max.saturating_sub(self.model.delay_ns_min);
        let delay_ns = self.model.delay_ns_min + self.random.below(span_ns.saturating_add(1));
        let mut due_ns = self.now_ns.saturating_add(delay_ns);
        let source = self.endpoints[from].address;
        let last_due_ns = &mut self.endpoints[to].last_due_ns;
        last_due_ns.resize(last_due_ns.len().max(from + 1), 0);
        due_ns = due_ns.max(last_due_ns[from]);
        if self.random.chance(self.model.reorder) {
            self.counts.reordered += 1;
            due_ns = due_ns.saturating_add(1 + self.random.below(REORDER_NS_MAX));
        } else {
            last_due_ns[from] = due_ns;
        }
        if self.travelling.len() >= IN_FLIGHT_MAX {
            self.counts.overflowed += 1;
            return;
        }
        self.order += 1;
        let copy = Travelling { due_ns, order: self.order, endpoint: to, source, bytes };
        self.travelling.push(std::cmp::Reverse(copy));
    }

    /// Puts what is due into the queues.
    fn arrive(&mut self) {
        while self.travelling.peek().is_some_and(|next| next.0.due_ns <= self.now_ns) {
            let Some(std::cmp::Reverse(copy)) = self.travelling.pop() else { return };
            let endpoint = &mut self.endpoints[copy.endpoint];
            if endpoint.queue.len() >= endpoint.queue_max {
                endpoint.kernel_drops += 1;
                self.counts.overflowed += 1;
            } else {
                endpoint.queue.push_back((copy.source, copy.bytes));
            }
        }
    }
}
