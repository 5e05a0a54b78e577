//! `bench mesh` and `bench discovery`: many real node processes on this host find each other. How
//! long until all know all, what membership costs each, and how soon a new, a leaving and a killed
//! node are known to all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Args;
use rustix::process::Signal;
use serde::Serialize;

use super::crowd::Crowd;
use super::figures::{median, real, rounded};
use super::machine::Machine;
use super::pools::{Load, Pools};
use super::report::Findings;
use super::table::Table;
use crate::output::Output;
use crate::values::duration;

/// How long anything may take before the run has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// Options of the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct MeshArgs {
    /// Node processes
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(2..=200))]
    nodes: u16,
    /// Find each other by a seed instead of multicast
    #[arg(long)]
    seeds: bool,
    /// How long the steady part is
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Nodes that come later, one after the other (discovery)
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=200))]
    newcomers: u16,
    /// Reliable events a second of either priority, to and from each peer, once all know all (mesh)
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Print the figures as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Times over the newcomers, ms.
#[derive(Debug, Clone, Copy, Serialize)]
struct Times {
    p50: f64,
    p99: f64,
    max: f64,
}

impl Times {
    fn of(mut times: Vec<f64>) -> Option<Self> {
        times.sort_by(f64::total_cmp);
        let max = *times.last()?;
        // Of fewer than a hundred the 99th of a hundred is the last.
        let p99 = times[(times.len() * 99).div_ceil(100) - 1];
        let p50 = times[times.len().div_ceil(2) - 1];
        Some(Self { p50: rounded(p50), p99: rounded(p99), max: rounded(max) })
    }
}

/// The figures of one run.
#[derive(Debug, Serialize)]
pub(super) struct Mesh {
    /// `mesh` or `discovery`.
    bench: &'static str,
    nodes: u16,
    /// `multicast` or `seeds`.
    by: &'static str,
    /// From the start of the first process until all know all, s; processes start one by one.
    all_known_s: f64,
    /// From a node's start until all know it, ms.
    new_node_known_ms: Option<Times>,
    /// From the request to end until all know that it left, ms.
    left_known_ms: Option<Times>,
    /// From SIGKILL until all know that it is dead, ms.
    dead_known_ms: Option<f64>,
    /// Control bytes by node, a second, in the steady part (median): packets without UDP and IP
    /// headers.
    sent_bytes_per_s: f64,
    heard_bytes_per_s: f64,
    /// Resident memory by node (median, greatest), the program's own pages included.
    rss_bytes: f64,
    rss_bytes_max: u64,
    /// The first node with its links to all others open and in use; `mesh` only.
    pools: Option<Pools>,
    /// Times a running node was called dead.
    false_deaths: u64,
    machine: Machine,
}

pub(super) fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Memory as the goals say it.
pub(super) fn mb(bytes: u64) -> String {
    format!("{:.1} MB", real(bytes) / 1e6)
}

fn ms(from_ns: u64, to_ns: u64) -> f64 {
    real(to_ns.saturating_sub(from_ns)) / 1e6
}

