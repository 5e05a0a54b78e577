//! The receiving node of a run: a typed handler that checks every event, run by threads of the node
//! or by the caller's loop.
//!
//! The handler owns its account; what others may see of it while it runs stands in [`Progress`] and
//! [`Times`], which the handler alone writes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use wireloom::{Clock, Idle, Invoker, Ledger, Node, NodeBuilder, Target};
use wireloom_seal::{Cipher, Secret};

use super::arrivals::{Arrivals, Counts};
use super::event::{BenchAlarm, BenchBulk, BenchEvent, BenchList, Load, Reading};
use super::machine::peak_rss_bytes;
use super::peer::{Account, Answer, Events, PeerPlan, Receiving, Sample, say, serve};
use super::times::{Counted, Times};

/// What a handler has counted, to be read from elsewhere. On cache lines of its own: whoever else
/// writes beside it would slow the handler down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Progress {
    delivered: AtomicU64,
    late: AtomicU64,
    duplicated: AtomicU64,
    corrupt: AtomicU64,
    /// Latency counts for events published from this monotonic time on.
    timed_from_ns: AtomicU64,
}

impl Progress {
    /// What the handler has counted so far.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            delivered: self.delivered.load(Ordering::Relaxed),
            late: self.late.load(Ordering::Relaxed),
            duplicated: self.duplicated.load(Ordering::Relaxed),
            corrupt: self.corrupt.load(Ordering::Relaxed),
        }
    }

    /// Measures latency for events published from this monotonic time on.
    pub(super) fn time_from(&self, timed_from_ns: u64) {
        self.timed_from_ns.store(timed_from_ns, Ordering::Relaxed);
    }

    #[inline]
    fn show(&self, counts: Counts) {
        self.delivered.store(counts.delivered, Ordering::Relaxed);
        // The others change next to never; writing them is left out until they do.
        if counts.late + counts.duplicated + counts.corrupt > 0 {
            self.late.store(counts.late, Ordering::Relaxed);
            self.duplicated.store(counts.duplicated, Ordering::Relaxed);
            self.corrupt.store(counts.corrupt, Ordering::Relaxed);
        }
    }
}

/// The handler's own: checks events and times them.
pub(super) struct Checker {
    arrivals: Arrivals,
    progress: Arc<Progress>,
    times: Option<Arc<Times>>,
    timed_every: u64,
    clock: Clock,
}

impl Checker {
    /// A checker that times each event whose sequence is a multiple of `timed_every`; 0 of none.
    pub(super) fn new(timed_every: u64) -> Self {
        let progress = Arc::new(Progress::default());
        progress.time_from(u64::MAX);
        Self {
            arrivals: Arrivals::default(),
            progress,
            times: (timed_every > 0).then(|| Arc::new(Times::new())),
            timed_every: timed_every.max(1),
            clock: Clock::system(),
        }
    }

    /// What others may see of it while it runs.
    pub(super) fn watch(&self) -> Watch {
        Watch { progress: Arc::clone(&self.progress), times: self.times.clone() }
    }

    #[inline]
    pub(super) fn check(&mut self, reading: Reading) {
        self.arrivals.take(reading);
        self.progress.show(self.arrivals.counts());
        if let Some(times) = &self.times
            && reading.intact
            && reading.sent_ns >= self.progress.timed_from_ns.load(Ordering::Relaxed)
            && reading.sequence.is_multiple_of(self.timed_every)
        {
            times.record(self.clock.now_ns().saturating_sub(reading.sent_ns));
        }
    }
}

/// One handler as seen from outside.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    pub(super) progress: Arc<Progress>,
    pub(super) times: Option<Arc<Times>>,
}

impl Watch {
    /// What was timed since the last call.
    pub(super) fn take_times(&self) -> Counted {
        self.times.as_ref().map(|times| times.take()).unwrap_or_default()
    }
}

/// Installs the handler of a run.
pub(super) fn install<E: Load>(node: &Node, timed_every: u64) -> Result<Watch> {
    let mut checker = Checker::new(timed_every);
    let watch = checker.watch();
    node.on::<E>(move |event, _envelope| checker.check(E::read(event)))?;
    Ok(watch)
}

/// Installs a handler that answers every event with the same one.
fn install_reply<E: Load>(node: &Node, plan: &PeerPlan, to: SocketAddr) -> Result<Watch> {
    let mut checker = Checker::new(0);
    let watch = checker.watch();
    let target = if plan.reliable { Target::Reliable(to) } else { Target::Node(to) };
    let mut publisher = node.publisher::<E>(&target)?;
    let mut reply = E::with_payload(plan.payload_bytes);
    node.on::<E>(move |event, _envelope| {
        let reading = E::read(event);
        checker.check(reading);
        if reading.intact {
            reply.fill(reading.sequence, reading.sent_ns);
            // Refused: the other side misses the answer and counts it as lost.
            let _ = publisher.publish(&reply);
        }
    })?;
    Ok(watch)
}

/// How long a node may take to send what it holds.
const FLUSH: std::time::Duration = std::time::Duration::from_secs(1);

/// A node and whoever drives it.
pub(super) struct Driven {
    pub(super) node: Node,
    pub(super) invoker: Option<Invoker>,
}

impl Driven {
    /// Starts the node with threads of its own, or for the caller's loop.
    pub(super) fn start(builder: NodeBuilder, driven: bool) -> Result<Self> {
        if driven {
            let (node, invoker) = builder.start_invoker()?;
            Ok(Self { node, invoker: Some(invoker) })
        } else {
            Ok(Self { node: builder.idle(Idle::default()).start()?, invoker: None })
        }
    }

