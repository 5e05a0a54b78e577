//! Nodes of a cluster on real sockets (loopback): joining by seed and by multicast, services,
//! names, interest, leaving, and events that flow while the control thread stands still.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use wireloom::config::Config;
use wireloom::events::{Heartbeat, ServiceAnnouncement};
use wireloom::{
    Change, Choice, Delivery, Event, FlowControl, Interface, KeyUse, MemberState, NoRoute, Node,
    NodeBuilder, Priority, Ready, Refused, Router, RuleSet, Target,
};

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "cluster-test-tick")]
struct Tick {
    number: u64,
}

const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster of its own for each test.
fn builder(name: &str, cluster: &str) -> NodeBuilder {
    Node::builder(name).cluster(&format!("{cluster}-{}", std::process::id()))
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `count` nodes that know each other; the first is the seed of the others.
fn by_seed(
    cluster: &str,
    count: usize,
    mut with: impl FnMut(NodeBuilder) -> NodeBuilder,
) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for index in 0..count {
        let mut node = with(builder(&format!("{cluster}-{index}"), cluster));
        if let Some(first) = nodes.first() {
            node = node.seed(&first.address().to_string());
        }
        nodes.push(node.start().expect("it starts"));
    }
    for node in &nodes {
        let ready = node.ready(&Ready::peers(count - 1), PATIENCE);
        assert_eq!(ready, Ok(()), "{:?}", node.cluster_counts());
    }
    nodes
}

fn count_ticks(node: &Node) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    node.on::<Tick>(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
    })
    .expect("it subscribes");
    count
}

#[test]
fn nodes_find_each_other_by_a_seed_and_one_that_leaves_is_down_at_once() {
    let mut nodes = by_seed("seed", 4, |node| node);
    let members = nodes[3].members();
    assert_eq!(members.len(), 4);
    assert_eq!(members.iter().filter(|member| member.is_self).count(), 1);
    let left = nodes.remove(1);
    let address = left.address();
    drop(left);
    let begun = Instant::now();
    for node in &nodes {
        wait_for("all hear that it left", || {
            let members = node.members();
            let left = members.iter().find(|member| member.address() == address);
            left.is_some_and(|member| member.state == MemberState::Down)
        });
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "leaving is not dying");
}

