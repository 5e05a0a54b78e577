//! Runs the command and waits for it, never for ever.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command with these words, from an environment that colours nothing by itself.
pub(crate) fn wireloom(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wireloom"));
    command.args(words).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env("TERM", "xterm");
    command
}

/// Runs it to its end.
pub(crate) fn run(words: &[&str]) -> Output {
    wireloom(words).stdin(Stdio::null()).output().expect("the command starts")
}

/// Runs it to its end with this on standard input.
pub(crate) fn run_with(words: &[&str], input: &[u8]) -> Output {
    let mut command = wireloom(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // A command that ends before it has read everything is no fault of this thread.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic");
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The last line of standard error, which is the account.
pub(crate) fn account(stderr: &str) -> Value {
    let last = stderr.lines().last().unwrap_or_else(|| panic!("an account in {stderr:?}"));
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {last:?}"))
}

/// A file in a place of its own, removed with it.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("wireloom-{}-{name}", std::process::id()));
        std::fs::write(&path, content).expect("a temporary file");
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A running `wireloom node` that nobody else finds, ended with it.
pub(crate) struct Running {
    child: Child,
    address: SocketAddr,
    told: Receiver<String>,
}

impl Running {
    /// Starts it with these words too, and waits until it runs.
    pub(crate) fn node(words: &[&str]) -> Self {
        let mut command = wireloom(&["node", "--no-group", "--seed", "127.0.0.1:9", "--events"]);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take());
        let err = BufReader::new(err.expect("piped"));
        let (to, told) = channel();
        std::thread::spawn(move || err.lines().map_while(Result::ok).try_for_each(|l| to.send(l)));
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        let first: Value = serde_json::from_str(&lines.next().expect("it runs")).expect("JSON");
        std::thread::spawn(move || lines.for_each(drop));
        let address = first["address"].as_str().and_then(|address| address.parse().ok());
        Self { child, address: address.expect("an address"), told }
    }

    /// Where to publish to.
    pub(crate) fn target(&self) -> String {
        format!("udp://{}", self.address)
    }

    /// The next line on standard error has this part.
    pub(crate) fn tells(&self, part: &str) {
        let told = self.told.recv_timeout(PATIENCE);
        assert!(told.as_ref().is_ok_and(|line| line.contains(part)), "without {part}: {told:?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// A running `wireloom sub` on a port the system chose.
pub(crate) struct Subscriber {
    child: Child,
    stdout: JoinHandle<Vec<u8>>,
    stderr: Receiver<String>,
    pub(crate) address: SocketAddr,
}

/// How a subscriber ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn ledger(&self) -> Value {
        account(&self.stderr)
    }
}

impl Subscriber {
    /// Starts it and waits until it listens.
    pub(crate) fn start(words: &[&str]) -> Self {
        Self::start_with(&["sub", "--listen", "udp://127.0.0.1:0"], words)
    }

    /// As [`Subscriber::start`], with the first words as well.
    pub(crate) fn start_with(first: &[&str], words: &[&str]) -> Self {
        let mut command = wireloom(first);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let (mut out, err) = (child.stdout.take().expect("piped"), child.stderr.take());
        let stdout = std::thread::spawn(move || {
            let mut all = Vec::new();
            out.read_to_end(&mut all).expect("readable");
            all
        });
        let (to, stderr) = channel();
        let err = BufReader::new(err.expect("piped"));
        std::thread::spawn(move || err.lines().map_while(Result::ok).try_for_each(|l| to.send(l)));
        let first = stderr.recv_timeout(PATIENCE).expect("it says where it listens");
        let address = first.strip_prefix("ready: listening on udp://").expect("an address");
        let (address, _joined) = address.split_once(',').unwrap_or((address, ""));
        Self { child, stdout, stderr, address: address.parse().expect("an address") }
    }

    /// Where to publish to.
    pub(crate) fn target(&self) -> String {
        format!("udp://{}", self.address)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = Pid::from_child(&self.child);
        kill_process(id, signal).expect("it runs");
    }

    /// The next line on standard error.
    pub(crate) fn told(&self) -> String {
        self.stderr.recv_timeout(PATIENCE).expect("it says something")
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let until = Instant::now() + PATIENCE;
        let code = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status.code();
            }
            if Instant::now() >= until {
                let _ = self.child.kill();
                panic!("it did not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let stdout = self.stdout.join().expect("no panic");
        let lines: Vec<String> = self.stderr.iter().collect();
        Ended { code, stdout, stderr: lines.join("\n") }
    }
}
