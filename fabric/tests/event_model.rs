//! What an event carries, the forms it can take, and what becomes of dynamic events that are wrong.

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wireloom::decode::{DecodeError, deserialize};
use wireloom::encode::{EncodeError, serialize};
use wireloom::events::{Exception, Heartbeat, PerformanceMetric, UserInteraction};
use wireloom::json::{self, JSON_BYTES_MAX, JSON_DEPTH_MAX, JsonError};
use wireloom::{Delivery, Event, Node, Priority, Refused, Router, Target, TraceContext};

const PATIENCE: Duration = Duration::from_secs(10);

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_nanos()).expect("before 2554")
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "short-lived", priority = "high", deadline = "250ms")]
struct ShortLived {
    number: u64,
}

/// What an envelope says, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    source: wireloom::NodeId,
    sequence: u64,
    timestamp_ns: u64,
    received_ns: u64,
    priority: Priority,
    event_type: wireloom::EventTypeId,
    trace: Option<TraceContext>,
    deadline_ns: Option<u64>,
}

fn tell_of<E: Event>(node: &Node) -> Receiver<Told> {
    let (heard, hears) = mpsc::channel();
    let tell = move |_: &rkyv::Archived<E>, envelope: &wireloom::Envelope<'_>| {
        let _ = heard.send(Told {
            source: envelope.source(),
            sequence: envelope.sequence(),
            timestamp_ns: envelope.timestamp_ns(),
            received_ns: envelope.received_ns(),
            priority: envelope.priority(),
            event_type: envelope.event_type(),
            trace: envelope.trace(),
            deadline_ns: envelope.deadline_ns(),
        });
    };
    node.on::<E>(tell).expect("subscribes");
    hears
}

#[test]
fn an_envelope_says_who_when_how_urgent_and_as_part_of_what() {
    let listener = Node::builder("listener").start().expect("starts");
    let hears = tell_of::<Exception>(&listener);
    let speaker = Node::builder("speaker").start().expect("starts");
    let mut router = speaker.router();
    let trace = TraceContext { trace_id: [7; 16], span_id: [9; 8], sampled: true };
    router.set_trace(Some(trace));
    let exception = Exception {
        component: "test".into(),
        message: String::new(),
        event_type: String::new(),
        node: "speaker".into(),
        timestamp_ns: 0,
    };
    let before_ns = now_ns();
    for _ in 0..2 {
        router.route(&exception, Target::Node(listener.address())).expect("accepted");
    }
    for sequence in 0..2 {
        let told = hears.recv_timeout(PATIENCE).expect("arrives");
        assert_eq!((told.source, told.sequence), (speaker.id(), sequence));
        assert_eq!((told.priority, told.trace), (Priority::Critical, Some(trace)));
        assert_eq!((told.event_type, told.deadline_ns), (Exception::TYPE_ID, None));
        // The nodes' clocks are set once a second or so; they may lag a little behind.
        let slack_ns = 100_000_000;
        let age = Duration::from_nanos(told.timestamp_ns.abs_diff(before_ns));
        assert!(age < PATIENCE, "{told:?}");
        assert!(told.received_ns + slack_ns > told.timestamp_ns, "{told:?}");
    }
}

#[test]
fn a_type_says_how_long_its_events_live_and_a_router_may_say_otherwise() {
    let listener = Node::builder("listener").start().expect("starts");
    let hears = tell_of::<ShortLived>(&listener);
    let lives_ns = |told: &Told| told.deadline_ns.map(|end| end - told.timestamp_ns);
    let target = Target::Node(listener.address());
    let speaker = Node::builder("speaker").start().expect("starts");
    let mut router = speaker.router();
    router.route(&ShortLived { number: 1 }, &target).expect("accepted");
    let told = hears.recv_timeout(PATIENCE).expect("arrives");
    assert_eq!(lives_ns(&told), Some(250_000_000));
    let end_ns = now_ns() + 60_000_000_000;
    router.set_deadline_ns(Some(end_ns));
    router.route(&ShortLived { number: 2 }, &target).expect("accepted");
    assert_eq!(hears.recv_timeout(PATIENCE).expect("arrives").deadline_ns, Some(end_ns));
    let mut publisher = speaker.publisher::<ShortLived>(&target).expect("a ring");
    publisher.publish(&ShortLived { number: 3 }).expect("accepted");
    publisher.burst().publish(&ShortLived { number: 4 }).expect("accepted");
    for _ in 0..2 {
        let told = hears.recv_timeout(PATIENCE).expect("arrives");
        assert_eq!(lives_ns(&told), Some(250_000_000));
    }
}

