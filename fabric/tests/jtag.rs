//! Legacy events between nodes: the three phases of the migration, each event once in each world.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use wireloom::event::Priority;
use wireloom::jtag::{
    Environment, Filter, LegacyEvents, LegacyJtag, Mapping, Unsubscribe, Ways, urgency_of_name,
};
use wireloom::{Event, Interface, Node, NodeBuilder, PolledAny, Target};

const PATIENCE: Duration = Duration::from_secs(10);

/// Long enough for what should not come to come.
const QUIET: Duration = Duration::from_millis(300);

#[derive(
    Debug,
    Clone,
    PartialEq,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[event(type = "test-ready", priority = "high")]
struct Ready {
    version: String,
    components: Vec<String>,
}

const NAME: &str = "system.ready";

fn ready(version: &str) -> Value {
    json!({ "version": version, "components": ["router"] })
}

fn typed(version: &str) -> Ready {
    Ready { version: version.into(), components: vec!["router".into()] }
}

fn loopback() -> Interface {
    Interface::Address(Ipv4Addr::LOCALHOST)
}

fn group() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    format!("224.1.1.78:{}", socket.local_addr().expect("bound").port())
}

fn member(name: &str, group: &str) -> NodeBuilder {
    Node::builder(name).join_on(group, loopback()).multicast(1, loopback(), true)
}

/// What one world of one node has seen.
struct Seen {
    seen: Receiver<String>,
    _listens: Option<Unsubscribe>,
}

impl Seen {
    fn legacy(events: &LegacyEvents, name: &str) -> Self {
        let (see, seen) = channel();
        let listens = events.on(name, move |data| {
            let _ = see.send(data["version"].as_str().unwrap_or("?").to_owned());
        });
        Self { seen, _listens: Some(listens.expect("listens")) }
    }

    fn typed(node: &Node) -> Self {
        let (see, seen) = channel();
        node.on::<Ready>(move |ready, _| {
            let _ = see.send(ready.version.to_string());
        })
        .expect("subscribes");
        Self { seen, _listens: None }
    }

    #[track_caller]
    fn once(&self, version: &str) {
        assert_eq!(self.seen.recv_timeout(PATIENCE).as_deref(), Ok(version));
    }

    #[track_caller]
    fn nothing_more(&self) {
        assert_eq!(self.seen.try_recv().ok(), None);
    }
}

