//! One node as a process: how it is started, spoken to, stopped and killed, and what it tells.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::PATIENCE;

/// A running node.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<Value>,
}

impl Process {
    /// Starts it by this command and waits until it says so.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("it starts");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take());
        let (to, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout.expect("piped")).lines().map_while(Result::ok) {
                let _ = to.send(serde_json::from_str(&line).expect("lines of JSON"));
            }
        });
        let process = Self { child, stdin, lines };
        assert!(process.told()["started"].is_string(), "it starts");
        process
    }

    fn told(&self) -> Value {
        self.lines.recv_timeout(PATIENCE).expect("it answers")
    }

    /// Says a line to it.
    pub(crate) fn say(&mut self, words: &str) {
        writeln!(self.stdin, "{words}").expect("it runs");
    }

    /// Everything it knows now.
    pub(crate) fn look(&mut self) -> Look {
        self.say("look");
        Look(self.told())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The time it has used the processor, of all its threads.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("it runs");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let ticks = |at: usize| fields.split(' ').nth(at).and_then(|n| n.parse::<u64>().ok());
        let ticks = ticks(11).unwrap_or(0) + ticks(12).unwrap_or(0);
        Duration::from_millis(ticks * 10) // 100 a second, in every kernel for 64 bits
    }

    /// The number its next descriptor gets; limits are about numbers.
    pub(crate) fn next_descriptor(&self) -> usize {
        let open = |number: &usize| {
            std::fs::symlink_metadata(format!("/proc/{}/fd/{number}", self.id())).is_ok()
        };
        (0..).find(|number| !open(number)).expect("there is no end of numbers")
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.id()));
        folder.expect("it runs").count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a node told of itself at one time.
#[derive(Debug)]
pub(crate) struct Look(pub(crate) Value);

impl Look {
    /// A figure by its place: `/ledger/reliable/accepted`, `/counters/links_dialled`.
    pub(crate) fn at(&self, pointer: &str) -> u64 {
        let figure = self.0.pointer(pointer).and_then(Value::as_u64);
        figure.unwrap_or_else(|| panic!("no {pointer}: {}", self.0))
    }

    /// A counter by its name; those that stand at zero are not told.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.0["counters"][name].as_u64().unwrap_or(0)
    }

    /// Whether it was told to publish to a target.
    pub(crate) fn feeds(&self, target: &str) -> bool {
        self.0["feeds"][target].is_object()
    }

    fn feed(&self, target: &str) -> &Value {
        let feed = &self.0["feeds"][target];
        assert!(feed.is_object(), "no feed to {target}: {}", self.0);
        feed
    }

    pub(crate) fn accepted(&self, target: &str) -> u64 {
        self.feed(target)["accepted"].as_u64().expect("a number")
    }

    /// What became of each accepted event, in order of number: fate, how many in a row.
    pub(crate) fn fates(&self, target: &str) -> Vec<(String, u64)> {
        serde_json::from_value(self.feed(target)["fates"].clone()).expect("pairs")
    }

    /// How many had this fate.
    pub(crate) fn fated(&self, target: &str, fate: &str) -> u64 {
        self.fates(target).iter().filter(|(of, _)| of == fate).map(|(_, count)| count).sum()
    }

    /// Whether all was published that should be, and everything reliable has a fate.
    pub(crate) fn is_settled(&self) -> bool {
        let feeds = self.0["feeds"].as_object().expect("a map");
        feeds.iter().all(|(target, feed)| {
            let settled = target.starts_with("udp") || feed["settled"] == feed["accepted"];
            feed["published"] == true && settled
        })
    }

    /// The names of the members that are up, this node included, in order.
    pub(crate) fn up(&self) -> Vec<String> {
        let members = self.0["members"].as_array().expect("a list");
        let up = members.iter().filter(|member| member["state"] != "down");
        let mut names: Vec<String> =
            up.map(|member| member["name"].as_str().expect("a name").to_owned()).collect();
        names.sort();
        names
    }

    /// Addresses of members that this node was told are down, once for each time.
    pub(crate) fn downs(&self) -> Vec<String> {
        let changes = self.0["changes"].as_array().expect("a list").iter();
        let downs = changes.filter(|change| change["what"] == "down");
        downs.map(|change| change["address"].as_str().expect("an address").to_owned()).collect()
    }
}
