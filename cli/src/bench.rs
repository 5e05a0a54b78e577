//! `wireloom bench`: the load generator. It measures the product the way it is used (typed events,
//! checked in a typed handler) beside the bare loop of the same frames in the same run, and
//! accounts for every event.
//!
//! The method, and what each figure is not, stands in `bench/README.md`.

mod arrivals;
mod bare;
mod crowd;
mod echo;
mod event;
mod fan;
mod fanout;
mod figures;
mod flow;
mod frontier;
mod frontier_report;
mod help;
mod idle;
mod isolation;
mod local;
mod loops;
mod machine;
mod members;
mod mesh;
mod peer;
mod pingpong;
mod place;
mod pools;
mod priority;
mod publish;
mod raw;
mod receive;
mod report;
mod ring;
mod rings;
mod round_trip;
mod scale;
mod stream;
mod svg;
mod table;
mod times;
mod udp;

use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use wireloom::Interface;

use crate::output::Output;
use fanout::FanoutArgs;
use flow::{Flow, FlowArgs, IdleChoice, Transport};
use frontier::FrontierArgs;
use isolation::IsolationArgs;
use mesh::MeshArgs;
use peer::{Answer, PeerPlan, PeerWork, say};
use pingpong::PingpongArgs;
use priority::PriorityArgs;
use report::{Findings, Report};
use scale::ScaleArgs;

/// Asked of the kernel for each socket, of the bare loop as of the product.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
const SEND_BUFFER_BYTES: usize = 1 << 20;

/// Measures this machine: events per second, latency, CPU and memory, beside the bare kernel path.
///
/// Every event carries a sequence and a hash of its content; a typed handler checks both and only
/// what passes counts as delivered. The exit status is 1 if an event was damaged or came twice, or
/// if the ledgers of the two nodes do not balance against each other. Loss is reported, not hidden:
/// flow control avoids it between two nodes, and a group has none.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  wireloom bench udp                          as fast as it goes, 64-byte events
  wireloom bench udp --rate 100000            latency, CPU and memory at 100,000 events/s
  wireloom bench udp --payload-bytes 1024 --packet-bytes 8192 --json
  wireloom bench tcp                          reliable events, beside a plain TCP connection
  wireloom bench local --types 1000           cost of an event beside 999 other types
  wireloom bench idle --duration 10s          what a node costs that has nothing to do
  wireloom bench pingpong --idle adaptive     there and back, beside plain sockets
  wireloom bench priority                     a critical event behind a bulk flow
  wireloom bench isolation                    neighbours of a frozen subscriber
  wireloom bench frontier --svg curve.svg     CPU against latency, by flush interval
  wireloom bench fanout --subscribers 16      one event to many
  wireloom bench scale                        more publishers, types, subscribers
  wireloom bench mesh --nodes 100             what a node costs in a mesh
  wireloom bench discovery --nodes 100        how soon a new node is known to all")]
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
    /// Two processes over TCP on the loopback interface: reliable events, acknowledged.
    #[command(after_help = help::TCP)]
    Tcp(FlowArgs),
    /// A publisher and a handler in one process.
    Local(FlowArgs),
    /// Two threads and one ring, 64-byte records, beside a channel and a locked deque.
    Ring(FlowArgs),
    /// A node with nothing to do.
    Idle(FlowArgs),
    /// One event there and back between two processes, beside the raw round trip.
    #[command(after_help = help::PINGPONG)]
    Pingpong(PingpongArgs),
    /// A critical event behind a bulk flow that saturates the link, and without it.
    #[command(after_help = help::PRIORITY)]
    Priority(PriorityArgs),
    /// What a frozen subscriber costs its neighbours, by its policy.
    #[command(after_help = help::ISOLATION)]
    Isolation(IsolationArgs),
    /// CPU against latency at a steady rate, by flush interval, beside the raw wake-ups.
    #[command(after_help = help::FRONTIER)]
    Frontier(FrontierArgs),
    /// One event to many: handlers of one node, unicast targets, the nodes of a group.
    #[command(after_help = help::FANOUT)]
    Fanout(FanoutArgs),
    /// What an event costs its sender as publishers, types and subscribers become more.
    #[command(after_help = help::SCALE)]
    Scale(ScaleArgs),
    /// Many node processes find each other; what membership costs each of them.
    #[command(after_help = help::MESH)]
    Mesh(MeshArgs),
    /// The same, and how soon a new node is known to all.
    #[command(after_help = help::DISCOVERY)]
    Discovery(MeshArgs),
    /// The receiving process of a run; started by the others.
    #[command(hide = true)]
    Peer {
        /// What to do, as JSON.
        plan: String,
    },
}

/// The interface every network run uses: this host alone.
const fn loopback() -> Interface {
    Interface::Address(Ipv4Addr::LOCALHOST)
}

/// Runs `wireloom bench`; the exit status is 1 when the run found a fault of the product.
pub(crate) fn run(args: &BenchArgs, output: &Output) -> Result<ExitCode> {
    type Mode = fn(&Flow, &Output) -> Result<Report>;
    let (flow, mode): (&FlowArgs, Mode) = match &args.bench {
        Bench::Udp(flow) | Bench::Multicast(flow) | Bench::Tcp(flow) => (flow, udp::run),
        Bench::Local(flow) => (flow, local::run),
        Bench::Ring(flow) => (flow, ring::run),
        Bench::Idle(flow) => (flow, idle::run),
        Bench::Priority(args) => {
            return priority::run(args, output)?.print(output, args.place.json);
        }
        Bench::Isolation(args) => {
            return isolation::run(args, output)?.print(output, args.place.json);
        }
        Bench::Frontier(args) => {
            return frontier::run(args, output)?.print(output, args.place.json);
        }
        Bench::Fanout(args) => {
            return fanout::run(args, output)?.print(output, args.place.json);
        }
        Bench::Scale(args) => return scale::run(args, output)?.print(output, args.place.json),
        Bench::Pingpong(args) => {
            return pingpong::run(args, output)?.print(output, args.place.json);
        }
        Bench::Mesh(args) => return mesh::run(args, false, output)?.print(output, args.json),
        Bench::Discovery(args) => return mesh::run(args, true, output)?.print(output, args.json),
        Bench::Peer { plan } => return serve(plan),
    };
    let transport = match args.bench {
        Bench::Multicast(_) => Transport::Multicast,
        Bench::Tcp(_) => Transport::Reliable,
        _ => Transport::Unicast,
    };
    let mut checked = Flow::check(flow, transport)?;
    if matches!(args.bench, Bench::Idle(_)) {
        checked.idle = flow.idle.unwrap_or(IdleChoice::Adaptive);
    }
    let report = mode(&checked, output)?;
    report.print(output, flow.json)
}

/// The receiving process.
fn serve(plan: &str) -> Result<ExitCode> {
    let plan: PeerPlan = serde_json::from_str(plan)
        .context("this command is started by `wireloom bench` itself, with a plan")?;
    machine::pin(plan.core);
    let served = match plan.work {
        PeerWork::Node => receive::serve_node(&plan),
        PeerWork::Raw | PeerWork::RawChecked if plan.reliable => stream::serve_stream(&plan),
        PeerWork::RawEcho if plan.reliable => stream::serve_stream_echo(&plan),
        PeerWork::Raw | PeerWork::RawChecked => raw::serve_raw(&plan),
        PeerWork::RawEcho => echo::serve_echo(&plan),
        PeerWork::Rings => rings::serve_rings(&plan),
    };
    if let Err(error) = served {
        say(&Answer::Failed(format!("{error:#}")))?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
