//! The receiving node of an isolation run: ring subscribers of one type that its loop polls in
//! turn, and one more that it leaves alone when it is told so.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use wireloom::{Intake, Node, Polled, SlowPolicy, Subscriber};

use super::arrivals::Counts;
use super::event::{BenchEvent, Load};
use super::machine::peak_rss_bytes;
use super::peer::{Account, Answer, PeerPlan, Receiving, Sample, say, serve};
use super::receive::{Checker, Driven, Watch};

/// Events a subscriber takes in its turn.
const POLL_MAX: usize = 256;
/// What the blocking policy waits for at most.
pub(super) const PATIENCE: Duration = Duration::from_millis(1);
/// Its ring: full within a few hundred events.
const RING_BYTES: usize = 64 << 10;
/// Keys of the policy that keeps the newest of each.
const KEYS: usize = 1_024;

/// The policy of the subscriber that is left alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Slow {
    #[default]
    DropNewest,
    DropOldest,
    Block,
    Latest,
    Disconnect,
}

impl Slow {
    pub(super) const ALL: [Self; 5] =
        [Self::DropNewest, Self::DropOldest, Self::Block, Self::Latest, Self::Disconnect];

    /// Its name on the command line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::DropNewest => "drop-newest",
            Self::DropOldest => "drop-oldest",
            Self::Block => "block",
            Self::Latest => "latest",
            Self::Disconnect => "disconnect",
        }
    }

    fn subscribe(self, node: &Node) -> Result<Subscriber<BenchEvent>> {
        let policy = match self {
            Self::DropNewest => SlowPolicy::DropNewest,
            Self::DropOldest => SlowPolicy::DropOldest,
            Self::Block => SlowPolicy::Block(PATIENCE),
            Self::Disconnect => SlowPolicy::Disconnect,
            Self::Latest => {
                let key = |event: &<BenchEvent as rkyv::Archive>::Archived| {
                    BenchEvent::read(event).sequence % KEYS as u64
                };
                return Ok(node.subscribe_latest(KEYS, key)?);
            }
        };
        Ok(node.subscribe_with(Intake::of(policy).ring_bytes(RING_BYTES))?)
    }
}

/// A subscriber that takes every event, and what it has seen.
struct Neighbour {
    subscriber: Subscriber<BenchEvent>,
    checker: Checker,
    watch: Watch,
}

impl Neighbour {
    fn poll(&mut self) -> usize {
        let checker = &mut self.checker;
        self.subscriber.poll(POLL_MAX, |polled| {
            // What does not reach it is missing in its counts.
            if let Polled::Event(event, _) = polled {
                checker.check(BenchEvent::read(event));
            }
        })
    }
}

/// The subscriber that is left alone, and what it was told.
struct Left {
    policy: Slow,
    subscriber: Subscriber<BenchEvent>,
    is_frozen: bool,
    is_cut: bool,
    taken: u64,
    shed: u64,
}

impl Left {
    fn poll(&mut self) -> usize {
        let Self { subscriber, is_cut, taken, shed, .. } = self;
        subscriber.poll(POLL_MAX, |polled| match polled {
            Polled::Event(event, _) => *taken += u64::from(BenchEvent::read(event).intact),
            Polled::Shed(told) => *shed += told.events,
            Polled::Disconnected => *is_cut = true,
            Polled::Lost(_) => {}
        })
    }
}

struct RingReceiver {
    node: Driven,
    neighbours: Vec<Neighbour>,
    left: Left,
}

impl Receiving for RingReceiver {
    #[inline]
    fn drive(&mut self) -> usize {
        let mut work = self.node.drive();
        for neighbour in &mut self.neighbours {
            work += neighbour.poll();
        }
        if !self.left.is_frozen {
            work += self.left.poll();
        }
        work
    }

    fn counts(&self) -> Counts {
        // All take the same: what one has, the others have or will miss.
        self.neighbours.first().map(|first| first.watch.progress.counts()).unwrap_or_default()
    }

    fn time_from(&mut self, timed_from_ns: u64) {
        self.neighbours.iter().for_each(|one| one.watch.progress.time_from(timed_from_ns));
    }

    fn freeze(&mut self, frozen: bool) {
        self.left.is_frozen = frozen;
        while !frozen && self.left.poll() + self.node.drive() > 0 {}
        if !frozen
            && self.left.is_cut
            && let Ok(anew) = self.left.policy.subscribe(&self.node.node)
        {
            (self.left.subscriber, self.left.is_cut) = (anew, false);
            while self.node.drive() > 0 {}
        }
    }

    fn complete(&mut self, sample: &mut Sample, paused: bool) {
        if paused {
            sample.times =
                self.neighbours.iter().flat_map(|neighbour| neighbour.watch.take_times()).collect();
        }
    }

    fn finish(mut self) -> Account {
        self.freeze(false);
        let all: Vec<Counts> =
            self.neighbours.iter().map(|one| one.watch.progress.counts()).collect();
        let same = all.iter().all(|counts| Some(counts) == all.first());
        let mut account = Account {
            counts: all.first().copied().unwrap_or_default(),
            first_delivered: self.left.taken,
            peak_rss_bytes: peak_rss_bytes(),
            // A neighbour that missed anything leaves the ledger open.
            balanced: same,
            ..Account::default()
        };
        let shed = self.left.shed;
        let (ledger, counters) = self.node.close();
        account.add(&ledger);
        account.counters = counters;
        account.counters.push(("left_alone_told_shed".to_owned(), shed));
        account
    }
}

/// The child process of an isolation run.
pub(super) fn serve_rings(plan: &PeerPlan) -> Result<()> {
    let mut node = Driven::start(Node::builder("bench-rings"), true)?;
    let mut neighbours = Vec::new();
    for _ in 0..plan.handlers.max(1) {
        let checker = Checker::new(plan.timed_every);
        let (subscriber, watch) = (node.node.subscribe()?, checker.watch());
        neighbours.push(Neighbour { subscriber, checker, watch });
    }
    let subscriber = plan.slow.subscribe(&node.node)?;
    let left =
        Left { policy: plan.slow, subscriber, is_frozen: false, is_cut: false, taken: 0, shed: 0 };
    // The subscriptions are installed by commands: turns of the loop take them.
    while node.drive() > 0 {}
    let (addresses, notes) = (vec![node.node.address()], node.node.notes());
    say(&Answer::Ready { addresses, notes })?;
    serve(RingReceiver { node, neighbours, left }, true)
}
