//! `wireloom explain`: by which transport an event would go, where to, and why.
//!
//! The judging is the library's ([`wireloom::Node::explain_type`]); here a node is started that
//! sends nothing, in a cluster only when one is named, so that the answer is that of a real node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueHint};
use wireloom::config::{Config, Layers};
use wireloom::event::Priority;
use wireloom::{Explanation, KeyUse, NoRoute, Node, Question, Ready, Refused, RuleSet, Target};
use wireloom_wire::event_type_id;

use crate::args::cluster::{ClusterArgs, listen};
use crate::args::config::{ReachArgs, flags};
use crate::args::{help, priorities};
use crate::members::settle;
use crate::output::Output;
use crate::stop::Stop;
use crate::text::printable;
use crate::values;

/// `wireloom explain`.
#[derive(Debug, Args)]
#[command(after_help = help::EXPLAIN)]
pub(crate) struct ExplainArgs {
    /// Type name of the event
    #[arg(long = "type", value_name = "NAME", value_parser = values::type_name)]
    event_type: String,
    /// Where it is to go, as for "wireloom pub"; also local
    #[arg(long, value_name = "TARGET")]
    to: Target,
    /// Bytes of its payload: 64, 4KiB [default: not known]
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    bytes: Option<usize>,
    /// How urgent it is [default: what its type says, normal where the type is not known]
    #[arg(long, value_name = "PRIORITY", value_parser = priorities())]
    priority: Option<Priority>,
    /// The group that a type of your own names (#[event(multicast = …)]); those of ready-made types
    /// are known
    #[arg(long, value_name = "GROUP:PORT", value_parser = values::group)]
    multicast: Option<SocketAddr>,
    /// Its own key, for service:NAME?key: the value of the field that #[event(key = …)] names, a
    /// number or a text (text:42 where that looks like one)
    #[arg(long, value_name = "KEY", value_parser = values::key, allow_negative_numbers = true)]
    key: Option<u64>,
    /// Configuration of the node that would send it, with its rules
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Rules of routing, instead of those of the configuration
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    rules: Option<PathBuf>,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// How long to wait until the cluster knows whom the event is for
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = values::duration)]
    wait: Duration,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    reach: ReachArgs,
}

/// Runs the command; the exit status is 1 when the event would be refused.
///
/// # Errors
/// When the rules cannot be read, the node cannot start or standard output cannot be written.
pub(crate) fn run(args: &ExplainArgs, output: &Output) -> Result<ExitCode> {
    let layers = args.config.iter().fold(Layers::new(), |layers, file| layers.file(file));
    let config = flags(
        layers.environment(),
        [args.reach.option()].into_iter().chain(args.cluster.options()),
    )
    .config()?;
    let rules = match &args.rules {
        Some(file) => RuleSet::load(file)?,
        None => config.rules().clone(),
    };
    let mut question = Question::new(&args.event_type, args.to.clone());
    question.priority = args.priority;
    question.multicast = args.multicast.map(|group| group.to_string());
    question.bytes = args.bytes.map(|bytes| bytes as u64);
    question.own_key = args.key;
    let joins = args.cluster.is_said();
    let node = if joins { member(args, &config)? } else { alone(&config)? };
    let mut explained = node.explain_by(&question, &rules);
    if !joins {
        forget_cluster(&mut explained);
    }
    if args.json {
        output.json(&explained)?;
    } else {
        for line in explained.to_string().lines() {
            output.line(printable(line))?;
        }
        if let Some(hint) = key_hint(args.key, explained.key) {
            output.line(hint)?;
        }
        if !joins && explained.addresses.is_empty() && explained.transport != "local" {
            output.line("where that is, a cluster says: --seed or --group joins one")?;
        }
    }
    Ok(if explained.refused.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What to say of the key that was given, or was not, beside the explanation.
const fn key_hint(given: Option<u64>, key: KeyUse) -> Option<&'static str> {
    match (given, key) {
        (Some(_), KeyUse::NotAsked) => Some(
            "--key was not asked for: only a target such as service:NAME?key chooses a member by \
             it",
        ),
        (None, KeyUse::Missing) => Some(
            "its key is the value of the field that #[event(key = \"…\")] names: say it by \
             --key 42 (a number) or --key text:42 (a text)",
        ),
        _ => None,
    }
}

/// A node as it is configured, but alone: it joins nothing and is reached by nobody.
pub(crate) fn alone(config: &Config) -> Result<Node> {
    let mut layers = Layers::new();
    for path in ["udp.packet_bytes", "udp.path_bytes", "tcp.stream_bytes_max", "events.queue"] {
        if let Some(entry) = config.entry(path) {
            layers = layers.flag("--config", path, &entry.text());
        }
    }
    let config = layers.config()?;
    Ok(Node::builder(&format!("explain-{}", std::process::id())).config(&config).start()?)
}

/// A node in the cluster that was named, once it knows whom the event is for, and nobody new comes:
/// a key chooses among all of them.
fn member(args: &ExplainArgs, config: &Config) -> Result<Node> {
    let name = format!("explain-{}", std::process::id());
    let from = listen(config).to_string();
    let builder = Node::builder(&name).config(config).listen(&from);
    let node = args.cluster.join(builder, config)?.start()?;
    let needs = Ready::peers(1).and(Ready::to(&args.to, event_type_id(&args.event_type)));
    // Who is missing then, the explanation says.
    if node.ready(&needs, args.wait).is_ok() {
        settle(&node, args.wait, &Stop::default());
    }
    Ok(node)
}

/// That this command alone is in no cluster is nothing about the event.
pub(crate) fn forget_cluster(explained: &mut Explanation) {
    let alone = Refused::from(NoRoute::NoCluster).to_string();
    if explained.refused.as_ref() == Some(&alone) {
        explained.refused = None;
    }
}
