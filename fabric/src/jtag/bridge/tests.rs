//! The bridge without sockets, on real nodes: texts in, texts out.

use super::*;
use crate::jtag::ways::Ways;
use crate::node::Node;
use crate::target::Target;

const PATIENCE: Duration = Duration::from_secs(10);

/// A bridge on a node of its own, and what it gave out.
struct Side {
    _node: Node,
    events: LegacyEvents,
    bridge: Bridge,
}

impl Side {
    fn new(name: &str, to: &Target) -> Self {
        Self::on(Node::builder(name).start().unwrap(), to)
    }

    fn on(node: Node, to: &Target) -> Self {
        let events = LegacyEvents::builder(&node).ways(Ways::to(to)).start().unwrap();
        let bridge = Bridge::new(&events, || {}).request_timeout(Duration::from_millis(400));
        Self { _node: node, events, bridge }
    }

    /// A client that has said hello from `origin`, so that it is known who it speaks for.
    fn client(&mut self, origin: &str) -> ClientId {
        let client = self.bridge.join().unwrap();
        let hello = message("event", origin, "server/events", &json!({ "n": client.0 }));
        self.say(client, &hello);
        let _ = self.told_now();
        client
    }

    fn say(&mut self, client: ClientId, message: &Value) {
        self.bridge.on_text(client, message.to_string().as_bytes(), Instant::now());
    }

    fn told_now(&mut self) -> Vec<(ClientId, Value)> {
        self.bridge.poll(Instant::now());
        let out = std::iter::from_fn(|| self.bridge.next_out());
        out.map(|(client, text)| (client, serde_json::from_str(&text).unwrap())).collect()
    }

    /// The next text that is given out, within the patience.
    fn told(&mut self) -> (ClientId, Value) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.bridge.poll(Instant::now());
            if let Some((client, text)) = self.bridge.next_out() {
                return (client, serde_json::from_str(&text).unwrap());
            }
            assert!(Instant::now() < until, "nothing was told");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn refused(&self, name: &str) -> u64 {
        self.bridge.counts().refused.get(name).copied().unwrap_or_default()
    }
}

fn message(kind: &str, origin: &str, endpoint: &str, payload: &Value) -> Value {
    let environment = origin.split('/').next().unwrap();
    json!({
        "messageType": kind, "origin": origin, "endpoint": endpoint, "payload": payload,
        "context": { "uuid": "7c9e", "environment": environment },
    })
}

fn with_id(kind: &str, (origin, endpoint): (&str, &str), id: &str, payload: &Value) -> Value {
    let mut message = message(kind, origin, endpoint, payload);
    message["correlationId"] = id.into();
    message
}

fn event(n: u64) -> Value {
    let payload = json!({ "eventName": "chat:said", "data": { "n": n }, "source": "page" });
    message("event", "browser/events", "server/events", &payload)
}

#[test]
fn an_event_reaches_the_fabric_and_every_other_client_once() {
    let far = Node::builder("far").start().unwrap();
    let heard = LegacyEvents::new(&far, &Target::Local).unwrap();
    let mut stream = heard.stream(crate::jtag::Filter::all());
    let mut side = Side::new("bridge", &Target::Node(far.address()));
    let [a, b, c] = [(); 3].map(|()| side.bridge.join().unwrap());
    side.say(a, &event(1));
    assert_eq!(side.told_now(), [(b, event(1)), (c, event(1))]);
    let arrived = stream.next_within(PATIENCE).unwrap();
    assert_eq!((arrived.name.as_str(), &arrived.data), ("chat:said", &json!({ "n": 1 })));
    assert_eq!((arrived.source.as_str(), arrived.context), ("page", Environment::Browser));
    // Again within a minute, by whichever client: dropped.
    side.say(b, &event(1));
    side.say(a, &event(1));
    assert_eq!(side.told_now(), []);
    assert_eq!(side.bridge.counts().duplicates, 2);
    side.bridge.leave(c);
    side.say(a, &event(2));
    assert_eq!(side.told_now(), [(b, event(2))]);
}