#[test]
fn phase_1_events_travel_wrapped_and_nothing_else_reaches_listeners() {
    let there = Node::builder("there").start().unwrap();
    let mut any = there.subscribe_any(&[]).unwrap();
    let far = LegacyEvents::new(&there, &Target::Local).unwrap();
    let seen = Seen::legacy(&far, NAME);
    let mut stream = far.stream(Filter::all().context(Environment::Server));

    let here = Node::builder("here").start().unwrap();
    let events = LegacyEvents::new(&here, &Target::Node(there.address())).unwrap();
    events.emit(NAME, &ready("1")).unwrap();
    seen.once("1");
    let event = stream.next_within(PATIENCE).unwrap();
    assert_eq!((event.name.as_str(), event.source.as_str()), (NAME, "here"));
    assert_eq!(event.data, ready("1"));
    assert!(any.wait(PATIENCE));
    any.poll(1, |polled| {
        let PolledAny::Event(frame) = polled else { panic!("{polled:?}") };
        assert_eq!(frame.type_name(), Some("legacy-jtag"));
        assert_eq!(frame.envelope.priority(), Priority::Normal);
        let text = str::from_utf8(frame.payload()).unwrap();
        assert!(text.starts_with(r#"{"legacyType":"jtag","originalEvent":{"#), "{text}");
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 2);
        assert_eq!(value["originalEvent"]["type"], NAME);
        assert_eq!(value["originalEvent"]["data"], ready("1"));
    });

    let mut router = here.router();
    let to = Target::Node(there.address());
    // Of this very name, and no wrapper: not for listeners.
    let bare = ready("2").to_string();
    router.route_json(NAME, Priority::Normal, bare.as_bytes(), &to).unwrap();
    // A wrapper, by a program that knows nothing of all this, in both encodings.
    let original = json!({ "type": NAME, "data": ready("3") }).to_string();
    let wrapper = LegacyJtag::read(original.as_bytes()).unwrap();
    let text = wrapper.to_json();
    router.route_json("legacy-jtag", Priority::Normal, text.as_bytes(), &to).unwrap();
    router.route(&wrapper, &to).unwrap();
    seen.once("3");
    seen.once("3");
    // What is none is counted, and what comes behind it is not lost.
    for broken in ["7", r#"{"legacyType":"jtag","originalEvent":{"type":"a\u001b"}}"#] {
        router.route_json("legacy-jtag", Priority::Normal, broken.as_bytes(), &to).unwrap();
    }
    // As deep as events may be, and deeper than legacy ones.
    let deep = format!("{}1{}", "[".repeat(128), "]".repeat(128));
    router.route_json("legacy-jtag", Priority::Normal, deep.as_bytes(), &to).unwrap();
    router.route(&wrapper, &to).unwrap();
    seen.once("3");
    seen.nothing_more();
    assert_eq!((far.counts().received, far.counts().malformed), (4, 3));
}

/// Node A is of phase 1; B and D have the mapping; C is all typed. All in one group, which each of
/// them hears itself in.
#[test]
fn phase_2_both_worlds_see_each_event_once_whoever_emits_it() {
    let group = group();
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| member(name, &group).start().unwrap());
    let to = Target::multicast(&group);
    let mapped = |node: &Node| {
        let mapping = Mapping::new().map::<Ready>(NAME);
        LegacyEvents::builder(node).ways(Ways::to(&to)).mapping(mapping).start().unwrap()
    };
    let old = LegacyEvents::new(&a, &to).unwrap();
    let (in_b, in_d) = (mapped(&b), mapped(&d));
    let legacy: Vec<Seen> = [&old, &in_b, &in_d].map(|events| Seen::legacy(events, NAME)).into();
    let handlers: Vec<Seen> = [&b, &d, &c].map(Seen::typed).into();

    // A node with the mapping emits: everybody, in every world.
    in_b.emit(NAME, &ready("by b")).unwrap();
    legacy.iter().chain(&handlers).for_each(|seen| seen.once("by b"));
    // A typed program publishes; only A, which knows no typed events, does not hear it.
    c.router().route(&typed("by c"), &to).unwrap();
    legacy[1..].iter().chain(&handlers).for_each(|seen| seen.once("by c"));
    // A program publishes by type on a node that has the mapping.
    d.router().route(&typed("typed by d"), &to).unwrap();
    legacy[1..].iter().chain(&handlers).for_each(|seen| seen.once("typed by d"));
    // A node of phase 1 emits: typed handlers of nodes with the mapping hear it.
    old.emit(NAME, &ready("by a")).unwrap();
    legacy.iter().chain(&handlers[..2]).for_each(|seen| seen.once("by a"));
    // A dynamic event of the type, from a tool.
    let text = ready("by tool").to_string();
    a.router().route_json("test-ready", Priority::High, text.as_bytes(), &to).unwrap();
    legacy[1..].iter().chain(&handlers[..2]).for_each(|seen| seen.once("by tool"));

    std::thread::sleep(QUIET);
    legacy.iter().chain(&handlers).for_each(Seen::nothing_more);
    // Nothing went round: four wrappers and typed events of B, A and nobody else were routed.
    assert_eq!((in_b.counts().routed, old.counts().routed, in_d.counts().routed), (3, 1, 1));
    assert_eq!((in_b.counts().converted, in_d.counts().converted), (1, 1));
}

#[test]
fn phase_2_a_program_alone_sees_both_worlds_too() {
    for to in [Target::Local, Target::node("127.0.0.1:9")] {
        let node = Node::builder("alone").start().unwrap();
        let mapping = Mapping::new().map::<Ready>(NAME);
        let events =
            LegacyEvents::builder(&node).ways(Ways::to(&to)).mapping(mapping).start().unwrap();
        let (legacy, typed_world) = (Seen::legacy(&events, NAME), Seen::typed(&node));
        events.emit(NAME, &ready("emitted")).unwrap();
        legacy.once("emitted");
        typed_world.once("emitted");
        node.router().route(&typed("routed"), Target::Local).unwrap();
        legacy.once("routed");
        typed_world.once("routed");
        std::thread::sleep(QUIET);
        legacy.nothing_more();
        typed_world.nothing_more();
    }
}