#[test]
fn nodes_find_each_other_by_multicast_and_hear_heartbeats_and_announcements() {
    let group = format!("239.255.87.77:{}", 20_000 + std::process::id() % 20_000);
    let start = |name: &str, service: Option<&str>| {
        let node = builder(name, "group").discover(&group);
        let node = service.into_iter().fold(node, NodeBuilder::service);
        node.start().expect("it starts")
    };
    let first = start("first", None);
    let (heartbeats, beats) = mpsc::channel();
    let (announcements, announced) = mpsc::channel();
    first
        .on::<Heartbeat>(move |heartbeat, _| {
            let _ = heartbeats.send(heartbeat.node.to_string());
        })
        .expect("it subscribes");
    first
        .on::<ServiceAnnouncement>(move |announcement, _| {
            let _ = announcements.send(announcement.node.to_string());
        })
        .expect("it subscribes");
    let begun = Instant::now();
    let second = start("second", Some("sum"));
    for node in [&first, &second] {
        assert_eq!(node.ready(&Ready::peers(1).and(Ready::services(["sum"])), PATIENCE), Ok(()));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let from_second = || beats.recv_timeout(PATIENCE).expect("a heartbeat") == "second";
    while !from_second() {}
    assert_eq!(announced.recv_timeout(PATIENCE).as_deref(), Ok("second"));
    assert!(first.announced()[0].1.contains("listens"), "{:?}", first.announced());
}

#[test]
fn names_services_and_interest_lead_to_members() {
    let nodes = by_seed("route", 4, |node| node);
    let counts: Vec<_> = nodes[1..3].iter().map(count_ticks).collect();
    for node in &nodes[1..3] {
        node.offer(&["tick"]).expect("it fits");
    }
    let wanted = |node: &Node| {
        let members = node.members();
        let offered = members.iter().filter(|member| member.offers("tick")).count();
        offered == 2 && members.iter().filter(|m| m.wants(Tick::TYPE_ID)).count() == 2
    };
    wait_for("all know who offers and wants what", || nodes.iter().all(wanted));
    let mut router = nodes[0].router();
    for number in 0..10 {
        let tick = Tick { number };
        router.route(&tick, Target::service("tick")).expect("somebody offers it");
    }
    let heard = || counts.iter().map(|of| of.load(Ordering::Relaxed)).collect::<Vec<_>>();
    wait_for("they take turns", || heard() == [5, 5]);
    router.route(&Tick { number: 10 }, Target::named("route-2")).expect("it is up");
    wait_for("the one by name", || heard() == [5, 6]);
    for number in 0..4 {
        router.route(&Tick { number }, &Target::Interested).expect("two are");
    }
    wait_for("one copy each", || heard() == [9, 10]);
    let uninterested = nodes[3].ledger().received.events;
    assert_eq!(uninterested, 0, "who did not subscribe receives none");
    let key = Target::Service("tick".into(), Choice::Key(7));
    let any = Target::AnyOf(vec![Target::named("nobody"), key.clone()]);
    router.route(&Tick { number: 0 }, &key).expect("one of them");
    router.route(&Tick { number: 0 }, &any).expect("the key's again");
    wait_for("one key, one member", || heard().iter().sum::<u64>() == 21);
    assert!(heard() == [11, 10] || heard() == [9, 12], "{:?}", heard());
    for (target, reason) in [
        (Target::named("nobody"), NoRoute::UnknownName("nobody".into())),
        (Target::service("nothing"), NoRoute::UnknownService("nothing".into())),
        (Target::AnyOf(Vec::new()), NoRoute::NoTargets),
    ] {
        let refused = router.route(&Tick { number: 0 }, &target);
        assert_eq!(refused, Err(Refused::NoRoute(reason)));
    }
    nodes[1].offer(&[]).expect("it fits");
    wait_for("only one offers it", || {
        let members = nodes[0].members();
        members.iter().filter(|member| member.offers("tick")).count() == 1
    });
    let before = heard();
    for number in 0..4 {
        router.route(&Tick { number }, Target::service("tick")).expect("one does");
    }
    wait_for("all go to the one", || heard() == [before[0], before[1] + 4]);
}

#[test]
fn a_group_of_a_type_takes_one_send_to_all_who_want_it() {
    let group = format!("239.255.87.78:{}", 20_000 + std::process::id() % 20_000);
    let loopback = || Interface::Address(std::net::Ipv4Addr::LOCALHOST);
    let mut index = 0;
    let nodes = by_seed("group-of", 4, |node| {
        let node = node.group_of::<Tick>(&group).multicast(1, loopback(), true);
        index += 1;
        if matches!(index, 2 | 3) { node.join_on(&group, loopback()) } else { node }
    });
    let sent_to_group = || nodes[0].ledger().links.get(&format!("udp://{group}")).copied();
    let wanting = |count: usize| {
        let wants = |node: &Node| {
            node.members().iter().filter(|member| member.wants(Tick::TYPE_ID)).count() == count
        };
        wait_for("all know who wants what", || nodes.iter().all(wants));
    };
    let mut router = nodes[0].router();
    let first = count_ticks(&nodes[1]);
    wanting(1);
    router.route(&Tick { number: 0 }, &Target::Interested).expect("one is");
    wait_for("the only one", || first.load(Ordering::Relaxed) == 1);
    assert_eq!(sent_to_group(), None, "one node needs no group");

    let second = count_ticks(&nodes[2]);
    wanting(2);
    let before = nodes[0].ledger().published.sent;
    for number in 1..=10 {
        router.route(&Tick { number }, &Target::Interested).expect("two are");
    }
    let heard = || (first.load(Ordering::Relaxed), second.load(Ordering::Relaxed));
    wait_for("one copy each", || heard() == (11, 10));
    assert_eq!(sent_to_group(), Some(10));
    assert_eq!(nodes[0].ledger().published.sent - before, 10, "one send for both");
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(heard(), (11, 10), "none twice");
    assert_eq!(nodes[3].ledger().received.events, 0, "who did not subscribe receives none");
}

#[test]
fn who_waits_is_told_what_is_missing() {
    let alone = Node::builder("alone").start().expect("it starts");
    let error = alone.ready(&Ready::peers(1), Duration::ZERO).expect_err("no cluster");
    assert!(error.to_string().contains("no cluster"), "{error}");
    assert!(alone.members().is_empty() && !alone.on_member(|_| {}));
    let refused = alone.router().route(&Tick { number: 1 }, Target::named("x"));
    assert_eq!(refused, Err(Refused::NoRoute(NoRoute::NoCluster)));
    let one = builder("one", "missing").seed("127.0.0.1:9").start().expect("it starts");
    let wanted = Ready::peers(2).and(Ready::services(["sum"]));
    let error = one.ready(&wanted, Duration::from_millis(50)).expect_err("nobody there");
    assert_eq!((error.peers, error.services), (2, vec!["sum".to_owned()]));
    let long = builder(&"x".repeat(65), "missing").seed("127.0.0.1:9").start();
    assert!(long.expect_err("too long").to_string().contains("64 bytes"));
}

#[test]
fn events_between_known_peers_flow_while_the_control_thread_stands_still() {
    let nodes = by_seed("stall", 2, |node| node);
    let count = count_ticks(&nodes[1]);
    let target = Target::named("stall-1");
    let mut router = nodes[0].router();
    router.route(&Tick { number: 0 }, &target).expect("it is up");
    wait_for("the way is known", || count.load(Ordering::Relaxed) == 1);
    let (stands, stood) = mpsc::channel();
    for node in &nodes {
        let stands = stands.clone();
        let mut once = Some(());
        // A handler that waits, as none may: it holds up the control thread for two seconds.
        node.on_member(move |_| {
            if once.take().is_some() {
                let _ = stands.send(());
                std::thread::sleep(Duration::from_secs(2));
            }
        });
    }
    nodes[0].offer(&["a"]).expect("it fits");
    nodes[1].offer(&["b"]).expect("it fits");
    for _ in 0..2 {
        stood.recv_timeout(PATIENCE).expect("the control threads stand");
    }
    let begun = Instant::now();
    for number in 0..1_000 {
        router.route(&Tick { number }, &target).expect("the data plane takes it");
    }
    wait_for("all are there", || count.load(Ordering::Relaxed) == 1_001);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[test]
fn handlers_hear_of_members_and_other_clusters_are_not_heard() {
    let first = builder("first", "word").seed("127.0.0.1:9").start().expect("it starts");
    let (changes, heard) = mpsc::channel();
    assert!(first.on_member(move |change| {
        let _ = changes.send(change.clone());
    }));
    let seed = first.address().to_string();
    let foreign = builder("foreign", "other").seed(&seed).start().expect("it starts");
    let second = builder("second", "word").seed(&seed).start().expect("it starts");
    let up = |change: &Change| match change {
        Change::Up(identity) => identity.address == second.address(),
        _ => false,
    };
    while !up(&heard.recv_timeout(PATIENCE).expect("a change")) {}
    drop(second);
    let down = |change: &Change| matches!(change, Change::Down(_));
    while !down(&heard.recv_timeout(PATIENCE).expect("a change")) {}
    wait_for("the other cluster is counted", || first.cluster_counts().refused_cluster > 0);
    assert_eq!(foreign.members().len(), 1);
}

#[test]
fn a_service_takes_reliable_events_and_goes_on_without_a_member_that_left() {
    let mut nodes = by_seed("sure", 3, |node| node);
    let counts: Vec<_> = nodes[1..3].iter().map(count_ticks).collect();
    for node in &nodes[1..3] {
        node.offer(&["sum"]).expect("it fits");
    }
    let offering = |node: &Node| {
        node.members().iter().filter(|member| member.is_up() && member.offers("sum")).count()
    };
    wait_for("both offer it", || offering(&nodes[0]) == 2);
    let target: Target = "reliable:service:sum".parse().expect("a target");
    let mut router = nodes[0].router();
    let mut route = |number| {
        let accepted = router.route(&Tick { number }, &target).expect("somebody offers it");
        router.receipt(accepted).expect("a reliable event has one").wait(PATIENCE)
    };
    for number in 0..10 {
        assert_eq!(route(number), Delivery::Delivered);
    }
    let heard = || counts.iter().map(|of| of.load(Ordering::Relaxed)).collect::<Vec<_>>();
    assert_eq!(heard(), [5, 5], "they take turns, and have had what is acknowledged");
    drop(nodes.remove(1));
    wait_for("it is known to have left", || offering(&nodes[0]) == 1);
    for number in 10..20 {
        assert_eq!(route(number), Delivery::Delivered);
    }
    assert_eq!(heard(), [5, 15]);
    let group = Target::reliably(Target::Interested);
    assert_eq!(
        router.route(&Tick { number: 0 }, &group).expect_err("not one node"),
        Refused::NoRoute(NoRoute::NotReliable)
    );
}

fn configured(text: &str) -> Config {
    Config::parse(text).expect("a good configuration")
}

#[test]
fn heartbeats_come_as_often_as_the_configuration_says() {
    let group = format!("239.255.87.78:{}", 20_000 + std::process::id() % 20_000);
    let often = configured("[discovery]\nheartbeat = \"100 ms\"");
    let start = |name: &str| {
        let node = builder(name, "beat").config(&often).discover(&group);
        node.start().expect("it starts")
    };
    let first = start("first");
    let beats = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&beats);
    first
        .on::<Heartbeat>(move |heartbeat, _| {
            counted.fetch_add(u64::from(heartbeat.node == "second"), Ordering::Relaxed);
        })
        .expect("it subscribes");
    let _second = start("second");
    // At five seconds apart these would take longer than there is patience for; ten of them are
    // nine times 100 ms apart, the first may have come before.
    wait_for("a heartbeat", || beats.load(Ordering::Relaxed) > 0);
    let begun = Instant::now();
    wait_for("ten heartbeats", || beats.load(Ordering::Relaxed) >= 10);
    assert!(begun.elapsed() >= Duration::from_millis(700), "{:?}", begun.elapsed());
}

#[test]
fn a_service_is_chosen_as_the_configuration_says_unless_the_target_does() {
    let hash = configured("[services]\nchoice = \"consistent-hash\"");
    let nodes = by_seed("choice", 3, |node| node.config(&hash));
    let counts: Vec<_> = nodes[1..].iter().map(count_ticks).collect();
    for node in &nodes[1..] {
        node.offer(&["tick"]).expect("it fits");
    }
    let offered = || nodes[0].members().iter().filter(|of| of.offers("tick")).count() == 2;
    wait_for("both offer it", offered);
    let heard = || counts.iter().map(|of| of.load(Ordering::Relaxed)).collect::<Vec<_>>();
    let mut router = nodes[0].router();
    let target: Target = "service:tick".parse().expect("a target");
    for number in 0..8 {
        router.route(&Tick { number }, &target).expect("two offer it");
    }
    wait_for("all go to one member", || heard() == [8, 0] || heard() == [0, 8]);
    let before = heard();
    let turns = Target::Service("tick".into(), Choice::RoundRobin);
    for number in 0..8 {
        router.route(&Tick { number }, &turns).expect("two offer it");
    }
    wait_for("a target that says so has its way", || heard() == [before[0] + 4, before[1] + 4]);
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "cluster-test-position", key = "vehicle")]
struct Position {
    vehicle: String,
    number: u64,
}

