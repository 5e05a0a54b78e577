//! What may stand on the command line, and what each word means.
//!
//! Help texts that teach stand in [`help`]; the small languages of values in [`crate::values`].

pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod help;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use wireloom::event::Priority;
use wireloom::{SlowPolicy, Target};
use wireloom_dataplane::socket::Interface;

use crate::bench::BenchArgs;
use crate::ca::CaArgs;
use crate::explain::ExplainArgs;
use crate::jtag_bridge::JtagBridgeArgs;
use crate::members::MembersArgs;
use crate::node::NodeArgs;
use crate::policy::PolicyArgs;
use crate::rules::RulesArgs;
use crate::schema::SchemaArgs;
use crate::values;

/// Publish, receive, measure and try typed events between processes and machines.
#[derive(Debug, Parser)]
#[command(name = "wireloom", version, after_help = help::OVERVIEW, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One variant a command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish the lines of a file or of standard input, one event a line
    #[command(after_help = help::PUB, visible_alias = "publish")]
    Pub(PublishArgs),
    /// Print the events that reach an address or a multicast group, one a line
    #[command(after_help = help::SUB, visible_alias = "subscribe")]
    Sub(SubscribeArgs),
    /// Run a node of a cluster until Ctrl-C
    Node(NodeArgs),
    /// Show who is in a cluster: state, services, load and memory of each member
    Members(MembersArgs),
    /// Let programs of the legacy (JTAG) event system take part, over WebSocket
    JtagBridge(JtagBridgeArgs),
    /// Measure this machine: events per second, latency, CPU, beside the kernel's own ceiling
    Bench(BenchArgs),
    /// Check a node's configuration, or begin one from a profile
    #[command(after_help = help::CONFIG)]
    Config(config::ConfigArgs),
    /// Say by which transport an event would go, where to, and which rule or step decided it
    Explain(ExplainArgs),
    /// Check rules of routing, and put them in the place of others
    #[command(after_help = help::RULES)]
    Rules(RulesArgs),
    /// Be a cluster's authority: make, renew and take back certificates of nodes
    #[command(after_help = help::CA)]
    Ca(CaArgs),
    /// Check who may do what, ask a policy, and put it in the place of another
    #[command(after_help = help::POLICY)]
    Policy(PolicyArgs),
    /// List the event types that Wireloom brings along, or show the JSON Schema of one
    Schema(SchemaArgs),
    /// See it work: three nodes on this host, live rates, latency, loss, and the ledger
    #[command(after_help = help::DEMO)]
    Demo(DemoArgs),
    /// One node of the demonstration, started by it
    #[command(hide = true)]
    DemoNode(DemoNodeArgs),
    /// Print a completion script for a shell
    #[command(after_help = help::COMPLETIONS)]
    Completions(CompletionsArgs),
}

/// `wireloom pub`.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// Where the events go: udp://HOST:PORT (a node, or a group such as udp://224.1.1.1:9000),
    /// tcp://HOST:PORT (a node, reliably: in order, acknowledged), broadcast:PORT; in a cluster
    /// node:NAME, service:NAME, interested (each member that wants the type), or auto, by what
    /// suits the event ("wireloom explain" tells), or after "reliable:" or "fast:" by TCP or UDP
    #[arg(long, value_name = "TARGET", value_parser = values::target)]
    pub(crate) to: Target,
    /// Type name of the events: 1 to 255 of a-z, 0-9, '-', '.', '_'
    #[arg(long = "type", value_name = "NAME", value_parser = values::type_name)]
    pub(crate) event_type: String,
    /// How urgent the events are; each priority has its own lane through the sender [default: what
    /// a ready-made type says ("wireloom schema"), else normal]
    #[arg(long, value_name = "PRIORITY", value_parser = priorities())]
    pub(crate) priority: Option<Priority>,
    /// Events per second, on average: 5000, 20k, 0.5. Without it, as fast as they are read and the
    /// other side takes them; a group has no flow control and may be overrun
    #[arg(long, value_name = "N", value_parser = values::rate)]
    pub(crate) rate: Option<f64>,
    /// How long to wait at the end for the acknowledgement of reliable events; what has none by
    /// then is undelivered [default: until each is delivered or given up]
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) deadline: Option<Duration>,
    /// Take each line as text, whatever is in it, and publish it as a JSON string
    #[arg(long)]
    pub(crate) raw: bool,
    /// Hold each line against the JSON Schema in this file; what is not as it says is refused by
    /// line and JSON pointer, and not sent
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) schema: Option<PathBuf>,
    /// Name of this node [default: pub-PID]
    #[arg(long, value_name = "NAME", value_parser = values::node_name)]
    pub(crate) name: Option<String>,
    /// Interface that multicast and broadcast leave by: name, IPv4 address or index [default: the
    /// system's choice]
    #[arg(long, value_name = "INTERFACE", value_parser = values::interface)]
    pub(crate) interface: Option<Interface>,
    /// Networks a multicast packet may cross; 1 is this one [default: 1]
    #[arg(long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) ttl: Option<u8>,
    /// Fill packets up to this size; one larger event still travels alone, as far as the path
    /// carries it [default: 1400, and on loopback all that a datagram holds]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) packet_bytes: Option<usize>,
    /// What to do when the other side takes no more: wait for it, drop here and count, or send all
    /// the same (groups are always sent to like that) [default: hold]
    #[arg(long, value_name = "POLICY")]
    pub(crate) flow: Option<FlowPolicy>,
    /// How long to wait before the first event until the member or service it goes to is known
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    pub(crate) wait: Duration,
    #[command(flatten)]
    pub(crate) cluster: cluster::ClusterArgs,
    #[command(flatten)]
    pub(crate) node: config::NodeConfigArgs,
    /// JSON Lines to publish; "-" or nothing is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
}

