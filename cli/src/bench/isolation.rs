//! What a subscriber that takes nothing any more costs its neighbours: their latency with it alive
//! and with it frozen, in alternating slices, for each policy.
//!
//! One process publishes at a rate, the loop of the other drives its node and polls the ring
//! subscribers in turn. Alive, the subscriber in question is one of them; frozen, it is left out.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use wireloom::{Clock, Node, Target};

use super::event::{BenchEvent, FIXED_PAYLOAD_BYTES};
use super::figures::{Percentiles, median, rounded};
use super::machine::{Machine, pin};
use super::peer::{Peer, PeerPlan, PeerWork, Question};
use super::place::{Place, PlaceArgs, measured_ns};
use super::publish::{Pace, Pump};
use super::receive::Driven;
use super::report::{CrossLedger, Findings};
use super::rings::{PATIENCE, Slow};
use super::table::{Table, per_s};
use super::times::Distribution;
use crate::output::Output;
use crate::text::count;
use crate::values::{duration, rate};

/// Slices of each kind for each policy, at most: short ones, so that few are interrupted by the
/// system.
const SLICES: u64 = 50;
/// Events of a slice, at least: what fills the ring of one that is frozen several times.
const SLICE_EVENTS: f64 = 2_000.0;
/// How often the publisher publishes what is due.
const TICK_NS: u64 = 20_000;
/// Silence in which the sender marks how far its streams have come, before the end.
const TAIL_NS: u64 = 12_000_000;
/// What a neighbour's p99 may change by, in percent.
const CHANGE_PERCENT_MAX: f64 = 5.0;

/// Options of the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct IsolationArgs {
    /// Neighbours of the subscriber that is frozen: 1 to 64
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    neighbours: u16,
    /// Events a second (100000, 20k)
    #[arg(long, value_name = "RATE", default_value = "50k", value_parser = rate)]
    rate: f64,
    /// One policy alone: drop-newest, drop-oldest, block, latest, disconnect
    #[arg(long, value_name = "POLICY")]
    #[arg(value_parser = ["drop-newest", "drop-oldest", "block", "latest", "disconnect"])]
    only: Option<String>,
    /// How long to measure each policy, alive; frozen as long again
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    duration: Duration,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

/// One policy.
#[derive(Debug, Serialize)]
struct Row {
    policy: &'static str,
    /// From publishing to the neighbours, all of them.
    alive_us: Option<Percentiles>,
    frozen_us: Option<Percentiles>,
    /// Medians of the slices' p99.
    p99_alive_us: f64,
    p99_frozen_us: f64,
    /// Of the second by the first.
    change_percent: f64,
    /// Whether `change_percent` is at most 5.
    within_bound: bool,
    alive_slice_p99_us: Vec<f64>,
    frozen_slice_p99_us: Vec<f64>,
    published: u64,
    /// Of each neighbour.
    delivered: u64,
    /// Events the frozen subscriber took, and events it was told it missed.
    left_alone_taken: u64,
    left_alone_told_shed: u64,
    lost: u64,
    duplicated: u64,
    corrupt: u64,
    ledger_balanced: bool,
    ledger: CrossLedger,
}

/// The figures of one run.
#[derive(Debug, Serialize)]
pub(super) struct Isolation {
    bench: &'static str,
    /// Alive, of each policy.
    seconds: f64,
    rate: f64,
    neighbours: u16,
    payload_bytes: usize,
    /// The longest that `block` waits.
    patience_us: u64,
    rows: Vec<Row>,
    /// Of all rows.
    lost: u64,
    duplicated: u64,
    corrupt: u64,
    ledger_balanced: bool,
    cores: Vec<usize>,
    notes: Vec<String>,
    machine: Machine,
}

/// Runs the mode.
pub(super) fn run(args: &IsolationArgs, output: &Output) -> Result<Isolation> {
    let place = Place::check(&args.place)?;
    let total_ns = measured_ns(args.duration)?;
    let events = args.rate * (total_ns as f64) / 1e9;
    if events < 200.0 {
        bail!("--duration: less than 200 events have no p99; try a longer one");
    }
    let fills = |slices: &u64| events >= SLICE_EVENTS * (*slices as f64);
    let slices = (1..=SLICES).rev().find(fills).unwrap_or(1);
    let slice_ns = total_ns / slices;
    let machine = Machine::read();
    pin(place.core(0));
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for policy in Slow::ALL {
        if args.only.as_deref().is_some_and(|only| only != policy.name()) {
            continue;
        }
        output.progress(&format!("{}: warming up", policy.name()));
        let mut run = Run::prepare(args, policy, &place)?;
        notes.clone_from(&run.peer.notes);
        run.slice(slice_ns, false)?;
        run.slice(slice_ns, true)?;
        (run.alive, run.frozen) = (Distribution::new(), Distribution::new());
        for slice in 1..=slices {
            output.progress(&format!("{}: slice {slice} of {slices}", policy.name()));
            run.slice(slice_ns, false)?;
            run.slice(slice_ns, true)?;
        }
        rows.push(run.finish(policy)?);
    }
    output.progress("");
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum();
    Ok(Isolation {
        bench: "isolation",
        seconds: rounded(args.duration.as_secs_f64()),
        rate: args.rate,
        neighbours: args.neighbours,
        payload_bytes: FIXED_PAYLOAD_BYTES,
        patience_us: u64::try_from(PATIENCE.as_micros()).unwrap_or(u64::MAX),
        lost: sum(|row| row.lost),
        duplicated: sum(|row| row.duplicated),
        corrupt: sum(|row| row.corrupt),
        ledger_balanced: rows.iter().all(|row| row.ledger_balanced),
        rows,
        cores: place.cores,
        notes,
        machine,
    })
}