fn position(number: u64) -> Position {
    Position { vehicle: format!("tram {}", number % 16), number }
}

/// What a member of the service has heard: vehicle and number, in order.
fn positions(node: &Node) -> mpsc::Receiver<(String, u64)> {
    let (heard, hears) = mpsc::channel();
    let hear = move |of: &rkyv::Archived<Position>, _: &wireloom::Envelope<'_>| {
        drop(heard.send((of.vehicle.to_string(), of.number.to_native())));
    };
    node.on::<Position>(hear).expect("it subscribes");
    hears
}

#[test]
fn events_of_one_key_go_to_one_member_and_those_without_are_refused_by_name() {
    let nodes = by_seed("own-key", 3, |node| node);
    let hears: Vec<_> = nodes[1..].iter().map(positions).collect();
    for node in &nodes[1..] {
        node.offer(&["place"]).expect("it fits");
    }
    let offered = || nodes[0].members().iter().filter(|of| of.offers("place")).count() == 2;
    wait_for("both offer it", offered);
    let mut router = nodes[0].router();
    let target: Target = "service:place?key".parse().expect("a target");
    assert_eq!(target.to_string(), "service:place?key");
    let list = Target::AnyOf(vec![Target::reliably(target.clone())]);
    for number in 0..64 {
        router.route(&position(number), &target).expect("two offer it");
        router.route(&position(number), &list).expect("the same one");
    }
    let batch: Vec<Position> = (64..128).map(position).collect();
    let batch = router.route_batch(&batch, &target);
    assert_eq!((batch.accepted, batch.refused), (64, None));
    let mut heard: [Vec<(String, u64)>; 2] = Default::default();
    wait_for("all of them", || {
        for (heard, hears) in heard.iter_mut().zip(&hears) {
            heard.extend(hears.try_iter());
        }
        heard.iter().map(Vec::len).sum::<usize>() == 192
    });
    let vehicles = heard.map(|heard| {
        heard.into_iter().map(|(vehicle, _)| vehicle).collect::<std::collections::BTreeSet<_>>()
    });
    assert!(vehicles[0].is_disjoint(&vehicles[1]), "a key has one member: {vehicles:?}");
    assert!(vehicles.iter().all(|of| !of.is_empty()), "not all have the same: {vehicles:?}");
    // It is explained, by the key that decided.
    let trams = &vehicles[0];
    for number in 0..16 {
        let explained = router.explain(&position(number), &target);
        let member = usize::from(!trams.contains(&position(number).vehicle));
        assert_eq!(explained.addresses, [nodes[1 + member].address()], "{explained}");
        assert_eq!(explained.own_key, position(number).key());
        assert!(explained.to_string().contains("chosen by its own key"), "{explained}");
    }
    let other = router.explain(&position(0), &Target::service("place"));
    assert_eq!((other.key, other.own_key), (KeyUse::NotAsked, None), "{other}");
    in_a_list_the_entry_that_is_taken_is_told(&mut router, &target, nodes[0].address());
    // Without a key, and where there is no event yet to have one.
    let none = Err(Refused::NoRoute(NoRoute::NoKey("place".into())));
    assert_eq!(router.route(&Tick { number: 0 }, &target).map(drop), none);
    let json = br#"{"vehicle":"tram 1","number":1}"#;
    let untyped = router.route_json("cluster-test-position", Priority::Normal, json, &target);
    assert_eq!(untyped.map(drop), none);
    assert_eq!(nodes[0].publisher::<Tick>(&target).map(drop), none);
    let bound = nodes[0].publisher::<Position>(&list).map(drop);
    let for_each = Err(Refused::NoRoute(NoRoute::KeyForEach("place".into())));
    assert_eq!(bound, for_each);
    // A rule may lead there as well.
    let rules = RuleSet::parse("rules.toml", "[[rule]]\ntarget = \"service:place?key\"");
    nodes[0].apply_rules(rules.expect("a rule"));
    for number in 0..16 {
        router.route(&position(number), &Target::Interested).expect("two offer it");
        let member = usize::from(!trams.contains(&position(number).vehicle));
        let (vehicle, _) = hears[member].recv_timeout(PATIENCE).expect("the same member");
        assert_eq!(vehicle, position(number).vehicle);
    }
    assert_eq!(router.route(&Tick { number: 0 }, &Target::Interested).map(drop), none);
    assert_eq!(nodes[0].publisher::<Position>(&Target::Interested).map(drop), for_each);
}

