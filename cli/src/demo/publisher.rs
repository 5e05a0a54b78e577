//! The node that publishes: lines of a file (over and over) or of its parent, to one node by UDP;
//! heartbeats of this machine, to a group by multicast.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use wireloom::events::Heartbeat;
use wireloom::{Interface, Ledger, Node, Publisher, Refused, Router, Target};

use super::event::{DemoLine, hash};
use super::report::{Commands, Order, Published, Report, send};
use crate::args::DemoNodeArgs;
use crate::lines::{Line, Lines};
use crate::pace::Pace;
use crate::patience::Patience;
use crate::stop::Stop;

/// A heartbeat this often; a node in service sends one every five seconds.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(250);

/// A report this often.
const REPORT_EVERY: Duration = Duration::from_millis(200);

/// Longest wait before the signals and the two above are looked at.
const WAIT: Duration = Duration::from_millis(20);

/// How long the node may take to send what it holds at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// How long the node stays after its last event, so that the end of the stream is told several
/// times over.
const LINGER: Duration = Duration::from_millis(250);

/// Runs until told to stop, then gives the account.
///
/// # Errors
/// When the node cannot start, the file cannot be read, or the parent has gone.
pub(super) fn publish(
    args: &DemoNodeArgs,
    (to, group): (SocketAddr, SocketAddr),
    stop: &Stop,
    commands: &Commands,
) -> Result<()> {
    let source = match &args.file {
        Some(path) => LineSource::of_file(path)?,
        None => LineSource::Parent(commands),
    };
    let loopback = Interface::Address(std::net::Ipv4Addr::LOCALHOST);
    let node = Node::builder(&args.name).multicast(1, loopback, true).start()?;
    send(&Report::Ready { address: node.address() })?;
    let mut publishing = Publishing {
        lines: node.publisher::<DemoLine>(&Target::Node(to))?,
        heartbeats: node.router(),
        group: Target::Multicast(group),
        node: &node,
        source,
        patience: Patience::new(),
        line: DemoLine::default(),
        is_loaded: false,
        account: Published::default(),
    };
    publishing.publish_until(stop, args.rate, |account| {
        let mut account = account.clone();
        settle(&mut account, &node.ledger(), (to, group));
        Ok(send(&Report::Published(account))?)
    })?;
    let Publishing { mut account, .. } = publishing;
    let until = Instant::now() + DRAIN;
    while node.ledger().published.in_flight > 0 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(LINGER);
    settle(&mut account, &node.close(), (to, group));
    send(&Report::Published(account))?;
    Ok(send(&Report::Done)?)
}

/// Takes over what the node's ledger says.
fn settle(account: &mut Published, ledger: &Ledger, (to, group): (SocketAddr, SocketAddr)) {
    let sent = |address| ledger.links.get(&format!("udp://{address}")).copied().unwrap_or(0);
    account.lines_sent = sent(to);
    account.heartbeats_sent = sent(group);
    account.in_flight = ledger.published.in_flight;
    account.shed =
        ledger.published.shed.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
}

/// What the loop needs.
struct Publishing<'a> {
    node: &'a Node,
    source: LineSource<'a>,
    lines: Publisher<DemoLine>,
    heartbeats: Router,
    group: Target,
    patience: Patience,
    /// The next line to publish, when one is loaded; its text keeps its memory.
    line: DemoLine,
    is_loaded: bool,
    account: Published,
}