#[test]
fn phase_2_a_name_that_has_moved_travels_typed_alone() {
    let group = group();
    let [a, b, c] = ["ma", "mb", "mc"].map(|name| member(name, &group).start().unwrap());
    let to = Target::multicast(&group);
    let old = LegacyEvents::new(&a, &to).unwrap();
    let moved = |node: &Node| {
        let mapping = Mapping::new().moved::<Ready>(NAME);
        LegacyEvents::builder(node).ways(Ways::to(&to)).mapping(mapping).start().unwrap()
    };
    let (in_b, in_c) = (moved(&b), moved(&c));
    let (old, in_c_legacy) = (Seen::legacy(&old, NAME), Seen::legacy(&in_c, NAME));
    let in_c_typed = Seen::typed(&c);
    assert_eq!(in_b.emit(NAME, &ready("moved")).unwrap().routed, 1);
    in_c_legacy.once("moved");
    in_c_typed.once("moved");
    std::thread::sleep(QUIET);
    [old, in_c_legacy, in_c_typed].iter().for_each(Seen::nothing_more);
}

#[test]
fn data_that_does_not_fit_the_type_is_told_and_the_legacy_world_has_it() {
    let node = Node::builder("unfit").start().unwrap();
    let mapping = Mapping::new().map::<Ready>(NAME);
    let ways = Ways::to(&Target::Local);
    let events = LegacyEvents::builder(&node).ways(ways).mapping(mapping).start().unwrap();
    let (legacy, typed_world) = (Seen::legacy(&events, NAME), Seen::typed(&node));
    let error = events.emit(NAME, &json!({ "version": "1" })).unwrap_err().to_string();
    assert!(error.contains("test-ready") && error.contains("components"), "{error}");
    legacy.once("1");
    std::thread::sleep(QUIET);
    legacy.nothing_more();
    typed_world.nothing_more();
    assert_eq!(events.counts().unfit, 1);

    let twice = Mapping::new().map::<Ready>(NAME).map::<Ready>("other");
    let error = LegacyEvents::builder(&node).mapping(twice).start().unwrap_err().to_string();
    assert!(error.contains("twice"), "{error}");
}

#[test]
fn data_of_another_shape_is_mapped_by_functions() {
    let node = Node::builder("shapes").start().unwrap();
    let mapping = Mapping::new().map_with::<Ready>(
        NAME,
        |data| data.as_str().map(typed).ok_or_else(|| "no text".to_owned()),
        |ready| Ok(json!({ "version": ready.version.clone() + "!" })),
    );
    let events = LegacyEvents::builder(&node).mapping(mapping).start().unwrap();
    let (legacy, typed_world) = (Seen::legacy(&events, NAME), Seen::typed(&node));
    events.emit(NAME, &json!("1")).unwrap();
    typed_world.once("1");
    legacy.once("?");
    node.router().route(&typed("2"), Target::Local).unwrap();
    legacy.once("2!");
}

#[test]
fn a_mapping_that_panics_is_told_and_takes_nothing_with_it() {
    let node = Node::builder("panics").start().unwrap();
    let mapping = Mapping::new().map_with::<Ready>(
        NAME,
        |_| panic!("there"),
        |ready| if ready.version == "1" { panic!("back") } else { Ok(json!(ready)) },
    );
    let events = LegacyEvents::builder(&node).mapping(mapping).start().unwrap();
    let legacy = Seen::legacy(&events, NAME);
    let error = events.emit(NAME, &ready("0")).unwrap_err().to_string();
    assert!(error.contains("panicked: there"), "{error}");
    legacy.once("0");
    for version in ["1", "2"] {
        node.router().route(&typed(version), Target::Local).unwrap();
    }
    legacy.once("2");
    assert_eq!(events.counts().unfit, 2);
}

