//! `wireloom bench`: the load generator. It measures the product the way it is used (typed events,
//! checked in a typed handler) beside the bare loop of the same frames in the same run, and accounts
//! for every event.
//!
//! The method, and what each figure is not, stands in `bench/README.md`.

mod arrivals;
mod event;
mod figures;
mod idle;
mod local;
mod loops;
mod machine;
mod peer;
mod publish;
mod raw;
mod receive;
mod report;
mod ring;
mod udp;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use wireloom::Interface;

use crate::output::Output;
use crate::values::{duration, rate, size};
use event::{PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MIN};
use peer::{Answer, PeerPlan, PeerWork, say};
use report::Report;

/// Asked of the kernel for each socket, of the bare loop as of the product.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// Measures this machine: events per second, latency, CPU and memory, beside the bare kernel path.
///
/// Every event carries a sequence and a hash of its content; a typed handler checks both and only
/// what passes counts as delivered. The exit status is 1 if an event was damaged or came twice, or
/// if the ledgers of the two nodes do not balance against each other. Loss at full rate is
/// reported, not hidden: nothing limits the publisher but its own ring.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wireloom bench udp                          as fast as it goes, 64-byte events
  wireloom bench udp --rate 100000            latency, CPU and memory at 100,000 events/s
  wireloom bench udp --payload-bytes 1024 --packet-bytes 8192 --json
  wireloom bench local --types 1000           cost of an event beside 999 other types
  wireloom bench idle --duration 10s          what a node costs that has nothing to do")]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Two processes over UDP on the loopback interface.
    Udp(FlowArgs),
    /// Two processes over UDP multicast on the loopback interface.
    Multicast(FlowArgs),
    /// A publisher and a handler in one process.
    Local(FlowArgs),
    /// Two threads and one ring, 64-byte records, beside a channel and a locked deque.
    Ring(FlowArgs),
    /// A node with nothing to do.
    Idle(FlowArgs),
    /// The receiving process of a run; started by the others.
    #[command(hide = true)]
    Peer {
        /// What to do, as JSON.
        plan: String,
    },
}

#[derive(Debug, Clone, Args)]
struct FlowArgs {
    /// Archived size of one event: 32 to 65,000 bytes, in steps of 8.
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = size)]
    payload_bytes: usize,
    /// How long to measure.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    duration: Duration,
    /// Events per second (100000, 20k, 1M) instead of as fast as it goes; measures latency.
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<f64>,
    /// With a rate: how often the publisher publishes what is due.
    #[arg(long, value_name = "TIME", default_value = "500us", value_parser = duration)]
    tick: Duration,
    /// Largest packet, header included.
    #[arg(long, value_name = "BYTES", default_value = "1400", value_parser = size)]
    packet_bytes: usize,
    /// What a node does when it has nothing to do [default: adaptive with a rate, else spin].
    #[arg(long, value_name = "STRATEGY")]
    idle: Option<IdleChoice>,
    /// Cores for publisher and receiver; `none` leaves it to the system [default: the first two].
    #[arg(long, value_name = "CORES")]
    cores: Option<String>,
    /// The event's type: `typed` is a fixed struct at 64 bytes and a list otherwise.
    #[arg(long, default_value = "typed")]
    payload: Payload,
    /// Event types registered with the receiving node (local only).
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    types: u16,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// What a node does without work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdleChoice {
    /// Spin a moment, yield, then sleep until woken; threads of the node's own.
    Adaptive,
    /// Never sleep; one thread for each side.
    Spin,
}

impl IdleChoice {
    const fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::Spin => "spin",
        }
    }
}

/// The shape of the published event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Payload {
    /// A struct of numbers at 64 bytes, a struct with a list at other sizes.
    Typed,
    /// A struct with a list at any size.
    List,
}

/// What a run is asked to do, checked.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    multicast: bool,
    payload_bytes: usize,
    duration: Duration,
    rate: Option<f64>,
    tick: Duration,
    packet_bytes: usize,
    idle: IdleChoice,
    cores: Vec<usize>,
    payload: Payload,
    types: usize,
}

impl Flow {
    fn check(args: &FlowArgs, multicast: bool) -> Result<Self> {
        let payload = args.payload_bytes;
        if !(PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&payload) {
            let nearest = payload.clamp(PAYLOAD_BYTES_MIN, PAYLOAD_BYTES_MAX);
            bail!(
                "--payload-bytes {payload}: an event of this generator has {PAYLOAD_BYTES_MIN} to \
                 {PAYLOAD_BYTES_MAX} bytes; try {nearest}"
            );
        }
        if args.duration < Duration::from_millis(10) {
            bail!("--duration: nothing is measured in less than 10ms; try 1s");
        }
        if args.tick < Duration::from_micros(1) || args.tick > Duration::from_secs(1) {
            bail!("--tick: between 1us and 1s; try 500us");
        }
        let free = if args.rate.is_some() { IdleChoice::Adaptive } else { IdleChoice::Spin };
        Ok(Self {
            multicast,
            payload_bytes: payload,
            duration: args.duration,
            rate: args.rate,
            tick: args.tick,
            packet_bytes: args.packet_bytes.clamp(256, 65_504),
            idle: args.idle.unwrap_or(free),
            cores: chosen_cores(args.cores.as_deref(), &machine::allowed_cores())?,
            payload: args.payload,
            types: usize::from(args.types),
        })
    }

