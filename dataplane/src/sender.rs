//! The sender agent: drains outbound rings by priority lane, packs whole frames into packets, sends
//! runs of packets, and keeps what the kernel would not take.
//!
//! It owns the outbound rings' consumers, the links and their sequences. The way through it:
//! `tend_held` (who may go on) → `gather` (rings → plan) → `form_runs`, `write_packets` (plan →
//! headers, or sealed packets, in runs) → `transmit` (runs → kernel), for what is urgent and then
//! for the rest → `release`.

mod direct;
mod emit;
mod held;
mod plan;
mod sealed;
mod stash;
mod tails;

use std::ops::Range;
use std::sync::Arc;

use wireloom_wire::LANES;

use crate::agent::Agent;
use crate::clock::Clock;
use crate::command::{Commands, Returns, SenderCommand};
use crate::counters::{Counter, Counters};
use crate::direct::DirectUse;
use crate::io::Transmit;
use crate::limits::{
    COMMANDS_PER_CYCLE, CYCLE_BYTES, DATAGRAM_BYTES_MAX, LANE_BYTES_MIN, LINKS_MAX, OUTBOUNDS_MAX,
    SHORT_CYCLE_BYTES, SHORT_CYCLE_NS,
};
use crate::link::{Link, LinkId};
use crate::outbound::Outbound;
use direct::Direct;
use emit::Emission;
use held::Held;
use plan::{Plan, RingIndex, Turn};
use stash::Stash;
use tails::Tails;

/// The links of a sender by slot.
#[derive(Debug)]
pub(crate) struct Links(Vec<Option<Box<Link>>>);

impl Links {
    #[inline]
    fn get(&self, id: LinkId) -> Option<&Link> {
        self.0.get(id.slot())?.as_deref().filter(|link| link.id == id)
    }

    #[inline]
    fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.0.get_mut(id.slot())?.as_deref_mut().filter(|link| link.id == id)
    }
}

/// The rings of a sender by lane, highest priority first.
pub(crate) type Lanes = [Vec<Box<Outbound>>; LANES];

/// The agent that sends. `T` is the way out: sockets or the simulated network.
#[derive(Debug)]
pub struct Sender<T> {
    transport: T,
    commands: Commands<SenderCommand>,
    returns: Returns,
    counters: Arc<Counters>,
    links: Links,
    lanes: Lanes,
    /// Which ring of a lane comes first this cycle; moves so that none is favoured.
    turn: usize,
    plan: Plan,
    emission: Emission,
    stash: Stash,
    tails: Tails,
    held: Held,
    direct: Direct,
    /// When to offer the stash to the kernel again.
    retry_ns: u64,
    /// Until when cycles of the other lanes are short, for urgent events flow.
    short_until_ns: u64,
    clock: Clock,
}

/// The lanes of critical and high events.
const URGENT_LANES: usize = 2;

/// How long a full socket buffer is left alone before the stash is offered again: the time a 1 Gb/s
/// device takes for about 10 kB.
const RETRY_NS: u64 = 100_000;

impl<T: Transmit> Sender<T> {
    /// Allocates everything the sender will ever need (about 200 KiB, most of it touched only under
    /// load) and waits for commands. `clock` says what time it is for deadlines.
    #[must_use]
    pub fn new(
        transport: T,
        commands: Commands<SenderCommand>,
        returns: Returns,
        clock: Clock,
    ) -> Self {
        Self {
            transport,
            commands,
            returns,
            counters: Arc::new(Counters::default()),
            links: Links((0..LINKS_MAX).map(|_| None).collect()),
            lanes: std::array::from_fn(|_| Vec::with_capacity(OUTBOUNDS_MAX)),
            turn: 0,
            plan: Plan::new(),
            emission: Emission::new(),
            stash: Stash::new(),
            tails: Tails::new(),
            held: Held::new(),
            direct: Direct::new(None),
            retry_ns: 0,
            short_until_ns: 0,
            clock,
        }
    }

    /// The same sender, whose way out has a socket that may be connected to one link's peer: the
    /// one with this index.
    #[must_use]
    pub fn with_direct(mut self, socket: usize) -> Self {
        self.direct = Direct::new(Some(socket));
        self
    }

    /// Which link uses the direct socket, to be read from elsewhere.
    #[must_use]
    pub const fn direct_use(&self) -> &Arc<DirectUse> {
        self.direct.in_use()
    }

    /// The counters of this sender, to be read from elsewhere.
    #[must_use]
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    fn take_commands(&mut self) -> usize {
        for taken in 0..COMMANDS_PER_CYCLE {
            let Some(command) = self.commands.pop() else { return taken };
            self.counters.add(Counter::Commands, 1);
            match command {
                SenderCommand::AddLink(link) => {
                    let slot = link.id.slot();
                    if let Some(old) = self.links.0[slot].replace(link) {
                        self.returns.give_back(old, &self.counters);
                    }
                }
                SenderCommand::RemoveLink(id) => {
                    if self.links.get(id).is_some()
                        && let Some(old) = self.links.0[id.slot()].take()
                    {
                        self.returns.give_back(old, &self.counters);
                    }
                }
                SenderCommand::SetPath(id, packet_bytes, packet_bytes_max) => {
                    if let Some(link) = self.links.get_mut(id) {
                        link.set_path(packet_bytes, packet_bytes_max);
                    }
                }
                SenderCommand::SetFlow(id, flow) => {
                    if let Some(link) = self.links.get_mut(id) {
                        link.set_flow(flow);
                    }
                }
                SenderCommand::SetKey(id, seal) => {
                    let unused = match self.links.get_mut(id) {
                        Some(link) => link.set_seal(seal),
                        None => Some(seal),
                    };
                    if let Some(unused) = unused {
                        self.returns.give_back(unused, &self.counters);
                    }
                }
                SenderCommand::TakeKey(id) => {
                    if let Some(seal) = self.links.get_mut(id).and_then(|link| link.take_seal()) {
                        self.returns.give_back(seal, &self.counters);
                    }
                }
                SenderCommand::SetDirect(link) => self.direct.want(link),
                SenderCommand::Attach(outbound) => {
                    let lane = &mut self.lanes[outbound.lane.min(LANES - 1)];
                    if lane.len() < OUTBOUNDS_MAX {
                        lane.push(outbound);
                    } else {
                        self.returns.give_back(outbound, &self.counters);
                    }
                }
            }
        }
        COMMANDS_PER_CYCLE
    }

