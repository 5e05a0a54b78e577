//! The audit log of a node with a certificate: strangers it did not hear, lists and certificates it
//! has taken.

mod secured;

use std::path::PathBuf;

use serde_json::Value;
use wireloom::{Delivery, Event, Node, Target};

use secured::{Cluster, PATIENCE, counted, now_unix_s, until};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "word")]
struct Word {
    number: u64,
}

/// The lines of a log so far.
struct Log(PathBuf);

impl Log {
    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).expect("it is there");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    fn of(&self, decision: &str) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["decision"] == decision).collect()
    }

    /// What is told of a decision, once it stands there.
    fn told(&self, decision: &str) -> Vec<Value> {
        until(decision, || !self.of(decision).is_empty());
        self.of(decision)
    }
}

#[test]
fn strangers_that_are_not_heard_stand_in_the_log_by_what_they_lack() {
    let (cluster, others) = (Cluster::new(), Cluster::new());
    let log = Log(cluster.folder.join("audit.jsonl"));
    let desk = cluster.node("desk").audit(&log.0).start().expect("starts");
    let _words = desk.on::<Word>(|_, _| ()).expect("a handler");
    let plain = Node::builder("plain").start().expect("starts");
    let mut router = plain.router();
    router.route(&Word { number: 1 }, Target::Node(desk.address())).expect("nobody asked yet");
    let clear = log.told("datagrams_clear_refused");
    let counts: u64 = clear.iter().filter_map(|line| line["count"].as_u64()).sum();
    assert!(counts > 0 && counts <= counted(&desk, "datagrams_clear_refused"), "{clear:?}");
    router.route(&Word { number: 2 }, Target::Reliable(desk.address())).expect("into a ring");
    log.told("tls_refused_plain");
    let stranger = others.node("stranger").start().expect("starts");
    let mut router = stranger.router();
    router.route(&Word { number: 3 }, Target::Reliable(desk.address())).expect("into a ring");
    until("another authority's", || {
        let lines = log.lines();
        let mut names = lines.iter().filter_map(|line| line["decision"].as_str());
        names.any(|name| name.starts_with("tls_") && name != "tls_refused_plain")
    });
    // Who is let in is no refusal.
    let feed = cluster.node("feed").start().expect("starts");
    let mut publisher =
        feed.publisher::<Word>(&Target::Reliable(desk.address())).expect("a publisher");
    let accepted = publisher.publish(&Word { number: 4 }).expect("into a ring");
    let receipt = publisher.receipt(accepted).expect("reliable");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    desk.tell_audit("looked", "since then");
    log.told("looked");
    assert!(counted(&desk, "tls_handshakes") > 0 && log.of("tls_handshakes").is_empty());
}

#[test]
fn certificates_and_lists_that_were_taken_stand_in_the_log() {
    let cluster = Cluster::new();
    let log = Log(cluster.folder.join("audit.jsonl"));
    let credentials = cluster.credentials("desk");
    let node = Node::builder("desk").credentials(&credentials).audit(&log.0);
    let desk = node.start().expect("starts");
    desk.tell_audit("looked", "before anything was new");
    log.told("looked");
    assert!(log.of("certificate_renewed").is_empty() && log.of("revocations_taken").is_empty());
    cluster.credentials("thief");
    cluster.authority.revoke("thief", now_unix_s()).expect("revoked");
    let list = std::fs::read(cluster.authority.revocations_path()).expect("a list");
    credentials.offer_revocations(&list).expect("it is the authority's");
    let epoch = cluster.authority.revocations().expect("a list").epoch();
    assert_eq!(log.told("revocations_taken")[0]["what"], format!("epoch {epoch}"));
    assert!(log.of("certificate_renewed").is_empty(), "a list alone");
    cluster.credentials("desk");
    assert!(credentials.reload().expect("good").certificate);
    let serial = credentials.identity().serial.to_string();
    assert_eq!(log.told("certificate_renewed")[0]["what"], serial);
    assert_eq!(log.of("revocations_taken").len(), 1, "which is the same");
}