    /// One turn; returns the work done, 0 when threads do it.
    #[inline]
    pub(super) fn drive(&mut self) -> usize {
        self.invoker.as_mut().map_or(0, Invoker::do_work)
    }

    /// Sends what the node holds, for a while: a peer's window may have to open first.
    pub(super) fn flush(&mut self) {
        let until = std::time::Instant::now() + FLUSH;
        while let Some(invoker) = &mut self.invoker
            && (invoker.do_work() > 0 || invoker.is_blocked())
            && std::time::Instant::now() < until
        {}
    }

    /// Ends the agents, then the node: what it holds is sent first.
    pub(super) fn close(mut self) -> (Ledger, Vec<(String, u64)>) {
        self.flush();
        self.invoker = None;
        let counters = |node: &Node| {
            let counters = node.counters();
            counters.iter().map(|(meaning, value)| (meaning.name.to_owned(), *value)).collect()
        };
        let before: Vec<(String, u64)> = counters(&self.node);
        (self.node.close(), before)
    }
}

/// Turns of a node that answers, before its loop looks for questions again.
const REPLY_TURNS: usize = 16;

/// The receiving nodes of a child process, and whoever drives them.
struct NodeReceiver {
    nodes: Vec<Driven>,
    watches: Vec<Watch>,
    turns: usize,
    busy: Option<(Clock, u64)>,
}

impl NodeReceiver {
    #[inline]
    fn turn(&mut self) -> usize {
        self.nodes.iter_mut().map(Driven::drive).sum()
    }
}

impl Receiving for NodeReceiver {
    #[inline]
    fn drive(&mut self) -> usize {
        let Some((clock, busy_ns)) = &mut self.busy else {
            return (0..self.turns).map(|_| self.turn()).sum();
        };
        let from_ns = clock.now_ns();
        let work = self.nodes.iter_mut().map(Driven::drive).sum();
        if work > 0 {
            *busy_ns += clock.now_ns() - from_ns;
        }
        work
    }

    fn counts(&self) -> Counts {
        self.watches.iter().map(|watch| watch.progress.counts()).sum()
    }

    fn time_from(&mut self, timed_from_ns: u64) {
        self.watches.iter().for_each(|watch| watch.progress.time_from(timed_from_ns));
    }

    fn complete(&mut self, sample: &mut Sample, paused: bool) {
        let workers = self.nodes.iter().flat_map(|node| node.node.workers());
        sample.wakes = workers.map(|worker| worker.parks).sum();
        sample.busy_ns = self.busy.as_ref().map_or(0, |(_, busy_ns)| *busy_ns);
        if paused && let [first, ..] = &self.watches[..] {
            sample.times = first.take_times();
        }
    }

    fn finish(self) -> Account {
        let first = self.watches.first().map(|watch| watch.progress.counts());
        let mut account = Account {
            counts: self.counts(),
            first_delivered: first.unwrap_or_default().delivered,
            peak_rss_bytes: peak_rss_bytes(),
            balanced: true,
            ..Account::default()
        };
        let mut counters = BTreeMap::<String, u64>::new();
        for node in self.nodes {
            let (ledger, counted) = node.close();
            account.add(&ledger);
            for (name, value) in counted {
                *counters.entry(name).or_default() += value;
            }
        }
        account.counters = counters.into_iter().collect();
        account
    }
}

/// The handlers of one node, as planned.
fn handlers(node: &Node, plan: &PeerPlan) -> Result<Vec<Watch>> {
    let one = || match (plan.events, plan.reply_to) {
        (Events::List, Some(to)) => install_reply::<BenchList>(node, plan, to),
        (_, Some(to)) => install_reply::<BenchEvent>(node, plan, to),
        (Events::List, None) => install::<BenchList>(node, plan.timed_every),
        (Events::Fixed, None) => install::<BenchEvent>(node, plan.timed_every),
        (Events::Priorities, None) => install::<BenchAlarm>(node, plan.timed_every),
    };
    let mut watches = (0..plan.handlers.max(1)).map(|_| one()).collect::<Result<Vec<_>>>()?;
    if plan.events == Events::Priorities {
        watches.push(install::<BenchBulk>(node, 0)?);
    }
    Ok(watches)
}

/// The child process of a run: nodes, their handlers, and the loop that answers the parent.
pub(super) fn serve_node(plan: &PeerPlan) -> Result<()> {
    let mut receiver = NodeReceiver {
        nodes: Vec::new(),
        watches: Vec::new(),
        turns: if plan.reply_to.is_some() { REPLY_TURNS } else { 1 },
        busy: plan.busy.then(|| (Clock::system(), 0)),
    };
    for index in 0..plan.nodes.max(1) {
        let mut builder = Node::builder(&format!("bench-receiver-{index}")).io(plan.io.backend());
        if let Some(group) = plan.group {
            builder = builder.join_on(&group.to_string(), super::loopback());
        }
        let mut node = Driven::start(builder, plan.driven)?;
        receiver.watches.extend(handlers(&node.node, plan)?);
        if let Some(mode) = plan.security.mode() {
            let secret = Secret::new(Cipher::of_this_processor(), &plan.secret);
            node.node.open_from(
                wireloom_wire::NodeId::of_name(super::udp::PUBLISHER),
                secret,
                mode,
            )?;
        }
        // The handlers are installed by commands: turns of the loop take them.
        while node.drive() > 0 {}
        receiver.nodes.push(node);
    }
    let addresses = receiver.nodes.iter().map(|node| node.node.address()).collect();
    let notes = receiver.nodes.first().map(|node| node.node.notes()).unwrap_or_default();
    say(&Answer::Ready { addresses, notes })?;
    serve(receiver, plan.driven)
}
