//! A policy in force between real nodes: what a receiver lets in by either way, what it lets out,
//! and what is told of the rest.

mod loopback;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::{Event, Node, NodeId, Policy, Roles, Target};

use loopback::{node, taken, until};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "metric.cpu")]
struct Cpu {
    percent: u32,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "secret")]
struct Secret {
    number: u32,
}

const POLICY: &str = "[[role]]\nname = \"sensor\"\nnodes = \"good\"\n\
    [[allow]]\nrole = \"sensor\"\nverb = \"publish\"\ntypes = \"metric.**\"\n\
    [[deny]]\nnode = \"bad\"\nverb = \"*\"\ntypes = \"**\"\n";

fn policy(text: &str) -> Option<Policy> {
    Some(Policy::parse("p.toml", text).expect("a policy"))
}

fn count(node: &Node, name: &str) -> u64 {
    let counters = node.counters();
    counters.iter().find(|(meaning, _)| meaning.name == name).map_or(0, |(_, value)| *value)
}

#[test]
fn what_a_peer_may_not_send_is_refused_by_either_way_counted_and_told() {
    let (desk, good, bad) = (node("desk"), node("good"), node("bad"));
    let cpu = taken::<Cpu>(&desk);
    let table = |node: &Node| node.memory().iter().any(|(of, _)| of.contains("by a policy"));
    assert!(!table(&desk));
    desk.apply_policy(policy(POLICY)).expect("room");
    assert!(table(&desk), "its table is memory of the node");
    // Subscribed to after the policy came.
    let secret = taken::<Secret>(&desk);
    let at = desk.address();
    for to in [Target::Node(at), Target::Reliable(at)] {
        for from in [&good, &bad] {
            let mut router = from.router();
            router.route(&Cpu { percent: 1 }, &to).expect("sent");
            router.route(&Secret { number: 1 }, &to).expect("sent");
        }
    }
    let seen = || count(&desk, "events_unauthorized") + cpu.load(Ordering::Relaxed);
    until("all have come", || seen() == 8);
    assert_eq!((cpu.load(Ordering::Relaxed), secret.load(Ordering::Relaxed)), (2, 0));
    let mut told: Vec<(String, String, &str, Option<String>, u64)> = desk
        .audit()
        .into_iter()
        .map(|of| (of.node, of.event_type, of.decision, of.line, of.events))
        .collect();
    told.sort();
    let line = Some("p.toml:8".to_owned());
    assert_eq!(
        told,
        [
            ("bad".to_owned(), "metric.cpu".to_owned(), "denied", line.clone(), 2),
            ("bad".to_owned(), "secret".to_owned(), "denied", line, 2),
            ("good".to_owned(), "secret".to_owned(), "denied", None, 2),
        ]
    );
    assert!(desk.audit().is_empty(), "told once");
    // This process's own events are nobody's business.
    desk.router().route(&Secret { number: 2 }, &Target::Local).expect("local");
    until("its own", || secret.load(Ordering::Relaxed) == 1);
    // Another policy, live; then none.
    let shadow = format!("mode = \"shadow\"\n{POLICY}");
    assert!(desk.apply_policy(policy(&shadow)).expect("room").is_some());
    bad.router().route(&Secret { number: 3 }, Target::Node(at)).expect("sent");
    until("let through", || secret.load(Ordering::Relaxed) == 2);
    assert_eq!(desk.audit()[0].decision, "would_deny");
    desk.apply_policy(None).expect("room");
    bad.router().route(&Secret { number: 4 }, Target::Node(at)).expect("sent");
    until("no policy", || secret.load(Ordering::Relaxed) == 3);
    assert_eq!(count(&desk, "events_refusable"), 1);
    assert!(desk.close().balanced, "a refused event has its reason");
}

#[test]
fn a_policy_of_the_builder_is_in_force_from_the_start() {
    let builder = Node::builder("desk-3").policy(policy(POLICY).expect("a policy"));
    let desk = builder.start().expect("a node on loopback");
    assert_eq!(desk.policy(), policy(POLICY));
    let (cpu, good, bad) = (taken::<Cpu>(&desk), node("good"), node("bad"));
    for from in [&bad, &good] {
        let to = Target::Node(desk.address());
        from.router().route(&Cpu { percent: 1 }, &to).expect("sent");
    }
    until("one is let in", || cpu.load(Ordering::Relaxed) == 1);
    until("one is not", || count(&desk, "events_unauthorized") == 1);
}

