//! `wireloom sub`: what is printed, when it ends, and what strangers can and cannot make it do.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::UdpSocket;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use wireloom::events::Heartbeat;
use wireloom::{Event, Node, Target};
use wireloom_wire::{
    Encoding, Fingerprint, FrameEncoder, FrameFlags, FrameHeader, NodeId, PACKET_HEADER_BYTES,
    PacketFlags, PacketHeader, Priority, SessionId, align_up, body_hash, event_type_id,
};

use crate::program::{Subscriber, account, run, run_with, text, wireloom};

fn publish(to: &str, event_type: &str, input: &str) {
    let published = run_with(&["pub", "--to", to, "--type", event_type], input.as_bytes());
    assert!(published.status.success(), "{}", text(&published.stderr));
}

fn events(stdout: &[u8]) -> Vec<Value> {
    text(stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn an_event_is_printed_with_everything_that_travelled_with_it() {
    let subscriber = Subscriber::start(&["--count", "2", "--timeout", "30s"]);
    let words = ["pub", "--to", &subscriber.target(), "--type", "greeting", "--priority", "high"];
    assert!(run_with(&words, b"{\"b\" : [1,2.50]}\n\"x\"\n").status.success());
    let ended = subscriber.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let printed = text(&ended.stdout);
    assert!(
        printed
            .lines()
            .next()
            .is_some_and(|line| line.ends_with("\"payload\":{\"b\" : [1,2.50]}}"))
    );
    let events = events(&ended.stdout);
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event["type"], "greeting");
        assert_eq!(event["sequence"], index);
        assert_eq!(event["priority"], "high");
        assert_eq!(event["encoding"], "json");
        assert_eq!(event["source"].as_str().map(str::len), Some(16));
        let at = event["timestamp_ns"].as_u64().expect("a number");
        assert!(at > 1_700_000_000_000_000_000 && event["received_ns"].as_u64() > Some(at / 2));
    }
    assert_eq!(events[1]["payload"], "x");
    let ledger = ended.ledger();
    assert_eq!(ledger["ended_by"], "count");
    assert_eq!(ledger["unread"], 0);
}

#[test]
fn a_ready_made_type_says_how_urgent_its_events_are_unless_somebody_does() {
    let subscriber = Subscriber::start(&["--count", "3", "--timeout", "30s"]);
    for words in [&["debug"][..], &["debug", "--priority", "high"], &["mine"]] {
        let target = subscriber.target();
        let words = [&["pub", "--to", &target, "--type"], words].concat();
        assert!(run_with(&words, b"{}\n").status.success());
    }
    let ended = subscriber.end();
    let mut told: Vec<String> =
        events(&ended.stdout).iter().map(|event| event["priority"].to_string()).collect();
    told.sort_unstable();
    assert_eq!(told, ["\"background\"", "\"high\"", "\"normal\""], "{}", ended.stderr);
}

#[test]
fn only_the_types_asked_for_are_printed_and_the_rest_is_accounted_for() {
    let words = ["--type", "b", "--type", "c", "--type", "b", "--count", "3", "--timeout", "30s"];
    let subscriber = Subscriber::start(&words);
    for (event_type, input) in [("a", "1\n2\n"), ("b", "3\n"), ("c", "4\n"), ("b", "5\n")] {
        publish(&subscriber.target(), event_type, input);
    }
    let ended = subscriber.end();
    let mut payloads: Vec<u64> =
        events(&ended.stdout).iter().filter_map(|event| event["payload"].as_u64()).collect();
    payloads.sort_unstable();
    assert_eq!(payloads, [3, 4, 5]);
    assert_eq!(ended.ledger()["received"]["unsubscribed"], 2, "{}", ended.stderr);
}

#[test]
fn the_time_ends_it_and_the_status_says_whether_enough_came() {
    for (words, code) in [
        (&["--timeout", "300ms"][..], 0),
        (&["--timeout", "300ms", "--count", "1"], 1),
        (&["--timeout", "0s"], 0),
    ] {
        let begin = Instant::now();
        let ended = Subscriber::start(words).end();
        assert_eq!(ended.code, Some(code), "{words:?}: {}", ended.stderr);
        let ledger = ended.ledger();
        assert_eq!((&ledger["ended_by"], &ledger["balanced"]), (&json!("timeout"), &json!(true)));
        assert!(begin.elapsed() < Duration::from_secs(20), "{words:?}");
    }
}

#[test]
fn a_signal_ends_it_with_its_ledger() {
    for signal in [Signal::INT, Signal::TERM] {
        let subscriber = Subscriber::start(&[]);
        publish(&subscriber.target(), "a", "1\n");
        std::thread::sleep(Duration::from_millis(300));
        subscriber.signal(signal);
        let ended = subscriber.end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(events(&ended.stdout).len(), 1);
        assert_eq!(ended.ledger()["ended_by"], "signal");
    }
}

