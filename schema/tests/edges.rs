//! A schema at the edges of nodes: the caller's, the control thread's, a subscriber's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wireloom::jtag::{LegacyEvents, Mapping};
use wireloom::{
    Event, Node, NodeError, PayloadSchema, PolledAny, Priority, Reason, Refused, SCHEMAS_MAX,
    SchemaFault, Target, json,
};
use wireloom_schema::Schema;

#[derive(
    Event,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[event(type = "reading")]
struct Reading {
    #[schemars(range(min = -273.0))]
    celsius: f64,
}

const COLD: &[u8] = br#"{"celsius":-300}"#;
const WARM: &[u8] = br#"{"celsius":20}"#;

fn of_reading() -> Arc<dyn PayloadSchema> {
    let text = json::schema::<Reading>().expect("its schema");
    Arc::new(Schema::parse(&text).expect("what schemars writes"))
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn refused(node: &Node) -> u64 {
    let validations = node.validations();
    let by_schema = validations.iter().filter(|of| of.counter == "events_refused_json_schema");
    by_schema
        .inspect(|of| assert_eq!(of.result.reason, Some(Reason::SchemaValidationFailed)))
        .map(|of| of.refused)
        .sum()
}

#[test]
fn a_caller_is_told_where_its_json_is_wrong() {
    let node = Node::builder("feed").json_schema("reading", of_reading()).start().expect("a node");
    let mut router = node.router();
    for to in [Target::Local, Target::Node(node.address())] {
        let told = router.route_json("reading", Priority::Normal, COLD, &to);
        let Err(Refused::Schema(fault)) = told else { panic!("{told:?}") };
        assert_eq!(fault.path, "/celsius");
        router.route_json("reading", Priority::Normal, WARM, &to).expect("as it must be");
        router.route_json("other", Priority::Normal, COLD, &to).expect("nobody said how");
    }
    assert_eq!(refused(&node), 0, "what was never taken is not counted");
    let before = node.json_schema("reading", None).expect("room");
    assert!(before.is_some());
    router.route_json("reading", Priority::Normal, COLD, &Target::Local).expect("nobody says how");
}

#[test]
fn what_comes_in_is_checked_before_handlers_and_subscribers() {
    let desk = Node::builder("desk").json_schema("reading", of_reading()).start().expect("a node");
    desk.register_json::<Reading>().expect("its codec");
    let taken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&taken);
    desk.on::<Reading>(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
    })
    .expect("a handler");
    let feed = Node::builder("feed-2").start().expect("a node");
    let (mut router, to) = (feed.router(), Target::Node(desk.address()));
    router.route_json("reading", Priority::Normal, COLD, &to).expect("sent");
    router.route_json("reading", Priority::Normal, WARM, &to).expect("sent");
    until("one is taken, one refused", || {
        taken.load(Ordering::Relaxed) == 1 && refused(&desk) == 1
    });
    let ledger = desk.ledger();
    let handled = &ledger.handlers["reading"];
    assert_eq!((handled.delivered, handled.refused), (1, 1));
    let why = handled.refusal.as_deref().expect("why");
    assert!(why.starts_with("Schema validation failed at /celsius: "), "{why}");
    let of_schema = |of: &wireloom::Validation| of.counter == "events_refused_json_schema";
    let told = desk.validations().into_iter().find(of_schema).expect("its entry");
    assert!(told.last.expect("why").starts_with("reading: Schema validation failed at /celsius"));
    // A subscriber of a type that is known by its name alone.
    let mut any = desk.subscribe_any(&["note"]).expect("a ring");
    let short = Schema::parse(r#"{ "type": "string", "maxLength": 5 }"#).expect("a schema");
    desk.json_schema("note", Some(Arc::new(short))).expect("room");
    for text in [r#""much too long""#, r#""short""#] {
        router.route_json("note", Priority::Normal, text.as_bytes(), &to).expect("sent");
    }
    let mut seen = Vec::new();
    until("the short one", || {
        any.poll(16, |polled| {
            if let PolledAny::Event(event) = polled {
                seen.push(String::from_utf8_lossy(event.payload()).into_owned());
            }
        });
        !seen.is_empty()
    });
    assert_eq!((seen, refused(&desk)), (vec![r#""short""#.to_owned()], 2));
    assert!(desk.close().balanced);
}

#[test]
fn legacy_events_are_held_against_the_schemas_of_their_names() {
    let node =
        Node::builder("legacy").json_schema("reading", of_reading()).start().expect("a node");
    let mapping = Mapping::new().map::<Reading>("reading:new");
    let events = LegacyEvents::builder(&node).mapping(mapping).start().expect("legacy events");
    let emit = |name: &str, celsius: i32| {
        let emitted = events.emit(name, &serde_json::json!({ "celsius": celsius }));
        emitted.map(|_| ()).map_err(|error| error.reason())
    };
    assert_eq!(emit("reading:new", -300), Err("schema_validation_failed"), "of its typed form");
    assert_eq!(emit("reading:new", 20), Ok(()));
    assert_eq!(emit("reading:old", -300), Ok(()), "nobody said how");
    node.json_schema("reading:old", Some(of_reading())).expect("room");
    assert_eq!(emit("reading:old", -300), Err("schema_validation_failed"), "of its own name");
}

#[derive(Debug)]
struct Panics;

impl PayloadSchema for Panics {
    fn check(&self, _json: &[u8]) -> Result<(), SchemaFault> {
        panic!("a check of one's own")
    }
}

#[test]
fn a_check_that_panics_has_found_a_fault() {
    let node = Node::builder("own").json_schema("x", Arc::new(Panics)).start().expect("a node");
    let told = node.router().route_json("x", Priority::Normal, b"1", &Target::Local);
    assert!(matches!(told, Err(Refused::Schema(fault)) if fault.reason == "its check panicked"));
}

#[test]
fn a_node_has_a_bounded_number_of_schemas() {
    let (own, name) = (Arc::new(Panics), |number: usize| format!("t{number}"));
    let full = (0..SCHEMAS_MAX).fold(Node::builder("full"), |builder, number| {
        builder.json_schema(&name(number), own.clone())
    });
    let refused = full.clone().json_schema("one-more", own.clone()).start();
    assert!(matches!(refused, Err(NodeError::Schemas(_))), "{refused:?}");
    let node = full.start().expect("as many as there may be");
    node.json_schema("one-more", Some(own.clone())).expect_err("no room");
    node.json_schema(&name(0), Some(own.clone())).expect("in the place of one");
    node.json_schema(&name(0), None).expect("away");
    node.json_schema("one-more", Some(own)).expect("room");
}