impl Publishing<'_> {
    fn publish_until(
        &mut self,
        stop: &Stop,
        rate: f64,
        mut report: impl FnMut(&Published) -> Result<()>,
    ) -> Result<()> {
        let mut pace = Pace::new(rate);
        let (mut heartbeat_at, mut report_at) = (Instant::now(), Instant::now());
        while !stop.is_wished() {
            let now = Instant::now();
            if now >= heartbeat_at {
                heartbeat_at = now + HEARTBEAT_EVERY;
                self.beat()?;
            }
            if now >= report_at {
                report_at = now + REPORT_EVERY;
                report(&self.account)?;
            }
            if !self.is_loaded && !self.load()? {
                continue;
            }
            match pace.take(pace.elapsed()) {
                Some(pause) => std::thread::sleep(pause.min(WAIT)),
                None => self.publish_line(stop)?,
            }
        }
        Ok(())
    }

    fn beat(&mut self) -> Result<()> {
        let heartbeat = Heartbeat::sample(self.node.name(), self.node.id().0)?;
        match self.heartbeats.route(&heartbeat, &self.group) {
            Ok(_) => self.account.heartbeats_accepted += 1,
            // The next one comes soon; this one was not accepted and is missed by nobody.
            Err(Refused::BackPressured) => {}
            Err(refused) => bail!("a heartbeat to {}: {refused}", self.group),
        }
        Ok(())
    }

    /// Loads the next line; false when there is none now.
    fn load(&mut self) -> Result<bool> {
        if self.account.is_out_of_lines {
            std::thread::sleep(WAIT);
            return Ok(false);
        }
        match self.source.read(&mut self.line.text)? {
            // Counted as read when it is known what became of it.
            Next::Line => self.is_loaded = true,
            Next::Unpublishable(reason) => {
                self.account.lines_read += 1;
                *self.account.refused.entry(reason).or_default() += 1;
            }
            Next::NotYet => {}
            Next::End => self.account.is_out_of_lines = true,
        }
        Ok(self.is_loaded)
    }

    fn publish_line(&mut self, stop: &Stop) -> Result<()> {
        let Self { lines, line, account, patience, .. } = self;
        // Refused lines take no number: what is missing at the other end was lost on the way.
        line.number = account.lines_accepted;
        line.hash = hash(&line.text);
        match patience.attempt(stop, || lines.publish(line)) {
            Ok(_) => account.lines_accepted += 1,
            Err(refused @ (Refused::NoRoute(_) | Refused::Closed)) => bail!("a line: {refused}"),
            Err(refused) => *account.refused.entry(refused.name().to_owned()).or_default() += 1,
        }
        account.lines_read += 1;
        self.is_loaded = false;
        Ok(())
    }
}

/// What comes next from a source.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Line,
    /// A line that is no text, with the name of the reason.
    Unpublishable(String),
    NotYet,
    End,
}

/// Where lines come from.
enum LineSource<'a> {
    /// A regular file is begun again at its end; anything else is read once.
    File { lines: Lines<File>, path: &'a Path, is_regular: bool },
    /// The parent, which reads standard input.
    Parent(&'a Commands),
}

impl<'a> LineSource<'a> {
    fn of_file(path: &'a Path) -> Result<Self> {
        let file = open(path)?;
        let is_regular = file.metadata().is_ok_and(|file| file.is_file() && file.len() > 0);
        Ok(Self::File { lines: Lines::new(file), path, is_regular })
    }

    fn read(&mut self, text: &mut String) -> Result<Next> {
        let (lines, path, is_regular) = match self {
            Self::File { lines, path, is_regular } => (lines, *path, *is_regular),
            Self::Parent(commands) => {
                return Ok(match commands.next(WAIT) {
                    None => Next::NotYet,
                    Some(Order::NoMoreLines) => Next::End,
                    Some(Order::Unpublishable(reason)) => Next::Unpublishable(reason),
                    Some(Order::Line(line)) => {
                        *text = line;
                        Next::Line
                    }
                });
            }
        };
        let unreadable = || format!("cannot read {}", path.display());
        Ok(match lines.next().with_context(unreadable)? {
            Some(Line::Text(line)) => match std::str::from_utf8(line) {
                Ok(line) => {
                    text.clear();
                    text.push_str(line);
                    Next::Line
                }
                Err(_) => Next::Unpublishable("invalid_utf8".to_owned()),
            },
            Some(Line::TooLong(_)) => Next::Unpublishable("too_large".to_owned()),
            None if is_regular => {
                *lines = Lines::new(open(path)?);
                Next::NotYet
            }
            None => Next::End,
        })
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_begins_again_at_its_end() {
        let path = std::env::temp_dir().join(format!("wireloom-demo-{}", std::process::id()));
        std::fs::write(&path, b"one\n\xff\nthree").unwrap();
        let mut source = LineSource::of_file(&path).unwrap();
        let (mut text, mut found) = (String::new(), Vec::new());
        for _ in 0..8 {
            let next = source.read(&mut text).unwrap();
            found.push((next == Next::Line).then(|| text.clone()).ok_or(next));
        }
        std::fs::remove_file(&path).unwrap();
        let bad = || Err(Next::Unpublishable("invalid_utf8".into()));
        let line = |text: &str| Ok(text.to_owned());
        let round = [line("one"), bad(), line("three"), Err(Next::NotYet)];
        assert_eq!(found[..4], round);
        assert_eq!(found[4..], round);
    }
}
