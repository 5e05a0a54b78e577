//! `wireloom pub`: every line of a file or stream becomes one event.
//!
//! One loop: read a line, wait until it is due, route it, tell what was refused. Routing never
//! blocks; a full ring is waited for here, within bounds. The node is closed at the end, so that
//! everything accepted has left when the summary is printed.

mod fault;
mod progress;
mod summary;
mod way;

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use wireloom::event::Priority;
use wireloom::{Node, NodeBuilder, Refused, Router, Target, events};
use wireloom_schema::{DOCUMENT_BYTES_MAX, Schema};

use crate::args::PublishArgs;
use crate::args::cluster::{self, is_configured};
use crate::args::config::word;
use crate::lines::{LINE_BYTES_MAX, Line, Lines, Source};
use crate::output::Output;
use crate::pace::Pace;
use crate::patience::Patience;
use crate::stop::Stop;
use crate::text;
use fault::{column, json_fault};
use progress::Progress;
use summary::Summary;
use way::{check_route, is_in_cluster, source, wait_for_way, way_out};

/// How long the node may take to send what it holds at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// After the last event the node stays this long, so that receivers hear more than once how far the
/// stream has come and notice loss at its end.
const LINGER: Duration = Duration::from_millis(30);

/// How often a person is told that events are waited for.
const TELL_WAITING: Duration = Duration::from_secs(2);

/// Runs the command.
///
/// # Errors
/// When the input cannot be opened or the node cannot start.
pub(crate) fn run(args: &PublishArgs, output: &Output) -> Result<ExitCode> {
    let stop = Stop::on_signals()?;
    let (name, source) = open(args.file.as_deref(), &stop)?;
    if args.interface.is_none() {
        check_route(&args.to)?;
    }
    let node = with_schema(builder(args)?, args)?.start()?;
    wait_for_way(args, &node, (&stop, output))?;
    for note in node.notes() {
        output.hint(format_args!("note: {note}"));
    }
    if args.file.as_deref().is_none_or(is_standard)
        && std::io::IsTerminal::is_terminal(&std::io::stdin())
    {
        output.hint(format_args!("one event a line; end with Ctrl-D"));
    }
    let progress = Progress::new(source.length_bytes());
    let mut publishing = Publishing {
        args,
        output,
        stop: &stop,
        name: &name,
        priority: priority(args),
        router: node.router(),
        patience: Patience::new(),
        summary: Summary::default(),
        progress,
        quoted: Vec::new(),
    };
    let ended = publishing.publish_all(&mut Lines::new(source));
    let Publishing { router, summary, .. } = publishing;
    drop(router);
    wait_for_delivery(&node, args.deadline, (&stop, output));
    let code = close(node, summary, &args.to, output)?;
    ended.map(|()| code)
}

/// What the words say, or the ready-made type with this name does.
fn priority(args: &PublishArgs) -> Priority {
    let own = || events::codecs().into_iter().find(|codec| codec.type_name() == args.event_type);
    args.priority.or_else(|| Some(own()?.priority())).unwrap_or_default()
}

/// The node that holds its lines against a schema, if it was given one.
fn with_schema(builder: NodeBuilder, args: &PublishArgs) -> Result<NodeBuilder> {
    let Some(path) = &args.schema else { return Ok(builder) };
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot read the schema {name}"))?;
    let mut text = String::new();
    // One byte more than may be: a longer file is told as such.
    file.take(DOCUMENT_BYTES_MAX as u64 + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read the schema {name}"))?;
    let schema = Schema::parse(&text).with_context(|| format!("cannot use the schema {name}"))?;
    Ok(builder.json_schema(&args.event_type, Arc::new(schema)))
}

/// The input and the name it has in messages.
fn open(path: Option<&Path>, stop: &Stop) -> Result<(String, Source)> {
    match path {
        Some(path) if !is_standard(path) => {
            let name = path.display().to_string();
            let source = Source::open(path, stop)
                .with_context(|| format!("cannot read {name}, which should hold the events"))?;
            Ok((name, source))
        }
        _ => {
            let source = Source::standard(stop).context("cannot read standard input")?;
            Ok(("stdin".to_owned(), source))
        }
    }
}

fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The node to send from; it takes part in a cluster when that is where the events go.
fn builder(args: &PublishArgs) -> Result<NodeBuilder> {
    let name = args.name.clone().unwrap_or_else(|| format!("pub-{}", std::process::id()));
    let options = [
        ("--name", "node.name", args.name.clone()),
        ("--ttl", "udp.multicast_ttl", args.ttl.map(|ttl| ttl.to_string())),
        ("--interface", "udp.multicast_interface", args.interface.as_ref().map(word)),
        ("--packet-bytes", "udp.packet_bytes", args.packet_bytes.map(|bytes| bytes.to_string())),
        ("--flow", "udp.flow", args.flow.map(|flow| flow.word().to_owned())),
    ];
    let config = args.node.config(options.into_iter().chain(args.cluster.options()))?;
    let joins = is_in_cluster(&args.to) || args.cluster.is_said() || is_configured(&config);
    let from = match args.to.address() {
        None if joins => cluster::listen(&config),
        address => SocketAddr::new(source(address, args.interface.as_ref()), 0),
    };
    let builder = Node::builder(&name).listen(&from.to_string()).config(&config);
    if joins { args.cluster.join(builder, &config) } else { Ok(builder) }
}

/// What the loop needs.
struct Publishing<'a> {
    args: &'a PublishArgs,
    output: &'a Output,
    stop: &'a Stop,
    /// The input's name in messages.
    name: &'a str,
    priority: Priority,
    router: Router,
    patience: Patience,
    summary: Summary,
    progress: Progress,
    /// A raw line as JSON; kept for its memory.
    quoted: Vec<u8>,
}

