//! Nodes of a cluster as real processes: the table, a node that is killed, one that is stopped and
//! goes on, and the bench that starts many.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::{run, text, wireloom};

const PATIENCE: Duration = Duration::from_secs(30);

struct Node {
    child: Child,
    lines: Receiver<Value>,
    address: String,
}

impl Node {
    /// Starts a node of a cluster of this test, without multicast unless it is the first.
    fn start(name: &str, cluster: &str, seed: Option<&str>) -> Self {
        let cluster = format!("{cluster}-{}", std::process::id());
        let seed = seed.unwrap_or("127.0.0.1:9");
        let words = ["node", "--events", "--name", name, "--cluster", &cluster];
        let mut command = wireloom(&words);
        command.args(["--service", name, "--no-group", "--seed", seed]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("the command starts");
        let stdout = child.stdout.take().expect("piped");
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tell.send(serde_json::from_str(&line).expect("lines of JSON"));
            }
        });
        let mut node = Self { child, lines, address: String::new() };
        let started = node.wait("started", None);
        started["address"].as_str().expect("an address").clone_into(&mut node.address);
        node
    }

    /// Waits for a line of this kind, about this member.
    fn wait(&self, event: &str, address: Option<&str>) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no {event} of {address:?}"));
            let about = address.is_none_or(|address| line["address"] == address);
            if line["event"] == event && about {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(id, signal).expect("it runs");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn members(cluster: &str, seed: &str) -> Value {
    let cluster = format!("{cluster}-{}", std::process::id());
    let words = ["members", "--json", "--no-group", "--seed", seed, "--cluster", &cluster];
    let output = run(&words);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn member<'a>(shown: &'a Value, name: &str) -> &'a Value {
    let members = shown["members"].as_array().expect("a list");
    members.iter().find(|member| member["name"] == name).unwrap_or_else(|| panic!("{shown}"))
}

#[test]
fn a_killed_node_is_dead_in_time_and_a_stopped_one_comes_back_anew() {
    let first = Node::start("first", "faults", None);
    let second = Node::start("second", "faults", Some(&first.address));
    let third = Node::start("third", "faults", Some(&first.address));
    for (node, other) in [(&first, &second), (&first, &third), (&second, &third)] {
        node.wait("up", Some(&other.address));
    }
    let shown = members("faults", &second.address);
    assert_eq!(shown["members"].as_array().map(Vec::len), Some(3), "{shown}");
    assert_eq!(member(&shown, "third")["services"][0], "third");
    let before = member(&shown, "third")["incarnation"].clone();

    third.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(5));
    third.signal(Signal::CONT);
    std::thread::sleep(Duration::from_secs(3));
    let shown = members("faults", &first.address);
    let after = member(&shown, "third");
    assert_eq!(after["state"], "alive", "{after}");
    assert_ne!(after["incarnation"], before, "it has spoken up against being dead");
    // Observers of the table come and go; these two have not.
    let others = [first.address.as_str(), second.address.as_str()];
    for line in third.lines.try_iter().filter(|line| line["event"] == "down") {
        let address = line["address"].as_str().expect("an address");
        assert!(!others.contains(&address), "who was stopped calls nobody dead: {line}");
    }

    second.signal(Signal::KILL);
    let begun = Instant::now();
    first.wait("down", Some(&second.address));
    third.wait("down", Some(&second.address));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(member(&members("faults", &first.address), "third")["state"], "alive");
}

#[test]
fn a_node_says_who_it_is_and_the_table_says_when_nobody_answers() {
    let words = ["members", "--no-group", "--seed", "127.0.0.1:9", "--timeout", "200ms"];
    let output = run(&words);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nobody answered"), "{}", text(&output.stderr));

    let mut command = wireloom(&["node", "--name", "greeter", "--service", "sum"]);
    command.args(["--no-group", "--seed", "127.0.0.1:9"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    std::thread::sleep(Duration::from_millis(700));
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(id, Signal::TERM).expect("it runs");
    let status = child.wait().expect("it ends");
    let mut said = String::new();
    let mut stdout = child.stdout.take().expect("piped");
    std::io::Read::read_to_string(&mut stdout, &mut said).expect("UTF-8");
    assert!(status.success(), "{said}");
    for word in
        ["node greeter, id ", "it listens there", "seed 127.0.0.1:9", "offers sum", "memory"]
    {
        assert!(said.contains(word), "{word} in {said}");
    }
}

#[test]
fn a_bench_of_a_few_nodes_is_sound() {
    let words = "bench discovery --nodes 5 --newcomers 2 --duration 1s --json";
    let output = run(&words.split(' ').collect::<Vec<_>>());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let figures: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!((&figures["nodes"], &figures["false_deaths"]), (&5.into(), &0.into()));
    for field in ["/new_node_known_ms/p50", "/sent_bytes_per_s", "/rss_bytes", "/dead_known_ms"] {
        let number = figures.pointer(field).and_then(Value::as_f64);
        assert!(number.is_some_and(|number| number > 0.0), "{field}: {figures}");
    }
}
