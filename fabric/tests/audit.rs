//! The audit log of real nodes: what stands in it, in which form, and that nobody's name writes
//! lines of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use wireloom::config::Config;
use wireloom::{Event, Node, NodeError, Policy, Priority, Target};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "metric.cpu")]
struct Cpu {
    percent: u32,
}

/// A name that a terminal would obey, and one that looks like another.
const HOSTILE: &str = "a\x1b[2J\n{\"decision\":\"started\"}";
const ALIKE: &str = "p\u{430}y\u{202e}";

/// A file of its own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("wireloom-audit-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// The lines so far; each is JSON in plain ASCII.
    fn lines(&self) -> Vec<Value> {
        let bytes = std::fs::read(&self.0).expect("it is there");
        let is_plain = |byte: &u8| *byte == b'\n' || (0x20..0x7f).contains(byte);
        assert!(bytes.iter().all(is_plain), "{}", String::from_utf8_lossy(&bytes));
        let text = String::from_utf8(bytes).expect("ASCII");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    fn of(&self, decision: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["decision"] == decision).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn count(node: &Node, name: &str) -> u64 {
    let counters = node.counters();
    counters.iter().find(|(meaning, _)| meaning.name == name).map_or(0, |(_, value)| *value)
}

fn policy() -> Policy {
    let text = format!(
        "[[deny]]\nnode = [\"{ALIKE}\"]\nverb = \"*\"\ntypes = \"**\"\n\
         [[allow]]\nnode = \"good\"\nverb = \"publish\"\ntypes = \"metric.**\"\n"
    );
    Policy::parse("p.toml", text).expect("a policy")
}

#[test]
fn what_is_refused_and_decided_stands_in_the_log_and_no_name_forges_a_line() {
    let log = Scratch::new("refused");
    let desk = Node::builder("desk").policy(policy()).audit(&log.0).start().expect("a node");
    let _taken = desk.on::<Cpu>(|_, _| ()).expect("a handler");
    for name in [HOSTILE, ALIKE, "good"] {
        let peer = Node::builder(name).start().expect("a node");
        let to = Target::Node(desk.address());
        for percent in 0..3 {
            peer.router().route(&Cpu { percent }, &to).expect("sent");
        }
    }
    until("they have come", || count(&desk, "events_unauthorized") == 6);
    until("they are written", || log.of("denied").len() >= 2);
    desk.tell_audit("policy_not_taken", "x.toml:1: \x1b]0;title\x07\n{}");
    desk.apply_policy(None).expect("room");
    until("it is written", || log.of("policy_in_force").len() == 2);
    let hex = format!("{:016x}", wireloom::NodeId::of_name(HOSTILE).0);
    let mut denied: Vec<(String, u64)> = log
        .of("denied")
        .iter()
        .map(|line| (line["node"].to_string(), line["events"].as_u64().expect("a number")))
        .collect();
    denied.sort();
    let mut expected = vec![(format!("\"{hex}\""), 3), (format!("\"{ALIKE}\""), 3)];
    expected.sort();
    assert_eq!(denied, expected, "by an id where the name may not be written");
    let started = log.of("started");
    assert_eq!((started.len(), &started[0]["what"]), (1, &"desk".into()), "one, and no forged one");
    let swaps = log.of("policy_in_force");
    assert_eq!(swaps[0]["what"], "2 lines, enforce");
    assert_eq!(
        (&swaps[1]["what"], &swaps[1]["count"]),
        (&"none: everything is allowed".into(), &1.into())
    );
    assert_eq!(log.of("policy_not_taken")[0]["what"], "x.toml:1: \x1b]0;title\x07\n{}");
    assert_eq!(desk.audit_unwritten(), 0);
    // Somebody else's look at the refusals takes none from the log, nor the other way round.
    assert_eq!(desk.audit().len(), 2);
    // What comes last is written when it closes.
    desk.tell_audit("last", "words");
    let _ = desk.close();
    assert_eq!(log.of("last").len(), 1);
}

#[test]
fn links_that_are_refused_and_an_insecure_start_stand_in_it() {
    let log = Scratch::new("links");
    let builder = Node::builder("open").listen("0.0.0.0:0").insecure().audit(&log.0);
    let open = builder.start().expect("a node");
    let other = Node::builder("stray").cluster("elsewhere").seed("127.0.0.1:9");
    let other = other.start().expect("a node");
    let at = format!("127.0.0.1:{}", open.address().port()).parse().expect("an address");
    let _ = other.router().route(&Cpu { percent: 1 }, Target::Reliable(at));
    until("it is written", || !log.of("hellos_refused_cluster").is_empty());
    assert!(log.of("hellos_refused_cluster")[0]["count"].as_u64() >= Some(1));
    let insecure = log.of("insecure_start");
    assert!(
        insecure[0]["what"].as_str().is_some_and(|why| why.contains("0.0.0.0")),
        "{insecure:?}"
    );
}

#[test]
fn the_configuration_names_the_files() {
    let (log, file) = (Scratch::new("configured"), Scratch::new("policy.toml"));
    let config = |path: &Path| {
        let (path, log) = (path.display(), log.0.display());
        let text = format!("[security]\npolicy = \"{path}\"\naudit = \"{log}\"");
        Config::parse(&text).expect("a configuration")
    };
    std::fs::write(&file.0, "[[allow]]\nnode = \"a\"\nverb = \"*\"\ntypes = \"**\"\n")
        .expect("written");
    let node = Node::builder("configured").config(&config(&file.0)).start().expect("a node");
    assert_eq!(node.policy(), Policy::load(&file.0).ok(), "in force");
    assert_eq!(log.of("started").len(), 1);
    // What the program says itself comes before it.
    let builder = Node::builder("b").config(&config(Path::new("/none.toml")));
    assert!(matches!(builder.clone().start(), Err(NodeError::Policy(_))));
    assert!(builder.policy(policy()).start().is_ok());
    std::fs::write(&file.0, "[[alow]]").expect("written");
    let refused = Node::builder("c").config(&config(&file.0)).start().expect_err("it is wrong");
    assert!(matches!(refused, NodeError::Policy(_)));
    let text = "[security]\ncredentials = \"/none\"";
    let config = Config::parse(text).expect("a configuration");
    let refused = Node::builder("d").config(&config).start().expect_err("nothing is there");
    assert!(matches!(refused, NodeError::Credentials(_)));
    let refused = Node::builder("e").audit(Path::new("/")).start().expect_err("a folder");
    assert!(matches!(refused, NodeError::Audit { .. }), "{refused}");
}

fn sum(lines: &[Value], of: &str) -> u64 {
    lines.iter().map(|line| line[of].as_u64().expect("a number")).sum()
}

/// More types than the table of refusals has places for, and more lines than a second has.
#[test]
fn what_no_table_and_no_second_has_room_for_is_counted_in_it() {
    const TYPES: u64 = 1_100;
    let log = Scratch::new("flood");
    let desk = Node::builder("desk-2").policy(policy()).audit(&log.0).start().expect("a node");
    let flood = Node::builder("flood").start().expect("a node");
    let (mut router, to) = (flood.router(), Target::Node(desk.address()));
    for number in 0..TYPES {
        let name = format!("metric.t{number}");
        until("room", || router.route_json(&name, Priority::Normal, b"1", &to).is_ok());
    }
    until("all are refused", || count(&desk, "events_unauthorized") == TYPES);
    until("each is told or counted", || {
        let told = sum(&log.of("denied"), "events");
        let beyond = sum(&log.of("refusals_beyond"), "count");
        told + beyond + sum(&log.of("left_out"), "lines") == TYPES
    });
    assert!(sum(&log.of("refusals_beyond"), "count") >= TYPES - 1_024);
    assert!(log.lines().len() < 350, "a hundred a second: {}", log.lines().len());
    let (log, own) = (Scratch::new("told"), Node::builder("own"));
    let own = own.audit(&log.0).start().expect("a node");
    (0..200).for_each(|number| own.tell_audit("told", &number.to_string()));
    let _ = own.close();
    let told = log.of("told").len() as u64;
    let beyond = sum(&log.of("told_beyond"), "count");
    assert!(beyond >= 72, "64 wait for a look, and there were two at most: {beyond}");
    assert_eq!(told + beyond + sum(&log.of("left_out"), "lines"), 200, "the others are counted");
}

#[test]
fn lines_that_are_lost_are_counted_by_the_node_until_the_file_says_so() {
    let log = Scratch::new("lost");
    let node = Node::builder("loses").audit(&log.0).start().expect("a node");
    std::fs::remove_file(&log.0).expect("it was there");
    std::fs::create_dir(&log.0).expect("in its place");
    node.tell_audit("lost", "one");
    until("it is counted", || node.audit_unwritten() == 1);
    std::fs::remove_dir(&log.0).expect("it was there");
    node.tell_audit("kept", "another");
    until("the file says so", || node.audit_unwritten() == 0);
    assert_eq!(sum(&log.of("unwritten"), "lines"), 1);
    assert_eq!((log.of("lost").len(), log.of("kept").len()), (0, 1));
}