    /// Rings of these lanes → plan: higher lanes first, each lower lane at least a packet, rings in
    /// turn. Takes the bytes that other lanes have packed in this cycle; returns those of all.
    fn gather(&mut self, lanes: Range<usize>, mut packed: usize, now_ns: u64) -> usize {
        self.plan.clear();
        let now_unix_ns = self.clock.unix_ns(now_ns);
        let is_short = lanes.start >= URGENT_LANES && now_ns < self.short_until_ns;
        let (cycle_bytes, packet_bytes) = if is_short {
            (SHORT_CYCLE_BYTES, SHORT_CYCLE_BYTES)
        } else {
            (CYCLE_BYTES, DATAGRAM_BYTES_MAX)
        };
        for lane in lanes {
            let rings = &mut self.lanes[lane];
            let mut budget = cycle_bytes.saturating_sub(packed).max(LANE_BYTES_MIN);
            let count = rings.len();
            for step in 0..count {
                let index = if count == 1 { 0 } else { (self.turn + step) % count };
                let bytes = self.plan.gather(
                    &mut self.links,
                    &mut rings[index],
                    Turn {
                        ring: RingIndex { lane, index },
                        budget,
                        bytes_max: packet_bytes.saturating_sub(packed).max(LANE_BYTES_MIN),
                        now_ns,
                        now_unix_ns,
                    },
                    &self.counters,
                );
                packed += bytes;
                budget = budget.saturating_sub(bytes);
                if budget == 0 {
                    break;
                }
            }
        }
        if !self.plan.held.is_empty() {
            self.counters.add(Counter::WindowsUsedUp, self.plan.held.len() as u64);
            self.held.extend(&self.plan.held);
        }
        packed
    }

    /// Gives the packed and shed bytes back to their publishers; drops rings that have ended.
    fn release(&mut self) -> usize {
        let mut released = 0;
        for rings in &mut self.lanes {
            let mut index = 0;
            while index < rings.len() {
                let ring = &mut rings[index];
                if ring.taken > 0 {
                    ring.consumer.release(ring.taken);
                    released += ring.taken;
                    ring.taken = 0;
                } else if ring.ended {
                    let ended = rings.swap_remove(index);
                    self.returns.give_back(ended, &self.counters);
                    continue;
                }
                index += 1;
            }
        }
        released
    }

    fn publish_io_counters(&self) {
        let io = self.transport.counters();
        self.counters.set(Counter::DatagramsRefused, io.refused);
        self.counters.set(Counter::SegmentationFailures, io.segmentation_failures);
    }
}

impl<T: Transmit> Agent for Sender<T> {
    fn name(&self) -> &'static str {
        "sender"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        let commands = self.take_commands();
        if !self.stash.is_empty() {
            let resumed = self.stash.resume(&mut self.transport);
            if !self.stash.is_empty() {
                self.retry_ns = now_ns + RETRY_NS;
                return commands + resumed;
            }
        }
        self.direct.settle(&mut self.links);
        let asked = if self.held.is_empty() { 0 } else { self.tend_held(now_ns) };
        self.turn = self.turn.wrapping_add(1);
        let (mut packed, mut sent) = (0, 0);
        // What is urgent is in the kernel before the rest is hashed.
        for lanes in [0..URGENT_LANES, URGENT_LANES..LANES] {
            let is_urgent = lanes.end == URGENT_LANES;
            packed = self.gather(lanes, packed, now_ns);
            if is_urgent && packed > 0 {
                self.short_until_ns = now_ns + SHORT_CYCLE_NS;
            }
            sent += if self.plan.is_empty() { 0 } else { self.send_plan(now_ns) };
            if !self.stash.is_empty() {
                break;
            }
        }
        let released = self.release();
        let marked = if self.tails.is_due(now_ns) { self.mark_tails(now_ns) } else { 0 };
        if sent + marked + asked > 0 {
            self.publish_io_counters();
            self.retry_ns = now_ns + RETRY_NS;
        }
        commands + sent + released + marked + asked
    }

    fn deadline_ns(&self) -> Option<u64> {
        let retry_ns = (!self.stash.is_empty()).then_some(self.retry_ns);
        [self.tails.due_ns(), self.ask_ns(), retry_ns].into_iter().flatten().min()
    }

    fn is_blocked(&self) -> bool {
        !self.stash.is_empty() || !self.held.is_empty()
    }

    fn on_close(&mut self, now_ns: u64) {
        // A marker must not overtake packets that still wait.
        if self.stash.is_empty() {
            self.mark_every_tail(now_ns);
        }
        self.publish_io_counters();
    }
}
