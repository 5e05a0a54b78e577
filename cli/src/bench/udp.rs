//! Two processes over UDP, unicast or multicast, or with reliable events over TCP: the product and
//! the bare loop in alternating slices, so that both meet the same machine.
//!
//! This process publishes; two children receive, one with a node, one with the bare loop, and rest
//! while it is not their turn. At full rate each side is one thread that drives its own node; with
//! a rate each node has its threads and idles adaptively, unless asked to spin.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::{Context, Result};
use wireloom::{Clock, Node, Target};
use wireloom_seal::{Cipher, Secret};

use super::bare::Bare;
use super::event::{BenchEvent, BenchList, Load, archived_bytes};
use super::figures::{Percentiles, cpu_s_per_million, per_second, percent, rounded, sides};
use super::flow::{Flow, IdleChoice, Security, Transport, Via};
use super::machine::{peak_rss_bytes, pin, process_cpu_ns};
use super::peer::{Account, Events, Peer, PeerPlan, PeerWork, Question, Sample};
use super::publish::{Call, Pace, Pump};
use super::receive::Driven;
use super::report::{CrossLedger, Report, carried};
use super::table::per_s;
use super::times::distribution;

use crate::output::Output;

/// How long the product runs before it is measured.
const WARM_UP_NS: u64 = 200_000_000;
/// The longest slice of the product.
const SLICE_NS_MAX: u64 = 1_000_000_000;
/// The longest slice of the bare loop.
const RAW_SLICE_NS_MAX: u64 = 400_000_000;
/// Silence in which the sender marks how far its stream has come, before the end.
const TAIL_NS: u64 = 12_000_000;

/// Runs the load of one flow between two processes.
pub(super) fn run(flow: &Flow, output: &Output) -> Result<Report> {
    if flow.is_fixed() {
        run_of::<BenchEvent>(flow, output)
    } else {
        run_of::<BenchList>(flow, output)
    }
}

/// The publishing node.
pub(super) const PUBLISHER: &str = "bench-publisher";

fn run_of<E: Load>(flow: &Flow, output: &Output) -> Result<Report> {
    if flow.security == Security::Off {
        return Run::<E>::prepare(flow, output)?.measure(None);
    }
    let clear = Flow { security: Security::Off, ..flow.clone() };
    let beside = Run::<E>::prepare(&clear, output)?;
    Run::<E>::prepare(flow, output)?.measure(Some(beside))
}

/// What one slice of the product found.
#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    events: u64,
    /// The receiver's time from its first delivery to its last.
    elapsed_ns: u64,
    publisher_cpu_ns: u64,
    receiver_cpu_ns: u64,
    /// Reliable events acknowledged until the node held none, and how long that took.
    acknowledged: u64,
    acknowledged_ns: u64,
}

struct Run<'a, E: Load> {
    flow: &'a Flow,
    output: &'a Output,
    receiver: Peer,
    raw: Bare,
    /// Datagrams only.
    checked: Option<Bare>,
    node: Driven,
    pump: Pump<E>,
    clock: Clock,
    driven: bool,
    report: Report,
}

