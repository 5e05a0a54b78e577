//! One event there and back between two processes: the product and the raw round trip in
//! alternating slices.
//!
//! This process publishes an event, the other's typed handler publishes it back, and the handler
//! here takes the time and publishes the next one. Spinning, each side is one thread that drives
//! its node; adaptive, each node has a worker that parks, and the handlers publish from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use wireloom::{Clock, Node, Published, Publisher, Target};

use super::echo::{LOST_NS, RawPing, Wire};
use super::event::{
    BenchEvent, BenchList, FIXED_PAYLOAD_BYTES, Load, archived_bytes, payload_in_range,
};
use super::figures::percent;
use super::flow::{IdleChoice, IoChoice, Transport};
use super::machine::{peak_rss_bytes, pin, process_cpu_ns};
use super::peer::{Account, Events, Peer, PeerPlan, PeerWork, Question};
use super::place::{Place, PlaceArgs, Slices, measured_ns};
use super::receive::{Checker, Driven, Watch};
use super::report::{CrossLedger, carried};
use super::round_trip::RoundTrips;
use crate::output::Output;
use crate::values::{duration, size};

/// Turns of the node between two looks at whether the slice is over.
const TURNS: usize = 64;
/// How often the main thread looks while the node's worker goes on by itself: seldom, for it runs
/// on the same core.
const LOOK: Duration = Duration::from_millis(20);
/// Lost in a row after which the other process is taken for dead.
const LOST_IN_A_ROW_MAX: u64 = 50;
/// How long each goes before it is measured.
const WARM_UP_NS: u64 = 100_000_000;
/// Silence in which a sender marks how far its stream has come.
const TAIL_NS: u64 = 12_000_000;

/// Options of the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct PingpongArgs {
    /// Reliable events over TCP, beside a plain TCP connection
    #[arg(long)]
    reliable: bool,
    /// What both sides do while they wait: poll all the time, or sleep until woken
    #[arg(long, value_name = "STRATEGY", default_value = "spin")]
    idle: IdleChoice,
    /// What carries the datagrams of both nodes
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    io: IoChoice,
    /// Archived size of the event: 32 to 65,000 bytes, in steps of 8
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = size)]
    payload_bytes: usize,
    /// How long to measure the product; the raw round trip takes as long again
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    duration: Duration,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

impl PingpongArgs {
    const fn transport(&self) -> Transport {
        if self.reliable { Transport::Reliable } else { Transport::Unicast }
    }
}

/// Runs the mode.
pub(super) fn run(args: &PingpongArgs, output: &Output) -> Result<RoundTrips> {
    payload_in_range(args.payload_bytes)?;
    if args.payload_bytes == FIXED_PAYLOAD_BYTES {
        Run::<BenchEvent>::prepare(args, Events::Fixed)?.measure(output)
    } else {
        Run::<BenchList>::prepare(args, Events::List)?.measure(output)
    }
}

/// What the handler and the main thread share.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Turns {
    /// Events begun so far: the sequence of the next one. Whoever moves it on publishes that event,
    /// so that there is never more than one under way.
    begun: AtomicU64,
    /// Nothing is begun from this time on.
    until_ns: AtomicU64,
    /// The last event of the slice is back.
    resting: AtomicBool,
}

/// Publishes the events one after another: from the handler, or to begin with.
struct Server<E: Load> {
    publisher: Publisher<E>,
    event: E,
    turns: Arc<Turns>,
    clock: Clock,
}

impl<E: Load> Server<E> {
    fn new(node: &Node, target: &Target, payload: usize, turns: &Arc<Turns>) -> Result<Self> {
        let (publisher, turns) = (node.publisher::<E>(target)?, Arc::clone(turns));
        Ok(Self { publisher, event: E::with_payload(payload), turns, clock: Clock::system() })
    }

    /// Publishes the event after `begun` others, unless somebody has.
    #[inline]
    fn serve(&mut self, begun: u64) {
        let now_ns = self.clock.now_ns();
        if now_ns >= self.turns.until_ns.load(Ordering::Relaxed) {
            self.turns.resting.store(true, Ordering::Release);
            return;
        }
        let order = Ordering::Relaxed;
        if self.turns.begun.compare_exchange(begun, begun + 1, order, order).is_ok() {
            self.event.fill(begun, now_ns);
            // Refused: the main thread sees that nothing comes back, and goes on.
            let _ = self.publisher.publish(&self.event);
        }
    }
}

