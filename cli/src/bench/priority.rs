//! A critical event on a link that a bulk flow saturates, and on the same link without it, in
//! alternating slices.
//!
//! One thread a side drives its node. The publishing thread looks once a turn whether a critical
//! event is due, publishes it, writes a burst of bulk where there is one, and drives the node: the
//! event's latency includes that burst.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use wireloom::{Clock, Node, Publisher, Refused, Target};
use wireloom_dataplane::limits::CYCLE_BYTES;

use super::event::{BenchAlarm, BenchBulk, FIXED_PAYLOAD_BYTES, Load};
use super::figures::{BySide, Percentiles, per_second, percent, real, rounded, sides};
use super::machine::{Machine, peak_rss_bytes, pin, process_cpu_ns};
use super::peer::{Events, Peer, PeerPlan, Question, Sample};
use super::place::{Place, PlaceArgs, Slices, measured_ns};
use super::publish::Pump;
use super::receive::Driven;
use super::report::{CrossLedger, Findings};
use super::table::{Table, per_s};
use super::times::Distribution;
use crate::output::Output;
use crate::text::{bytes, count};
use crate::values::duration;

/// How often a critical event is published.
const ALARM_EVERY_NS: u64 = 1_000_000;
/// Silence in which the sender marks how far its streams have come, before the end.
const TAIL_NS: u64 = 12_000_000;

/// Options of the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct PriorityArgs {
    /// How long to measure behind the bulk flow; without it as long again
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    duration: Duration,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

/// The figures of one run.
#[derive(Debug, Serialize)]
pub(super) struct Priorities {
    bench: &'static str,
    /// Length of the loaded slices together, in seconds.
    seconds: f64,
    payload_bytes: usize,
    frame_bytes: usize,
    /// From publishing a critical event to its handler, behind the bulk flow.
    loaded_us: Option<Percentiles>,
    /// The same with nothing else on the link.
    idle_us: Option<Percentiles>,
    p99_loaded_us: f64,
    p99_idle_us: f64,
    /// One duty cycle's bytes at the rate the bulk arrived.
    gso_send_us: f64,
    /// 2 × `p99_idle_us` + `gso_send_us`.
    bound_us: f64,
    /// Whether `p99_loaded_us` is at most `bound_us`.
    within_bound: bool,
    loaded_slice_p99_us: Vec<f64>,
    idle_slice_p99_us: Vec<f64>,
    /// Bulk events a second, by the receiver's time.
    bulk_per_s: f64,
    critical_published: u64,
    critical_delivered: u64,
    bulk_published: u64,
    /// Published, of both kinds, and never handled.
    lost: u64,
    duplicated: u64,
    corrupt: u64,
    late: u64,
    cpu_percent: BySide<f64>,
    peak_rss_bytes: BySide<u64>,
    ledger_balanced: bool,
    ledger: CrossLedger,
    kernel_drops: u64,
    cores: Vec<usize>,
    notes: Vec<String>,
    machine: Machine,
}

/// Runs the mode.
pub(super) fn run(args: &PriorityArgs, output: &Output) -> Result<Priorities> {
    let place = Place::check(&args.place)?;
    let Slices { count, each_ns } = Slices::of(measured_ns(args.duration)?);
    let machine = Machine::read();
    let mut run = Run::prepare(&place)?;
    output.progress("warming up");
    run.slice(each_ns.min(ALARM_EVERY_NS * 100), true)?;
    run.begin();
    for slice in 1..=count {
        output.progress(&format!("slice {slice} of {count}"));
        run.slice(each_ns, false)?;
        run.slice(each_ns, true)?;
    }
    output.progress("");
    run.finish(place, machine)
}

struct Run {
    node: Driven,
    alarms: Publisher<BenchAlarm>,
    alarm: BenchAlarm,
    alarms_accepted: u64,
    bulk: Pump<BenchBulk>,
    peer: Peer,
    frame_bytes: usize,
    clock: Clock,
    idle: Distribution,
    loaded: Distribution,
    sums: Sums,
}

/// What the loaded slices add up to.
#[derive(Debug, Default)]
struct Sums {
    bulk: u64,
    active_ns: u64,
    elapsed_ns: u64,
    own_cpu_ns: u64,
    other_cpu_ns: u64,
}