#[test]
fn events_of_the_fabric_reach_every_client_as_messages() {
    let mut side = Side::new("bridge", &Target::Local);
    let (page, daemon) = (side.client("browser/console"), side.client("server/daemon"));
    let far = Node::builder("far").start().unwrap();
    let to = Target::Node(side._node.address());
    let events = LegacyEvents::new(&far, &to).unwrap();
    events.emit("health.update", &json!({ "status": "healthy" })).unwrap();
    let told = [side.told(), side.told()];
    for ((client, text), (expected, endpoint)) in
        told.iter().zip([(page, "browser/events"), (daemon, "server/events")])
    {
        assert_eq!((*client, text["endpoint"].as_str()), (expected, Some(endpoint)));
        assert_eq!(
            (&text["messageType"], &text["origin"]),
            (&json!("event"), &json!("server/events"))
        );
        let payload = &text["payload"];
        assert_eq!(payload["eventName"], "health.update");
        assert_eq!(payload["data"], json!({ "status": "healthy" }));
        assert_eq!(payload["source"], "far");
        assert!(payload["sessionId"].is_string() && payload["timestamp"].is_string());
    }
    // One that is emitted in this process too, and not back from where its target is: here.
    side.events.emit("here", &Value::Null).unwrap();
    let told = [side.told(), side.told()];
    assert!(told.iter().all(|(_, text)| text["payload"]["eventName"] == "here"), "{told:?}");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(side.told_now(), []);
}

#[test]
fn a_request_reaches_who_speaks_for_its_endpoint_and_the_response_who_asked() {
    let mut side = Side::new("bridge", &Target::Local);
    let (page, daemon) = (side.client("browser/console"), side.client("server/commands"));
    let other = side.client("browser/chat");
    let request =
        with_id("request", ("browser/console", "server/commands/ping"), "corr_1", &json!({}));
    side.say(page, &request);
    assert_eq!(side.told_now(), [(daemon, request)]);
    let response =
        with_id("response", ("server/commands/ping", "browser"), "corr_1", &json!({ "pong": 1 }));
    side.say(daemon, &response);
    assert_eq!(side.told_now(), [(page, response.clone())]);
    let mut late = response;
    late["payload"]["pong"] = 2.into();
    side.say(daemon, &late);
    assert_eq!((side.told_now(), side.bridge.counts().unmatched), (vec![], 1));
    // The longest prefix: the other page alone.
    let request = with_id("request", ("server/commands", "browser/chat/say"), "corr_2", &json!({}));
    side.say(daemon, &request);
    assert_eq!(side.told_now(), [(other, request)]);
}

#[test]
fn requests_and_responses_cross_the_fabric_between_bridges() {
    // Each routes to the other; the first is told where once the second is there.
    let group = {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        format!("224.1.1.79:{}", socket.local_addr().unwrap().port())
    };
    let loopback = || crate::Interface::Address(std::net::Ipv4Addr::LOCALHOST);
    let [mut near, mut far, mut third] = ["near", "far", "third"].map(|name| {
        let node = Node::builder(name).join_on(&group, loopback()).multicast(1, loopback(), true);
        Side::on(node.start().unwrap(), &Target::multicast(&group))
    });
    let (page, daemon) = (near.client("browser/console"), far.client("server/commands"));
    let idle = third.client("browser/console");
    // The others hear of what the clients said to be known.
    std::thread::sleep(Duration::from_millis(200));
    for side in [&mut near, &mut far, &mut third] {
        let _ = side.told_now();
    }
    let request =
        with_id("request", ("browser/console", "server/commands/ping"), "corr_9", &json!({}));
    near.say(page, &request);
    assert_eq!(far.told(), (daemon, request));
    let response =
        with_id("response", ("server/commands/ping", "browser"), "corr_9", &json!({ "pong": 1 }));
    far.say(daemon, &response);
    assert_eq!(near.told(), (page, response));
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!((near.told_now(), far.told_now(), third.told_now()), (vec![], vec![], vec![]));
    assert_eq!(third.bridge.counts().elsewhere, 2, "neither for {idle:?}");
}

#[test]
fn a_request_that_nobody_answers_fails_in_time_and_by_name() {
    let far = Node::builder("far").start().unwrap();
    let mut side = Side::new("bridge", &Target::Node(far.address()));
    let page = side.client("browser/console");
    let ask = |id: &str| {
        let payload = json!({ "sessionId": "s-1" });
        with_id("request", ("browser/console", "server/commands/ping"), id, &payload)
    };
    side.say(page, &ask("corr_1"));
    assert!(side.bridge.due().is_some());
    assert_eq!(side.told_now(), []);
    let (client, response) = side.told();
    assert_eq!(client, page);
    assert_eq!(response["messageType"], "response");
    assert_eq!(response["correlationId"], "corr_1");
    assert_eq!(
        (&response["origin"], &response["endpoint"]),
        (&json!("server/commands/ping"), &json!("browser/console"))
    );
    assert_eq!(response["payload"]["success"], false);
    assert_eq!(response["payload"]["error"], "Request timeout after 400 ms");
    assert_eq!(response["payload"]["sessionId"], "s-1");
    assert_eq!(side.bridge.counts().timeouts, 1);

    // Under an id that is in use: refused, and the first keeps its turn.
    let other = side.client("browser/chat");
    side.say(page, &ask("corr_2"));
    let mut again = ask("corr_2");
    again["payload"]["n"] = 1.into();
    side.say(other, &again);
    let (client, told) = side.told();
    assert_eq!((client, &told["payload"]["eventName"]), (other, &json!("transport:error")));
    assert_eq!(side.refused("correlation_id_in_use"), 1);
    assert_eq!(side.told().0, page);

    // Nobody anywhere: at once.
    let node = Node::builder("nowhere").start().unwrap();
    let events = LegacyEvents::builder(&node).start().unwrap();
    let mut bridge = Bridge::new(&events, || {});
    let page = bridge.join().unwrap();
    bridge.on_text(page, ask("corr_3").to_string().as_bytes(), Instant::now());
    let response: Value = serde_json::from_str(&bridge.next_out().unwrap().1).unwrap();
    assert_eq!(response["payload"]["errorCode"], "no_endpoint");
}