impl Publishing<'_> {
    /// Every line of the input, until its end, a wish to end, or an input that breaks.
    fn publish_all<R: Read>(&mut self, lines: &mut Lines<R>) -> Result<()> {
        let mut pace = self.args.rate.map(Pace::new);
        loop {
            let (number, bytes) = (lines.number() + 1, lines.bytes());
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    self.output.progress("");
                    return Err(error)
                        .with_context(|| format!("cannot read {} past line {number}", self.name));
                }
            };
            if pace.as_mut().is_some_and(|pace| !pace.wait(self.stop)) {
                break;
            }
            self.publish(number, &line)?;
            if self.progress.is_due() {
                self.output.progress(&self.progress.text(&self.summary, bytes));
            }
        }
        if self.progress.shown {
            self.output.progress("");
        }
        Ok(())
    }

    /// One line. An error ends the command: no later line could fare better.
    fn publish(&mut self, number: u64, line: &Line<'_>) -> Result<()> {
        let text = match line {
            Line::Text(text) => *text,
            Line::TooLong(bytes) => {
                let reason = format!(
                    "the line has {} bytes, more than the {} of the largest event",
                    text::count(*bytes),
                    text::count(LINE_BYTES_MAX as u64)
                );
                self.refuse("too_large", number, 1, &reason);
                return Ok(());
            }
        };
        if let Err(error) = std::str::from_utf8(text) {
            let column = column(text, error.valid_up_to());
            let hint = if self.args.raw { "" } else { "JSON is UTF-8; " };
            let byte = text.get(error.valid_up_to()).copied().unwrap_or(0);
            let reason =
                format!("not UTF-8 (byte 0x{byte:02x}): {hint}convert it, for example with iconv");
            self.refuse("invalid_utf8", number, column, &reason);
            return Ok(());
        }
        let refused = match self.route(text) {
            Ok(()) => {
                self.summary.accepted += 1;
                return Ok(());
            }
            Err(refused) => refused,
        };
        match &refused {
            Refused::NoRoute(_) | Refused::Closed => {
                bail!("line {number} of {} and those after it: {refused}", self.name)
            }
            Refused::Malformed { .. } => {
                let (column, reason) = json_fault(text);
                self.refuse(refused.name(), number, column, &reason);
            }
            Refused::TooLarge { .. } => {
                let reason = format!("{refused}; the line has {}", text::count(text.len() as u64));
                self.refuse(refused.name(), number, 1, &reason);
            }
            other => self.refuse(other.name(), number, 1, &other.to_string()),
        }
        Ok(())
    }

    /// Routes a line, waiting for room within the patience.
    fn route(&mut self, line: &[u8]) -> Result<(), Refused> {
        let json = if self.args.raw {
            self.quoted.clear();
            quote(line, &mut self.quoted);
            self.quoted.as_slice()
        } else {
            line
        };
        let (name, priority, to) = (&self.args.event_type, self.priority, &self.args.to);
        let router = &mut self.router;
        self.patience.attempt(self.stop, || router.route_json(name, priority, json, to)).map(drop)
    }

    fn refuse(&mut self, name: &'static str, number: u64, column: usize, reason: &str) {
        if self.progress.shown {
            self.output.progress("");
            self.progress.shown = false;
        }
        self.output.report(format_args!("{}:{number}:{column}: {reason}", self.name));
        self.summary.refuse(name);
    }
}

/// Waits until every reliable event is delivered or given up, until the deadline, or until a wish
/// to end.
fn wait_for_delivery(node: &Node, deadline: Option<Duration>, (stop, output): (&Stop, &Output)) {
    let until = deadline.map(|deadline| Instant::now() + deadline);
    let mut told = Instant::now();
    loop {
        let in_flight = node.ledger().reliable.in_flight;
        let late = until.is_some_and(|until| Instant::now() >= until);
        if in_flight == 0 || late || stop.is_wished() {
            return;
        }
        if told.elapsed() > TELL_WAITING {
            output.hint(format_args!(
                "waiting for the acknowledgement of {}; Ctrl-C gives up",
                text::counted(in_flight, "event")
            ));
            told = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Closes the node and prints the account; reliable events still in flight are given up.
fn close(node: Node, mut summary: Summary, target: &Target, output: &Output) -> Result<ExitCode> {
    let until = Instant::now() + DRAIN;
    while node.ledger().published.in_flight > 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    let begun = node.ledger();
    if begun.published.accepted > 0 {
        std::thread::sleep(LINGER);
    }
    let refused =
        node.counters().into_iter().find(|(counter, _)| counter.name == "datagrams_refused");
    let ledger = node.close();
    if begun.reliable.accepted > 0 {
        summary.settle_reliable(&ledger.reliable);
    }
    summary.settle(&ledger.published, refused.map_or(0, |(_, datagrams)| datagrams));
    if summary.datagrams_refused > 0 {
        output.warning(format_args!(
            "the system would not send {} to {target}: {}",
            text::counted(summary.datagrams_refused, "datagram"),
            way_out(target)
        ));
    }
    output.summary(&summary)?;
    Ok(if summary.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Appends a line, which is UTF-8, as a JSON string.
fn quote(line: &[u8], into: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(line);
    // Writing text to memory has no way to fail.
    let _ = serde_json::to_writer(into, text.as_ref());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_json_string_and_back() {
        for text in ["", "x", "a \"quoted\" \\ line\r", "größe 🧵\u{9b}\0", "\u{2028}"] {
            let mut json = Vec::new();
            quote(text.as_bytes(), &mut json);
            assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
            assert!(!json.contains(&b'\n'));
        }
    }
}
