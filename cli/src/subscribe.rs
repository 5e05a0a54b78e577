//! `wireloom sub`: prints the events that reach this node, one a line, and the ledger at the end.
//!
//! One loop on one thread: poll the ring, print, flush when there is nothing to do. What the ring
//! sheds because printing is too slow is told and counted like every other loss.

mod losses;
mod print;

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;
use wireloom::config::{Config, ConfigError};
use wireloom::{AnySubscriber, Ledger, Node, NodeBuilder, PolledAny, Shed, ShedReason, SlowPolicy};

use crate::args::SubscribeArgs;
use crate::args::cluster::{self, is_configured};
use crate::args::config::word;
use crate::output::Output;
use crate::stop::Stop;
use crate::text;
use losses::Losses;
use print::Printer;

/// Events taken at a time: between two takings the time and the signals are looked at.
const POLL_MAX: usize = 256;

/// Longest sleep before the time and the signals are looked at again.
const WAIT: Duration = Duration::from_millis(50);

/// Room for events, and for datagrams not yet received, if nobody says more or less.
const ROOM_BYTES: usize = 8 << 20;

/// This node sends nothing.
const OUTBOUND_RING_BYTES: usize = 64 << 10;

/// The smallest and largest ring that can be asked for, bytes.
const RING_BYTES: (usize, usize) = (64 << 10, 1 << 30);

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum EndedBy {
    Count,
    Timeout,
    Signal,
    ClosedOutput,
    /// It was too slow, and its policy is to be cut off then.
    CutOff,
}

/// The account at the end: the node's ledger, and what this command did with the events.
#[derive(Debug, Serialize)]
struct Account<'a> {
    ended_by: EndedBy,
    /// Events printed.
    printed: u64,
    /// Events that were in the ring when it ended.
    unread: u64,
    /// What the system did not grant and how to grant it.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    #[serde(flatten)]
    ledger: &'a Ledger,
}