impl Run {
    fn prepare(place: &Place) -> Result<Self> {
        let frame_bytes =
            wireloom_wire::align_up(wireloom_wire::FRAME_HEADER_BYTES + FIXED_PAYLOAD_BYTES);
        let plan = PeerPlan {
            core: place.core(1),
            events: Events::Priorities,
            driven: true,
            timed_every: 1,
            ..PeerPlan::default()
        };
        let peer = Peer::start(&plan)?;
        pin(place.core(0));
        let mut node = Driven::start(Node::builder("bench-priority"), true)?;
        let target = Target::Node(peer.address(&plan));
        let (alarms, bulk) = (node.node.publisher(&target)?, node.node.publisher(&target)?);
        while node.drive() > 0 {}
        Ok(Self {
            node,
            alarms,
            alarm: BenchAlarm::with_payload(FIXED_PAYLOAD_BYTES),
            alarms_accepted: 0,
            bulk: Pump::new(bulk, FIXED_PAYLOAD_BYTES, frame_bytes),
            peer,
            frame_bytes,
            clock: Clock::system(),
            idle: Distribution::new(),
            loaded: Distribution::new(),
            sums: Sums::default(),
        })
    }

    /// Forgets what was measured so far: it was the warm-up.
    fn begin(&mut self) {
        (self.idle, self.loaded) = (Distribution::new(), Distribution::new());
        self.sums = Sums::default();
    }

    fn slice(&mut self, for_ns: u64, is_loaded: bool) -> Result<()> {
        let from_ns = self.clock.now_ns();
        let before = self.peer.sample(Question::Run { timed_from_ns: from_ns })?;
        let cpu_ns = process_cpu_ns();
        let elapsed_ns = self.publish(for_ns, is_loaded)?;
        let cpu_ns = process_cpu_ns() - cpu_ns;
        let after = self.peer.sample(Question::Pause)?;
        if is_loaded {
            self.loaded.add(&after.times);
            self.sums.add(&before, &after, elapsed_ns, cpu_ns);
        } else {
            self.idle.add(&after.times);
        }
        Ok(())
    }

    /// Publishes critical events as they become due, and bulk without end where wished.
    fn publish(&mut self, for_ns: u64, is_loaded: bool) -> Result<u64> {
        let from_ns = self.clock.now_ns();
        let mut due_ns = from_ns + ALARM_EVERY_NS;
        loop {
            let now_ns = self.clock.now_ns();
            if now_ns - from_ns >= for_ns {
                break;
            }
            if now_ns >= due_ns {
                self.publish_alarm(now_ns)?;
                // A machine that stood still owes nothing: events come one by one.
                due_ns = now_ns + ALARM_EVERY_NS;
            }
            if is_loaded {
                self.bulk.one_burst()?;
            }
            self.node.drive();
        }
        self.node.flush();
        Ok(self.clock.now_ns() - from_ns)
    }

    fn publish_alarm(&mut self, now_ns: u64) -> Result<()> {
        self.alarm.fill(self.alarms_accepted, now_ns);
        match self.alarms.publish(&self.alarm) {
            Ok(_) => self.alarms_accepted += 1,
            Err(Refused::BackPressured) => {}
            Err(refused) => return Err(refused.into()),
        }
        Ok(())
    }