#[test]
fn both_forms_are_bounded_and_come_back() {
    let click = |action: String| UserInteraction {
        user_id: 1,
        action,
        element: "button".into(),
        session_id: 2,
    };
    let event = click("click".into());
    let archive = serialize(&event, 64).expect("fits");
    assert_eq!(deserialize::<UserInteraction>(&archive), Ok(event.clone()));
    assert_eq!(serialize(&event, archive.len() - 1).err(), Some(EncodeError::DoesNotFit));
    // Wherever the bytes lie.
    let moved = [&[0], archive.as_slice()].concat();
    assert_eq!(deserialize::<UserInteraction>(&moved[1..]), Ok(event.clone()));
    assert_eq!(deserialize::<UserInteraction>(&moved[2..]), Err(DecodeError::Invalid));
    let long = click("x".repeat(JSON_BYTES_MAX));
    let archive = serialize(&long, 2 * JSON_BYTES_MAX).expect("fits");
    assert_eq!(deserialize::<UserInteraction>(&archive).as_ref(), Ok(&long));

    let mut out = b"before".to_vec();
    json::serialize(&event, &mut out).expect("writes");
    assert_eq!(json::deserialize::<UserInteraction>(&out[6..]), Ok(event));
    assert_eq!(json::serialize(&long, &mut out), Err(JsonError::TooLong));
    assert!(out.ends_with(b"}"), "nothing is left of it");
    let text = vec![b' '; JSON_BYTES_MAX + 1];
    assert_eq!(json::deserialize::<UserInteraction>(&text), Err(JsonError::TooLong));
}

/// A node that knows heartbeats by their JSON, and a router that reaches it.
struct Dynamic {
    listener: Node,
    hears: Receiver<Told>,
    router: Router,
    target: Target,
    speaker: Node,
}

fn dynamic() -> Dynamic {
    let listener = Node::builder("listener").start().expect("starts");
    listener.register_json::<Heartbeat>().expect("registers");
    let hears = tell_of::<Heartbeat>(&listener);
    let speaker = Node::builder("speaker").start().expect("starts");
    let target = Target::Reliable(listener.address());
    Dynamic { hears, router: speaker.router(), target, listener, speaker }
}

impl Dynamic {
    /// Sends one; when it was accepted, waits until the listener has it.
    fn send(&mut self, name: &str, json: &[u8]) -> Result<wireloom::Accepted, Refused> {
        let accepted = self.router.route_json(name, Priority::Normal, json, &self.target)?;
        let receipt = self.router.receipt(accepted).expect("reliable");
        assert_eq!(receipt.wait(PATIENCE), Delivery::Delivered);
        Ok(accepted)
    }

    /// A good one goes through, in order behind whatever came before.
    fn goes_on(&mut self) {
        let good = Heartbeat::sample("good", 1).expect("/proc");
        let mut json = Vec::new();
        json::serialize(&good, &mut json).expect("writes");
        self.send("heartbeat", &json).expect("accepted");
        self.hears.recv_timeout(PATIENCE).expect("the good one arrives");
        assert!(self.hears.try_recv().is_err(), "and nothing else does");
    }
}

