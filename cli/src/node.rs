//! `wireloom node`: one node of a cluster that runs until it is told to end.
//!
//! It serves nothing by itself; it takes its place in the table of members, announces the services
//! it is told to, and shows who comes and goes. The benches of the cluster start many of these.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use wireloom::config::{Config, ConfigError};
use wireloom::identity::{CredentialPaths, Credentials};
use wireloom::{Change, Clock, Identity, Node, NodeBuilder, Policy, RuleSet};

use crate::args::cluster::{ClusterArgs, ways};
use crate::args::config::{NodeConfigArgs, SecurityArgs};
use crate::args::help;
use crate::exchange::{Exchange, Exchanged};
use crate::live::{LiveFile, Look};
use crate::output::{Output, Style};
use crate::process::Process;
use crate::stop::Stop;
use crate::text::bytes;
use crate::values;

/// How often `--events` tells what the node costs.
const COST_EVERY: Duration = Duration::from_secs(1);

/// `wireloom node`.
#[derive(Debug, Args)]
#[command(after_help = help::NODE)]
pub(crate) struct NodeArgs {
    /// Name of this node [default: node-PID]
    #[arg(long, value_name = "NAME", value_parser = values::node_name)]
    name: Option<String>,
    /// A service this node offers. May be given several times
    #[arg(long, value_name = "NAME", value_parser = values::type_name)]
    service: Vec<String>,
    /// Print a line of JSON for each member that comes or goes, and one a second with what the node
    /// costs
    #[arg(long)]
    events: bool,
    /// Do what the bench says on standard input, and end with it
    #[arg(long, hide = true, requires = "events")]
    driven: bool,
    /// Address to receive on; 0.0.0.0:9000 for every network of this machine
    /// [default: 127.0.0.1:0]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    /// Rules of routing, instead of those of the configuration. The file is looked at once a
    /// second; when it has changed, its rules are taken, or it is told what is wrong with them
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    rules: Option<std::path::PathBuf>,
    #[command(flatten)]
    security: SecurityArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    node: NodeConfigArgs,
}

impl NodeArgs {
    /// What file, profile, environment and options say together.
    fn config(&self) -> Result<Config, ConfigError> {
        let services = (!self.service.is_empty()).then(|| self.service.join(","));
        let options = [
            ("--name", "node.name", self.name.clone()),
            ("--listen", "node.listen", self.listen.map(|listen| listen.to_string())),
            ("--service", "services.announce", services),
        ];
        let options = options.into_iter().chain(self.cluster.options());
        self.node.config(options.chain(self.security.options()))
    }

    /// Who this node can prove to be.
    fn credentials(config: &Config) -> Result<Option<Credentials>> {
        let Some(folder) = config.security().credentials else { return Ok(None) };
        let Some(name) = config.name() else {
            bail!("a certificate is of one node: say which by --name or node.name");
        };
        Ok(Some(Credentials::load(CredentialPaths::of_node(&folder, name))?))
    }

    /// The node; one that nobody names is called after this process.
    fn builder(&self, config: &Config) -> Result<NodeBuilder> {
        let builder = Node::builder(&format!("node-{}", std::process::id())).config(config);
        let builder = self.cluster.join(builder, config)?;
        Ok(match config.profile() {
            Some(profile) => builder.profile_name(profile.name()),
            None => builder,
        })
    }
}

/// One line of `--events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub(crate) enum Told {
    /// The node runs. Its builder was started at `unix_ns`.
    Started { unix_ns: u64, name: String, address: SocketAddr },
    /// A member is known and up.
    Up { unix_ns: u64, address: SocketAddr },
    /// A member is dead or has left.
    Down { unix_ns: u64, address: SocketAddr },
    /// Several members have this name.
    SharedName { name: String },
    /// What the node costs.
    Cost { unix_ns: u64, members: usize, bytes_sent: u64, bytes_heard: u64, rss_bytes: u64 },
    /// What the events that a bench asked for have come to.
    Exchanged { unix_ns: u64, exchanged: Exchanged },
}

fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs the command; the exit status is 0 when the node ended in good order.
///
/// # Errors
/// When the node cannot start or standard output cannot be written.
pub(crate) fn run(args: &NodeArgs, output: &Output) -> Result<ExitCode> {
    let stop = if args.driven { Stop::left_to_parent()? } else { Stop::on_signals()? };
    let config = args.config()?;
    let builder = args.builder(&config)?;
    let begun_ns = unix_ns();
    let mut rules = args.rules.as_deref().map(LiveFile::<RuleSet>::load).transpose()?;
    let builder = match &rules {
        Some(file) => builder.rules(file.held().clone()),
        None => builder,
    };
    let mut policy =
        config.security().policy.as_deref().map(LiveFile::<Policy>::load).transpose()?;
    let builder = match &policy {
        Some(file) => builder.policy(file.held().clone()),
        None => builder,
    };
    let credentials = NodeArgs::credentials(&config)?;
    let builder = credentials.iter().fold(builder, NodeBuilder::credentials);
    let node = builder.start()?;
    // New rules are what there is to trace in this process.
    let tracer = rules.is_some().then(|| node.install_tracer(node.trace_settings())).transpose()?;
    let (changes, heard) = mpsc::channel();
    node.on_member(move |change| {
        // The thread that prints has ended: nobody to tell.
        let _ = changes.send((unix_ns(), change.clone()));
    });
    if args.events {
        let (name, address) = (node.name().to_owned(), node.address());
        output.json(&Told::Started { unix_ns: begun_ns, name, address })?;
    } else {
        greet((args, &config), &node, output)?;
    }
    let exchange = args.driven.then(|| Exchange::begin(&node, &stop)).transpose()?;
    let (mut cost_at, clock) = (Instant::now(), Clock::system());
    while !stop.is_wished() {
        if let Ok((unix_ns, change)) = heard.recv_timeout(Duration::from_millis(50)) {
            tell(args, &node, output, (unix_ns, &change))?;
        }
        if let Some(rules) = &mut rules {
            rules.look(&node, output);
        }
        if let Some(policy) = &mut policy
            && let Some(Look::Kept(why)) = policy.look(&node, output)
        {
            node.tell_audit("policy_not_taken", &why);
        }
        if let Some(credentials) = &credentials {
            look_at((credentials, &clock), &node, output);
        }
        if args.events && cost_at.elapsed() >= COST_EVERY {
            cost_at = Instant::now();
            output.json(&cost(&node))?;
            if let Some(exchange) = &exchange {
                let exchanged = exchange.exchanged(&node);
                output.json(&Told::Exchanged { unix_ns: unix_ns(), exchanged })?;
            }
        }
    }
    drop(tracer);
    let ledger = node.close();
    if !args.events {
        output.hint(format_args!("left the cluster"));
    }
    Ok(if ledger.balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes certificates and revocations that have changed in their files.
fn look_at((credentials, clock): (&Credentials, &Clock), node: &Node, output: &Output) {
    match credentials.poll_files(clock.now_ns()) {
        Ok(None) => {}
        Ok(Some(swapped)) => {
            let what = if swapped.certificate { "certificate" } else { "revocations" };
            output.hint(format_args!("new {what} in use"));
        }
        Err(error) => {
            node.tell_audit("credentials_not_taken", &error.to_string());
            output.warning(format_args!("the credentials stay as they were: {error}"));
        }
    }
}

fn cost(node: &Node) -> Told {
    let counts = node.cluster_counts();
    Told::Cost {
        unix_ns: unix_ns(),
        members: node.members().iter().filter(|member| member.is_up()).count(),
        bytes_sent: counts.bytes_sent,
        bytes_heard: counts.bytes_heard,
        rss_bytes: Process::own().rss_bytes,
    }
}

/// Who it is, where, why there, and what it can come to use.
fn greet((args, config): (&NodeArgs, &Config), node: &Node, output: &Output) -> Result<()> {
    let title = output.paint(Style::Bold, node.name());
    output.line(format_args!("node {title}, id {:016x}", node.id().0))?;
    for (address, reason) in node.announced() {
        output.line(format_args!("  at {address}: {reason}"))?;
    }
    output.line(format_args!(
        "  cluster {}, by {}",
        args.cluster.name(),
        ways(config).join(", ")
    ))?;
    let security = config.security();
    if let Some(folder) = &security.credentials {
        let folder = folder.display();
        output.line(format_args!("  proves who it is by its certificate in {folder}"))?;
    }
    if let Some(file) = &security.policy {
        output.line(format_args!("  other nodes may what {} says", file.display()))?;
    }
    if let Some(file) = &security.audit {
        output.line(format_args!("  audit log in {}", file.display()))?;
    }
    if let Some(from) = args.node.begins_from(config) {
        output.line(format_args!("  configured by {from}"))?;
    }
    let services = config.services().announce;
    if !services.is_empty() {
        output.line(format_args!("  offers {}", services.join(", ")))?;
    }
    let memory = node.memory();
    let sum: usize = memory.iter().map(|(_, bytes)| bytes).sum();
    output.line(format_args!("  memory at most {}", bytes(sum as u64)))?;
    for (reason, part) in memory {
        output.line(format_args!("    {:>10}  {reason}", bytes(part as u64)))?;
    }
    for note in node.notes() {
        output.line(format_args!("  note: {note}"))?;
    }
    output.hint(format_args!("Ctrl-C ends"));
    Ok(())
}

fn tell(
    args: &NodeArgs,
    node: &Node,
    output: &Output,
    (unix_ns, change): (u64, &Change),
) -> Result<()> {
    if args.events {
        let told = match change {
            Change::Up(of) => Told::Up { unix_ns, address: of.address },
            Change::Down(of) => Told::Down { unix_ns, address: of.address },
            Change::SharedName(name) => Told::SharedName { name: name.clone() },
            Change::Changed(_) => return Ok(()),
        };
        return Ok(output.json(&told)?);
    }
    let name = |of: &Identity| {
        let members = node.members();
        let member = members.iter().find(|member| member.address() == of.address);
        member.map_or_else(|| of.address.to_string(), |member| member.name().to_owned())
    };
    match change {
        Change::Up(of) => {
            let up = output.paint(Style::Good, "up");
            output.line(format_args!("{up}    {} at {}", name(of), of.address))?;
        }
        Change::Down(of) => {
            let down = output.paint(Style::Bad, "down");
            output.line(format_args!("{down}  {} at {}", name(of), of.address))?;
        }
        Change::SharedName(name) => {
            output.warning(format_args!("several members are called {name}: rename all but one"));
        }
        Change::Changed(_) => {}
    }
    Ok(())
}
