//! What a node costs that has nothing to do: adaptive idling, one handler, no traffic.

use anyhow::Result;
use wireloom::{Clock, Idle, Node};

use super::event::BenchEvent;
use super::figures::{per_second, percent, real, rounded};
use super::flow::{Flow, IdleChoice};
use super::machine::{peak_rss_bytes, process_cpu_ns};
use super::receive::install;
use super::report::Report;
use crate::output::Output;

/// A node that has just started is not idle yet.
const WARM_UP: std::time::Duration = std::time::Duration::from_millis(300);

/// Starts a node and watches it do nothing.
pub(super) fn run(flow: &Flow, output: &Output) -> Result<Report> {
    let idle = if flow.idle == IdleChoice::Spin { Idle::Spin } else { Idle::default() };
    let node =
        Node::builder("bench-idle").io(flow.io.backend()).idle(idle).cores(&flow.cores).start()?;
    let watch = install::<BenchEvent>(&node, 0)?;
    std::thread::sleep(WARM_UP);
    output.progress("an idle node, watched");
    let clock = Clock::system();
    let (from_ns, cpu_ns) = (clock.now_ns(), process_cpu_ns());
    std::thread::sleep(flow.duration);
    let (elapsed_ns, cpu_ns) = (clock.now_ns() - from_ns, process_cpu_ns() - cpu_ns);
    output.progress("");
    let mut report = Report::new("idle");
    report.seconds = rounded(real(elapsed_ns) / 1e9);
    report.delivered = watch.progress.counts().delivered;
    report.delivered_per_s = per_second(report.delivered, elapsed_ns);
    report.cpu_percent.insert("node", rounded(percent(cpu_ns, elapsed_ns)));
    report.peak_rss_bytes.insert("node", peak_rss_bytes());
    report.idle = flow.idle.name();
    report.io = flow.io.name();
    report.cores = flow.cores.clone();
    report.notes = node.notes();
    report.ledger_balanced = Some(node.close().balanced);
    Ok(report)
}
