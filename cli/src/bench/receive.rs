//! The receiving node of a run: a typed handler that checks every event, run by threads of the node
//! or by the caller's loop.
//!
//! The handler owns its account and its histogram; what others may see of them while it runs stands
//! in [`Progress`], which the handler alone writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Result;
use hdrhistogram::Histogram;
use wireloom::{Clock, Idle, Invoker, Ledger, Node, NodeBuilder};

use super::arrivals::{Arrivals, Counts};
use super::event::{BenchEvent, BenchList, Load, Reading};
use super::figures::{Percentiles, histogram};
use super::machine::peak_rss_bytes;
use super::peer::{Account, Answer, PeerPlan, Receiving, say, serve};

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

/// The handler's own: checks events, and gives its histogram away when it is dropped.
struct Checker {
    arrivals: Arrivals,
    progress: Arc<Progress>,
    times: Option<Histogram<u64>>,
    clock: Clock,
    gives: Sender<Histogram<u64>>,
}

impl Checker {
    #[inline]
    fn check(&mut self, reading: Reading) {
        self.arrivals.take(reading);
        self.progress.show(self.arrivals.counts());
        if let Some(times) = &mut self.times
            && reading.intact
            && reading.sent_ns >= self.progress.timed_from_ns.load(Ordering::Relaxed)
        {
            times.saturating_record(self.clock.now_ns().saturating_sub(reading.sent_ns));
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        if let Some(times) = self.times.take() {
            // Nobody waits for it when the run was broken off.
            let _ = self.gives.send(times);
        }
    }
}

/// Installs the handler of a run; gives what can be read while it runs, and where its histogram
/// arrives when the node has ended.
pub(super) fn install<E: Load>(
    node: &Node,
    timed: bool,
) -> Result<(Arc<Progress>, Receiver<Histogram<u64>>)> {
    let progress = Arc::new(Progress::default());
    progress.time_from(u64::MAX);
    let (gives, takes) = channel();
    let mut checker = Checker {
        arrivals: Arrivals::default(),
        progress: Arc::clone(&progress),
        times: timed.then(histogram),
        clock: Clock::system(),
        gives,
    };
    node.on::<E>(move |event, _envelope| checker.check(E::read(event)))?;
    Ok((progress, takes))
}

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

    /// Ends the agents, then the node: what it holds is sent first.
    pub(super) fn close(mut self) -> (Ledger, Vec<(String, u64)>) {
        if let Some(invoker) = &mut self.invoker {
            invoker.drain(10_000);
        }
        self.invoker = None;
        let counters = |node: &Node| {
            let counters = node.counters();
            counters.iter().map(|(meaning, value)| (meaning.name.to_owned(), *value)).collect()
        };
        let before: Vec<(String, u64)> = counters(&self.node);
        (self.node.close(), before)
    }
}

/// A receiving node as the child process drives it.
struct NodeReceiver {
    node: Driven,
    progress: Arc<Progress>,
    times: Receiver<Histogram<u64>>,
}

impl Receiving for NodeReceiver {
    #[inline]
    fn drive(&mut self) -> usize {
        self.node.drive()
    }

    fn counts(&self) -> Counts {
        self.progress.counts()
    }

    fn time_from(&mut self, timed_from_ns: u64) {
        self.progress.time_from(timed_from_ns);
    }

    fn finish(self) -> Account {
        let counts = self.progress.counts();
        let peak_rss_bytes = peak_rss_bytes();
        let (ledger, counters) = self.node.close();
        let times = self.times.recv_timeout(std::time::Duration::from_secs(1)).ok();
        Account {
            counts,
            peak_rss_bytes,
            latency: times.as_ref().and_then(Percentiles::of),
            balanced: ledger.balanced,
            received: ledger.received.events,
            delivered: ledger.received.delivered,
            lost: ledger.received.lost,
            before_join: ledger.received.before_join,
            kernel_drops: ledger.dropped_datagrams.get("kernel_drops").copied().unwrap_or(0),
            counters,
        }
    }
}

/// The child process of a run: a node, its handler, and the loop that answers the parent.
pub(super) fn serve_node(plan: &PeerPlan) -> Result<()> {
    let mut builder = Node::builder("bench-receiver").io(plan.io.backend());
    if let Some(group) = plan.group {
        builder = builder.join_on(&group.to_string(), super::loopback());
    }
    let node = Driven::start(builder, plan.driven)?;
    let (progress, times) = if plan.list {
        install::<BenchList>(&node.node, plan.timed)?
    } else {
        install::<BenchEvent>(&node.node, plan.timed)?
    };
    let (address, notes) = (node.node.address(), node.node.notes());
    let mut receiver = NodeReceiver { node, progress, times };
    // The handler is installed by a command: a turn of the loop takes it.
    while receiver.drive() > 0 {}
    say(&Answer::Ready { address, notes })?;
    serve(receiver, plan.driven)
}
