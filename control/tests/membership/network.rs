//! A network in memory for membership machines: loss, delay, partitions, pauses, crashes and
//! restarts, one seed, one loop, virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use wireloom_control::discovery::Discovery;
use wireloom_control::membership::{
    Change, Identity, Membership, MembershipConfig, Record, Timing,
};
use wireloom_wire::{NodeId, SessionId};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

/// Where everybody hears.
pub(crate) fn group() -> SocketAddr {
    ([239, 255, 87, 76], 9_076).into()
}

pub(crate) fn address(index: usize) -> SocketAddr {
    let [.., high, low] = u32::try_from(index).expect("few nodes").to_be_bytes();
    ([10, 0, high, low], 9_000).into()
}

pub(crate) fn record(index: usize, life: u64) -> Record {
    let node = NodeId(index as u64 + 1);
    Record::new(Identity { life, node, address: address(index) }, &format!("node-{index}"))
}

pub(crate) fn machine(record: Record, seed: u64) -> Membership {
    let config =
        MembershipConfig { record, cluster: SessionId(1), seed, timing: Timing::default() };
    Membership::new(config).expect("a good record")
}

#[derive(Default)]
pub(crate) struct Node {
    pub(crate) machine: Option<Membership>,
    /// Says hello for it; without one the test does.
    discovery: Option<Discovery>,
    /// Has not joined the group.
    pub(crate) off_group: bool,
    pub(crate) life: u64,
    pub(crate) paused_until_ns: u64,
    /// How far its clock is from the network's, ns.
    pub(crate) clock_ns: i64,
    /// Its clock stands still since then.
    pub(crate) frozen_at_ns: Option<u64>,
    /// Runs only in the first 5 ms of each 100 ms.
    pub(crate) slow: bool,
    /// Nothing that is sent to it arrives.
    pub(crate) deaf: bool,
    side: u8,
    /// When it is to be called next; other calls that are waiting are old.
    call_at_ns: u64,
    waiting: Vec<(SocketAddr, Vec<u8>)>,
    /// Members it has lost: when, and whom.
    pub(crate) downs: Vec<(u64, SocketAddr)>,
    /// Members it has found.
    pub(crate) ups: Vec<(u64, SocketAddr)>,
    pub(crate) shared_names: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Cut {
    None,
    Both,
    /// Side 0 is not heard by side 1.
    OneWay,
}

/// When a packet arrives, its place among others, at whom, from whom, and its bytes.
type Travelling = (u64, u64, usize, SocketAddr, Vec<u8>);

pub(crate) struct Network {
    pub(crate) now_ns: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) random: SmallRng,
    pub(crate) loss: f64,
    pub(crate) delay_ns: (u64, u64),
    pub(crate) cut: Cut,
    /// These two do not hear each other; all others do.
    pub(crate) apart: Option<(usize, usize)>,
    pub(crate) bytes: u64,
    order: u64,
    travelling: BinaryHeap<Reverse<Travelling>>,
    calls: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Network {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        Self {
            now_ns: 1_000 * SECOND,
            nodes: (0..nodes).map(|_| Node::default()).collect(),
            random: SmallRng::seed_from_u64(seed),
            loss: 0.0,
            delay_ns: (MS / 10, MS),
            cut: Cut::None,
            apart: None,
            bytes: 0,
            order: 0,
            travelling: BinaryHeap::new(),
            calls: BinaryHeap::new(),
        }
    }

    /// A node starts (again) and says hello to these.
    pub(crate) fn start(&mut self, index: usize, hellos: &[SocketAddr]) {
        let life = self.nodes[index].life + 1;
        self.start_as(index, record(index, life), hellos);
    }

    pub(crate) fn start_as(&mut self, index: usize, record: Record, hellos: &[SocketAddr]) {
        self.nodes[index].life = record.identity.life;
        let seed = self.random.random();
        self.nodes[index].machine = Some(machine(record, seed));
        self.hello(index, hellos);
    }

    /// A node starts (again) and says hello as the product does.
    pub(crate) fn start_discovering(&mut self, index: usize, group: bool, seeds: &[SocketAddr]) {
        let heard = group.then(self::group);
        self.nodes[index].off_group = !group;
        self.nodes[index].discovery = Some(Discovery::new(heard, seeds, self.now_ns));
        self.start(index, &[]);
        self.call(index);
    }

