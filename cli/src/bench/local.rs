//! Events to handlers of the same process: a publisher's thread, the node's worker, an inline typed
//! handler; beside the bare ring with records of the same length.
//!
//! One process, two cores. Nothing may be lost here: a full ring refuses, and the event is offered
//! again.

use anyhow::Result;
use wireloom::event::EventTypeId;
use wireloom::{Clock, Idle, Node, Target};

use super::event::{BenchEvent, BenchList, Load, archived_bytes};
use super::figures::{Percentiles, cpu_s_per_million, per_second, percent, real, rounded};
use super::machine::{peak_rss_bytes, pin, process_cpu_ns};
use super::publish::{Pace, Pump};
use super::receive::{Progress, install};
use super::report::Report;
use super::{Flow, IdleChoice};
use crate::output::Output;

const WARM_UP_NS: u64 = 200_000_000;
/// Bytes before each frame of a local ring.
const ORIGIN_BYTES: usize = wireloom_dataplane::inbound::ORIGIN_BYTES;

/// Runs the load of one flow inside this process.
pub(super) fn run(flow: &Flow, output: &Output) -> Result<Report> {
    output.progress("running");
    let report =
        if flow.is_fixed() { measure::<BenchEvent>(flow) } else { measure::<BenchList>(flow) };
    output.progress("");
    report
}
