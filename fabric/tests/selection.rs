//! By which transport an event goes: the whole table of the selection, what routers do with it, and
//! rules that are exchanged while events flow.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::event::Priority;
use wireloom::events::{ServerCrash, SystemReady};
use wireloom::{
    Batch, Delivery, Event, Explanation, Interface, NoRoute, Node, NodeBuilder, PolledAny,
    Question, Ready, Refused, Router, RuleSet, Target,
};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "selection-note")]
struct Note {
    text: String,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "selection-alarm", priority = "critical")]
struct Alarm {
    number: u64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "error")]
struct Failure {
    number: u64,
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "selection-tick", multicast = "239.255.87.81:9001")]
struct Tick {
    number: u64,
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn rules(text: &str) -> RuleSet {
    RuleSet::parse("rules.toml", text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The rules of the table below.
const RULES: &str = r#"
[[rule]]
type = "metric.*"
priority = ">= high"
size = "> 1400"
target = "service:metrics"
transport = "tcp"

[[rule]]
type = "moved"
target = "udp://224.2.2.2:9000"

[[rule]]
type = "urgent"
priority = "critical"
transport = "udp"

[[rule]]
type = "error"
to = "node:near"
transport = "udp"

[[rule]]
type = "debug"
transport = "local"

[[rule]]
type = "many.*"
transport = "multicast"

[[rule]]
type = "turned"
target = "service:other"

[[rule]]
type = "blob"
transport = "udp"
"#;

/// Type, priority, bytes of the payload, target; what decides, the transport, and where it shows.
type Row = (&'static str, Priority, u64, &'static str, &'static str, &'static str, &'static str);

/// What no packet of an unknown path holds.
const LARGE: u64 = 100_000;

#[rustfmt::skip]
const TABLE: &[Row] = {
    use Priority::{Background, Critical, High, Low, Normal};
    &[
    // 1. The target's own demand, whatever the event is.
    ("heartbeat", Critical, 10, "udp://127.0.0.1:9", "target", "udp fast", "127.0.0.1:9"),
    ("heartbeat", Normal, 10, "tcp://127.0.0.1:9", "target", "tcp reliable", "127.0.0.1:9"),
    ("error", Critical, 10, "udp://224.3.3.3:9", "target", "multicast", "224.3.3.3:9"),
    ("error", Normal, 10, "broadcast:9", "target", "broadcast", "255.255.255.255:9"),
    ("error", Critical, 10, "local", "target", "local", ""),
    ("note", Normal, 10, "reliable:node:near", "target", "tcp reliable", ""),
    ("error", Critical, 10, "fast:node:near", "target", "udp fast", ""),
    ("metric.cpu", High, 1_401, "udp://127.0.0.1:9", "target", "udp fast", "127.0.0.1:9"),
    // 2. The user's rules, before everything behind them.
    ("metric.cpu", High, 1_401, "node:near", "rules", "tcp reliable", ""),
    ("metric.cpu", High, 1_400, "node:127.0.0.1:9", "default", "udp fast", "127.0.0.1:9"),
    ("metric.cpu", High, 1_400, "node:near", "size", "tcp streaming", ""),
    ("metric.cpu", Normal, 1_401, "node:127.0.0.1:9", "default", "udp fast", "127.0.0.1:9"),
    ("metric.cpu.load", High, 1_401, "node:127.0.0.1:9", "default", "udp fast", ""),
    ("moved", Normal, 10, "node:near", "rules", "multicast", "224.2.2.2:9000"),
    ("urgent", Critical, 10, "node:near", "rules", "udp fast", ""),
    ("urgent", High, 10, "node:near", "default", "udp fast", ""),
    ("error", Normal, 10, "node:near", "rules", "udp fast", ""),
    ("error", Normal, 10, "node:far", "type table", "tcp reliable", ""),
    ("debug", Normal, 10, "auto", "rules", "local", ""),
    ("many.x", Normal, 10, "auto", "rules", "multicast", "224.1.1.1:9000"),
    // A rule for many says nothing of one node.
    ("many.x", Normal, 10, "node:near", "default", "udp fast", ""),
    // A rule that only turns the target leaves the transport to the steps behind it.
    ("turned", Critical, 10, "node:near", "priority", "tcp reliable", ""),
    ("turned", Normal, 10, "node:near", "default", "udp fast", ""),
    // 3. Critical events.
    ("heartbeat", Critical, 10, "auto", "priority", "tcp reliable", ""),
    ("user-interaction", Critical, 10, "node:near", "priority", "tcp reliable", ""),
    ("note", Critical, LARGE, "service:sum", "priority", "tcp reliable", ""),
    ("note", High, 10, "node:near", "default", "udp fast", ""),
    // 4. The table of types.
    ("discovery", Normal, 10, "auto", "type table", "multicast", "239.255.87.76:9076"),
    ("heartbeat", Low, 10, "auto", "type table", "multicast", "239.255.87.76:9076"),
    ("trace", Background, 10, "auto", "type table", "multicast", "224.1.1.2:9000"),
    ("service-announcement", High, 10, "auto", "type table", "broadcast", "255.255.255.255:9000"),
    ("user-interaction", Normal, 10, "node:near", "type table", "udp fast", ""),
    ("performance-metric", Normal, 10, "interested", "type table", "udp fast", ""),
    ("error", Background, 10, "service:log", "type table", "tcp reliable", ""),
    ("exception", Normal, 10, "auto", "type table", "tcp reliable", ""),
    // Where its transport cannot carry the event to the target, it is passed over.
    ("heartbeat", Normal, 10, "node:near", "default", "udp fast", ""),
    ("heartbeat", Normal, 10, "interested", "default", "udp fast", ""),
    ("service-announcement", Normal, 10, "service:sum", "default", "udp fast", ""),
    ("user-interaction", Normal, LARGE, "node:near", "size", "tcp streaming", ""),
    ("trace", Normal, LARGE, "auto", "size", "tcp streaming", ""),
    // 5. What no packet holds.
    ("note", Normal, LARGE, "node:near", "size", "tcp streaming", ""),
    ("note", Normal, LARGE, "node:127.0.0.1:9", "size", "tcp streaming", "127.0.0.1:9"),
    // A packet on loopback holds more than one of an unknown path.
    ("note", Normal, 9_000, "node:near", "size", "tcp streaming", ""),
    ("note", Normal, 9_000, "node:127.0.0.1:9", "default", "udp fast", "127.0.0.1:9"),
    // A demand for datagrams stands, and is refused.
    ("blob", Normal, LARGE, "node:127.0.0.1:9", "rules", "udp fast", "does not fit"),
    ("note", Normal, LARGE, "udp://127.0.0.1:9", "target", "udp fast", "does not fit"),
    // 6. Everything else.
    ("note", Normal, 10, "node:near", "default", "udp fast", ""),
    ("note", Background, 10, "service:sum?key=7", "default", "udp fast", ""),
    ("note", Normal, 10, "node:a|node:b", "default", "udp fast", ""),
    ("note", Normal, 10, "interested", "default", "udp fast", ""),
    ("note", Normal, 10, "auto", "default", "udp fast", ""),
    ]
};

#[test]
fn the_steps_decide_in_their_order() {
    let node = Node::builder("select").rules(rules(RULES)).start().expect("it starts");
    for (event_type, priority, bytes, target, decided_by, transport, shows) in TABLE {
        let asked: Target = target.parse().expect(target);
        let question = Question::new(event_type, asked).priority(*priority).bytes(*bytes);
        let explained = node.explain_type(&question);
        let text = explained.to_string();
        assert_eq!(
            (explained.decided_by, explained.transport),
            (*decided_by, *transport),
            "{event_type} {priority} {bytes} {target}\n{text}"
        );
        assert!(text.contains(shows), "{shows}: {text}");
        let json = serde_json::to_value(&explained).expect("it has a JSON form");
        assert_eq!(json["transport"], *transport);
        assert_eq!(json["steps"].as_array().map(Vec::len), Some(explained.steps.len()));
    }
}

#[test]
fn an_explanation_names_the_rule_and_what_each_step_said() {
    let node = Node::builder("explain").rules(rules(RULES)).start().expect("it starts");
    let target: Target = "node:near".parse().expect("a target");
    let asked =
        |target: &Target| Question::new("metric.cpu", target.clone()).priority(Priority::High);
    let explained = node.explain_type(&asked(&target).bytes(2_000));
    assert_eq!(explained.rule.as_deref(), Some("rules.toml:2"));
    assert_eq!(explained.instead.as_deref(), Some("service:metrics"));
    let text = explained.to_string();
    for part in [
        "metric.cpu of 2000 bytes, high, to node:near, and by a rule to service:metrics",
        "goes by tcp reliable, decided by the rule at rules.toml:2",
        "target      node:near leaves it open",
        "rules       rule at rules.toml:2: to service:metrics, by tcp",
        "refused: no route: this node takes part in no cluster",
    ] {
        assert!(text.contains(part), "without {part}:\n{text}");
    }
    let text = node.explain_type(&asked(&Target::machine("127.0.0.1:9")).bytes(1_400)).to_string();
    for part in [
        "rules       rule at rules.toml:2: the size is another",
        "rules       rules for other types: 7",
        "priority    high is not critical",
        "type table  it has no row for metric.cpu",
        "size        a packet holds its 1400 bytes",
    ] {
        assert!(text.contains(part), "without {part}:\n{text}");
    }
    let heartbeat = node.explain_type(&Question::new("heartbeat", target)).to_string();
    assert!(
        heartbeat.contains("multicast, and the target is one node: passed over"),
        "{heartbeat}"
    );
}

fn builder(name: &str, cluster: &str) -> NodeBuilder {
    Node::builder(name).cluster(&format!("{cluster}-{}", std::process::id()))
}

/// Two nodes that know each other; the second counts the notes that come.
fn pair(cluster: &str) -> (Node, Node, Arc<AtomicU64>) {
    let near = builder("near", cluster).service("sum").start().expect("it starts");
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    near.on::<Note>(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
    })
    .expect("it subscribes");
    let node = builder("here", cluster).seed(&near.address().to_string()).start();
    let node = node.expect("it starts");
    let wanted = Ready::to(&Target::Interested, Note::TYPE_ID).and(Ready::services(["sum"]));
    node.ready(&wanted.and(Ready::peers(1)), PATIENCE).expect("they find each other");
    (node, near, count)
}

fn note(bytes: usize) -> Note {
    Note { text: "x".repeat(bytes) }
}

/// Events sent by datagrams and by TCP so far.
fn sent(node: &Node) -> (u64, u64) {
    let ledger = node.ledger();
    (ledger.published.accepted, ledger.reliable.accepted)
}

#[test]
fn routers_do_what_is_explained() {
    let (node, near, count) = pair("route");
    let mut router = node.router();
    let at_address = Target::machine(&near.address().to_string());
    let begun = sent(&node);
    for target in [Target::named("near"), Target::service("sum"), at_address.clone()] {
        let before = sent(&node);
        router.route(&note(10), &target).expect("a way");
        let now = sent(&node);
        assert_eq!((now.0 - before.0, now.1 - before.1), (1, 0), "{target}: by UDP");
        // What no packet holds goes by TCP, and is no refusal.
        let accepted = router.route(&note(200_000), &target).expect("a way");
        assert_eq!(sent(&node).1 - now.1, 1, "{target}: by TCP");
        let receipt = router.receipt(accepted).expect("a reliable event has one");
        assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
        let explained = router.explain(&note(200_000), &target);
        assert_eq!(explained.transport, "tcp streaming", "{explained}");
        assert_eq!(explained.addresses, [near.address()]);
        assert_eq!(router.explain(&note(10), &target).transport, "udp fast");
    }
    wait_for("all six", || count.load(Ordering::Relaxed) == 6);
    for fast in [Target::fast(Target::named("near")), Target::node(&near.address().to_string())] {
        let refused = router.route(&note(200_000), &fast);
        assert!(matches!(refused, Err(Refused::TooLarge { .. })), "{fast}: {refused:?}");
    }
    let before = sent(&node);
    let alarm = router.route(&Alarm { number: 1 }, Target::named("near")).expect("a way");
    assert!(router.receipt(alarm).is_some(), "critical events are acknowledged");
    router.route(&Failure { number: 1 }, &at_address).expect("a way");
    router.route_json("exception", Priority::Low, b"{}", &at_address).expect("a way");
    assert_eq!((sent(&node).0 - before.0, sent(&node).1 - before.1), (0, 3));
    // Whoever wants it, by TCP where no packet holds it.
    router.route(&note(200_000), Target::Interested).expect("one wants it");
    router.route(&note(10), Target::Auto).expect("one wants it");
    wait_for("two more", || count.load(Ordering::Relaxed) == 8);
    let ledger = node.ledger();
    assert!(ledger.balanced, "{ledger:?}");
    assert_eq!(ledger.published.refused, 2, "two were refused and no other: {ledger:?}");
    assert!(begun.0 < ledger.published.accepted);
}

#[test]
fn rules_are_exchanged_while_events_flow() {
    let (node, _near, count) = pair("exchange");
    let mut router = node.router();
    let target = Target::named("near");
    let by_tcp = rules("[[rule]]\ntype = \"selection-*\"\nsize = \"> 1000\"\ntransport = \"tcp\"");
    let mut counted = 0;
    for (set, bytes, udp, tcp) in [
        (RuleSet::default(), 2_000, 1, 0),
        (by_tcp.clone(), 2_000, 0, 1),
        (by_tcp.clone(), 100, 1, 0),
        (rules("[[rule]]\ntransport = \"local\""), 100, 0, 0),
        (RuleSet::default(), 100, 1, 0),
    ] {
        let is_local = set.iter().any(|rule| rule.action() == "by local");
        node.apply_rules(set.clone());
        assert_eq!(node.rules(), set);
        for _ in 0..3 {
            let before = sent(&node);
            router.route(&note(bytes), &target).expect("a way");
            let now = sent(&node);
            assert_eq!((now.0 - before.0, now.1 - before.1), (udp, tcp), "{set:?} {bytes}");
        }
        counted += if is_local { 0 } else { 3 };
        wait_for("what was not for here", || count.load(Ordering::Relaxed) == counted);
    }
    // Under one set of rules each event goes by its own size.
    node.apply_rules(by_tcp);
    for (bytes, udp, tcp) in [(100, 1, 0), (100, 1, 0), (2_000, 0, 1), (100, 1, 0)] {
        let before = sent(&node);
        router.route(&note(bytes), &target).expect("a way");
        let now = sent(&node);
        assert_eq!((now.0 - before.0, now.1 - before.1), (udp, tcp), "{bytes}");
    }
    // A publisher is bound by the rules of when it was made.
    let mut publisher = node.publisher::<Note>(&target).expect("a way");
    node.apply_rules(rules("[[rule]]\ntransport = \"tcp\""));
    publisher.publish(&note(10)).expect("a way");
    let mut other = node.publisher::<Note>(&target).expect("a way");
    let accepted = other.publish(&note(10)).expect("a way");
    assert!(other.receipt(accepted).is_some(), "the new rule made it reliable");
    let many = node.publisher::<Note>(&Target::Interested).map(drop);
    assert_eq!(many, Err(Refused::NoRoute(NoRoute::ManyReliably)));
}

#[test]
fn a_type_goes_to_its_group_when_nobody_says_more() {
    let group = "239.255.87.81:9001";
    let loopback = || Interface::Address(std::net::Ipv4Addr::LOCALHOST);
    let with = |name: &str| Node::builder(name).multicast(1, loopback(), true);
    let listener = with("listens").join_on(group, loopback()).start().expect("it starts");
    let (heard, hears) = std::sync::mpsc::channel();
    listener
        .on::<Tick>(move |tick, _| {
            let _ = heard.send(tick.number.to_native());
        })
        .expect("it subscribes");
    let node = with("speaks").start().expect("it starts");
    let explained = node.explain(&Tick { number: 7 }, &Target::Auto);
    assert_eq!((explained.decided_by, explained.transport), ("type table", "multicast"));
    assert_eq!(explained.addresses, [group.parse::<std::net::SocketAddr>().expect("an address")]);
    let mut router = node.router();
    router.route(&Tick { number: 7 }, Target::Auto).expect("it needs no cluster");
    assert_eq!(hears.recv_timeout(PATIENCE), Ok(7));
    // By its name alone the type has no group while the node has not met it, and does not take away
    // the other's.
    let by_name =
        |mut router: Router| router.route_json(Tick::TYPE, Priority::Low, b"{}", &Target::Auto);
    let unknown = Err(Refused::NoRoute(NoRoute::NoCluster));
    assert_eq!(router.route_json(Tick::TYPE, Priority::Low, b"{}", &Target::Auto), unknown);
    router.route(&Tick { number: 9 }, Target::Auto).expect("it needs no cluster");
    assert_eq!(hears.recv_timeout(PATIENCE), Ok(9));
    let mut publisher = node.publisher::<Tick>(&Target::Auto).expect("a group");
    publisher.publish(&Tick { number: 8 }).expect("a way");
    assert_eq!(hears.recv_timeout(PATIENCE), Ok(8));
    let mut json = listener.subscribe_any(&[Tick::TYPE]).expect("it subscribes");
    by_name(node.router()).expect("it goes to the group");
    assert!(json.wait(PATIENCE), "it has come there");
    let refused = node.router().route(&note(10), Target::Auto);
    assert_eq!(refused, Err(Refused::NoRoute(NoRoute::NoCluster)));
}

/// What is said of an event, and of one of which only name and size are known.
fn both<E: Event>(node: &Node, event: &E, target: &Target) -> [Explanation; 2] {
    let typed = node.explain(event, target);
    let mut question = Question::new(E::TYPE, target.clone());
    question.bytes = typed.bytes;
    let by_name = node.explain_type(&question);
    [typed, by_name]
}

#[test]
fn by_the_name_of_a_known_type_the_explanation_is_that_of_the_type() {
    let node = Node::builder("knows").start().expect("it starts");
    let target = Target::Auto;
    let ready = SystemReady {
        version: String::new(),
        context: String::new(),
        timestamp: String::new(),
        components: Vec::new(),
    };
    let crash = ServerCrash {
        node: "desk".into(),
        node_id: 7,
        reason: "killed".into(),
        exit_code: None,
        signal: Some(9),
        uptime_ms: 0,
        timestamp_ns: 0,
    };
    for [typed, by_name] in [both(&node, &ready, &target), both(&node, &crash, &target)] {
        assert_eq!(typed, by_name, "a ready-made type");
    }
    // A type of the program's own: as soon as the node has met it.
    let (tick, alarm) = (Tick { number: 1 }, Alarm { number: 1 });
    let differs = |[typed, by_name]: [Explanation; 2]| typed != by_name;
    assert!(differs(both(&node, &tick, &target)) && differs(both(&node, &alarm, &target)));
    let group = Question::new(Tick::TYPE, Target::Auto).multicast("239.255.87.81:9001").bytes(8);
    assert_eq!(node.explain_type(&group), node.explain(&tick, &target), "it was told");
    let _on = node.on::<Tick>(|_, _| ()).expect("it subscribes");
    let _taker = node.subscribe::<Alarm>().expect("it subscribes");
    for [typed, by_name] in [both(&node, &tick, &target), both(&node, &alarm, &target)] {
        assert_eq!(typed, by_name, "a type the node has met");
    }
    // What is said counts more than what is known.
    let low = Question::new(Alarm::TYPE, Target::named("near")).priority(Priority::Low);
    assert_eq!(node.explain_type(&low).transport, "udp fast");
}

#[test]
fn one_event_goes_to_all_and_many_go_together() {
    let (node, near, count) = pair("together");
    let mut router = node.router();
    let targets = [Target::named("near"), Target::named("nobody"), Target::node("127.0.0.1:x")];
    let outcomes = router.route_all(&note(10), &targets);
    assert!(outcomes[0].is_ok());
    let nobody = NoRoute::UnknownName("nobody".into());
    assert_eq!(outcomes[1], Err(Refused::NoRoute(nobody)));
    assert_eq!(outcomes[2].as_ref().map_err(Refused::name), Err("no_route"));
    let mut expected = 1;
    for target in [
        Target::named("near"),
        Target::Node(near.address()),
        Target::Reliable(near.address()),
        Target::service("sum"),
        Target::Interested,
    ] {
        // One of them goes another way than the others.
        let large = if target.demands_transport() { 10 } else { 200_000 };
        let notes = [note(10), note(20), note(large), note(30)];
        let batch: Batch = router.route_batch(&notes, &target);
        assert_eq!((batch.accepted, batch.refused), (4, None), "{target}");
        expected += 4;
        wait_for("all of a batch", || count.load(Ordering::Relaxed) == expected);
        assert_eq!(count.load(Ordering::Relaxed), expected, "{target}: none twice");
    }
    node.apply_rules(rules("[[rule]]\nsize = \"> 15\"\ntransport = \"tcp\""));
    let batch = router.route_batch(&[note(5), note(500)], &Target::named("near"));
    let receipt = batch.last.and_then(|last| router.receipt(last)).expect("it went by TCP");
    assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
    wait_for("both", || count.load(Ordering::Relaxed) == expected + 2);
    // The first refusal ends it.
    let batch = router.route_batch(&[note(5), note(300_000), note(5)], &Target::Local);
    assert_eq!(batch.accepted, 1);
    assert!(matches!(batch.refused, Some(Refused::TooLarge { .. })), "{batch:?}");
    // The last one is still between its ring and its reader for a moment.
    wait_for("a balance", || node.ledger().balanced);
}

#[test]
fn a_subscriber_by_pattern_takes_the_types_that_match() {
    let node = Node::builder("matching").start().expect("it starts");
    node.on::<Tick>(|_, _| {}).expect("it subscribes");
    let patterns = ["metric.**", "selection-t*"].map(|text| text.parse().expect("a pattern"));
    let mut subscriber = node.subscribe_matching(&patterns).expect("a ring");
    let mut router = node.router();
    for _ in 0..2 {
        for name in ["metric.cpu", "other", "metric", "metric.cpu.load"] {
            let routed = router.route_json(name, Priority::Normal, b"{}", &Target::Local);
            routed.expect("a handler of this process");
        }
        // Known by name here; the other is not, and carries none.
        router.route(&Tick { number: 1 }, Target::Local).expect("a way");
        router.route(&note(1), Target::Local).expect("a way");
    }
    let mut names = Vec::new();
    let begun = Instant::now();
    while names.len() < 6 && begun.elapsed() < PATIENCE {
        subscriber.wait(Duration::from_millis(50));
        subscriber.poll(100, |polled| {
            if let PolledAny::Event(event) = polled {
                names.push(
                    node.type_name(event.envelope.event_type())
                        .unwrap_or_else(|| event.type_name().unwrap_or_default().to_owned()),
                );
            }
        });
    }
    let once = ["metric.cpu", "metric.cpu.load", "selection-tick"];
    assert_eq!(names, [once, once].concat());
    assert!(!subscriber.wait(Duration::from_millis(50)), "and nothing else");
    wait_for("it balances", || node.ledger().balanced);
}

#[test]
fn an_explanation_can_be_read_back_as_json() {
    let node = Node::builder("json").start().expect("it starts");
    let question = Question::new("note", Target::node("127.0.0.1:9"));
    let explained: Explanation = node.explain_type(&question);
    let json = serde_json::to_string(&explained).expect("it has a JSON form");
    for part in ["\"decided_by\":\"target\"", "\"addresses\":[\"127.0.0.1:9\"]", "\"rule\":null"] {
        assert!(json.contains(part), "{json}");
    }
}