/// The type as it was once.
#[derive(
    Debug,
    Clone,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[event(type = "test-versions")]
struct Old {
    version: String,
}

#[derive(
    Debug,
    Clone,
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[event(type = "test-versions", version = 2, compatible_with = [Old])]
struct New {
    version: String,
    added: u32,
}

impl From<Old> for New {
    fn from(old: Old) -> Self {
        Self { version: old.version, added: 7 }
    }
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "test-versions", version = 9)]
struct Foreign {
    other: u64,
}

#[test]
fn events_of_older_versions_reach_listeners_as_the_present_one_and_foreign_ones_do_not() {
    let node = Node::builder("versions").start().unwrap();
    let mapping = Mapping::new().map::<New>(NAME);
    let events = LegacyEvents::builder(&node).mapping(mapping).start().unwrap();
    let mut stream = events.stream(Filter::all());
    let (see, typed_world) = channel();
    let mut router = node.router();
    let text = br#"{"version":"0","added":6}"#;
    router.route_json("test-versions", Priority::Normal, text, &Target::Local).unwrap();
    assert_eq!(stream.next_within(PATIENCE).unwrap().data["added"], 6, "no typed handler yet");
    node.on::<New>(move |new, _| {
        let _ = see.send(new.added.to_native());
    })
    .unwrap();
    router.route_json("test-versions", Priority::Normal, text, &Target::Local).unwrap();
    assert_eq!(stream.next_within(PATIENCE).unwrap().data["added"], 6);
    assert_eq!(typed_world.recv_timeout(PATIENCE), Ok(6));
    router.route(&Old { version: "1".into() }, Target::Local).unwrap();
    let event = stream.next_within(PATIENCE).unwrap();
    assert_eq!(event.data, json!({ "version": "1", "added": 7 }));
    router.route(&Foreign { other: 1 }, Target::Local).unwrap();
    router.route(&New { version: "2".into(), added: 8 }, Target::Local).unwrap();
    assert_eq!(stream.next_within(PATIENCE).unwrap().data["added"], 8);
    assert_eq!(stream.next_within(QUIET), None);
    let mut typed: Vec<u32> = typed_world.try_iter().collect();
    typed.sort_unstable();
    assert_eq!(typed, [7, 8]);
    let counts = events.counts();
    assert_eq!((counts.wrong_schema, counts.duplicates), (1, 2), "converted ones are known");
}

#[test]
fn phase_3_the_mesh_hears_all_and_critical_nodes_what_is_critical_each_once() {
    let group = group();
    let [mesh, critical] = ["mesh", "critical"].map(|name| member(name, &group).start().unwrap());
    // Reached by TCP alone.
    let far = Node::builder("far").start().unwrap();
    let speaker = Node::builder("speaker").multicast(1, loopback(), true).start().unwrap();
    let mut ways = Ways::to(&Target::multicast(&group));
    for node in [&critical, &far] {
        ways = ways.and(Priority::Critical, Target::Reliable(node.address())).unwrap();
    }
    let events =
        LegacyEvents::builder(&speaker).ways(ways).urgency(urgency_of_name).start().unwrap();
    let there = [&mesh, &critical, &far].map(|node| LegacyEvents::new(node, &Target::Local));
    let there = there.map(Result::unwrap);
    let errors: Vec<Seen> = there.iter().map(|at| Seen::legacy(at, "system.error")).collect();
    let chats: Vec<Seen> = there.iter().map(|at| Seen::legacy(at, "chat:said")).collect();

    assert_eq!(events.emit("system.error", &ready("e")).unwrap().routed, 3);
    assert_eq!(events.emit("chat:said", &ready("c")).unwrap().routed, 1);
    errors.iter().for_each(|seen| seen.once("e"));
    chats[..2].iter().for_each(|seen| seen.once("c"));
    std::thread::sleep(QUIET);
    errors.iter().chain(&chats).for_each(Seen::nothing_more);
    assert_eq!(there.map(|at| at.counts().duplicates), [0, 1, 0], "two ways, one event");
}