    pub(crate) fn hello(&mut self, index: usize, hellos: &[SocketAddr]) {
        let now_ns = self.now_ns;
        let machine = self.nodes[index].machine.as_mut().expect("it runs");
        for to in hellos {
            machine.hello(*to, now_ns);
        }
        self.settle(index);
    }

    /// It says goodbye and is gone.
    pub(crate) fn leave(&mut self, index: usize) {
        let now_ns = self.now_ns;
        self.nodes[index].machine.as_mut().expect("it runs").leave(now_ns);
        self.settle(index);
        self.crash(index);
    }

    pub(crate) fn crash(&mut self, index: usize) {
        self.nodes[index].machine = None;
        self.nodes[index].discovery = None;
        self.nodes[index].waiting.clear();
    }

    pub(crate) fn split(&mut self, cut: Cut) {
        self.cut = cut;
        for index in 0..self.nodes.len() {
            self.nodes[index].side = u8::from(self.random.random_bool(0.5));
        }
    }

    /// Nothing that this node sends reaches the others any more; what they send reaches it.
    pub(crate) fn silence(&mut self, index: usize) {
        self.cut = Cut::OneWay;
        for (at, node) in self.nodes.iter_mut().enumerate() {
            node.side = u8::from(at != index);
        }
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        if self.apart.is_some_and(|apart| apart == (from, to) || apart == (to, from)) {
            return false;
        }
        let (from, to) = (self.nodes[from].side, self.nodes[to].side);
        match self.cut {
            Cut::None => true,
            Cut::Both => from == to,
            Cut::OneWay => !(from == 0 && to == 1),
        }
    }

    /// Sends what a machine has to send, notes its changes and asks when it wants to be called.
    pub(crate) fn settle(&mut self, index: usize) {
        let now_ns = self.now_ns;
        let node = &mut self.nodes[index];
        let Some(machine) = &mut node.machine else { return };
        for change in machine.take_changes() {
            match change {
                Change::Up(identity) => node.ups.push((now_ns, identity.address)),
                Change::Down(identity) => node.downs.push((now_ns, identity.address)),
                Change::SharedName(name) => node.shared_names.push(name),
                Change::Changed(_) => {}
            }
        }
        let says_ns = node.discovery.as_ref().and_then(Discovery::deadline_ns);
        if let Some(at_ns) = machine.deadline_ns().into_iter().chain(says_ns).min() {
            let at_ns = at_ns.saturating_add_signed(-node.clock_ns);
            // One whose clock stands still comes round all the same.
            let least_ns = if node.frozen_at_ns.is_some() { 10 * MS } else { 0 };
            node.call_at_ns = at_ns.max(now_ns + least_ns);
            self.calls.push(Reverse((node.call_at_ns, index)));
        }
        for (to, bytes) in machine.take_packets() {
            self.depart(index, to, &bytes);
        }
    }

    fn depart(&mut self, from: usize, to: SocketAddr, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if to == group() {
            for index in 0..self.nodes.len() {
                if !self.nodes[index].off_group {
                    self.copy(from, index, bytes);
                }
            }
            return;
        }
        let SocketAddr::V4(to) = to else { return };
        let [_, _, high, low] = to.ip().octets();
        let index = usize::from(high) << 8 | usize::from(low);
        if index < self.nodes.len() {
            self.copy(from, index, bytes);
        }
    }

    fn copy(&mut self, from: usize, to: usize, bytes: &[u8]) {
        if !self.reaches(from, to) || self.nodes[to].deaf || self.random.random_bool(self.loss) {
            return;
        }
        let delay_ns = self.random.random_range(self.delay_ns.0..=self.delay_ns.1);
        self.order += 1;
        let due_ns = self.now_ns + delay_ns;
        let source = address(from);
        self.travelling.push(Reverse((due_ns, self.order, to, source, bytes.to_vec())));
    }

    /// What the node's own clock shows.
    fn clock(&self, index: usize) -> u64 {
        let node = &self.nodes[index];
        node.frozen_at_ns.unwrap_or(self.now_ns).saturating_add_signed(node.clock_ns)
    }

