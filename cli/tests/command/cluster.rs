//! Nodes of a cluster as real processes: the table, a node that is killed, one that is stopped and
//! goes on, and the bench that starts many.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use wireloom::event::Key as _;

use crate::program::{Scratch, Subscriber, account, run, run_with, text, wireloom};

const PATIENCE: Duration = Duration::from_secs(30);

struct Node {
    child: Child,
    lines: Receiver<Value>,
    address: String,
}

impl Node {
    /// Starts a node of a cluster of this test, without multicast unless it is the first.
    fn start(name: &str, cluster: &str, seed: Option<&str>) -> Self {
        let seed = seed.unwrap_or("127.0.0.1:9");
        Self::start_with(
            &["--name", name, "--service", name, "--no-group", "--seed", seed],
            cluster,
        )
    }

    /// Starts a node with these words.
    fn start_with(words: &[&str], cluster: &str) -> Self {
        let mut command = wireloom(&["node", "--events", "--cluster", &here(cluster)]);
        command.args(words);
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

/// The name of a cluster of this run of the tests.
fn here(cluster: &str) -> String {
    format!("{cluster}-{}", std::process::id())
}

fn members(cluster: &str, seed: &str) -> Value {
    let cluster = here(cluster);
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
fn the_member_that_an_events_own_key_chooses_is_explained() {
    let place = ["--service", "place", "--no-group", "--seed"];
    let node =
        |name, seed| Node::start_with(&[&place[..], &[seed, "--name", name]].concat(), "key");
    let first = node("first", "127.0.0.1:9");
    let second = node("second", &first.address);
    first.wait("up", Some(&second.address));
    second.wait("up", Some(&first.address));
    let cluster = here("key");
    let explain = |to: &str, rest: &[&str]| {
        let words =
            ["explain", "--type", "tick", "--no-group", "--seed", &first.address, "--to", to];
        run(&[&words[..], &["--cluster", &cluster], rest].concat())
    };
    let json = |to: &str, key: &str| -> Value {
        let explained = explain(to, &["--key", key, "--json"]);
        let told = text(&explained.stderr);
        assert_eq!(explained.status.code(), Some(0), "{told}");
        serde_json::from_slice(&explained.stdout).expect("one JSON object")
    };
    // The key is that of the field, and the member the one that has this key.
    let mut members = std::collections::BTreeSet::new();
    for (said, own) in [
        ("42", 42_u32.key()),
        ("text:42", "42".to_owned().key()),
        ("-7", (-7_i64).key()),
        ("tram 7", "tram 7".to_owned().key()),
        ("tram 8", "tram 8".to_owned().key()),
        ("tram 9", "tram 9".to_owned().key()),
    ] {
        let explained = json("service:place?key", said);
        assert_eq!((&explained["key"], &explained["own_key"]), (&"chose".into(), &own.into()));
        let fixed = json(&format!("service:place?key={own}"), said);
        assert_eq!(explained["addresses"], fixed["addresses"], "{said}");
        assert_eq!((&fixed["key"], &fixed["own_key"]), (&"not-asked".into(), &Value::Null));
        members.insert(explained["addresses"].to_string());
    }
    assert_eq!(members.len(), 2, "not all have the same: {members:?}");
    let told = text(&explain("service:place?key", &["--key", "42"]).stdout);
    let chosen = format!("to a member chosen by its own key {}", 42_u32.key());
    assert!(told.contains(&chosen) && !told.contains("--key"), "{told}");
    let unasked = explain("node:second", &["--key", "42"]);
    assert_eq!(unasked.status.code(), Some(0));
    assert!(text(&unasked.stdout).contains("--key was not asked for: only a target such as"));
    let missing = explain("service:place?key", &[]);
    assert_eq!(missing.status.code(), Some(1));
    let told = text(&missing.stdout);
    for part in [
        "its own key is to choose a member, and it has none",
        "refused: ",
        "by --key 42 (a number)",
    ] {
        assert!(told.contains(part), "without {part}: {told}");
    }
}

#[test]
fn a_node_says_who_it_is_and_the_table_says_when_nobody_answers() {
    let words = ["members", "--no-group", "--seed", "127.0.0.1:9", "--timeout", "200ms"];
    let output = run(&words);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nobody answered"), "{}", text(&output.stderr));

    let said =
        greeting(&["--name", "greeter", "--service", "sum", "--no-group", "--seed", "127.0.0.1:9"]);
    for word in
        ["node greeter, id ", "it listens there", "seed 127.0.0.1:9", "offers sum", "memory"]
    {
        assert!(said.contains(word), "{word} in {said}");
    }
    assert!(!said.contains("configured by"), "{said}");
    let refused = run(&["node", "--no-group"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("discovery.seeds"), "{}", text(&refused.stderr));
}

/// What a node says of itself when it starts.
pub(crate) fn greeting(words: &[&str]) -> String {
    let mut command = wireloom(&["node"]);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().expect("the command starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut said = String::new();
    while !said.contains("memory at most") {
        assert!(stdout.read_line(&mut said).expect("UTF-8") > 0, "it ended after {said}");
    }
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(id, Signal::TERM).expect("it runs");
    std::io::Read::read_to_string(&mut stdout, &mut said).expect("UTF-8");
    assert!(child.wait().expect("it ends").success(), "{said}");
    said
}

#[test]
fn a_node_that_other_hosts_reach_needs_a_certificate_or_the_word_insecure() {
    let words = ["--listen", "0.0.0.0:0", "--no-group", "--seed", "127.0.0.1:9"];
    let refused = run(&[&["node"], &words[..]].concat());
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains("at 0.0.0.0:0") && told.contains("--insecure"), "{told}");
    let said = greeting(&[&words[..], &["--insecure"]].concat());
    assert!(said.contains("note: insecure: other hosts reach this node"), "{said}");
}

#[test]
fn a_node_takes_its_cluster_from_a_file_and_options_come_before_it() {
    let first = Node::start("first", "file", None);
    let config = format!(
        "[node]\nname = \"filed\"\nlisten = \"127.0.0.2:0\"\nprofile = \"server\"\n\
         [discovery]\nseeds = [\"{}\"]\n[services]\nannounce = [\"sum\", \"log\"]\n",
        first.address
    );
    let file = Scratch::new("node.toml", config.as_bytes());
    let filed = Node::start_with(&["--config", file.path(), "--no-group"], "file");
    assert!(filed.address.starts_with("127.0.0.2:"), "{}", filed.address);
    let words = ["--config", file.path(), "--no-group", "--profile", "cluster", "--name", "said"];
    let more = ["--service", "only", "--listen", "127.0.0.3:0"];
    let said = Node::start_with(&[&words[..], &more[..]].concat(), "file");
    assert!(said.address.starts_with("127.0.0.3:"), "{}", said.address);
    first.wait("up", Some(&filed.address));
    first.wait("up", Some(&said.address));
    let shown = members("file", &first.address);
    let of = |name| (&member(&shown, name)["services"], &member(&shown, name)["profile"]);
    assert_eq!(of("filed"), (&serde_json::json!(["sum", "log"]), &"server".into()));
    assert_eq!(of("said"), (&serde_json::json!(["only"]), &"cluster".into()));

    let words = ["--config", file.path(), "--set", "node.name=set", "--no-group"];
    let told = greeting(&words);
    let from = format!("configured by profile server, {}", file.path());
    for word in [&from, "node set, id ", "offers sum, log", &format!("seed {}", first.address)] {
        assert!(told.contains(word), "{word} in {told}");
    }
    let refused = run(&["node", "--set", "node.nam=x"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("did you mean name?"), "{}", text(&refused.stderr));
}

#[test]
fn events_go_to_members_by_name_by_service_and_to_whom_they_interest() {
    let cluster = here("members");
    let first = Node::start("first", "members", None);
    let ways = ["--no-group", "--seed", &first.address, "--cluster", &cluster];
    let subscriber = |name: &str, event_type: &str, count: &str| {
        let words = ["--name", name, "--type", event_type, "--count", count, "--timeout", "50s"];
        Subscriber::start_with(&["sub", "--format", "payload"], &[&words[..], &ways[..]].concat())
    };
    let publish = |to: &str, event_type: &str, line: &str| {
        let words = ["pub", "--to", to, "--type", event_type];
        let output = run_with(&[&words[..], &ways[..]].concat(), line.as_bytes());
        assert!(output.status.success(), "{to}: {}", text(&output.stderr));
        account(&text(&output.stderr))
    };
    let desk = subscriber("desk", "tick", "5");
    let other = subscriber("other", "tick", "1");
    let bystander = subscriber("bystander", "tock", "1");
    publish("node:desk", "tick", "1");
    // Who has just come knows nobody yet: it waits until one of the list is there.
    publish("node:nobody|service:none|node:desk", "tick", "0");
    let delivered = publish("reliable:node:desk", "tick", "2\n3");
    assert_eq!(delivered["delivered"], 2, "{delivered}");
    publish("node:other", "tick", "10");
    let other = other.end();
    assert_eq!((other.code, other.stdout.as_slice()), (Some(0), &b"10\n"[..]));
    publish("interested", "tick", "4");
    let desk = desk.end();
    assert_eq!((desk.code, desk.stdout.as_slice()), (Some(0), &b"1\n0\n2\n3\n4\n"[..]));
    publish("interested", "tock", "5");
    let bystander = bystander.end();
    assert_eq!((bystander.code, bystander.stdout.as_slice()), (Some(0), &b"5\n"[..]));

    let delivered = publish_unheard(&ways);
    assert_eq!(delivered.0, Some(2), "{}", delivered.1);
    for word in ["nothing was published to node:nobody", "no member is called nobody"] {
        assert!(delivered.1.contains(word), "{word} in {}", delivered.1);
    }
    let config = "[services]\nannounce = [\"sum\"]\n";
    let file = Scratch::new("service.toml", config.as_bytes());
    let words = ["--name", "adder", "--config", file.path(), "--count", "2", "--timeout", "50s"];
    let words = [&words[..], &ways[..]].concat();
    let adder = Subscriber::start_with(&["sub", "--format", "payload"], &words);
    publish("service:sum", "term", "6");
    let delivered = publish("reliable:service:sum", "term", "7");
    assert_eq!(delivered["delivered"], 1, "{delivered}");
    let adder = adder.end();
    assert_eq!((adder.code, adder.stdout.as_slice()), (Some(0), &b"6\n7\n"[..]));
}

/// The status and the words of a publisher to a member that is not there.
fn publish_unheard(ways: &[&str]) -> (Option<i32>, String) {
    let words = ["pub", "--to", "node:nobody", "--type", "tick", "--wait", "300ms"];
    let output = run_with(&[&words[..], ways].concat(), b"1");
    (output.status.code(), text(&output.stderr))
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

#[test]
fn a_bench_with_full_pools_accounts_for_every_event() {
    let words = "bench mesh --nodes 4 --rate 20 --duration 1s --json";
    let output = run(&words.split(' ').collect::<Vec<_>>());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let figures: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let pools = &figures["pools"];
    let number = |field: &str| pools[field].as_u64().unwrap_or_else(|| panic!("{field}: {pools}"));
    assert_eq!((number("peers"), number("links")), (3, 12), "{pools}");
    assert!(number("accepted") > 0 && number("accepted_by_peers") > 0, "{pools}");
    assert_eq!(number("accepted"), number("acknowledged"), "{pools}");
    assert_eq!(number("accepted"), number("handled_by_peers"), "{pools}");
    assert_eq!(number("accepted_by_peers"), number("acknowledged_to_peers"), "{pools}");
    assert_eq!(number("accepted_by_peers"), number("handled"), "{pools}");
    assert_eq!(pools["is_complete"], true, "{pools}");
    assert!(number("rss_bytes") >= number("rss_bytes_before"), "{pools}");
    assert!(number("rss_bytes_peak") >= number("rss_bytes"), "{pools}");
    let each = pools["bytes_per_peer"].as_f64().expect("a number");
    assert!(each < 1e6, "two rings to a peer and a share of what all peers share: {pools}");
    assert!(number("threads") > 2 && number("files") > 12, "{pools}");
}

/// The processes that this one has started.
fn children_of(process: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    let lists = tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("children")));
    let words = lists.flatten().collect::<Vec<_>>().join(" ");
    words.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn no_node_outlives_the_bench_that_started_it() {
    for signal in [Signal::INT, Signal::KILL] {
        let mut command = wireloom(&["bench", "mesh", "--nodes", "3", "--duration", "10m"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let bench = command.spawn().expect("the command starts");
        let mut bench = Node { child: bench, lines: channel().1, address: String::new() };
        let id = bench.child.id();
        until("three nodes run", || children_of(id).len() == 3);
        let nodes = children_of(id);
        bench.signal(signal);
        let status = bench.child.wait().expect("it ends");
        assert!(!status.success(), "{signal:?}: {status}");
        let runs = |id: &u32| std::path::Path::new(&format!("/proc/{id}")).exists();
        if signal == Signal::INT {
            assert!(!nodes.iter().any(runs), "they end before the bench does");
        }
        until("the nodes have ended", || !nodes.iter().any(runs));
    }
}