/// Of a list, the key has chosen only where the entry that asks for it was taken: they take turns.
fn in_a_list_the_entry_that_is_taken_is_told(
    router: &mut Router,
    by_own_key: &Target,
    address: std::net::SocketAddr,
) {
    let mixed = Target::AnyOf(vec![by_own_key.clone(), Target::Node(address)]);
    let (mut by_key, mut fixed) = (0, 0);
    for _ in 0..8 {
        let explained = router.explain(&position(0), &mixed);
        let says = explained.to_string().contains("chosen by its own key");
        if explained.addresses == [address] {
            assert_eq!((explained.key, explained.own_key), (KeyUse::Unused, None), "{explained}");
            assert!(explained.to_string().contains("another entry of the list"), "{explained}");
            fixed += 1;
        } else {
            let own = position(0).key();
            assert_eq!((explained.key, explained.own_key), (KeyUse::Chose, own), "{explained}");
            by_key += 1;
        }
        assert_eq!(says, explained.key == KeyUse::Chose, "{explained}");
    }
    assert_eq!((by_key, fixed), (4, 4), "in turn");
    // Without one that entry is passed over, and said to be.
    let without = router.explain(&Tick { number: 0 }, &mixed);
    assert_eq!((without.key, &without.refused), (KeyUse::Missing, &None), "{without}");
    assert_eq!(without.addresses, [address], "{without}");
}

