//! `wireloom members`: joins a cluster for a moment and shows who is in it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use wireloom::config::Layers;
use wireloom::{Interest, Member, MemberState, Node, Ready};

use crate::args::cluster::ClusterArgs;
use crate::args::config::ReachArgs;
use crate::args::{config, help};
use crate::output::{Output, Style};
use crate::stop::Stop;
use crate::text::{bytes, printable, shortened};
use crate::values;

/// How long nobody new must have come before the table is taken to be whole.
const QUIET: Duration = Duration::from_millis(500);
/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// `wireloom members`.
#[derive(Debug, Args)]
#[command(after_help = help::MEMBERS)]
pub(crate) struct MembersArgs {
    /// Print JSON, one object
    #[arg(long)]
    json: bool,
    /// Go on showing the table until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// How long to wait for an answer
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = values::duration)]
    timeout: Duration,
    /// Address to receive on; 0.0.0.0:0 for every network of this machine [default: 127.0.0.1:0]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    reach: ReachArgs,
}

/// One member, for scripts.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    id: String,
    address: SocketAddr,
    addresses: Vec<SocketAddr>,
    state: &'static str,
    /// The life and the refutations in it.
    incarnation: (u64, u16),
    services: Vec<String>,
    /// Event types by id; `null`: every type.
    interest: Option<Vec<u32>>,
    load_1m: f64,
    memory_used_bytes: u64,
    memory_total_bytes: u64,
    profile: String,
    version: String,
    shares_name: bool,
    /// Since when this command has seen it in its state, seconds.
    age_s: f64,
}

/// All of them.
#[derive(Debug, Serialize)]
struct Shown {
    cluster: String,
    members: Vec<Row>,
}

/// Runs the command; the exit status is 1 when nobody answered.
///
/// # Errors
/// When the node cannot start or standard output cannot be written.
pub(crate) fn run(args: &MembersArgs, output: &Output) -> Result<ExitCode> {
    let stop = Stop::on_signals()?;
    let name = format!("members-{}", std::process::id());
    let started = Instant::now();
    let listen = args.listen.map(|listen| listen.to_string());
    let own = [("--listen", "node.listen", listen), args.reach.option()];
    let options = own.into_iter().chain(args.cluster.options());
    let config = config::flags(Layers::new(), options).config()?;
    let node = args.cluster.join(Node::builder(&name).config(&config), &config)?.start()?;
    if let Err(missing) = node.ready(&Ready::peers(1), args.timeout) {
        output.error(format_args!("nobody answered within {:?}: {missing}", args.timeout));
        return Ok(ExitCode::FAILURE);
    }
    settle(&node, args.timeout, &stop);
    loop {
        let shown =
            Shown { cluster: args.cluster.name().to_owned(), members: rows(&node, started) };
        if args.json {
            output.json(&shown)?;
        } else {
            let clear = if args.watch && output.is_terminal() { "\x1b[H\x1b[2J" } else { "" };
            output.write(format!("{clear}{}", table(&shown, output)).as_bytes())?;
        }
        if !args.watch || stop.is_wished() {
            break;
        }
        stop.sleep(WATCH_EVERY);
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until nobody new comes.
pub(crate) fn settle(node: &Node, patience: Duration, stop: &Stop) {
    let until = Instant::now() + patience;
    let (mut count, mut since) = (node.members().len(), Instant::now());
    while since.elapsed() < QUIET && Instant::now() < until && !stop.is_wished() {
        std::thread::sleep(Duration::from_millis(20));
        let now = node.members().len();
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
}

fn rows(node: &Node, started: Instant) -> Vec<Row> {
    let members = node.members();
    let own_ns = members.iter().find(|member| member.is_self).map_or(0, |own| own.since_ns);
    let up_s = started.elapsed().as_secs_f64();
    members.into_iter().filter(|member| !member.is_self).map(|of| row(of, own_ns, up_s)).collect()
}

fn row(member: Member, own_ns: u64, up_s: f64) -> Row {
    let later_s = Duration::from_nanos(member.since_ns.saturating_sub(own_ns)).as_secs_f64();
    let interest = match member.interest() {
        Interest::Every => None,
        Interest::Types(types) => Some(types.iter().map(|event_type| event_type.0).collect()),
    };
    Row {
        name: member.name().to_owned(),
        id: format!("{:016x}", member.id().0),
        address: member.address(),
        state: member.state.name(),
        incarnation: member.incarnation(),
        interest,
        load_1m: f64::from(member.record.load_milli) / 1_000.0,
        memory_used_bytes: member.record.memory_used_bytes,
        memory_total_bytes: member.record.memory_total_bytes,
        shares_name: member.shares_name,
        age_s: ((up_s - later_s).max(0.0) * 1_000.0).round() / 1_000.0,
        addresses: member.record.addresses,
        services: member.record.services,
        profile: member.record.profile,
        version: member.record.program,
    }
}

fn table(shown: &Shown, output: &Output) -> String {
    let up = shown.members.iter().filter(|row| row.state != MemberState::Down.name()).count();
    let title = format!("cluster {}: {up} members up", shown.cluster);
    let mut text = format!("{}\n", output.paint(Style::Bold, title));
    let head = format!(
        "{:<20} {:<21} {:<8} {:>6} {:>9} {:>7}  services",
        "name", "address", "state", "load", "memory", "age"
    );
    let _ = writeln!(text, "{}", output.paint(Style::Dim, head));
    for row in &shown.members {
        let state = format!("{:<8}", row.state);
        let style = match row.state {
            "alive" => Style::Good,
            "suspect" => Style::Warning,
            _ => Style::Bad,
        };
        let name = printable(&row.name);
        let shared = if row.shares_name { " (shared name)" } else { "" };
        let _ = writeln!(
            text,
            "{:<20} {:<21} {} {:>6.2} {:>9} {:>6.1}s  {}{shared}",
            shortened(&name, 20),
            row.address.to_string(),
            output.paint(style, state),
            row.load_1m,
            bytes(row.memory_used_bytes),
            row.age_s,
            printable(&row.services.join(", ")),
        );
    }
    text
}