#[test]
fn what_is_wrong_is_told_by_name_and_loses_nothing_beside_it() {
    let mut side = Side::new("bridge", &Target::Local);
    let (page, other) = (side.client("browser/console"), side.client("browser/chat"));
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let long = format!("\"{}\"", "x".repeat(10 << 20));
    let full = format!("[{}0]", "0,".repeat(200_000));
    let control = event(7).to_string().replace("browser/events", "browser/\\u001b[2J");
    for (text, name) in [
        (&b"{"[..], "malformed"),
        (b"{\"messageType\":\"event\"}", "bad_field"),
        (b"\xff\xfe", "invalid_utf8"),
        (deep.as_bytes(), "too_deep"),
        (long.as_bytes(), "too_long"),
        (full.as_bytes(), "too_many_values"),
        (control.as_bytes(), "bad_text"),
    ] {
        side.bridge.on_text(page, text, Instant::now());
        let told = side.told_now();
        let [(client, told)] = &told[..] else { panic!("{name}: {told:?}") };
        assert_eq!((*client, &told["payload"]["eventName"]), (page, &json!("transport:error")));
        assert_eq!(told["payload"]["data"]["error"], name);
        assert!(!told.to_string().contains(char::is_control), "{told}");
        assert_eq!(side.refused(name), 1);
    }
    // What a datagram does not hold is refused by the router's name; who asked is answered.
    let far = Side::new("small", &Target::node("127.0.0.1:9"));
    let mut large = event(8);
    large["payload"]["data"] = "x".repeat(200_000).into();
    let mut far = far;
    let client = far.client("browser/console");
    far.say(client, &large);
    assert_eq!(far.told().1["payload"]["data"]["error"], "too_large");
    side.say(page, &event(9));
    assert_eq!(side.told_now(), [(other, event(9))]);
}

#[test]
fn the_real_clients_handshake_is_taken_and_clients_have_an_end() {
    let mut side = Side::new("bridge", &Target::Local);
    let client = side.bridge.join().unwrap();
    let hello = json!({
        "messageType": "event", "endpoint": "session/handshake",
        "payload": { "sessionId": "s-1", "timestamp": "2025-07-24T01:02:03.004Z" },
    });
    side.say(client, &hello);
    assert_eq!((side.told_now(), side.bridge.counts().refused.len()), (vec![], 0));
    let rest: Vec<_> = std::iter::from_fn(|| side.bridge.join()).collect();
    assert_eq!(rest.len(), CLIENTS_MAX - 1);
    side.bridge.leave(client);
    assert!(side.bridge.join().is_some());
}

#[test]
fn a_flood_of_answered_requests_leaves_nothing_behind() {
    let mut side = Side::new("bridge", &Target::Local);
    let (page, daemon) = (side.client("browser/console"), side.client("server/commands"));
    for number in 0..10_000 {
        let id = format!("corr_{number}");
        let way = ("browser/console", "server/commands/ping");
        side.say(page, &with_id("request", way, &id, &json!({})));
        side.say(
            daemon,
            &with_id("response", ("server/commands/ping", "browser"), &id, &json!({})),
        );
        assert_eq!(side.told_now().len(), 2, "{number}");
    }
    assert_eq!(side.bridge.counts().refused.len(), 0);
    for number in 0..PENDING_MAX {
        let way = ("browser/console", "server/commands/ping");
        side.say(page, &with_id("request", way, &format!("open_{number}"), &json!({})));
    }
    let _ = side.told_now();
    side.say(page, &with_id("request", ("browser/console", "server/x"), "one_more", &json!({})));
    assert_eq!(side.told().1["payload"]["data"]["error"], "too_many_requests");
}