/// The text of a malformed event's refusal: one line, nothing in it that moves a cursor.
fn malformed(result: Result<wireloom::Accepted, Refused>) -> String {
    match result {
        Err(refused @ Refused::Malformed { .. }) => {
            let text = refused.to_string();
            assert!(!text.contains(char::is_control) && text.len() < 1_000, "{text:?}");
            text
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_json_is_refused_at_the_call_and_costs_nothing_beside_it() {
    let mut dynamic = dynamic();
    let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    let deepest = [vec![b'['; JSON_DEPTH_MAX], vec![b']'; JSON_DEPTH_MAX]].concat();
    let deeper = [b"[", &deepest[..], b"]"].concat();
    for (json, part) in [
        (&b"{\"node\":\"\xff\xfe\"}"[..], "invalid UTF-8 after 9 bytes"),
        (b"{\"node\":\"\x1b[2J\"}", "control character"),
        (b"", "EOF"),
        (b"{} {}", "trailing"),
        (b"[[[", "EOF"),
    ] {
        let text = malformed(dynamic.send("heartbeat", json));
        assert!(text.contains(part), "{text}");
    }
    for deep in [&deep, &deeper] {
        assert_eq!(dynamic.send("heartbeat", deep), Err(Refused::TooDeep));
    }
    // As deep as may be, it travels; and a long text of brackets is no deep one.
    dynamic.send("heartbeat", &deepest).expect("JSON");
    let huge = [b"\"".as_slice(), &vec![b'['; 10_000_000], b"\""].concat();
    dynamic.send("heartbeat", &huge).expect("within what a stream carries");
    dynamic.goes_on();
    for name in ["", "a b", "heart\x1b[2Jbeat", "Heartbeat", "ümlaut", &"x".repeat(256)] {
        assert!(malformed(dynamic.send(name, b"{}")).contains("type name"), "{name:?}");
    }
    dynamic.goes_on();
    let sent = dynamic.speaker.close();
    assert!(sent.balanced, "{sent:?}");
    let ledger = dynamic.listener.close();
    assert!(ledger.balanced, "{ledger:?}");
    let handled = &ledger.handlers["heartbeat"];
    assert_eq!((handled.delivered, handled.refused), (2, 2), "{handled:?}");
}

#[test]
fn what_does_not_fit_its_type_is_counted_there_with_the_field() {
    let good = Heartbeat::sample("good", 1).expect("/proc");
    let mut json = Vec::new();
    json::serialize(&good, &mut json).expect("writes");
    let good = String::from_utf8(json).expect("text");
    let deep = format!("[{}{}]", "[".repeat(100), "]".repeat(100));
    for (bad, parts) in [
        (good.replace("\"node_id\":1", "\"node_id\":-1"), &["node_id: ", "integer `-1`"][..]),
        (good.replace("\"services\":[]", "\"services\":[\"a\",7]"), &["services[1]: ", "`7`"]),
        (good.replace("\"node_id\":1", "\"nodeid\":1"), &["missing field `node_id`"]),
        (good.replace("\"services\":[]", &format!("\"services\":{deep}")), &["services[0]: "]),
        (good.replace("\"node\":\"good\"", "\"node\":{\"\\u001b[2J\":1}"), &["node: ", "map"]),
        (format!("{}{good}", " ".repeat(JSON_BYTES_MAX)), &["longer than 1048576 bytes"]),
    ] {
        let mut dynamic = dynamic();
        dynamic.send("heartbeat", bad.as_bytes()).expect("JSON");
        dynamic.goes_on();
        let ledger = dynamic.listener.close();
        let handled = &ledger.handlers["heartbeat"];
        assert_eq!((handled.delivered, handled.refused), (1, 1), "{handled:?}");
        let reason = handled.refusal.as_deref().expect("a reason");
        for part in parts {
            assert!(reason.contains(part), "{part}: {reason}");
        }
        assert!(!reason.contains(char::is_control) && reason.len() < 500, "{reason:?}");
        assert!(ledger.balanced, "{ledger:?}");
    }
}

#[test]
fn what_a_reason_quotes_moves_no_cursor() {
    let told = |text: &str| match json::deserialize::<PerformanceMetric>(text.as_bytes()) {
        Err(JsonError::Text { field, reason, .. }) => (field, reason),
        other => panic!("{other:?}"),
    };
    // The name of a label is the sender's, and so is its length.
    let (field, _) = told(r#"{"labels":{"\u001b[2J\u009b":7}}"#);
    assert_eq!(field, r"labels.\u{1b}[2J\u{9b}");
    let (field, _) = told(&format!(r#"{{"labels":{{"{}":7}}}}"#, "é".repeat(5_000)));
    assert!(field.len() < 220 && field.ends_with('…'), "{field}");
    let (field, reason) = told(r#"{"node":"a","value":"\u001b[2J"}"#);
    assert_eq!(field, "value");
    assert!(!reason.contains(char::is_control), "{reason:?}");
}