    fn finish(mut self, place: Place, machine: Machine) -> Result<Priorities> {
        self.peer.sample(Question::Run { timed_from_ns: u64::MAX })?;
        let until_ns = self.clock.now_ns() + TAIL_NS;
        while self.clock.now_ns() < until_ns {
            self.node.drive();
        }
        let notes = self.peer.notes.clone();
        let peak = peak_rss_bytes();
        let (own, _) = self.node.close();
        let account = self.peer.finish()?;
        let (ledger, adds_up) = CrossLedger::between(&own.published, &account);
        let (idle_us, loaded_us) = (self.idle.percentiles(), self.loaded.percentiles());
        let p99 = |times: Option<Percentiles>| times.map_or(0.0, |times| times.p99);
        let bulk_per_s = per_second(self.sums.bulk, self.sums.active_ns);
        let cycle = real(CYCLE_BYTES as u64) / real(self.frame_bytes as u64);
        let gso_send_us = if bulk_per_s > 0.0 { cycle * 1e6 / bulk_per_s } else { 0.0 };
        let bound_us = 2.0 * p99(idle_us) + gso_send_us;
        let counts = account.counts;
        let cpu = |ns| rounded(percent(ns, self.sums.elapsed_ns));
        Ok(Priorities {
            bench: "priority",
            seconds: rounded(real(self.sums.elapsed_ns) / 1e9),
            payload_bytes: FIXED_PAYLOAD_BYTES,
            frame_bytes: self.frame_bytes,
            loaded_us,
            idle_us,
            p99_loaded_us: p99(loaded_us),
            p99_idle_us: p99(idle_us),
            gso_send_us: rounded(gso_send_us),
            bound_us: rounded(bound_us),
            within_bound: p99(loaded_us) <= bound_us,
            loaded_slice_p99_us: self.loaded.slice_p99_us,
            idle_slice_p99_us: self.idle.slice_p99_us,
            bulk_per_s: bulk_per_s.round(),
            critical_published: self.alarms_accepted,
            critical_delivered: account.first_delivered,
            bulk_published: self.bulk.accepted,
            lost: own.published.accepted.saturating_sub(counts.delivered + counts.corrupt),
            duplicated: counts.duplicated,
            corrupt: counts.corrupt,
            late: counts.late,
            cpu_percent: sides(cpu(self.sums.own_cpu_ns), cpu(self.sums.other_cpu_ns)),
            peak_rss_bytes: sides(peak, account.peak_rss_bytes),
            ledger_balanced: adds_up && own.balanced && account.balanced,
            ledger,
            kernel_drops: account.kernel_drops,
            cores: place.cores,
            notes,
            machine,
        })
    }
}

impl Sums {
    fn add(&mut self, before: &Sample, after: &Sample, elapsed_ns: u64, cpu_ns: u64) {
        let critical: u64 = after.times.iter().map(|(_, count)| count).sum();
        let delivered = after.counts.delivered - before.counts.delivered;
        self.bulk += delivered.saturating_sub(critical);
        self.active_ns += after.active_ns;
        self.elapsed_ns += elapsed_ns;
        self.own_cpu_ns += cpu_ns;
        self.other_cpu_ns += after.cpu_ns - before.cpu_ns;
    }
}

impl Findings for Priorities {
    fn is_sound(&self) -> bool {
        self.corrupt == 0 && self.duplicated == 0 && self.ledger_balanced
    }

    fn table(&self, output: &Output) -> String {
        let title = format!("priority for {:.1} s, {} bytes", self.seconds, self.payload_bytes);
        let mut table = Table::new(&title, output);
        table.percentiles("critical, idle link", self.idle_us.as_ref());
        table.percentiles("critical, behind bulk", self.loaded_us.as_ref());
        let figures = [("idle", &self.idle_slice_p99_us), ("bulk", &self.loaded_slice_p99_us)];
        for (name, slices) in figures {
            let each: Vec<String> = slices.iter().map(|us| format!("{us:.1}")).collect();
            table.row(&format!("p99 of each slice, {name}"), &each.join(" "));
        }
        table.row("one GSO send", &format!("{:.1} µs", self.gso_send_us));
        let verdict = if self.within_bound { "kept" } else { "exceeded" };
        let text = format!(
            "2 × {:.1} + {:.1} = {:.1} µs: {verdict} ({:.1})",
            self.p99_idle_us, self.gso_send_us, self.bound_us, self.p99_loaded_us
        );
        table.row("bound of the p99", &text);
        table.row("bulk delivered", &per_s(self.bulk_per_s));
        let critical =
            format!("{} of {}", count(self.critical_delivered), count(self.critical_published));
        table.row("critical delivered", &critical);
        for (name, number) in [
            ("bulk published", self.bulk_published),
            ("lost, both kinds", self.lost),
            ("duplicated", self.duplicated),
            ("corrupt", self.corrupt),
        ] {
            table.row(name, &count(number));
        }
        for (side, peak) in &self.peak_rss_bytes {
            table.row(&format!("peak memory, {side}"), &bytes(*peak));
        }
        table.ledger(self.ledger_balanced, output);
        table.end(&self.notes, &self.machine)
    }
}