/// What `pub` does with events beyond what their receiver takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FlowPolicy {
    /// They wait here, and nothing is lost for want of room at the other side.
    Hold,
    /// They are dropped here and counted (`events_shed_window`).
    Shed,
    /// They are sent, and the other side's kernel drops what it has no room for.
    Off,
}

impl FlowPolicy {
    /// The word of the configuration (`udp.flow`).
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Shed => "shed",
            Self::Off => "off",
        }
    }
}

/// `wireloom sub`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("where").required(true).multiple(true)
    .args(["config", "seed", "group", "cluster"]))]
pub(crate) struct SubscribeArgs {
    /// Address to receive on: udp://127.0.0.1:9000, udp://0.0.0.0:9000 for every network of this
    /// machine; port 0 lets the system choose
    #[arg(long, value_name = "ADDRESS", value_parser = values::listen, group = "where")]
    pub(crate) listen: Option<SocketAddr>,
    /// Multicast group to join: 224.1.1.1:9000. May be given several times
    #[arg(long, value_name = "GROUP:PORT", value_parser = values::group, group = "where")]
    pub(crate) join: Vec<SocketAddr>,
    /// Print events of this type only. May be given several times
    #[arg(long = "type", value_name = "NAME", value_parser = values::type_name)]
    pub(crate) event_types: Vec<String>,
    /// End after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after this time: 500ms, 5s, 2m
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub(crate) timeout: Option<Duration>,
    /// What to print of each event
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub(crate) format: Format,
    /// Interface to join the groups on: name, IPv4 address or index [default: the system's choice]
    #[arg(long, value_name = "INTERFACE", value_parser = values::interface)]
    pub(crate) interface: Option<Interface>,
    /// Name of this node [default: sub-PID]
    #[arg(long, value_name = "NAME", value_parser = values::node_name)]
    pub(crate) name: Option<String>,
    /// Room for events that arrive faster than they are printed; rounded up to a power of two
    /// [default: 8MiB, or what the configuration says]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) ring_bytes: Option<usize>,
    /// What gives way when that is full: drop-newest (what comes is shed), drop-oldest (what waited
    /// longest), latest (all but the newest of each type), block or block:TIME (the sender waits,
    /// 100ms at most each time), disconnect (the command ends)
    #[arg(long, value_name = "POLICY", default_value = "drop-newest")]
    #[arg(value_parser = values::policy)]
    pub(crate) policy: SlowPolicy,
    /// Room the kernel is asked for, for datagrams not yet received [default: 8MiB, or what the
    /// configuration says]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub(crate) receive_buffer_bytes: Option<usize>,
    #[command(flatten)]
    pub(crate) cluster: cluster::ClusterArgs,
    #[command(flatten)]
    pub(crate) node: config::NodeConfigArgs,
}

/// What `sub` prints of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // Not documentation: clap would give each value a paragraph; the help below the options has it.
    // One JSON object an event: type, source, sequence, times, priority, encoding, payload.
    Json,
    // The JSON payload alone, exactly as it was published.
    Payload,
}

