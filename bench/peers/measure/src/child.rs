//! The other processes of a run and how the measuring one speaks with them.
//!
//! A peer's program starts itself again for the receiving side and for a service. They speak in
//! lines of JSON over the child's standard input and output: the parent asks, the child answers.
//! When the parent ends, for whatever reason, the child sees the end of its input and ends too.

use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::arrivals::Counts;
use crate::inbox::Inbox;
use crate::peer::{Peer, Receiving, Stop};
use crate::place::Plan;
use crate::processes::pin;

/// The core of the receiving process; the publishing one has core 0.
const RECEIVER_CORE: usize = 1;

/// What the parent asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Question {
    /// Begin a new account with the message `from`.
    Begin { from: u64 },
    /// How far it has come, now.
    Sample,
}

/// Questions as they come in; disconnected when the parent is gone or has closed the pipe.
pub(crate) type Questions = Receiver<Question>;

/// What a child answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Listening; the process to count for it.
    Ready {
        process: u32,
    },
    Sample(Sample),
    Failed(String),
}

/// How far a receiver has come.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) counts: Counts,
    /// From its first delivery to its last.
    pub(crate) active_ns: u64,
}

/// Ends this process when a run takes longer than any run may: a peer that hangs inside a call
/// cannot be asked to stop.
pub(crate) fn end_after(limit: Duration) {
    thread::spawn(move || {
        thread::sleep(limit);
        let _ = writeln!(std::io::stderr(), "gave up: still running after {limit:?}");
        #[expect(clippy::exit, reason = "the thread that hangs cannot be ended otherwise")]
        process::exit(3);
    });
}

/// The receiving process: answers until the parent has no more questions.
pub(crate) fn receive<P: Peer>(plan: &Plan) -> Result<()> {
    pin(RECEIVER_CORE)?;
    let (inbox, questions) = (Inbox::default(), questions());
    let outcome = match plan.work {
        crate::Work::Throughput => {
            P::receiver(plan, &inbox).and_then(|end| answer(end, &inbox, &questions))
        }
        crate::Work::PingPong => {
            P::pong(plan, &inbox).and_then(|end| answer(end, &inbox, &questions))
        }
    };
    conclude(plan, outcome)
}

/// The service's process.
pub(crate) fn serve<P: Peer>(plan: &Plan) -> Result<()> {
    let ready = |process| say(&Answer::Ready { process });
    let outcome = P::serve(plan, ready, &Stop(questions()));
    conclude(plan, outcome)
}

/// Tells the parent about a failure; removes what a parent that was killed has left.
fn conclude(plan: &Plan, outcome: Result<()>) -> Result<()> {
    plan.clear();
    outcome.or_else(|why| say(&Answer::Failed(format!("{why:#}"))))
}

fn answer(mut end: impl Receiving, inbox: &Inbox, questions: &Questions) -> Result<()> {
    say(&Answer::Ready { process: process::id() })?;
    loop {
        match questions.try_recv() {
            Err(TryRecvError::Empty) => {
                end.turn()?;
                continue;
            }
            Err(TryRecvError::Disconnected) => return Ok(()),
            Ok(Question::Begin { from }) => inbox.open().begin(from),
            Ok(Question::Sample) => {}
        }
        let tally = inbox.open();
        let sample = Sample { counts: tally.counts(), active_ns: tally.active_ns() };
        drop(tally);
        say(&Answer::Sample(sample))?;
    }
}

/// Questions read by a thread that sleeps in between.
fn questions() -> Questions {
    let (asks, asked) = channel();
    thread::spawn(move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            let Ok(question) = serde_json::from_str(&line) else { break };
            if asks.send(question).is_err() {
                break;
            }
        }
    });
    asked
}

fn say(answer: &Answer) -> Result<()> {
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    stdout().lock().write_all(line.as_bytes()).context("the measuring process is gone")
}

/// The parent's side of a child. Dropping it closes the pipe, waits a little, then ends it.
#[derive(Debug)]
pub(crate) struct Other {
    role: &'static str,
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    /// The process to count for it; not always the child itself.
    pub(crate) process: u32,
}

impl Other {
    /// Starts this program again as `role` and waits until it is ready.
    pub(crate) fn start(role: &'static str, plan: &Plan) -> Result<Self> {
        let program = env::current_exe().context("cannot tell which program this is")?;
        let mut child = Command::new(program)
            .args([role, &serde_json::to_string(plan)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start the process `{role}`"))?;
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let Some(from) = from else { bail!("the process `{role}` has no pipes") };
        let mut other = Self { role, child, to, from: BufReader::new(from), process: 0 };
        match other.answer()? {
            Answer::Ready { process } => other.process = process,
            odd => bail!("the process `{role}` began with {odd:?}"),
        }
        Ok(other)
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            bail!("the process `{}` ended early", self.role);
        }
        match serde_json::from_str(&line)? {
            Answer::Failed(why) => bail!("the process `{}`: {why}", self.role),
            answer => Ok(answer),
        }
    }

    /// Asks for a sample after doing what is asked.
    pub(crate) fn ask(&mut self, question: Question) -> Result<Sample> {
        let mut line = serde_json::to_string(&question)?;
        line.push('\n');
        let Some(to) = &mut self.to else { bail!("the process `{}` is ending", self.role) };
        // A child that failed has said why: that is the answer, not the broken pipe.
        let _ = to.write_all(line.as_bytes());
        match self.answer()? {
            Answer::Sample(sample) => Ok(sample),
            odd => bail!("the process `{}` answered {odd:?}", self.role),
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.to = None;
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