#[test]
fn flow_control_is_that_of_the_one_member_a_target_means() {
    let nodes = by_seed("flow", 2, |node| node);
    let set = |target: &Target| nodes[0].set_flow_control(target, FlowControl::Off);
    assert_eq!(set(&Target::named("flow-1")), Ok(()));
    assert_eq!(set(&Target::machine(&nodes[1].address().to_string())), Ok(()));
    let nobody = NoRoute::UnknownName("nobody".into());
    assert_eq!(set(&Target::named("nobody")), Err(nobody.into()));
    let by_key = "service:place?key".parse().expect("a target");
    for many in [Target::Interested, Target::Auto, Target::fast(Target::Interested), by_key] {
        assert_eq!(set(&many), Err(NoRoute::NotOne.into()), "{many}");
    }
}

#[test]
fn a_publisher_reaches_whoever_wants_its_events_and_who_comes_later() {
    let nodes = by_seed("wanting", 4, |node| node);
    let mut publisher = nodes[0].publisher::<Tick>(&Target::Interested).expect("a ring");
    let nobody = publisher.publish(&Tick { number: 0 });
    assert_eq!(nobody, Err(Refused::NoRoute(NoRoute::NobodyInterested)));
    let wanting = |count: usize| {
        let wants = || nodes[0].members().iter().filter(|of| of.wants(Tick::TYPE_ID)).count();
        wait_for("it is known who wants what", || wants() == count);
    };
    let first = count_ticks(&nodes[1]);
    wanting(1);
    for number in 0..5 {
        publisher.publish(&Tick { number }).expect("one wants it");
    }
    wait_for("the only one", || first.load(Ordering::Relaxed) == 5);
    // One that comes later, and this process itself.
    let (second, own) = (count_ticks(&nodes[2]), count_ticks(&nodes[0]));
    wanting(3);
    {
        let mut burst = publisher.burst();
        for number in 0..10 {
            burst.publish(&Tick { number }).expect("three want it");
        }
    }
    let heard = || [&first, &second, &own].map(|of| of.load(Ordering::Relaxed));
    wait_for("one copy each", || heard() == [15, 10, 10]);
    assert_eq!(nodes[3].ledger().received.events, 0, "who did not subscribe receives none");
}

#[test]
fn a_name_leads_to_whoever_has_it_now() {
    let mut nodes = by_seed("moved", 2, |node| node);
    let (first, node) = (nodes.remove(1), nodes.remove(0));
    let (mut router, desk) = (node.router(), Target::named("moved-1"));
    let mut three = |to: &Node| {
        let count = count_ticks(to);
        for number in 0..3 {
            router.route(&Tick { number }, &desk).expect("it is up");
        }
        wait_for("all three", || count.load(Ordering::Relaxed) == 3);
    };
    three(&first);
    let address = first.address();
    assert!(first.close().balanced);
    let is_up = || node.ready(&Ready::to(&desk, Tick::TYPE_ID), Duration::ZERO).is_ok();
    wait_for("it has left", || !is_up());
    // The old address is taken, so that the name moves.
    let _taken = std::net::UdpSocket::bind(address).expect("it is free");
    let second = builder("moved-1", "moved").seed(&node.address().to_string()).start();
    let second = second.expect("it starts");
    wait_for("another has come", is_up);
    three(&second);
}