/// Runs the command.
///
/// # Errors
/// When the node cannot start or standard output cannot be written.
pub(crate) fn run(args: &SubscribeArgs, output: &Output) -> Result<ExitCode> {
    let stop = Stop::on_signals()?;
    let begin = Instant::now();
    let config = config(args)?;
    let node = builder(args, &config)?.start()?;
    let mut types: Vec<&str> = args.event_types.iter().map(String::as_str).collect();
    types.sort_unstable();
    types.dedup();
    let policy = match args.policy {
        // A key is a type.
        SlowPolicy::Latest { .. } if !types.is_empty() => SlowPolicy::Latest { keys: types.len() },
        other => other,
    };
    let subscriber = node.subscribe_any_with(&types, policy)?;
    // Only now: what it takes before it has subscribed has no handler, and is acknowledged.
    node.accept()?;
    greet(&config, &node, output);

    let mut printing = Printing {
        printer: Printer::new(args.format, &types, output.is_terminal()),
        losses: Losses::default(),
        subscriber,
        printed: 0,
        unread: 0,
        is_cut: false,
        output,
    };
    let until = args.timeout.map(|timeout| begin + timeout);
    let ended_by = match printing.print_all(args.count, until, &stop) {
        Ok(ended_by) => ended_by,
        // Whoever read our output has gone: an end like any other.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => EndedBy::ClosedOutput,
        Err(error) => return Err(error.into()),
    };

    let notes = node.notes();
    drop(node);
    // What the drain passes over is given up by it: the ledger is read behind it.
    let unread = printing.count_unread();
    let ledger = printing.subscriber.ledger();
    let given_up: u64 = ledger.rings.values().flat_map(|ring| ring.given_up.values()).sum();
    let is_balanced =
        ledger.balanced && ledger.received.delivered == printing.printed + unread + given_up;
    let account =
        Account { ended_by, printed: printing.printed, unread, notes: &notes, ledger: &ledger };
    output.summary(&account)?;
    let is_short = args.count.is_some_and(|count| printing.printed < count)
        && matches!(ended_by, EndedBy::Timeout | EndedBy::Signal);
    Ok(if is_balanced && !is_short && ended_by != EndedBy::CutOff {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What file, profile, environment and options say together.
fn config(args: &SubscribeArgs) -> Result<Config, ConfigError> {
    let join: Vec<String> = args.join.iter().map(SocketAddr::to_string).collect();
    let receive_buffer = args.receive_buffer_bytes.map(|bytes| bytes.to_string());
    let options = [
        ("--name", "node.name", args.name.clone()),
        ("--listen", "node.listen", args.listen.map(|listen| listen.to_string())),
        ("--join", "groups.join", (!join.is_empty()).then(|| join.join(","))),
        ("--interface", "udp.multicast_interface", args.interface.as_ref().map(word)),
        ("--receive-buffer-bytes", "udp.receive_buffer", receive_buffer),
    ];
    args.node.config(options.into_iter().chain(args.cluster.options()))
}

/// The node: bound where it should listen, or to loopback when it only joins groups.
fn builder(args: &SubscribeArgs, config: &Config) -> Result<NodeBuilder> {
    let groups = config.groups();
    let joins = args.cluster.is_said() || is_configured(config);
    if config.listen().is_none() && groups.is_empty() && !joins {
        bail!(
            "nothing says where to receive: --listen, --join, --seed, node.listen or groups.join"
        );
    }
    let name = args.name.clone().unwrap_or_else(|| format!("sub-{}", std::process::id()));
    let is_v6 = groups.first().is_some_and(|group| group.starts_with('['));
    let loopback: IpAddr =
        if is_v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let listen = match groups {
        [] if joins => cluster::listen(config),
        _ => SocketAddr::new(loopback, 0),
    };
    let builder = Node::builder(&name)
        .listen(&listen.to_string())
        .ring_bytes(OUTBOUND_RING_BYTES, ROOM_BYTES)
        .receive_buffer_bytes(ROOM_BYTES)
        .accept_later()
        .config(config);
    let builder = if joins { args.cluster.join(builder, config)? } else { builder };
    Ok(match args.ring_bytes {
        Some(bytes) => {
            let bytes = bytes.clamp(RING_BYTES.0, RING_BYTES.1).next_power_of_two();
            builder.ring_bytes(OUTBOUND_RING_BYTES, bytes)
        }
        None => builder,
    })
}

/// Says where it receives, now that whatever comes is printed: in one line that begins with
/// `ready:`, for scripts to wait for. A person is told more.
fn greet(config: &Config, node: &Node, output: &Output) {
    for note in node.notes() {
        output.hint(format_args!("note: {note}"));
    }
    let groups = config.groups();
    // Who only joins groups is bound to a port that nobody is to know.
    let listens = config.listen().is_some() || groups.is_empty();
    let listening = listens.then(|| format!("listening on udp://{}", node.address()));
    let joined = groups.iter().map(|group| format!("joined udp://{group}"));
    let places: Vec<String> = listening.into_iter().chain(joined).collect();
    output.report(format_args!("ready: {}", places.join(", ")));
    for (address, reason) in node.announced() {
        output.hint(format_args!("known to the cluster as {} at {address}: {reason}", node.name()));
    }
    output.hint(format_args!("Ctrl-C ends"));
}

/// What the loop needs.
struct Printing<'a> {
    subscriber: AnySubscriber,
    printer: Printer,
    losses: Losses,
    printed: u64,
    /// Taken and not printed.
    unread: u64,
    /// Its policy has cut it off: nothing follows.
    is_cut: bool,
    output: &'a Output,
}

impl Printing<'_> {
    /// Prints until something ends it.
    fn print_all(
        &mut self,
        count: Option<u64>,
        until: Option<Instant>,
        stop: &Stop,
    ) -> io::Result<EndedBy> {
        let mut out = io::BufWriter::with_capacity(64 << 10, io::stdout().lock());
        loop {
            let left = count.map_or(u64::MAX, |count| count - self.printed);
            if left == 0 {
                out.flush()?;
                return Ok(EndedBy::Count);
            }
            let limit = usize::try_from(left).unwrap_or(POLL_MAX).min(POLL_MAX);
            if self.take(limit, &mut out)? == 0 {
                out.flush()?;
                let left =
                    until.map_or(WAIT, |until| until.saturating_duration_since(Instant::now()));
                self.subscriber.wait(WAIT.min(left));
            }
            if self.is_cut {
                out.flush()?;
                return Ok(EndedBy::CutOff);
            }
            if stop.is_wished() {
                out.flush()?;
                return Ok(EndedBy::Signal);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                // What has arrived by now was in time.
                while self.printed < count.unwrap_or(u64::MAX) && self.take(1, &mut out)? > 0 {}
                out.flush()?;
                let is_reached = count.is_some_and(|count| self.printed >= count);
                return Ok(if is_reached { EndedBy::Count } else { EndedBy::Timeout });
            }
        }
    }

    /// Takes up to `limit` events and notices and prints them; returns how many there were.
    fn take(&mut self, limit: usize, out: &mut impl io::Write) -> io::Result<usize> {
        let Self { subscriber, printer, losses, printed, unread, is_cut, output } = self;
        let mut failed = None;
        let taken = subscriber.poll(limit, |polled| match polled {
            PolledAny::Event(event) => {
                // A line that failed and what follows it in this taking count as unread.
                if failed.is_none() {
                    failed = printer.print(&event, out).err();
                }
                *if failed.is_none() { &mut *printed } else { &mut *unread } += 1;
            }
            PolledAny::Lost(lost) => {
                if let Some(lost) = losses.news(&lost) {
                    output.report(format_args!(
                        "lost {} of node {}, lane {}, stream {} ({} to {})",
                        text::counted(lost.events(), "event"),
                        lost.origin.source,
                        lost.origin.lane,
                        lost.origin.session,
                        lost.from,
                        lost.to.saturating_sub(1)
                    ));
                }
            }
            PolledAny::Shed(shed) => tell_shed(shed, output),
            PolledAny::Disconnected => {
                *is_cut = true;
                output.report(format_args!("cut off: it was too slow"));
            }
        });
        failed.map_or(Ok(taken), Err)
    }

    /// Counts what is left in the ring of a closed node.
    fn count_unread(&mut self) -> u64 {
        let Self { subscriber, unread, .. } = self;
        let mut count = |polled: PolledAny<'_>| {
            *unread += u64::from(matches!(polled, PolledAny::Event(_)));
        };
        // What is passed over counts for nothing: a batch of such events alone is no end.
        while !subscriber.is_over() {
            subscriber.poll(POLL_MAX, &mut count);
        }
        self.unread
    }
}