    #[cfg(test)]
    fn for_tests() -> Self {
        Self {
            multicast: false,
            payload_bytes: event::FIXED_PAYLOAD_BYTES,
            duration: Duration::from_millis(50),
            rate: None,
            tick: Duration::from_micros(500),
            packet_bytes: 1_400,
            idle: IdleChoice::Spin,
            cores: Vec::new(),
            payload: Payload::Typed,
            types: 1,
        }
    }
}

/// The cores to pin to: those named, or the first two; none when there is only one.
fn chosen_cores(named: Option<&str>, allowed: &[usize]) -> Result<Vec<usize>> {
    let Some(named) = named else {
        return Ok(if allowed.len() < 2 { Vec::new() } else { allowed[..2].to_vec() });
    };
    if named == "none" {
        return Ok(Vec::new());
    }
    let parsed = named.split(',').map(|core| core.trim().parse::<usize>());
    let cores: Vec<usize> = parsed
        .collect::<Result<_, _>>()
        .with_context(|| format!("--cores {named}: core numbers with commas, such as 0,1"))?;
    match cores.iter().find(|core| !allowed.contains(core)) {
        Some(core) => bail!("--cores: core {core} is not available here: choose from {allowed:?}"),
        None => Ok(cores),
    }
}

/// The interface every network run uses: this host alone.
const fn loopback() -> Interface {
    Interface::Address(Ipv4Addr::LOCALHOST)
}

/// Runs `wireloom bench`; the exit status is 1 when the run found a fault of the product.
pub(crate) fn run(args: &BenchArgs, output: &Output) -> Result<ExitCode> {
    type Mode = fn(&Flow, &Output) -> Result<Report>;
    let (flow, mode): (&FlowArgs, Mode) = match &args.bench {
        Bench::Udp(flow) | Bench::Multicast(flow) => (flow, udp::run),
        Bench::Local(flow) => (flow, local::run),
        Bench::Ring(flow) => (flow, ring::run),
        Bench::Idle(flow) => (flow, idle::run),
        Bench::Peer { plan } => return serve(plan),
    };
    let multicast = matches!(args.bench, Bench::Multicast(_));
    let mut checked = Flow::check(flow, multicast)?;
    if matches!(args.bench, Bench::Idle(_)) {
        checked.idle = flow.idle.unwrap_or(IdleChoice::Adaptive);
    }
    let report = mode(&checked, output)?;
    report.print(output, flow.json)?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The receiving process.
fn serve(plan: &str) -> Result<ExitCode> {
    let plan: PeerPlan = serde_json::from_str(plan)
        .context("this command is started by `wireloom bench` itself, with a plan")?;
    machine::pin(plan.core);
    let served = match plan.work {
        PeerWork::Node => receive::serve_node(&plan),
        PeerWork::Raw => raw::serve_raw(&plan),
    };
    if let Err(error) = served {
        say(&Answer::Failed(format!("{error:#}")))?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn flow(line: &str) -> Result<Flow> {
        let command = Command::try_parse_from(line.split(' '))?;
        match command.bench.bench {
            Bench::Udp(flow) => Flow::check(&flow, false),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let full = flow("bench udp").unwrap();
        assert_eq!((full.payload_bytes, full.packet_bytes), (64, 1_400));
        assert_eq!((full.duration, full.rate), (Duration::from_secs(5), None));
        assert_eq!(full.idle, IdleChoice::Spin);
        assert!(full.is_fixed());
        let paced = flow("bench udp --rate 100k --payload-bytes 128").unwrap();
        assert_eq!((paced.rate, paced.idle), (Some(100_000.0), IdleChoice::Adaptive));
        assert!(!paced.is_fixed() && !flow("bench udp --payload list").unwrap().is_fixed());
    }

    #[test]
    fn a_wrong_setting_is_told_with_the_nearest_right_one() {
        for (line, word) in [
            ("bench udp --payload-bytes 8", "try 32"),
            ("bench udp --payload-bytes 1GiB", "try 65000"),
            ("bench udp --duration 1ms", "try 1s"),
            ("bench udp --tick 2s", "try 500us"),
            ("bench udp --cores 0,x", "0,1"),
            ("bench udp --cores 9999", "not available"),
            ("bench udp --rate 0", "above 0"),
            ("bench udp --idle snooze", "adaptive"),
        ] {
            let told = format!("{:#}", flow(line).unwrap_err());
            assert!(told.contains(word), "{line}: {told}");
        }
    }

    #[test]
    fn cores_are_the_first_two_unless_named() {
        assert_eq!(chosen_cores(None, &[2, 5, 7]).unwrap(), [2, 5]);
        assert!(chosen_cores(None, &[3]).unwrap().is_empty());
        assert!(chosen_cores(Some("none"), &[0, 1]).unwrap().is_empty());
        assert_eq!(chosen_cores(Some("7, 2"), &[2, 5, 7]).unwrap(), [7, 2]);
    }
}