/// `wireloom demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long it runs
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,
    /// Text file whose lines are published, over and over; "-" is standard input, published once
    /// [default: a licence text of this machine, else the help of this command]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Lines per second: 5000, 20k, 0.5
    #[arg(long, value_name = "N", default_value = "20k", value_parser = values::rate)]
    pub(crate) rate: f64,
    /// Multicast group of the heartbeats; the port is chosen when it runs
    #[arg(long, value_name = "GROUP", default_value = "224.1.1.1")]
    #[arg(value_parser = values::group_address)]
    pub(crate) group: Ipv4Addr,
}

/// `wireloom demo-node`, which [`crate::demo`] starts and talks to over its standard streams.
#[derive(Debug, Args)]
pub(crate) struct DemoNodeArgs {
    /// What the node does.
    pub(crate) role: crate::demo::Role,
    /// Name of the node.
    #[arg(long)]
    pub(crate) name: String,
    /// Where the lines go.
    #[arg(long)]
    pub(crate) to: Option<SocketAddr>,
    /// The group the heartbeats go to.
    #[arg(long)]
    pub(crate) group: Option<SocketAddr>,
    /// Lines per second.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) rate: f64,
    /// The file to read; without it lines come with the commands on standard input.
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
}

/// `wireloom completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    pub(crate) shell: clap_complete::Shell,
}

/// The five priorities by name; clap tells the nearest for a near miss.
pub(crate) fn priorities() -> impl clap::builder::TypedValueParser<Value = Priority> {
    PossibleValuesParser::new(Priority::ALL.map(Priority::name))
        .try_map(|name| name.parse::<Priority>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(words: &[&str]) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(std::iter::once(&"wireloom").chain(words))
    }

    #[test]
    fn the_description_contradicts_itself_nowhere() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_help_text_fits_a_terminal_and_tells_the_exit_statuses() {
        let mut command = CommandLine::command();
        command.build();
        for name in ["pub", "sub", "node", "members", "demo", "explain", "rules", "policy", "ca"] {
            let found = command.find_subcommand_mut(name).expect("a command of ours");
            let help = found.render_long_help().to_string();
            assert!(help.contains("Examples:") && help.contains("Exit status:"), "{name}: {help}");
        }
        for text in [
            help::OVERVIEW,
            help::PUB,
            help::SUB,
            help::CONFIG,
            help::CONFIG_CHECK,
            help::CONFIG_SHOW,
            help::DEMO,
            help::COMPLETIONS,
            help::NODE,
            help::EXPLAIN,
            help::RULES,
            help::POLICY,
            help::CA,
            help::MEMBERS,
        ] {
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        }
    }

    #[test]
    fn publishing_takes_the_words_of_its_help() {
        let words =
            ["pub", "--to", "udp://127.0.0.1:9000", "--type", "a", "--rate", "5k", "--raw", "x"];
        let Command::Pub(args) = parse(&words).unwrap().command else { panic!("not pub") };
        assert_eq!((args.rate, args.raw, args.priority), (Some(5e3), true, None));
        assert_eq!(args.file, Some(PathBuf::from("x")));
    }

    #[test]
    fn a_near_miss_is_answered_with_the_nearest_value() {
        for (words, near) in [
            (&["pub", "--to", "upd://1.2.3.4:5", "--type", "a"][..], "udp://1.2.3.4:5"),
            (&["pub", "--to", "udp://1.2.3.4:5", "--type", "a", "--priority", "hihg"], "'high'"),
            (&["sub", "--listen", "udp://127.0.0.1:1", "--format", "jsno"], "'json'"),
            (&["sub", "--listen", "udp://127.0.0.1:1", "--timeout", "5"], "5s"),
            (&["sub", "--lisen", "udp://127.0.0.1:1"], "'--listen'"),
            (&["subscirbe"], "'subscribe'"),
        ] {
            let told = parse(words).unwrap_err();
            assert_eq!(told.exit_code(), 2, "{words:?}");
            assert!(told.to_string().contains(near), "{words:?}: {told}");
        }
    }

    #[test]
    fn a_subscriber_listens_or_joins() {
        assert!(parse(&["sub"]).is_err());
        assert!(parse(&["sub", "--join", "224.1.1.1:9000"]).is_ok());
        let words = ["sub", "--listen", "udp://[::1]:9000", "--type", "a", "--type", "b"];
        let Command::Sub(args) = parse(&words).unwrap().command else { panic!("not sub") };
        assert_eq!(args.event_types, ["a", "b"]);
        assert_eq!(args.format, Format::Json);
    }
}