impl<'a, E: Load> Run<'a, E> {
    fn prepare(flow: &'a Flow, output: &'a Output) -> Result<Self> {
        let mut report = Report::new(flow.transport.name());
        let payload_bytes = archived_bytes::<E>(flow.payload_bytes)?;
        let frame_bytes =
            wireloom_wire::align_up(wireloom_wire::FRAME_HEADER_BYTES + payload_bytes);
        let driven = flow.idle == IdleChoice::Spin;
        let multicast = flow.transport == Transport::Multicast;
        let reliable = flow.transport == Transport::Reliable;
        let plan = PeerPlan {
            work: PeerWork::Node,
            group: multicast.then(|| group(1)).transpose()?,
            reliable,
            core: flow.core(1),
            payload_bytes: flow.payload_bytes,
            frame_bytes,
            events: if flow.is_fixed() { Events::Fixed } else { Events::List },
            driven,
            io: flow.io,
            timed_every: u64::from(flow.rate.is_some()),
            security: flow.security,
            secret: secret(),
            ..PeerPlan::default()
        };
        let receiver = Peer::start(&plan)?;
        let bare = |work, last| {
            let group = multicast.then(|| group(last)).transpose()?;
            Bare::start(&PeerPlan { group, ..plan.clone() }, work, flow.packet_bytes)
        };
        let raw = bare(PeerWork::Raw, 2)?;
        let checked = (!reliable).then(|| bare(PeerWork::RawChecked, 3)).transpose()?;
        pin(flow.core(0));
        let builder = Node::builder(PUBLISHER)
            .io(flow.io.backend())
            .packet_bytes(flow.packet_bytes)
            .multicast(1, super::loopback(), true);
        let mut node = Driven::start(builder, driven)?;
        let address = receiver.address(&plan);
        let target = match flow.transport {
            Transport::Unicast => Target::Node(address),
            Transport::Multicast => Target::Multicast(address),
            Transport::Reliable => Target::Reliable(address),
        };
        let call = match flow.via {
            Via::Publisher => Call::Publisher(Box::new(node.node.publisher::<E>(&target)?)),
            Via::Router => Call::Batch(Box::new(node.node.router()), target),
            Via::Route => Call::Route(Box::new(node.node.router()), target),
        };
        if let Some(mode) = flow.security.mode() {
            let secret = Secret::new(Cipher::of_this_processor(), &plan.secret);
            node.node.seal_to(address, secret, mode)?;
        }
        while node.drive() > 0 {}
        report.security = flow.security.name();
        report.rate = flow.rate;
        report.payload_bytes = payload_bytes;
        report.frame_bytes = frame_bytes;
        report.packet_bytes = Some(flow.packet_bytes);
        report.idle = flow.idle.name();
        report.io = flow.io.name();
        report.cores = flow.cores.clone();
        report.notes = receiver.notes.clone();
        report.via = flow.via.name();
        let pump = Pump::by(call, flow.payload_bytes, frame_bytes);
        let clock = Clock::system();
        Ok(Self { flow, output, receiver, raw, checked, node, pump, clock, driven, report })
    }

    /// Measures; with `beside` that one's slices stand between the own ones.
    fn measure(mut self, mut beside: Option<Self>) -> Result<Report> {
        let total_ns = u64::try_from(self.flow.duration.as_nanos()).unwrap_or(u64::MAX);
        let slices = if self.flow.rate.is_some() { 1 } else { total_ns.div_ceil(SLICE_NS_MAX) };
        let slice_ns = total_ns / slices.max(1);
        let raw_ns = (slice_ns / 2).min(RAW_SLICE_NS_MAX);
        if self.flow.rate.is_none() {
            self.output.progress("warming up");
            self.flood_slice(WARM_UP_NS.min(slice_ns))?;
        }
        let (mut found, mut clear) = (Vec::new(), Vec::new());
        if let Some(beside) = &mut beside {
            beside.flood_slice(WARM_UP_NS.min(slice_ns))?;
        }
        for slice in 1..=slices {
            self.bare_slices(raw_ns)?;
            let so_far = found.last().map_or(0.0, |s: &Slice| per_second(s.events, s.elapsed_ns));
            let so_far = if so_far > 0.0 { format!(", {}", per_s(so_far)) } else { String::new() };
            self.output.progress(&format!("slice {slice} of {slices}{so_far}"));
            if let Some(beside) = &mut beside {
                clear.push(beside.flood_slice(slice_ns)?);
            }
            found.push(match self.flow.rate {
                None => self.flood_slice(slice_ns)?,
                Some(rate) => self.paced_slice(rate, slice_ns)?,
            });
        }
        self.bare_slices(raw_ns)?;
        self.output.progress("");
        let clear: Vec<f64> = clear.iter().map(|s| per_second(s.events, s.elapsed_ns)).collect();
        if let Some(beside) = beside {
            let report = beside.finish(&[])?;
            anyhow::ensure!(report.ledger_balanced == Some(true), "events in clear do not add up");
        }
        let mut report = self.finish(&found)?;
        report.clear_per_s = super::figures::median(&clear).map(f64::round);
        let ratio = report.clear_per_s.map(|clear| rounded(report.delivered_per_s / clear));
        report.ratio_to_clear = ratio;
        report.clear_slices_per_s = clear.iter().map(|rate| rate.round()).collect();
        Ok(report)
    }

