//! The parent of the demonstration: starts the nodes one after the other, shows what they report,
//! ends the publisher first and the listeners when everything must have arrived, and draws up the
//! ledger.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::Role;
use super::balance::{Check, checks};
use super::child::{Child, News};
use super::feed::Text;
use super::figures::Figures;
use super::report::Report;
use super::screen::Screen;
use super::table::{self, Title};
use crate::args::DemoArgs;
use crate::output::Output;
use crate::stop::Stop;

/// How long a node may take to start, or to end and give its account.
const PATIENCE: Duration = Duration::from_secs(10);

/// The table is drawn this often; in its place a plain line this often.
const DRAW_EVERY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// How long it goes on when standard input has no more lines.
const AFTER_LAST_LINE: Duration = Duration::from_secs(1);

/// Runs the demonstration.
///
/// # Errors
/// When the file cannot be read, a node cannot start or fails, or standard output cannot be
/// written.
pub(super) fn run(args: &DemoArgs, output: &Output) -> Result<ExitCode> {
    let stop = Stop::on_signals()?;
    let text = Text::find(args.file.as_ref(), &stop)?;
    let title = Title { text_name: text.name(), limit: Duration::from_secs(args.seconds) };
    let mut nodes = Nodes::new(&stop);
    nodes.start_all(args, text)?;

    let mut screen = Screen::new(output);
    let elapsed = nodes.watch(&mut screen, &title)?;
    nodes.figures.published_for = Some(elapsed);
    nodes.end(Role::Publisher)?;
    nodes.end(Role::Lines)?;
    nodes.end(Role::Heartbeats)?;

    let table = table::table(&title, elapsed, &nodes.figures);
    if screen.is_live(table.len()) {
        screen.draw(&table)?;
    } else {
        screen.write(&table)?;
    }
    let figures = &nodes.figures;
    let checks = checks(&figures.published, &figures.lines.heard, &figures.heartbeats.heard);
    screen.write(&table::ledger(&checks))?;
    Ok(if checks.iter().all(Check::holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The three children, and what they said. Dropping it ends them.
struct Nodes<'a> {
    stop: &'a Stop,
    to_us: Sender<(Role, News)>,
    news: Receiver<(Role, News)>,
    children: Vec<(Role, Child)>,
    /// Those whose last account is here.
    done: Vec<Role>,
    figures: Figures,
}

impl<'a> Nodes<'a> {
    fn new(stop: &'a Stop) -> Self {
        let (to_us, news) = channel();
        Self {
            stop,
            to_us,
            news,
            children: Vec::new(),
            done: Vec::new(),
            figures: Figures::default(),
        }
    }

    /// Listeners first, so that the publisher's first event finds them.
    fn start_all(&mut self, args: &DemoArgs, text: Text) -> Result<()> {
        let lines_at = self.start(Role::Lines, &[])?;
        let group = SocketAddr::new(args.group.into(), free_port()?).to_string();
        let option = |name: &str, value: String| [format!("--{name}"), value];
        self.start(Role::Heartbeats, &option("group", group.clone()))?;
        let mut words: Vec<String> = [
            option("to", lines_at.to_string()),
            option("group", group),
            option("rate", args.rate.to_string()),
        ]
        .concat();
        if let Some(path) = text.file() {
            let path = path.to_str().context("the file's path is not UTF-8: rename it")?;
            words.extend(option("file", path.to_owned()));
        }
        self.start(Role::Publisher, &words)?;
        if text.file().is_none()
            && let Some((_, publisher)) = self.children.last_mut()
            && let Some(stdin) = publisher.take_stdin()
        {
            text.feed(stdin, self.stop);
        }
        Ok(())
    }

    /// Starts one node and waits until it is ready; returns where it receives.
    fn start(&mut self, role: Role, words: &[String]) -> Result<SocketAddr> {
        self.children.push((role, Child::start(role, words, &self.to_us)?));
        let until = Instant::now() + PATIENCE;
        loop {
            match self.next(until)? {
                Some((from, Report::Ready { address })) if from == role => return Ok(address),
                Some(_) => {}
                None => bail!("{} did not start within {PATIENCE:?}", role.node()),
            }
            if self.stop.is_wished() {
                bail!("ended before it began");
            }
        }
    }

    /// The next report, none when `until` comes first. Keeps accounts; a failed child is an error.
    fn next(&mut self, until: Instant) -> Result<Option<(Role, Report)>> {
        let (role, report) = loop {
            let patience = until.saturating_duration_since(Instant::now());
            match self.news.recv_timeout(patience) {
                Ok((role, News::Report(report))) => break (role, report),
                Ok((role, News::Ended(_))) if self.done.contains(&role) => {}
                Ok((role, News::Ended(errors))) => bail!(self.early_end(role, &errors)),
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Err(RecvTimeoutError::Disconnected) => bail!("no node reports any more"),
            }
        };
        let now = Instant::now();
        match &report {
            Report::Published(account) => self.figures.update_published(now, account.clone()),
            Report::Heard(account) => self.figures.update_heard(role, now, account.clone()),
            Report::Failed { reason } => bail!("{}: {reason}", role.node()),
            Report::Done => self.done.push(role),
            Report::Ready { .. } => {}
        }
        Ok(Some((role, report)))
    }

    /// Why a node that should run does not.
    fn early_end(&mut self, role: Role, errors: &str) -> String {
        let child = self.children.iter_mut().find(|(of, _)| *of == role);
        let ending = child.map(|(_, child)| child.ending()).unwrap_or_default();
        let told = if errors.is_empty() { "before it was told to" } else { errors };
        format!("{} ended{ending}: {told}", role.node())
    }

    /// Shows what happens until the time is over, the lines have ended, or the user ends it;
    /// returns how long that was.
    fn watch(&mut self, screen: &mut Screen<'_>, title: &Title) -> Result<Duration> {
        let begin = Instant::now();
        let mut until = begin + title.limit;
        let lines = table::table(title, Duration::ZERO, &self.figures).len();
        let is_live = screen.is_live(lines);
        let every = if is_live { DRAW_EVERY.0 } else { DRAW_EVERY.1 };
        let mut draw_at = begin + every;
        let mut is_last_line_seen = false;
        loop {
            self.next(draw_at.min(until))?;
            let now = Instant::now();
            if now >= draw_at {
                draw_at += every;
                if is_live {
                    screen.draw(&table::table(title, begin.elapsed(), &self.figures))?;
                } else {
                    screen.write(&[table::plain_line(begin.elapsed(), &self.figures)])?;
                }
            }
            if self.figures.published.is_out_of_lines && !is_last_line_seen {
                is_last_line_seen = true;
                until = until.min(now + AFTER_LAST_LINE);
            }
            if now >= until || self.stop.is_wished() {
                return Ok(begin.elapsed());
            }
        }
    }

    /// Ends one node and waits for its last account.
    fn end(&mut self, role: Role) -> Result<()> {
        for (_, child) in self.children.iter_mut().filter(|(of, _)| *of == role) {
            child.stop();
        }
        let until = Instant::now() + PATIENCE;
        loop {
            match self.next(until)? {
                Some((from, Report::Done)) if from == role => return Ok(()),
                Some(_) => {}
                None => bail!("{} gave no account within {PATIENCE:?}", role.node()),
            }
        }
    }
}

/// A port that nothing on this host uses now, for the group. Groups may be shared, so that somebody
/// else who takes it meanwhile is heard, not in the way.
fn free_port() -> Result<u16> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("no UDP port is free")?;
    Ok(socket.local_addr()?.port())
}