struct Run<E: Load> {
    node: Driven,
    turns: Arc<Turns>,
    watch: Watch,
    first: Server<E>,
    peer: Peer,
    raw: RawPing,
    raw_peer: Peer,
    driven: bool,
    slices: Slices,
    clock: Clock,
    found: RoundTrips,
    /// CPU time of both processes in the product's slices.
    cpu_ns: (u64, u64),
}

impl<E: Load> Run<E> {
    fn prepare(args: &PingpongArgs, events: Events) -> Result<Self> {
        let place = Place::check(&args.place)?;
        let slices = Slices::of(measured_ns(args.duration)?);
        let payload_bytes = archived_bytes::<E>(args.payload_bytes)?;
        let frame_bytes =
            wireloom_wire::align_up(wireloom_wire::FRAME_HEADER_BYTES + payload_bytes);
        let datagram_bytes = wireloom_wire::PACKET_HEADER_BYTES + frame_bytes;
        let driven = args.idle == IdleChoice::Spin;
        let mut found = RoundTrips::new(args.transport(), args.idle.name(), &place);
        pin(place.core(0));
        let mut node = Driven::start(Node::builder("bench-ping").io(args.io.backend()), driven)?;
        let plan = PeerPlan {
            core: place.core(1),
            payload_bytes: args.payload_bytes,
            events,
            driven,
            reliable: args.reliable,
            reply_to: Some(node.node.address()),
            io: args.io,
            ..PeerPlan::default()
        };
        let peer = Peer::start(&plan)?;
        let raw_plan = PeerPlan { work: PeerWork::RawEcho, ..plan.clone() };
        let raw_peer = Peer::start(&raw_plan)?;
        let wire = Wire::to(raw_peer.address(&raw_plan), driven, args.reliable)?;
        let raw = RawPing::new(wire, datagram_bytes, driven);
        let address = peer.address(&plan);
        let target = if args.reliable { Target::Reliable(address) } else { Target::Node(address) };
        let turns = Arc::new(Turns::default());
        let server = || Server::<E>::new(&node.node, &target, args.payload_bytes, &turns);
        let (first, next) = (server()?, server()?);
        let watch = on_answer(&node.node, next)?;
        while node.drive() > 0 {}
        (found.payload_bytes, found.datagram_bytes) = (payload_bytes, datagram_bytes);
        found.notes = peer.notes.clone();
        let (clock, cpu_ns) = (Clock::system(), (0, 0));
        Ok(Self {
            node,
            turns,
            watch,
            first,
            peer,
            raw,
            raw_peer,
            driven,
            slices,
            clock,
            found,
            cpu_ns,
        })
    }

    fn measure(mut self, output: &Output) -> Result<RoundTrips> {
        let Slices { count, each_ns } = self.slices;
        output.progress("warming up");
        self.raw_slice(WARM_UP_NS.min(each_ns))?;
        self.slice(WARM_UP_NS.min(each_ns))?;
        self.found.begin();
        self.cpu_ns = (0, 0);
        for slice in 1..=count {
            output.progress(&format!("slice {slice} of {count}"));
            self.raw_slice(each_ns)?;
            self.slice(each_ns)?;
        }
        output.progress("");
        self.finish()
    }

    fn raw_slice(&mut self, for_ns: u64) -> Result<()> {
        self.raw_peer.sample(Question::Run { timed_from_ns: u64::MAX })?;
        let times = self.raw.slice(for_ns)?;
        self.raw_peer.sample(Question::Pause)?;
        self.found.raw.add(&times);
        Ok(())
    }

