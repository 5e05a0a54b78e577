//! Events to handlers of the same process: a publisher's thread, the node's worker, an inline typed
//! handler.
//!
//! One process, two cores. Nothing may be lost here: a full ring refuses, and the event is offered
//! again. Further types may be registered beside the one that is published, to see what they cost.

use std::time::Duration;

use anyhow::{Result, bail};
use wireloom::{AnySubscriber, Clock, Idle, Node, Target};

use super::event::{BenchEvent, BenchList, Load, archived_bytes};
use super::figures::{Percentiles, cpu_s_per_million, per_second, percent, real, rounded};
use super::flow::{Flow, IdleChoice};
use super::machine::{peak_rss_bytes, pin, process_cpu_ns};
use super::publish::{Pace, Pump};
use super::receive::{Watch, install};
use super::report::Report;
use super::times::distribution;
use crate::output::Output;

const WARM_UP_NS: u64 = 200_000_000;
/// How long the handler may take for what the ring holds at the end.
const DRAIN_NS_MAX: u64 = 2_000_000_000;

/// Runs the load of one flow inside this process.
pub(super) fn run(flow: &Flow, output: &Output) -> Result<Report> {
    output.progress("running");
    let report = if flow.is_fixed() {
        Local::<BenchEvent>::prepare(flow)?.measure()
    } else {
        Local::<BenchList>::prepare(flow)?.measure()
    };
    output.progress("");
    report
}

struct Local<'a, E: Load> {
    flow: &'a Flow,
    node: Node,
    pump: Pump<E>,
    watch: Watch,
    /// Held so that the further types stay registered.
    _others: Option<AnySubscriber>,
    clock: Clock,
    report: Report,
}

impl<'a, E: Load> Local<'a, E> {
    fn prepare(flow: &'a Flow) -> Result<Self> {
        let payload_bytes = archived_bytes::<E>(flow.payload_bytes)?;
        let frame_bytes =
            wireloom_wire::align_up(wireloom_wire::FRAME_HEADER_BYTES + payload_bytes);
        let idle = if flow.idle == IdleChoice::Spin { Idle::Spin } else { Idle::default() };
        let worker_core: Vec<usize> = flow.core(1).into_iter().collect();
        let node = Node::builder("bench-local")
            .idle(idle)
            .cores(&worker_core)
            .ring_bytes(256 << 10, 4 << 10)
            .start()?;
        let watch = install::<E>(&node, u64::from(flow.rate.is_some()))?;
        let others = other_types(&node, flow.types.saturating_sub(1))?;
        let publisher = node.publisher::<E>(&Target::Local)?;
        let mut report = Report::new("local");
        // Only now: a thread started by a pinned one may run on that core alone.
        pin(flow.core(0));
        report.rate = flow.rate;
        report.payload_bytes = payload_bytes;
        report.frame_bytes = frame_bytes + wireloom_dataplane::inbound::ORIGIN_BYTES;
        report.idle = flow.idle.name();
        report.cores = flow.cores.clone();
        report.notes = node.notes();
        Ok(Self {
            flow,
            node,
            pump: Pump::new(publisher, flow.payload_bytes, frame_bytes),
            watch,
            _others: others,
            clock: Clock::system(),
            report,
        })
    }

    fn measure(mut self) -> Result<Report> {
        let for_ns = u64::try_from(self.flow.duration.as_nanos()).unwrap_or(u64::MAX);
        self.slice(WARM_UP_NS.min(for_ns))?;
        self.watch.progress.time_from(self.clock.now_ns());
        let (before, cpu_ns) = (self.pump.accepted, process_cpu_ns());
        let elapsed_ns = self.slice(for_ns)?;
        let (events, cpu_ns) = (self.pump.accepted - before, process_cpu_ns() - cpu_ns);
        let Pump { accepted, refused, .. } = self.pump;
        let ledger = self.node.close();
        let counts = self.watch.progress.counts();
        let mut report = self.report;
        report.seconds = rounded(real(elapsed_ns) / 1e9);
        report.delivered_per_s = per_second(events, elapsed_ns).round();
        (report.published, report.refused) = (accepted, refused);
        report.delivered = counts.delivered;
        report.lost = accepted.saturating_sub(counts.delivered + counts.corrupt);
        (report.duplicated, report.corrupt, report.late) =
            (counts.duplicated, counts.corrupt, counts.late);
        report.cpu_s_per_million = Some(cpu_s_per_million(cpu_ns, events));
        report.cpu_percent.insert("process", rounded(percent(cpu_ns, elapsed_ns)));
        report.peak_rss_bytes.insert("process", peak_rss_bytes());
        let received = &ledger.received;
        report.ledger_balanced = Some(
            ledger.balanced && received.local == accepted && received.delivered == counts.handled(),
        );
        report.latency_us = Percentiles::of(&distribution(&self.watch.take_times()));
        Ok(report)
    }

    /// Publishes for a time and waits until all of it was handled; returns how long that took.
    fn slice(&mut self, for_ns: u64) -> Result<u64> {
        let from_ns = self.clock.now_ns();
        match self.flow.rate {
            None => {
                self.pump.flood(for_ns, |is_full| {
                    if is_full {
                        std::hint::spin_loop();
                    }
                })?;
            }
            Some(rate) => {
                let tick_ns = u64::try_from(self.flow.tick.as_nanos()).unwrap_or(u64::MAX);
                let mut pace = Pace::new(rate, tick_ns, from_ns, for_ns);
                let clock = &self.clock;
                self.pump.pace(&mut pace, |until_ns| {
                    let pause_ns = until_ns.saturating_sub(clock.now_ns());
                    std::thread::sleep(Duration::from_nanos(pause_ns));
                })?;
                self.report.publish_lag_us = pace.lag();
            }
        }
        let drain_until_ns = self.clock.now_ns() + DRAIN_NS_MAX;
        loop {
            let counts = self.watch.progress.counts();
            if counts.handled() >= self.pump.accepted {
                return Ok(self.clock.now_ns() - from_ns);
            }
            if self.clock.now_ns() > drain_until_ns {
                bail!("the handler did not get every event: {counts:?} of {}", self.pump.accepted);
            }
            std::thread::yield_now();
        }
    }
}

/// Registers further types by name: their events would be taken by a ring of their own.
pub(super) fn other_types(node: &Node, count: usize) -> Result<Option<AnySubscriber>> {
    if count == 0 {
        return Ok(None);
    }
    let names: Vec<String> = (0..count).map(|index| format!("bench-other-{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(Some(node.subscribe_any(&names)?))
}