fn tell_shed(shed: Shed, output: &Output) {
    let events = text::counted(shed.events, "event");
    match shed.reason {
        // Asked for: of each event but the newest. The ledger has their sum.
        ShedReason::Superseded => {}
        ShedReason::RingFull => output.report(format_args!(
            "shed {events}: printing was slower than they came; a larger --ring-bytes holds more"
        )),
        reason => output.report(format_args!("shed {events}: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;
    use std::time::SystemTime;

    use wireloom::event::Priority;
    use wireloom::{Intake, Invoker, Target};

    use super::*;
    use crate::args::Format;

    static OUTPUT: LazyLock<Output> = LazyLock::new(Output::detect);

    /// A subscriber of a node that has ended, which read `read` events before; in its ring lie 20
    /// that are expired soon and 5 that never are.
    fn ended(read: usize) -> Printing<'static> {
        let (node, mut turns): (Node, Invoker) =
            Node::builder("driven").start_invoker().expect("it starts");
        let intake = Intake::of(SlowPolicy::DropNewest).ring_bytes(4_096);
        let mut subscriber = node.subscribe_any_with(&["a"], intake).expect("it subscribes");
        let mut router = node.router();
        let unix = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
        let soon = u64::try_from(unix.as_nanos()).expect("before 2554") + 200_000_000;
        for (events, deadline) in [(read, None), (20, Some(soon)), (5, None)] {
            router.set_deadline_ns(deadline);
            for _ in 0..events {
                let routed = router.route_json("a", Priority::Normal, b"1", &Target::Local);
                routed.expect("there is room");
            }
            turns.drain(100);
            if deadline.is_none() && events == read {
                assert_eq!(subscriber.poll(read, |_| ()), read);
            }
        }
        let printer = Printer::new(Format::Payload, &["a"], false);
        let losses = Losses::default();
        let (printed, unread, is_cut) = (0, 0, false);
        Printing { subscriber, printer, losses, printed, unread, is_cut, output: &OUTPUT }
    }

    /// What lies before the end of the ring's memory is one batch, what follows at its front the
    /// next: a batch of expired events alone gives nothing, and is not the end.
    #[test]
    fn what_is_behind_a_batch_that_gives_nothing_is_counted_too() {
        let mut all: Vec<_> = (0..=24).step_by(2).map(ended).collect();
        std::thread::sleep(Duration::from_millis(300));
        let unread: Vec<u64> = all.iter_mut().map(Printing::count_unread).collect();
        assert_eq!(unread, [5; 13]);
    }
}
