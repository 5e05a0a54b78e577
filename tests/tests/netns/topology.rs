//! Network namespaces of a case: one for each node, a bridge in one more, veth pairs between; and
//! what can be done to them. Everything is removed when the value is dropped.
//!
//! Loss is made where packets come in: a packet dropped on its way out would be an error of the
//! sender's system call, which no real network gives.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// The port of every node.
pub(crate) const PORT: u16 = 7_000;

/// The table of all rules of a node's namespace.
const TABLE: &str = "table inet faults { chain input { type filter hook input priority 0; }; }";

/// The namespaces.
pub(crate) struct Topology {
    prefix: String,
    nodes: usize,
}

/// The address of a node, without its port.
pub(crate) fn host(index: usize) -> String {
    format!("10.77.0.{}", index + 1)
}

/// The address of a node, with its port.
pub(crate) fn address(index: usize) -> String {
    format!("{}:{PORT}", host(index))
}

/// Runs a program to its end; what it printed. Panics with its words when it fails.
fn run(words: &[&str], input: &str) -> String {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?} {input}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Topology {
    /// Namespaces for so many nodes, joined and up. Names have this beginning.
    pub(crate) fn new(prefix: &str, nodes: usize) -> Self {
        let topology = Self { prefix: prefix.to_owned(), nodes };
        let hub = topology.hub();
        run(&["ip", "netns", "add", &hub], "");
        run(&["ip", "-n", &hub, "-batch", "-"], "link add bridge type bridge\nlink set bridge up");
        for index in 0..nodes {
            let (name, host) = (topology.name(index), host(index));
            run(&["ip", "netns", "add", &name], "");
            let joined = format!(
                "link add port{index} type veth peer name eth0 netns {name}\n\
                 link set port{index} master bridge up"
            );
            run(&["ip", "-n", &hub, "-batch", "-"], &joined);
            let up = format!("link set lo up\nlink set eth0 up\naddress add {host}/24 dev eth0");
            run(&["ip", "-n", &name, "-batch", "-"], &up);
            topology.nft(index, TABLE);
        }
        topology
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }

    fn name(&self, index: usize) -> String {
        format!("{}-{index}", self.prefix)
    }

    /// A command that runs a program in a node's namespace.
    pub(crate) fn command(&self, index: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(index), program]);
        command
    }

    fn inside(&self, index: usize, words: &[&str], input: &str) -> String {
        run(&[&["ip", "netns", "exec", &self.name(index)], words].concat(), input)
    }

    fn nft(&self, index: usize, input: &str) -> String {
        self.inside(index, &["nft", "-f", "-"], input)
    }

    /// Replaces the rules for what comes in at a node, all at once. None: everything passes.
    pub(crate) fn set_rules(&self, index: usize, rules: &[String]) {
        let rules = rules.iter().map(|rule| format!("add rule inet faults input {rule}\n"));
        let rules: String = rules.collect();
        self.nft(index, &format!("flush chain inet faults input\n{rules}"));
    }

    /// So many of a hundred datagrams that a node sends to another are sent twice.
    pub(crate) fn double(&self, from: usize, to: usize, percent: u32) {
        let rule = format!(
            "table ip twice {{ chain output {{ type filter hook output priority 0; \
             ip daddr {0} udp dport {PORT} numgen random mod 100 < {percent} \
             dup to {0} device \"eth0\"; }}; }}",
            host(to)
        );
        self.nft(from, &rule);
    }

    /// Packets counted by the rules for what comes in at a node.
    pub(crate) fn counted(&self, index: usize) -> u64 {
        counted(&self.inside(index, &["nft", "list", "chain", "inet", "faults", "input"], ""))
    }

    /// Loses so many packets in a thousand at every node.
    pub(crate) fn lose(&self, permille: u32) {
        let rule = format!("iifname eth0 numgen random mod 1000 < {permille} counter drop");
        let rules = if permille == 0 { &[][..] } else { &[rule] };
        (0..self.nodes).for_each(|index| self.set_rules(index, rules));
    }

    /// Nothing of `from` reaches `to` any more; the other way is free.
    pub(crate) fn block(&self, from: usize, to: usize) {
        let rule = format!("add rule inet faults input ip saddr {} drop", host(from));
        self.nft(to, &rule);
    }

    /// Every rule for what comes in is taken away.
    pub(crate) fn heal(&self) {
        (0..self.nodes).for_each(|index| self.set_rules(index, &[]));
    }

    /// Whether whole runs of segments cross the network as one packet (the default of veth pairs),
    /// or one by one, as on a wire.
    pub(crate) fn set_offloads(&self, on: bool) {
        let on = if on { "on" } else { "off" };
        let words = ["ethtool", "-K", "eth0", "gso", on, "tso", on, "gro", on];
        let words = [&words[..], &["tx-udp-segmentation", on]].concat();
        for index in 0..self.nodes {
            self.inside(index, &words, "");
        }
    }

    /// Destroys a node's TCP connections to another: both kernels are told by a reset.
    pub(crate) fn reset_connections(&self, index: usize, to: usize) {
        self.inside(index, &["ss", "-K", "-t", "state", "established", "dst", &host(to)], "");
    }

    /// Takes the cable of a node out, or puts it in again.
    pub(crate) fn set_link(&self, index: usize, up: bool) {
        let state = if up { "up" } else { "down" };
        run(&["ip", "-n", &self.hub(), "link", "set", &format!("port{index}"), state], "");
    }

    /// So many bits a second (`1mbit`) leave a node, or as many as can.
    pub(crate) fn set_rate(&self, index: usize, rate: Option<&str>) {
        let name = self.name(index);
        let Some(rate) = rate else {
            run(&["tc", "-n", &name, "qdisc", "del", "dev", "eth0", "root"], "");
            return;
        };
        let words = ["tc", "-n", &name, "qdisc", "replace", "dev", "eth0", "root", "tbf"];
        let shape = ["rate", rate, "burst", "16kb", "latency", "100ms"];
        run(&[&words[..], &shape[..]].concat(), "");
    }

    /// The longest packet of every link, in bytes.
    pub(crate) fn set_mtu(&self, bytes: u32) {
        for index in 0..self.nodes {
            let line = format!("link set eth0 mtu {bytes}");
            run(&["ip", "-n", &self.name(index), "-batch", "-"], &line);
            let line = format!("link set port{index} mtu {bytes}");
            run(&["ip", "-n", &self.hub(), "-batch", "-"], &line);
        }
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        let names = (0..self.nodes).map(|index| self.name(index)).chain([self.hub()]);
        for name in names {
            let _ = Command::new("ip").args(["netns", "del", &name]).stderr(Stdio::null()).status();
        }
    }
}

/// The sum of the packets in a listing of rules.
fn counted(listing: &str) -> u64 {
    let mut words = listing.split_whitespace();
    let mut sum = 0;
    while let Some(word) = words.next() {
        if word == "packets" {
            sum += words.next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    sum
}
