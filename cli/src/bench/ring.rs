//! Two threads and one ring: records of 64 bytes in batches, beside the two loops somebody would
//! write without it, in alternating slices of one run.

use anyhow::Result;

use super::figures::{cpu_s_per_million, median, percent, real, rounded};
use super::flow::Flow;
use super::loops::{Found, RECORD_BYTES, through_channel, through_mutex, through_ring};
use super::machine::peak_rss_bytes;
use super::report::Report;
use crate::output::Output;

const SLICE_NS_MAX: u64 = 1_000_000_000;

/// Runs the three loops in turn for the flow's duration.
pub(super) fn run(flow: &Flow, output: &Output) -> Result<Report> {
    let total_ns = u64::try_from(flow.duration.as_nanos()).unwrap_or(u64::MAX);
    let rounds = total_ns.div_ceil(SLICE_NS_MAX).max(1);
    let slice_ns = total_ns / rounds;
    let mut report = Report::new("ring");
    let (mut own, mut channel, mut locked) = (Sum::default(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        output.progress(&format!("slice {round} of {rounds}"));
        let slice = through_ring(flow, slice_ns)?;
        report.slices_per_s.push(slice.per_s().round());
        own.add(&slice);
        channel.push(through_channel(flow, slice_ns / 4).per_s());
        locked.push(through_mutex(flow, slice_ns / 4).per_s());
    }
    output.progress("");
    report.naive_per_s.insert("sync_channel", median(&channel).unwrap_or(0.0).round());
    report.naive_per_s.insert("mutex_and_deque", median(&locked).unwrap_or(0.0).round());
    own.report(&mut report);
    report.payload_bytes = RECORD_BYTES;
    report.frame_bytes = RECORD_BYTES;
    report.idle = "spin";
    report.cores = flow.cores.clone();
    report.peak_rss_bytes.insert("process", peak_rss_bytes());
    Ok(report)
}

/// The slices of the ring, added up.
#[derive(Debug, Default)]
struct Sum(Found);

impl Sum {
    fn add(&mut self, slice: &Found) {
        let Found { published, counts, elapsed_ns, cpu_ns } = &mut self.0;
        *published += slice.published;
        *elapsed_ns += slice.elapsed_ns;
        *cpu_ns += slice.cpu_ns;
        counts.delivered += slice.counts.delivered;
        counts.late += slice.counts.late;
        counts.duplicated += slice.counts.duplicated;
        counts.corrupt += slice.counts.corrupt;
    }

    fn report(&self, report: &mut Report) {
        let Found { published, counts, elapsed_ns, cpu_ns } = self.0;
        report.seconds = rounded(real(elapsed_ns) / 1e9);
        report.delivered_per_s = self.0.per_s().round();
        (report.published, report.delivered) = (published, counts.delivered);
        report.lost = published.saturating_sub(counts.delivered + counts.corrupt);
        (report.duplicated, report.corrupt, report.late) =
            (counts.duplicated, counts.corrupt, counts.late);
        report.cpu_s_per_million = Some(cpu_s_per_million(cpu_ns, counts.delivered));
        report.cpu_percent.insert("process", rounded(percent(cpu_ns, elapsed_ns)));
        // Nothing may be lost between two threads: what was published was delivered.
        report.ledger_balanced = Some(published == counts.delivered + counts.corrupt);
    }
}