#[test]
fn roles_come_from_elsewhere_too() {
    let (desk, other) = (node("desk-2"), node("other"));
    let cpu = taken::<Cpu>(&desk);
    desk.apply_policy(policy(POLICY)).expect("room");
    other.router().route(&Cpu { percent: 1 }, Target::Node(desk.address())).expect("sent");
    until("refused", || count(&desk, "events_unauthorized") == 1);
    let roles: BTreeMap<NodeId, Roles> =
        [(other.id(), ["sensor"].into_iter().collect())].into_iter().collect();
    desk.roles_from(Arc::new(roles)).expect("room");
    other.router().route(&Cpu { percent: 2 }, Target::Node(desk.address())).expect("sent");
    until("let in", || cpu.load(Ordering::Relaxed) == 1);
}

#[test]
fn who_may_not_subscribe_is_not_sent_what_it_wants() {
    let start = |name: &str, seed: Option<&Node>| {
        let builder = Node::builder(name);
        let builder = match seed {
            Some(seed) => builder.seed(&seed.address().to_string()),
            None => builder.seed("127.0.0.1:9"),
        };
        builder.start().expect("a node on loopback")
    };
    let desk = start("hub", None);
    let (ear, wall) = (start("ear", Some(&desk)), start("wall", Some(&desk)));
    let (heard, barred) = (taken::<Cpu>(&ear), taken::<Cpu>(&wall));
    let send = || desk.router().route(&Cpu { percent: 1 }, &Target::Interested).is_ok();
    until("both are known", || {
        send() && heard.load(Ordering::Relaxed) > 0 && barred.load(Ordering::Relaxed) > 0
    });
    let only_ear = "[[allow]]\nnode = \"ear\"\nverb = \"subscribe\"\ntypes = \"metric.**\"\n";
    let mut router = desk.router();
    router.route(&Cpu { percent: 1 }, &Target::Interested).expect("both");
    desk.apply_policy(policy(only_ear)).expect("room");
    std::thread::sleep(Duration::from_millis(50));
    let before = (heard.load(Ordering::Relaxed), barred.load(Ordering::Relaxed));
    for _ in 0..10 {
        router.route(&Cpu { percent: 2 }, &Target::Interested).expect("one");
    }
    until("the ear hears", || heard.load(Ordering::Relaxed) == before.0 + 10);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(barred.load(Ordering::Relaxed), before.1, "the wall hears nothing");
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "reading")]
struct Reading {
    is_flood: bool,
}

/// Every node publishes; what the noisy one publishes has a rate.
const RATES: &str = "[[allow]]\nnode = \"*\"\nverb = \"publish\"\ntypes = \"**\"\n\
    [[limit]]\nnode = \"noisy\"\ntypes = \"reading\"\nrate = 1000\nburst = 100\n";

#[test]
fn the_flood_of_one_node_leaves_the_others_nine_tenths_of_their_rate() {
    let (desk, steady, noisy) = (node("flooded"), node("steady"), node("noisy"));
    desk.apply_policy(policy(RATES)).expect("room");
    let taken: Arc<[AtomicU64; 2]> = Arc::default();
    let book = Arc::clone(&taken);
    desk.on::<Reading>(move |reading, _| {
        book[usize::from(reading.is_flood)].fetch_add(1, Ordering::Relaxed);
    })
    .expect("a handler");
    let target = Target::Node(desk.address());
    let (begun, is_over) = (Instant::now(), AtomicBool::new(false));
    let asked: u64 = std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut publisher = noisy.publisher::<Reading>(&target).expect("a publisher");
            while !is_over.load(Ordering::Relaxed) {
                let _ = publisher.publish(&Reading { is_flood: true });
            }
        });
        let mut publisher = steady.publisher::<Reading>(&target).expect("a publisher");
        let asked = (0..2_000).inspect(|_| {
            let _ = publisher.publish(&Reading { is_flood: false });
            std::thread::sleep(Duration::from_micros(200));
        });
        let asked = asked.count() as u64;
        is_over.store(true, Ordering::Relaxed);
        asked
    });
    let sent = steady.close().published.sent + noisy.close().published.sent;
    let account = || desk.ledger().received;
    until("all has come", || account().events + account().lost + account().before_join == sent);
    let took = begun.elapsed();
    let [steady, flood] = [0, 1].map(|of: usize| taken[of].load(Ordering::Relaxed));
    println!("{steady} of {asked}; {flood} of a flood of {} in {took:.1?}", sent - steady);
    assert!(steady * 10 >= asked * 9, "{steady} of {asked} beside a flood");
    let allowed = 100 + 1_000 * (took.as_secs() + 1);
    assert!(flood <= allowed, "{flood} of a flood, {allowed} are allowed in {took:?}");
    assert!(sent - steady > 10 * allowed, "{sent} sent: that is no flood");
    assert_eq!(account().events, steady + flood + count(&desk, "events_rate_limited"));
}
