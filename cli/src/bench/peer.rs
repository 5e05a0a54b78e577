//! The receiving process and how the measuring one speaks with it.
//!
//! `wireloom bench` starts itself again with a plan, pinned to another core. The two speak in lines
//! of JSON over the child's standard input and output: the parent asks, the child answers. When the
//! parent ends, for whatever reason, the child sees the end of its input and ends too.

use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use wireloom::{Clock, Ledger, Published};

use super::arrivals::Counts;
use super::flow::{IoChoice, Security};
use super::machine::process_cpu_ns;
use super::report::carried;
use super::rings::Slow;
use super::times::Counted;

/// Silence after which a receiver takes what was sent to it as all there is.
const SILENCE_NS: u64 = 3_000_000;

/// What a receiving process does.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct PeerPlan {
    pub(super) work: PeerWork,
    /// The group to join; else the peer listens on a port of its own.
    pub(super) group: Option<SocketAddr>,
    pub(super) core: Option<usize>,
    pub(super) payload_bytes: usize,
    /// Bytes of one frame with its padding, for the raw receiver.
    pub(super) frame_bytes: usize,
    pub(super) events: Events,
    /// The caller's loop drives the node; else threads that idle adaptively do. A raw receiver
    /// polls; else it waits in the kernel.
    pub(super) driven: bool,
    /// What carries the node's datagrams.
    pub(super) io: IoChoice,
    /// Measure the time from publishing to the handler of each event whose sequence is a multiple
    /// of this; 0 of none.
    pub(super) timed_every: u64,
    /// Over TCP: answers go reliably, the bare loops use streams.
    pub(super) reliable: bool,
    /// Where every event is answered to.
    pub(super) reply_to: Option<SocketAddr>,
    /// Nodes in the process, each with a socket of its own; 0 is 1.
    pub(super) nodes: usize,
    /// Handlers of the type in each node; 0 is 1.
    pub(super) handlers: usize,
    /// Measure how long turns take that find work.
    pub(super) busy: bool,
    /// What the publisher seals by, and the secret that both got from the parent.
    pub(super) security: Security,
    pub(super) secret: [u8; 32],
    /// The policy of the subscriber that is left alone; [`PeerWork::Rings`] only.
    pub(super) slow: Slow,
}

/// A node with a typed handler, or the bare loop it is compared with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PeerWork {
    #[default]
    Node,
    /// Counts events that arrive joined.
    Raw,
    /// As `Raw`, and checks the hash of each packet.
    RawChecked,
    /// Sends back what it receives.
    RawEcho,
    /// A node with ring subscribers, one of which may be left alone.
    Rings,
}

/// The types of event a peer has handlers for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Events {
    #[default]
    Fixed,
    List,
    /// Critical ones, which are timed, and bulk.
    Priorities,
}

/// What the parent asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Question {
    /// Receive from now on; latency counts for events published from this monotonic time on.
    Run { timed_from_ns: u64 },
    /// How far it has come, now.
    Sample,
    /// Leave a subscriber alone from now on, or take up what it holds and go on with it.
    Freeze(bool),
    /// Take what is still coming, then rest.
    Pause,
    /// Take what is still coming, end the node, give the final account.
    Finish,
}

/// What the child answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Answer {
    Ready { addresses: Vec<SocketAddr>, notes: Vec<String> },
    Sample(Sample),
    Finished(Box<Account>),
    Failed(String),
}

/// How far a receiver has come.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Sample {
    pub(super) now_ns: u64,
    pub(super) cpu_ns: u64,
    /// From the first delivery since [`Question::Run`] to the last one; 0 when not known.
    pub(super) active_ns: u64,
    pub(super) counts: Counts,
    /// Times it woke from sleep so far.
    pub(super) wakes: u64,
    /// Time spent in turns that found work so far; with [`PeerPlan::busy`] only.
    pub(super) busy_ns: u64,
    /// Times measured since the last [`Question::Pause`]; with that question only.
    pub(super) times: Counted,
}

/// A receiver's final account. The raw receiver fills in the counts alone.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) counts: Counts,
    /// Of those, what the first handler took as whole.
    pub(super) first_delivered: u64,
    pub(super) peak_rss_bytes: u64,
    /// Events published by this side: taken by its nodes, and handed to the kernel or
    /// acknowledged.
    pub(super) replies: (u64, u64),
    /// The node's own ledger, in events.
    pub(super) balanced: bool,
    pub(super) received: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) before_join: u64,
    /// The kernel's drops, in its own units (a joined run counts once).
    pub(super) kernel_drops: u64,
    /// The node's counters that are not zero.
    pub(super) counters: Vec<(String, u64)>,
}

impl Account {
    /// Adds the account of one node.
    pub(super) fn add(&mut self, ledger: &Ledger) {
        let received = &ledger.received;
        self.balanced &= ledger.balanced;
        self.received += received.events;
        self.delivered += received.delivered;
        self.lost += received.lost;
        self.before_join += received.before_join;
        self.kernel_drops += ledger.kernel_drops;
        let Published { accepted, sent, .. } = carried(ledger);
        self.replies.0 += accepted;
        self.replies.1 += sent;
    }
}

/// A receiver as the child's loop drives it.
pub(super) trait Receiving {
    /// One turn of the loop; returns the work done. Never called when `driven` is false.
    fn drive(&mut self) -> usize;
    fn counts(&self) -> Counts;
    fn time_from(&mut self, _timed_from_ns: u64) {}
    fn freeze(&mut self, _frozen: bool) {}
    /// Adds what else it knows to a sample.
    fn complete(&mut self, _sample: &mut Sample, _paused: bool) {}
    fn finish(self) -> Account;
}