#[test]
fn what_was_not_printed_any_more_is_accounted_for() {
    let subscriber = Subscriber::start(&["--count", "1", "--timeout", "30s"]);
    publish(&subscriber.target(), "a", &"1\n".repeat(5));
    let ended = subscriber.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(events(&ended.stdout).len(), 1);
    let ledger = ended.ledger();
    let delivered = ledger["received"]["delivered"].as_u64();
    assert_eq!(delivered, ledger["unread"].as_u64().map(|unread| unread + 1), "{ledger}");
}

#[test]
fn an_event_is_printed_when_it_arrives_not_when_a_block_is_full() {
    let mut command = wireloom(&["sub", "--listen", "udp://127.0.0.1:0", "--timeout", "60s"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let read_line = |from: &mut dyn std::io::Read| {
        let mut line = String::new();
        BufReader::new(from).read_line(&mut line).expect("text");
        line
    };
    let told = read_line(child.stderr.as_mut().expect("piped"));
    let target = told.trim().strip_prefix("ready: listening on ").expect("where").to_owned();
    publish(&target, "a", "7\n");
    assert!(read_line(child.stdout.as_mut().expect("piped")).ends_with("\"payload\":7}\n"));
    // Whoever read it goes: the next event ends it, quietly.
    drop(child.stdout.take());
    publish(&target, "a", "8\n");
    let mut stderr = String::new();
    let mut err = child.stderr.take().expect("piped");
    std::io::Read::read_to_string(&mut err, &mut stderr).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{stderr}");
    assert_eq!(account(&stderr)["ended_by"], "closed_output", "{stderr}");
}

#[test]
fn a_port_in_use_is_told_in_one_line() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let listen = format!("udp://{}", taken.local_addr().expect("bound"));
    let refused = run(&["sub", "--listen", &listen, "--timeout", "1s"]);
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.starts_with("error: ") && told.contains("in use"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn a_group_is_heard_by_everybody_who_joined() {
    let free = UdpSocket::bind("0.0.0.0:0").expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    let group = format!("224.1.1.1:{port}");
    let words = ["--join", &group, "--interface", "127.0.0.1", "--count", "1", "--timeout", "30s"];
    let subscribers = [Subscriber::start(&words), Subscriber::start(&words)];
    let to = format!("udp://{group}");
    let words = ["pub", "--to", &to, "--type", "a", "--interface", "127.0.0.1"];
    assert!(run_with(&words, b"1\n").status.success());
    for subscriber in subscribers {
        let ended = subscriber.end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert_eq!(events(&ended.stdout)[0]["payload"], 1);
    }
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "price-tick", priority = "low")]
struct PriceTick {
    instrument: String,
    cents: u64,
}

#[test]
fn typed_events_are_shown_as_far_as_they_are_known() {
    let subscriber = Subscriber::start(&["--count", "2", "--timeout", "30s"]);
    let node = Node::builder("typed").start().expect("a node");
    let (mut router, to) = (node.router(), Target::Node(subscriber.address));
    let tick = PriceTick { instrument: "ACME ".repeat(20), cents: 1_250 };
    router.route(&tick, &to).expect("accepted");
    let heartbeat = Heartbeat::sample("typed", 7).expect("/proc");
    router.route(&heartbeat, &to).expect("accepted");
    drop(router);
    assert!(node.close().balanced);
    let ended = subscriber.end();
    let mut events = events(&ended.stdout);
    // Priorities have lanes of their own: the order is not that of publishing.
    events.sort_by_key(|event| event["sequence"].as_u64());
    let [tick, beat] = events.as_slice() else { panic!("two events in {}", ended.stderr) };
    assert_eq!(tick["type"], format!("#{}", PriceTick::TYPE_ID));
    assert_eq!((&tick["encoding"], &tick["priority"]), (&json!("rkyv"), &json!("low")));
    assert_eq!(tick["payload"]["encoding"], "rkyv");
    assert!(tick["payload"]["bytes"].as_u64() > Some(100));
    let hex = tick["payload"]["hex"].as_str().expect("text");
    assert!(hex.len() == 128 && hex.starts_with("41434d4520"), "{hex}");
    assert_eq!(beat["type"], "heartbeat");
    assert_eq!(beat["payload"], serde_json::to_value(&heartbeat).expect("JSON"));
}

/// A packet with one frame that says it is JSON.
fn packet(payload: &[u8], sequence: u64, first_event: u64) -> Vec<u8> {
    let header = FrameHeader {
        length: 0, // the encoder's to fill
        event_type: event_type_id("forged"),
        fingerprint: Fingerprint::NONE,
        priority: Priority::Normal,
        encoding: Encoding::Json,
        flags: FrameFlags::empty(),
        sequence: first_event,
        timestamp_ns: 1,
    };
    let encoder = FrameEncoder::new(header).with_name("forged").expect("a name");
    let mut body = vec![0; 256];
    let bytes = encoder.write(payload, &mut body).expect("it fits");
    body.truncate(align_up(bytes));
    let header = PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane: Priority::Normal.lane(),
        frame_count: 1,
        length: u32::try_from(PACKET_HEADER_BYTES + body.len()).expect("small"),
        session: SessionId(9),
        source: NodeId(9),
        sequence,
        first_event,
    };
    [header.encode(Some(body_hash(&body))).as_slice(), &body].concat()
}

#[test]
fn strangers_cannot_stop_it_or_make_it_print_what_is_not_json() {
    let subscriber = Subscriber::start(&["--count", "3", "--timeout", "30s"]);
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let send = |bytes: &[u8]| stranger.send_to(bytes, subscriber.address).expect("sent");
    for garbage in [&b""[..], b"x", &[0xff; 48], &[1; 2_000]] {
        send(garbage);
    }
    let mut flipped = packet(b"{}", 0, 0);
    flipped[60] ^= 1;
    send(&flipped);
    let payloads = [&b"\x1b[2J\n{}"[..], b"\"\xff\"", b"{\n\"ok\":1}"];
    for (sequence, payload) in (0..).zip(payloads) {
        send(&packet(payload, sequence, sequence));
    }
    let ended = subscriber.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let events = events(&ended.stdout);
    assert_eq!(events[0]["payload"]["hex"], "1b5b324a0a7b7d");
    assert_eq!(events[0]["payload"]["encoding"], "json");
    assert!(events[0]["payload"]["malformed"].is_string());
    assert_eq!(events[1]["payload"]["bytes"], 3);
    assert_eq!(events[2]["payload"], json!({"ok": 1}));
    assert_eq!(events[2]["type"], "forged");
    assert!(!ended.stdout.contains(&0x1b));
    let ledger = ended.ledger();
    let dropped = ledger["dropped_datagrams"].as_object().expect("reasons");
    let count: u64 = dropped.values().filter_map(Value::as_u64).sum();
    assert_eq!(count, 5, "{ledger}");
    assert_eq!(ledger["balanced"], true, "{ledger}");
}

#[test]
fn a_loss_is_told_when_it_is_noticed_and_once() {
    let subscriber = Subscriber::start(&["--type", "forged", "--type", "other"]);
    let stranger = UdpSocket::bind("127.0.0.1:0").expect("a port");
    // The packet between them is missing, and carried the events 1 and 2.
    for bytes in [packet(b"1", 0, 0), packet(b"2", 2, 3)] {
        stranger.send_to(&bytes, subscriber.address).expect("sent");
    }
    let told = subscriber.told();
    assert!(told.starts_with("lost 2 events of node 0000000000000009, lane 2"), "{told}");
    subscriber.signal(Signal::TERM);
    let ended = subscriber.end();
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(ended.ledger()["received"]["lost"], 2, "{}", ended.stderr);
}

#[test]
fn a_slow_reader_finds_what_its_policy_says() {
    const EVENTS: u64 = 20_000;
    let input: String = (0..EVENTS).map(|number| format!("{number}\n")).collect();
    for policy in ["drop-newest", "drop-oldest", "latest", "disconnect", "block:1ms"] {
        let words = ["--type", "a", "--policy", policy, "--ring-bytes", "64KiB"];
        let mut command = wireloom(&["sub", "--listen", "udp://127.0.0.1:0", "--timeout", "4s"]);
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut told = String::new();
        stderr.read_line(&mut told).expect("text");
        let target = told.trim().strip_prefix("ready: listening on ").expect("where");
        // What it prints is read by nobody until all have come.
        publish(target, "a", &input);
        std::thread::sleep(Duration::from_millis(300));
        let mut stdout = Vec::new();
        child.stdout.take().expect("piped").read_to_end(&mut stdout).expect("readable");
        let mut told = String::new();
        stderr.read_to_string(&mut told).expect("text");
        let code = child.wait().expect("it ends").code();
        let numbers: Vec<u64> =
            events(&stdout).iter().filter_map(|event| event["payload"].as_u64()).collect();
        let (first, last) = (numbers.first().copied(), numbers.last().copied());
        assert!(numbers.is_sorted() && (numbers.len() as u64) < EVENTS, "{policy}");
        let ledger = account(&told);
        let is_cut = policy == "disconnect";
        let has_newest = ["drop-oldest", "latest"].contains(&policy);
        // Those who keep the newest give up the first too, if it had not been taken by then.
        assert!(has_newest || first == Some(0), "{policy}: {first:?}");
        assert_eq!(last == Some(EVENTS - 1), has_newest, "{policy}: {last:?}");
        assert_eq!(code, Some(i32::from(is_cut)), "{policy}: {told}");
        assert_eq!(ledger["ended_by"] == "cut_off", is_cut, "{policy}: {ledger}");
        let ring = &ledger["rings"]["a"];
        let (at, reason) = match policy {
            "drop-oldest" => ("given_up", "oldest"),
            "latest" => ("given_up", "superseded"),
            "disconnect" => ("refused", "disconnected"),
            "drop-newest" => ("refused", "ring_full"),
            _ => ("given_up", "waited_too_long"),
        };
        assert!(ring[at][reason].as_u64() > Some(0), "{policy}: {ledger}");
    }
}