    fn slice(&mut self, for_ns: u64) -> Result<()> {
        let before = self.peer.sample(Question::Run { timed_from_ns: u64::MAX })?;
        let (cpu_ns, from_ns) = (process_cpu_ns(), self.clock.now_ns());
        self.watch.progress.time_from(from_ns);
        self.turns.until_ns.store(from_ns + for_ns, Ordering::Relaxed);
        self.turns.resting.store(false, Ordering::Release);
        self.back_and_forth()?;
        let elapsed_ns = self.clock.now_ns() - from_ns;
        self.cpu_ns.0 += process_cpu_ns() - cpu_ns;
        let after = self.peer.sample(Question::Sample)?;
        self.cpu_ns.1 += after.cpu_ns - before.cpu_ns;
        self.peer.sample(Question::Pause)?;
        self.found.elapsed_ns += elapsed_ns;
        self.found.product.add(&self.watch.take_times());
        Ok(())
    }

    /// Begins, and begins again where something was lost, until the slice is over.
    fn back_and_forth(&mut self) -> Result<()> {
        let mut begun = self.turns.begun.load(Ordering::Relaxed);
        let (mut since_ns, mut lost) = (self.clock.now_ns(), 0);
        self.first.serve(begun);
        begun += 1;
        while !self.turns.resting.load(Ordering::Acquire) {
            if self.driven {
                for _ in 0..TURNS {
                    self.node.drive();
                }
            } else {
                let left_ns = self.turns.until_ns.load(Ordering::Relaxed);
                let left = Duration::from_nanos(left_ns.saturating_sub(self.clock.now_ns()));
                std::thread::sleep(left.clamp(Duration::from_millis(1), LOOK));
            }
            let (now_ns, now_begun) =
                (self.clock.now_ns(), self.turns.begun.load(Ordering::Relaxed));
            if now_begun != begun {
                (begun, since_ns, lost) = (now_begun, now_ns, 0);
            } else if now_ns - since_ns >= LOST_NS {
                lost += 1;
                if lost > LOST_IN_A_ROW_MAX {
                    bail!("the other process answers nothing any more");
                }
                self.first.serve(begun);
                since_ns = now_ns;
            }
        }
        Ok(())
    }

    /// Lets both nodes say how far their streams have come: a last event that was lost is then
    /// known to be.
    fn hear_tails(&mut self) -> Result<()> {
        self.peer.sample(Question::Run { timed_from_ns: u64::MAX })?;
        let until_ns = self.clock.now_ns() + TAIL_NS;
        while self.clock.now_ns() < until_ns {
            if self.driven {
                self.node.drive();
            } else {
                std::thread::sleep(Duration::from_nanos(TAIL_NS));
            }
        }
        self.peer.sample(Question::Pause)?;
        Ok(())
    }

    fn finish(mut self) -> Result<RoundTrips> {
        self.hear_tails()?;
        let mut found = self.found;
        let counts = self.watch.progress.counts();
        let peak = peak_rss_bytes();
        drop(self.first);
        let (ledger, _) = self.node.close();
        let account = self.peer.finish()?;
        self.raw_peer.finish()?;
        let there = CrossLedger::between(&carried(&ledger), &account);
        let mut answers = Account { counts, ..Account::default() };
        answers.add(&ledger);
        let (accepted, sent) = account.replies;
        let replies = Published { accepted, sent, ..Published::default() };
        let back = CrossLedger::between(&replies, &answers);
        found.ledger_balanced = there.1 && back.1 && ledger.balanced && account.balanced;
        (found.ledger_there, found.ledger_back) = (there.0, back.0);
        found.lost = there.0.accepted.saturating_sub(counts.delivered + counts.corrupt);
        found.raw_lost = self.raw.lost;
        let cpu = |ns| percent(ns, found.elapsed_ns);
        found.settle([counts, account.counts], (cpu(self.cpu_ns.0), cpu(self.cpu_ns.1)));
        found.peak(peak, account.peak_rss_bytes);
        Ok(found)
    }
}

/// Installs the handler that takes the time of an answer and publishes the next event.
fn on_answer<E: Load>(node: &Node, mut next: Server<E>) -> Result<Watch> {
    let mut checker = Checker::new(1);
    let watch = checker.watch();
    node.on::<E>(move |event, _envelope| {
        let reading = E::read(event);
        checker.check(reading);
        if reading.intact {
            next.serve(reading.sequence + 1);
        }
    })?;
    Ok(watch)
}
