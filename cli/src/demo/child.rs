//! A child process as the parent sees it: started, told to stop, heard, and never left behind.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::Role;
use super::report::Report;

/// What of a child's standard error is kept, from its beginning, bytes.
const ERROR_BYTES_MAX: u64 = 4 << 10;

/// How long a child may take to end by itself.
const GRACE: Duration = Duration::from_secs(3);

/// What is heard of a child.
#[derive(Debug)]
pub(super) enum News {
    /// It says something.
    Report(Report),
    /// Its standard output closed: it has ended or is about to. With what it said on standard
    /// error.
    Ended(String),
}

/// A child that runs, or has ended and not been waited for.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
}

impl Child {
    /// Starts a node of this role. What it reports arrives at `news`.
    ///
    /// # Errors
    /// When the system starts no process.
    pub(super) fn start(role: Role, words: &[String], news: &Sender<(Role, News)>) -> Result<Self> {
        // The very program that runs, also when its file has been replaced since.
        let mut process = Command::new("/proc/self/exe")
            .arg0("wireloom")
            .args(["demo-node", role.word(), "--name", role.node()])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("the process of {} could not be started", role.node()))?;
        let stdin = process.stdin.take();
        if let (Some(out), Some(err)) = (process.stdout.take(), process.stderr.take()) {
            let errors = std::thread::spawn(move || read_errors(err));
            let news = news.clone();
            std::thread::spawn(move || read_reports(role, out, errors, &news));
        }
        Ok(Self { process, stdin })
    }

    /// The pipe to its standard input, for whoever feeds it; the child ends when it closes.
    pub(super) fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// How it ended, for a reader; empty while it has not.
    pub(super) fn ending(&mut self) -> String {
        // Its output closed a moment before it ends.
        let until = Instant::now() + Duration::from_millis(200);
        while Instant::now() < until {
            if let Ok(Some(status)) = self.process.try_wait() {
                return format!(" ({status})");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        String::new()
    }

    /// Asks it to end in good order. It has registered for the signal before it reported ready.
    pub(super) fn stop(&mut self) {
        self.stdin = None;
        // Only while it runs (or waits to be waited for) does the id belong to it.
        if !matches!(self.process.try_wait(), Ok(None)) {
            return;
        }
        if let Some(id) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            // Refused only when it has ended already.
            let _ = kill_process(id, Signal::TERM);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read_reports(
    role: Role,
    out: ChildStdout,
    errors: JoinHandle<String>,
    news: &Sender<(Role, News)>,
) {
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        let report = serde_json::from_str(&line).unwrap_or_else(|error| Report::Failed {
            reason: format!("its report was not understood: {error}"),
        });
        if news.send((role, News::Report(report))).is_err() {
            return;
        }
    }
    let errors = errors.join().unwrap_or_default();
    // When nobody listens any more, the parent is ending.
    let _ = news.send((role, News::Ended(errors)));
}

/// The beginning of what it says on standard error; the rest is read too, so that it never waits.
fn read_errors(mut err: ChildStderr) -> String {
    let mut kept = Vec::new();
    let _ = err.by_ref().take(ERROR_BYTES_MAX).read_to_end(&mut kept);
    let _ = std::io::copy(&mut err, &mut std::io::sink());
    String::from_utf8_lossy(&kept).trim().replace('\n', "; ")
}