    /// When the node next runs; now, if it does.
    fn runs_at(&self, index: usize) -> u64 {
        let node = &self.nodes[index];
        let at_ns = self.now_ns.max(node.paused_until_ns);
        let within_ns = at_ns % (100 * MS);
        if node.slow && within_ns > 5 * MS { at_ns - within_ns + 100 * MS } else { at_ns }
    }

    /// Packets first, then timers: as the agent does.
    fn call(&mut self, index: usize) {
        let at_ns = self.runs_at(index);
        if at_ns > self.now_ns {
            self.nodes[index].call_at_ns = at_ns;
            self.calls.push(Reverse((at_ns, index)));
            return;
        }
        let clock_ns = self.clock(index);
        let node = &mut self.nodes[index];
        let waiting = std::mem::take(&mut node.waiting);
        let Some(machine) = &mut node.machine else { return };
        for (from, bytes) in waiting {
            machine.on_packet(from, &bytes, clock_ns);
        }
        machine.on_time(clock_ns);
        if let Some(discovery) = &mut node.discovery {
            let alone = machine.up() == 0;
            let hellos = discovery.due(clock_ns, alone, |address| machine.is_up(address));
            hellos.into_iter().for_each(|to| machine.hello(to, clock_ns));
        }
        self.settle(index);
    }

    pub(crate) fn run(&mut self, for_ns: u64) {
        let end_ns = self.now_ns + for_ns;
        loop {
            let packet = self.travelling.peek().map_or(u64::MAX, |next| next.0.0);
            let call = self.calls.peek().map_or(u64::MAX, |next| next.0.0);
            let next_ns = packet.min(call);
            if next_ns > end_ns {
                break;
            }
            self.now_ns = self.now_ns.max(next_ns);
            if packet <= call {
                let Some(Reverse((_, _, to, from, bytes))) = self.travelling.pop() else { break };
                if self.nodes[to].machine.is_some() && self.nodes[to].waiting.len() < 1_000 {
                    self.nodes[to].waiting.push((from, bytes));
                    self.call(to);
                }
            } else {
                let Some(Reverse((_, index))) = self.calls.pop() else { break };
                if self.nodes[index].call_at_ns == call {
                    self.nodes[index].call_at_ns = u64::MAX;
                    self.call(index);
                }
            }
        }
        self.now_ns = end_ns;
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].machine.is_some()).collect()
    }

    /// Whether everybody has as many members as there are.
    fn counts_agree(&self) -> bool {
        let running = self.running();
        let counts = |index: &usize| self.nodes[*index].machine.as_ref().map(|of| of.up() + 1);
        running.iter().all(|index| counts(index) == Some(running.len()))
    }

    /// Who does not know exactly those that run, with what is missing or too much.
    pub(crate) fn disagreements(&self) -> Vec<String> {
        let running = self.running();
        let mut wrong = Vec::new();
        for index in &running {
            let machine = self.nodes[*index].machine.as_ref().expect("it runs");
            let members = machine.members();
            let up: Vec<SocketAddr> = members
                .iter()
                .filter(|member| member.is_up())
                .map(wireloom_control::membership::Member::address)
                .collect();
            let expected: Vec<SocketAddr> = running.iter().map(|index| address(*index)).collect();
            if up != expected {
                let missing: Vec<_> = expected.iter().filter(|one| !up.contains(one)).collect();
                let extra: Vec<_> = up.iter().filter(|one| !expected.contains(one)).collect();
                wrong.push(format!("node {index}: misses {missing:?}, has beside {extra:?}"));
            }
        }
        wrong
    }

    /// Runs until all agree; the time it took, or what they disagree about.
    pub(crate) fn converge(&mut self, step_ns: u64, at_most_ns: u64) -> Result<u64, Vec<String>> {
        let begun_ns = self.now_ns;
        loop {
            let late = self.now_ns - begun_ns >= at_most_ns;
            if late || self.counts_agree() {
                let wrong = self.disagreements();
                if wrong.is_empty() {
                    return Ok(self.now_ns - begun_ns);
                }
                if late {
                    return Err(wrong);
                }
            }
            self.run(step_ns);
        }
    }
}