/// The child: answers questions until the parent asks it to finish or is gone.
pub(super) fn serve(mut receiver: impl Receiving, driven: bool) -> Result<()> {
    let clock = Clock::system();
    let questions = questions();
    let (mut running, mut first_ns, mut last_ns) = (false, 0, 0);
    let mut delivered = receiver.counts().delivered;
    loop {
        let question = if running && driven {
            match questions.try_recv() {
                Ok(question) => question,
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {
                    receiver.drive();
                    let now_delivered = receiver.counts().delivered;
                    if now_delivered != delivered {
                        delivered = now_delivered;
                        last_ns = clock.now_ns();
                        if first_ns == 0 {
                            first_ns = last_ns;
                        }
                    }
                    continue;
                }
            }
        } else {
            match questions.recv() {
                Ok(question) => question,
                Err(_) => return Ok(()),
            }
        };
        match question {
            Question::Run { timed_from_ns } => {
                (running, first_ns, last_ns) = (true, 0, 0);
                receiver.time_from(timed_from_ns);
            }
            Question::Sample => {}
            Question::Freeze(frozen) => receiver.freeze(frozen),
            Question::Pause => {
                last_ns = last_ns.max(settle(&mut receiver, driven, &clock));
                running = false;
            }
            Question::Finish => {
                settle(&mut receiver, driven, &clock);
                return say(&Answer::Finished(Box::new(receiver.finish())));
            }
        }
        delivered = receiver.counts().delivered;
        let mut sample = Sample {
            now_ns: clock.now_ns(),
            cpu_ns: process_cpu_ns(),
            active_ns: if driven { last_ns.saturating_sub(first_ns) } else { 0 },
            counts: receiver.counts(),
            ..Sample::default()
        };
        receiver.complete(&mut sample, question == Question::Pause);
        say(&Answer::Sample(sample))?;
    }
}

/// Receives until nothing has come for a while; gives the time of the last delivery, 0 for none.
fn settle(receiver: &mut impl Receiving, driven: bool, clock: &Clock) -> u64 {
    let (mut last_ns, mut silent_from_ns) = (0, clock.now_ns());
    let mut delivered = receiver.counts().delivered;
    loop {
        if driven {
            receiver.drive();
        } else {
            std::thread::sleep(std::time::Duration::from_micros(500));
        }
        let now_ns = clock.now_ns();
        let now_delivered = receiver.counts().delivered;
        if now_delivered != delivered {
            (delivered, last_ns, silent_from_ns) = (now_delivered, now_ns, now_ns);
        } else if now_ns.saturating_sub(silent_from_ns) > SILENCE_NS {
            return last_ns;
        }
    }
}

/// Questions as they come in, read by a thread that sleeps in between.
fn questions() -> Receiver<Question> {
    let (asks, asked) = channel();
    std::thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            let Ok(question) = serde_json::from_str(&line) else { break };
            if asks.send(question).is_err() {
                break;
            }
        }
    });
    asked
}

/// Says one answer to the parent.
pub(super) fn say(answer: &Answer) -> Result<()> {
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    stdout().lock().write_all(line.as_bytes()).context("the measuring process is gone")
}

/// The parent's side of a receiving process. Dropping it ends the process.
#[derive(Debug)]
pub(super) struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Where its nodes receive.
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) notes: Vec<String>,
}

impl Peer {
    /// Starts this command again as a receiver and waits until it listens.
    pub(super) fn start(plan: &PeerPlan) -> Result<Self> {
        let program = std::env::current_exe().context("cannot tell which program this is")?;
        let mut child = Command::new(program)
            .args(["bench", "peer", &serde_json::to_string(plan)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the receiving process")?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let (Some(to), Some(from)) = (to, from) else {
            bail!("the receiving process has no pipes")
        };
        let from = BufReader::new(from);
        let mut peer = Self { child, to, from, addresses: Vec::new(), notes: Vec::new() };
        match peer.answer()? {
            Answer::Ready { addresses, notes } => {
                (peer.addresses, peer.notes) = (addresses, notes);
                Ok(peer)
            }
            other => bail!("the receiving process began with {other:?}"),
        }
    }

    /// Where to send to: its group, or its first node.
    pub(super) fn address(&self, plan: &PeerPlan) -> SocketAddr {
        let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
        plan.group.or_else(|| self.addresses.first().copied()).unwrap_or(unspecified)
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            bail!("the receiving process ended early: see what it said above");
        }
        match serde_json::from_str(&line)? {
            Answer::Failed(why) => bail!("the receiving process: {why}"),
            answer => Ok(answer),
        }
    }

    fn ask(&mut self, question: Question) -> Result<Answer> {
        let mut line = serde_json::to_string(&question)?;
        line.push('\n');
        self.to.write_all(line.as_bytes()).context("the receiving process is gone")?;
        self.answer()
    }

    /// Asks for a sample after doing what is asked.
    pub(super) fn sample(&mut self, question: Question) -> Result<Sample> {
        match self.ask(question)? {
            Answer::Sample(sample) => Ok(sample),
            other => bail!("the receiving process answered {other:?}"),
        }
    }

    /// Ends the receiver and gives its account.
    pub(super) fn finish(mut self) -> Result<Account> {
        match self.ask(Question::Finish)? {
            Answer::Finished(account) => Ok(*account),
            other => bail!("the receiving process answered {other:?}"),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is waited for, so that none is left behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