    fn bare_slices(&mut self, for_ns: u64) -> Result<()> {
        self.raw.slice(for_ns)?;
        self.checked.as_mut().map_or(Ok(()), |checked| checked.slice(for_ns))
    }

    /// The product, as fast as it goes.
    fn flood_slice(&mut self, for_ns: u64) -> Result<Slice> {
        let before = self.receiver.sample(Question::Run { timed_from_ns: u64::MAX })?;
        let (cpu_ns, from_ns, settled) =
            (process_cpu_ns(), self.clock.now_ns(), self.acknowledged());
        let (node, driven) = (&mut self.node, self.driven);
        let elapsed_ns = self.pump.flood(for_ns, |is_full| {
            if driven {
                node.drive();
            } else if is_full {
                std::thread::yield_now();
            }
        })?;
        self.node.flush();
        let acknowledged_ns = self.clock.now_ns() - from_ns;
        let acknowledged = self.acknowledged() - settled;
        let publisher_cpu_ns = process_cpu_ns() - cpu_ns;
        let after = self.receiver.sample(Question::Pause)?;
        let active_ns = if self.driven { after.active_ns } else { elapsed_ns };
        let found = slice(&before, &after, active_ns, publisher_cpu_ns);
        Ok(Slice { acknowledged, acknowledged_ns, ..found })
    }

    /// Reliable events acknowledged so far.
    fn acknowledged(&self) -> u64 {
        self.node.node.ledger().reliable.delivered
    }

    /// The product at a rate: a warm-up that is not measured, then the measured part.
    fn paced_slice(&mut self, rate: f64, for_ns: u64) -> Result<Slice> {
        let from_ns = self.clock.now_ns() + 1_000_000;
        let measured_from_ns = from_ns + WARM_UP_NS;
        self.receiver.sample(Question::Run { timed_from_ns: measured_from_ns })?;
        let tick_ns = u64::try_from(self.flow.tick.as_nanos()).unwrap_or(u64::MAX);
        let mut warm_up = Pace::new(rate, tick_ns, from_ns, WARM_UP_NS);
        self.pace(&mut warm_up)?;
        let cpu_ns = process_cpu_ns();
        let settled = self.acknowledged();
        let before = self.receiver.sample(Question::Sample)?;
        let mut pace = Pace::new(rate, tick_ns, self.clock.now_ns(), for_ns);
        self.pace(&mut pace)?;
        let publisher_cpu_ns = process_cpu_ns() - cpu_ns;
        let after = self.receiver.sample(Question::Sample)?;
        let acknowledged = self.acknowledged() - settled;
        let paused = self.receiver.sample(Question::Pause)?;
        self.report.latency_us = Percentiles::of(&distribution(&paused.times));
        self.report.publish_lag_us = pace.lag();
        let elapsed_ns = after.now_ns - before.now_ns;
        let found = slice(&before, &after, elapsed_ns, publisher_cpu_ns);
        Ok(Slice { acknowledged, acknowledged_ns: elapsed_ns, ..found })
    }

    fn pace(&mut self, pace: &mut Pace) -> Result<()> {
        let (node, clock, driven) = (&mut self.node, &self.clock, self.driven);
        self.pump.pace(pace, |until_ns| {
            if driven {
                while clock.now_ns() < until_ns {
                    node.drive();
                }
            } else {
                let pause_ns = until_ns.saturating_sub(clock.now_ns());
                std::thread::sleep(std::time::Duration::from_nanos(pause_ns));
            }
        })
    }

    fn finish(mut self, slices: &[Slice]) -> Result<Report> {
        let until_ns = self.clock.now_ns() + TAIL_NS;
        while self.driven && self.clock.now_ns() < until_ns {
            self.node.drive();
        }
        let Pump { accepted, refused, .. } = self.pump;
        let peak = peak_rss_bytes();
        let (ledger, _) = self.node.close();
        let account = self.receiver.finish()?;
        let published = carried(&ledger);
        let counts = account.counts;
        let (cross, adds_up) = CrossLedger::between(&published, &account);
        let mut report = self.report;
        report.ledger = Some(cross);
        report.ledger_balanced =
            Some(adds_up && ledger.balanced && account.balanced && published.accepted == accepted);
        (report.published, report.refused) = (accepted, refused);
        report.delivered = counts.delivered;
        report.lost = accepted.saturating_sub(counts.delivered + counts.corrupt);
        (report.duplicated, report.corrupt, report.late) =
            (counts.duplicated, counts.corrupt, counts.late);
        report.peak_rss_bytes = sides(peak, account.peak_rss_bytes);
        if self.flow.transport == Transport::Reliable {
            acknowledge(&mut report, slices, ledger.reliable.delivered);
        }
        summarise(&mut report, slices, &account);
        compare(&mut report, self.raw, self.checked)?;
        Ok(report)
    }
}

