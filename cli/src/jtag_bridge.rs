//! `wireloom jtag-bridge`: a WebSocket server that programs of the legacy event system connect to.
//!
//! What their messages mean stands in [`wireloom::jtag::Bridge`]; here are the sockets: one thread,
//! one loop ([`server`]), one state for each client ([`client`]).

mod client;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use wireloom::config::{Config, ConfigError};
use wireloom::event::Priority;
use wireloom::jtag::{BridgeCounts, CLIENTS_MAX, LegacyCounts, LegacyEvents, Ways};
use wireloom::{Ledger, Node, NodeBuilder, Target};

use crate::args::cluster::{self, ClusterArgs};
use crate::args::config::NodeConfigArgs;
use crate::args::help;
use crate::output::Output;
use crate::stop::Stop;
use crate::values;
use server::{Server, SocketCounts};

/// Room for events that arrive while clients are served.
const ROOM_BYTES: usize = 8 << 20;

/// `wireloom jtag-bridge`.
#[derive(Debug, Args)]
#[command(after_help = help::JTAG_BRIDGE)]
pub(crate) struct JtagBridgeArgs {
    /// Where clients connect: ws://HOST:PORT; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS", default_value = "ws://127.0.0.1:9001")]
    #[arg(value_parser = values::websocket)]
    listen: SocketAddr,
    /// Where events and requests of clients go, as in "wireloom pub". May be given several times;
    /// without it they stay among the clients
    #[arg(long, value_name = "TARGET", value_parser = values::target)]
    target: Vec<Target>,
    /// Where those of one priority go also: critical=tcp://10.0.0.7:9000. May be given several
    /// times
    #[arg(long, value_name = "PRIORITY=TARGET", value_parser = values::way)]
    way: Vec<(Priority, Target)>,
    /// Multicast group whose events clients get: 224.1.1.1:9000. May be given several times
    #[arg(long, value_name = "GROUP:PORT", value_parser = values::group)]
    join: Vec<SocketAddr>,
    /// Address on which the node of this bridge receives events [default: 127.0.0.1:0, or where the
    /// cluster reaches it]
    #[arg(long, value_name = "HOST:PORT")]
    node_listen: Option<SocketAddr>,
    /// Pages from this origin (scheme, host and port) may connect too. May be given several times
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// How many clients there may be at a time; each may hold 12 MB of a message that is not yet
    /// complete
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=CLIENTS_MAX as i64))]
    clients: u16,
    /// Name of this node [default: jtag-bridge-PID]
    #[arg(long, value_name = "NAME", value_parser = values::node_name)]
    name: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    node: NodeConfigArgs,
}

/// The account at the end.
#[derive(Debug, Serialize)]
struct Account<'a> {
    sockets: &'a SocketCounts,
    bridge: &'a BridgeCounts,
    legacy: &'a LegacyCounts,
    #[serde(flatten)]
    ledger: &'a Ledger,
}

/// Runs the command.
///
/// # Errors
/// When the port is in use or the node cannot start.
pub(crate) fn run(args: &JtagBridgeArgs, output: &Output) -> Result<ExitCode> {
    let stop = Stop::on_signals()?;
    let config = config(args)?;
    let node = builder(args, &config)?.start()?;
    let events = LegacyEvents::builder(&node).ways(ways(args)?).start()?;
    node.accept()?;
    let mut server = Server::open(args, &events)?;
    for note in node.notes() {
        output.hint(format_args!("note: {note}"));
    }
    output.report(format_args!(
        "listening on ws://{}, events on udp://{}",
        server.address()?,
        node.address()
    ));
    output.hint(format_args!("{}; Ctrl-C ends", ways(args)?));
    server.serve(&stop, output)?;
    let (sockets, bridge) = server.close();
    events.close();
    let legacy = events.counts();
    let ledger = node.close();
    let account = Account { sockets: &sockets, bridge: &bridge, legacy: &legacy, ledger: &ledger };
    output.summary(&account)?;
    Ok(if ledger.balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where the events of each priority go.
fn ways(args: &JtagBridgeArgs) -> Result<Ways> {
    let mut ways = Ways::nowhere();
    for target in &args.target {
        for priority in Priority::ALL {
            ways = ways.and(priority, target.clone())?;
        }
    }
    for (priority, target) in &args.way {
        ways = ways.and(*priority, target.clone())?;
    }
    Ok(ways)
}

/// What file, profile, environment and options say together.
fn config(args: &JtagBridgeArgs) -> Result<Config, ConfigError> {
    let join: Vec<String> = args.join.iter().map(SocketAddr::to_string).collect();
    let options = [
        ("--name", "node.name", args.name.clone()),
        ("--node-listen", "node.listen", args.node_listen.map(|listen| listen.to_string())),
        ("--join", "groups.join", (!join.is_empty()).then(|| join.join(","))),
    ];
    args.node.config(options.into_iter().chain(args.cluster.options()))
}

fn builder(args: &JtagBridgeArgs, config: &Config) -> Result<NodeBuilder> {
    let joins = args.cluster.is_said() || cluster::is_configured(config);
    let listen = if joins { cluster::listen(config).to_string() } else { "127.0.0.1:0".to_owned() };
    let builder = Node::builder(&format!("jtag-bridge-{}", std::process::id()))
        .listen(&listen)
        .ring_bytes(1 << 20, ROOM_BYTES)
        .accept_later()
        .config(config);
    if joins { args.cluster.join(builder, config) } else { Ok(builder) }
}