struct Run {
    node: Driven,
    pump: Pump<BenchEvent>,
    peer: Peer,
    rate: f64,
    clock: Clock,
    alive: Distribution,
    frozen: Distribution,
}

impl Run {
    fn prepare(args: &IsolationArgs, slow: Slow, place: &Place) -> Result<Self> {
        let frame_bytes =
            wireloom_wire::align_up(wireloom_wire::FRAME_HEADER_BYTES + FIXED_PAYLOAD_BYTES);
        let plan = PeerPlan {
            work: PeerWork::Rings,
            core: place.core(1),
            driven: true,
            timed_every: 1,
            handlers: usize::from(args.neighbours),
            slow,
            ..PeerPlan::default()
        };
        let peer = Peer::start(&plan)?;
        let mut node = Driven::start(Node::builder("bench-isolation"), true)?;
        let publisher = node.node.publisher(&Target::Node(peer.address(&plan)))?;
        while node.drive() > 0 {}
        Ok(Self {
            node,
            pump: Pump::new(publisher, FIXED_PAYLOAD_BYTES, frame_bytes),
            peer,
            rate: args.rate,
            clock: Clock::system(),
            alive: Distribution::new(),
            frozen: Distribution::new(),
        })
    }

    fn slice(&mut self, for_ns: u64, is_frozen: bool) -> Result<()> {
        self.peer.sample(Question::Freeze(is_frozen))?;
        let from_ns = self.clock.now_ns();
        self.peer.sample(Question::Run { timed_from_ns: from_ns })?;
        let mut pace = Pace::new(self.rate, TICK_NS, self.clock.now_ns(), for_ns);
        let (node, clock) = (&mut self.node, &self.clock);
        self.pump.pace(&mut pace, |until_ns| {
            while clock.now_ns() < until_ns {
                node.drive();
            }
        })?;
        self.node.flush();
        let after = self.peer.sample(Question::Pause)?;
        if is_frozen { &mut self.frozen } else { &mut self.alive }.add(&after.times);
        Ok(())
    }

    fn finish(mut self, policy: Slow) -> Result<Row> {
        self.peer.sample(Question::Freeze(false))?;
        self.peer.sample(Question::Run { timed_from_ns: u64::MAX })?;
        let until_ns = self.clock.now_ns() + TAIL_NS;
        while self.clock.now_ns() < until_ns {
            self.node.drive();
        }
        let (own, _) = self.node.close();
        let account = self.peer.finish()?;
        let (ledger, adds_up) = CrossLedger::between(&own.published, &account);
        let middle = |slices: &[f64]| median(slices).unwrap_or(0.0);
        let p99_alive_us = middle(&self.alive.slice_p99_us);
        let p99_frozen_us = middle(&self.frozen.slice_p99_us);
        let change = if p99_alive_us > 0.0 { p99_frozen_us / p99_alive_us - 1.0 } else { 0.0 };
        let change_percent = rounded(change * 100.0);
        let counts = account.counts;
        let told = account.counters.iter().find(|(name, _)| name == "left_alone_told_shed");
        Ok(Row {
            policy: policy.name(),
            alive_us: self.alive.percentiles(),
            frozen_us: self.frozen.percentiles(),
            p99_alive_us: rounded(p99_alive_us),
            p99_frozen_us: rounded(p99_frozen_us),
            change_percent,
            within_bound: change_percent <= CHANGE_PERCENT_MAX,
            alive_slice_p99_us: self.alive.slice_p99_us,
            frozen_slice_p99_us: self.frozen.slice_p99_us,
            published: self.pump.accepted,
            delivered: counts.delivered,
            left_alone_taken: account.first_delivered,
            left_alone_told_shed: told.map_or(0, |(_, events)| *events),
            lost: own.published.accepted.saturating_sub(counts.delivered + counts.corrupt),
            duplicated: counts.duplicated,
            corrupt: counts.corrupt,
            ledger_balanced: adds_up && own.balanced && account.balanced,
            ledger,
        })
    }
}

impl Findings for Isolation {
    fn is_sound(&self) -> bool {
        self.corrupt + self.duplicated == 0 && self.ledger_balanced
    }

    fn table(&self, output: &Output) -> String {
        let title = format!(
            "isolation at {}, {} neighbours, {:.1} s each way",
            per_s(self.rate),
            self.neighbours,
            self.seconds
        );
        let mut table = Table::new(&title, output);
        table.line("policy         alive p50    p99   frozen p50    p99   p99 changes   missed");
        for row in &self.rows {
            let p50 = |times: Option<Percentiles>| times.map_or(0.0, |times| times.p50);
            let verdict = if row.within_bound { "kept" } else { "exceeded" };
            table.line(&format!(
                "{:<12} {:>9.1} µs {:>6.1} {:>9.1} µs {:>6.1} {:>+8.1} % {:<8} {}",
                row.policy,
                p50(row.alive_us),
                row.p99_alive_us,
                p50(row.frozen_us),
                row.p99_frozen_us,
                row.change_percent,
                verdict,
                count(row.left_alone_told_shed)
            ));
        }
        table.row("lost by neighbours", &count(self.lost));
        table.ledger(self.ledger_balanced, output);
        table.end(&self.notes, &self.machine)
    }
}