fn slice(before: &Sample, after: &Sample, elapsed_ns: u64, publisher_cpu_ns: u64) -> Slice {
    Slice {
        events: after.counts.delivered - before.counts.delivered,
        elapsed_ns,
        publisher_cpu_ns,
        receiver_cpu_ns: after.cpu_ns - before.cpu_ns,
        ..Slice::default()
    }
}

/// What the publishing node was told of its reliable events.
fn acknowledge(report: &mut Report, slices: &[Slice], in_all: u64) {
    let sum = |field: fn(&Slice) -> u64| slices.iter().map(field).sum::<u64>();
    let rate = per_second(sum(|s| s.acknowledged), sum(|s| s.acknowledged_ns));
    (report.acknowledged_per_s, report.acknowledged) = (Some(rate.round()), Some(in_all));
}

/// The rates and costs of the measured slices.
fn summarise(report: &mut Report, slices: &[Slice], account: &Account) {
    let sum = |field: fn(&Slice) -> u64| slices.iter().map(field).sum::<u64>();
    let (events, elapsed_ns) = (sum(|s| s.events), sum(|s| s.elapsed_ns));
    let (published_ns, received_ns) = (sum(|s| s.publisher_cpu_ns), sum(|s| s.receiver_cpu_ns));
    report.seconds = rounded(super::figures::real(elapsed_ns) / 1e9);
    report.delivered_per_s = per_second(events, elapsed_ns).round();
    report.slices_per_s =
        slices.iter().map(|s| per_second(s.events, s.elapsed_ns).round()).collect();
    report.cpu_s_per_million = Some(cpu_s_per_million(published_ns + received_ns, events));
    report.cpu_percent = sides(
        rounded(percent(published_ns, elapsed_ns)),
        rounded(percent(received_ns, elapsed_ns)),
    );
    report.counters = account.counters.iter().cloned().collect();
}

/// The bare loops beside them.
fn compare(report: &mut Report, raw: Bare, checked: Option<Bare>) -> Result<()> {
    let (delivered, at_full_rate) = (report.delivered_per_s, report.rate.is_none());
    // A share of the ceiling says something of a run that goes as fast as it can, and only then.
    let ratio = |ceiling: Option<f64>| {
        let ceiling = ceiling.filter(|ceiling| *ceiling > 0.0 && at_full_rate);
        ceiling.map(|ceiling| rounded(delivered / ceiling))
    };
    (report.raw_ceiling_per_s, report.checked_ceiling_per_s) =
        (raw.per_s(), checked.as_ref().and_then(Bare::per_s));
    report.ratio_to_raw = ratio(report.raw_ceiling_per_s);
    report.ratio_to_checked = ratio(report.checked_ceiling_per_s);
    report.raw_slices_per_s.clone_from(&raw.slices_per_s);
    report.counters.insert("raw_kernel_drops".into(), raw.finish()?.kernel_drops);
    let Some(checked) = checked else { return Ok(()) };
    report.checked_slices_per_s.clone_from(&checked.slices_per_s);
    let account = checked.finish()?;
    report.counters.insert("checked_kernel_drops".into(), account.kernel_drops);
    report.counters.insert("checked_corrupt".into(), account.counts.corrupt);
    Ok(())
}

/// A secret for this run: what two nodes would have agreed on. It guards nothing.
fn secret() -> [u8; 32] {
    let now_ns = Clock::system().now_ns().to_le_bytes();
    std::array::from_fn(|index| now_ns[index % 8] ^ index.to_le_bytes()[0])
}

/// A group of this host alone and a port that is free now.
pub(super) fn group(last: u8) -> Result<SocketAddr> {
    let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(SocketAddr::new(Ipv4Addr::new(239, 255, 77, last).into(), probe.local_addr()?.port()))
}