/// Runs either mode; `discovery` has newcomers.
pub(super) fn run(args: &MeshArgs, discovery: bool, output: &Output) -> Result<Mesh> {
    let mut crowd = Crowd::new(!args.seeds)?;
    let begun_ns = unix_ns();
    for started in 0..args.nodes {
        output.progress(&format!("starting node {started} of {}", args.nodes));
        crowd.start()?;
    }
    output.progress("waiting until all know all");
    crowd.listen_until(PATIENCE, "not all know all", Crowd::all_known)?;
    let all_known_s = ms(begun_ns, unix_ns()) / 1e3;
    let (mut known, mut left) = (Vec::new(), Vec::new());
    for number in 0..if discovery { args.newcomers } else { 0 } {
        output.progress(&format!("newcomer {number} of {}", args.newcomers));
        let index = crowd.start()?;
        let what = "a new node is not known to all";
        let known_ns = crowd.listen_until(PATIENCE, what, Crowd::all_known)?;
        // Heard together with its start.
        let known_ns = if known_ns == 0 { unix_ns() } else { known_ns };
        known.push(ms(crowd.begun_ns(index), known_ns));
        let asked_ns = unix_ns();
        crowd.end(index, Signal::TERM)?;
        let what = "not all know that a node has left";
        let gone_ns = crowd.listen_until(PATIENCE, what, Crowd::all_known)?;
        left.push(ms(asked_ns, gone_ns));
    }
    let (sent, heard) = steady(&mut crowd, args.duration, output)?;
    let costs = crowd.costs();
    let load = Load { nodes: args.nodes, per_s: args.rate, time: args.duration };
    let pools = (!discovery).then(|| Pools::fill(&mut crowd, load, output)).transpose()?;
    output.progress("waiting until all know that one was killed");
    let killed_ns = unix_ns();
    crowd.end(usize::from(args.nodes) - 1, Signal::KILL)?;
    let what = "not all know that a node was killed";
    let dead_ns = crowd.listen_until(PATIENCE, what, Crowd::all_known)?;
    output.progress("");
    let resident: Vec<f64> = costs.iter().map(|cost| real(cost.3)).collect();
    Ok(Mesh {
        bench: if discovery { "discovery" } else { "mesh" },
        nodes: args.nodes,
        by: if args.seeds { "seeds" } else { "multicast" },
        all_known_s: rounded(all_known_s),
        new_node_known_ms: Times::of(known),
        left_known_ms: Times::of(left),
        dead_known_ms: (args.nodes > 2).then(|| rounded(ms(killed_ns, dead_ns))),
        sent_bytes_per_s: rounded(sent),
        heard_bytes_per_s: rounded(heard),
        rss_bytes: median(&resident).unwrap_or(0.0),
        rss_bytes_max: costs.iter().map(|cost| cost.3).max().unwrap_or(0),
        pools,
        false_deaths: crowd.false_deaths,
        machine: Machine::read(),
    })
}

/// Bytes a second sent and heard by the middle node while nobody comes or goes.
fn steady(crowd: &mut Crowd, time: Duration, output: &Output) -> Result<(f64, f64)> {
    output.progress("steady");
    // Until every process has told its cost since now, and again after the time.
    let listen = |crowd: &mut Crowd| {
        let from_ns = unix_ns();
        let told = |crowd: &Crowd| crowd.costs().iter().all(|cost| cost.0 > from_ns);
        crowd.listen_until(PATIENCE, "a node does not tell its cost", told)?;
        Ok::<_, anyhow::Error>(crowd.costs())
    };
    let before = listen(crowd)?;
    let until_ns = unix_ns() + u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let patience = time + PATIENCE;
    crowd.listen_until(patience, "no end", |_| unix_ns() >= until_ns)?;
    let after = listen(crowd)?;
    let rate = |of: fn(&(u64, u64, u64, u64)) -> u64| {
        let pairs = before.iter().zip(&after);
        let rates: Vec<f64> = pairs
            .map(|(before, after)| {
                let seconds = ms(before.0, after.0) / 1e3;
                real(of(after).saturating_sub(of(before))) / seconds.max(0.001)
            })
            .collect();
        median(&rates).unwrap_or(0.0)
    };
    Ok((rate(|cost| cost.1), rate(|cost| cost.2)))
}

impl Findings for Mesh {
    fn is_sound(&self) -> bool {
        self.false_deaths == 0 && self.pools.is_none_or(|pools| pools.is_complete)
    }

    fn table(&self, output: &Output) -> String {
        let title = format!("{}, {} nodes by {}", self.bench, self.nodes, self.by);
        let mut table = Table::new(&title, output);
        table.row("all know all", &format!("{:.2} s after the first start", self.all_known_s));
        for (name, times) in [
            ("a new node is known", self.new_node_known_ms),
            ("a leaving one is gone", self.left_known_ms),
        ] {
            if let Some(Times { p50, p99, max }) = times {
                let text = format!("p50 {p50:.1} ms, p99 {p99:.1}, max {max:.1}");
                table.row(name, &text);
            }
        }
        if let Some(dead) = self.dead_known_ms {
            table.row("a killed one is dead", &format!("{dead:.0} ms"));
        }
        let (sent, heard) = (self.sent_bytes_per_s, self.heard_bytes_per_s);
        let text = format!("{sent:.0} bytes/s sent, {heard:.0} heard, by node");
        table.row("control traffic", &text);
        let text =
            format!("{:.1} MB by node, {} at most", self.rss_bytes / 1e6, mb(self.rss_bytes_max));
        table.row("resident memory", &text);
        if let Some(pools) = &self.pools {
            pools.rows(&mut table);
        }
        table.row("false deaths", &self.false_deaths.to_string());
        table.end(&[], &self.machine)
    }
}
