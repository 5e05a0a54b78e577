//! The bridge as legacy programs meet it: over real WebSockets, in the shape of real messages.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Error, Message, WebSocket, client};

use crate::program::{Subscriber, account, run, run_with, text, wireloom};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running bridge on ports the system chose.
pub(crate) struct Bridge {
    pub(crate) child: Child,
    lines: Receiver<String>,
    pub(crate) clients: String,
    events: String,
}

impl Bridge {
    pub(crate) fn start(words: &[&str]) -> Self {
        let mut command = wireloom(&["jtag-bridge", "--listen", "ws://127.0.0.1:0"]);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        let first: String = lines.recv_timeout(PATIENCE).expect("it says where it listens");
        let rest = first.strip_prefix("listening on ws://").expect("an address");
        let (clients, events) = rest.split_once(", events on ").expect("another address");
        let (clients, events) = (clients.to_owned(), events.to_owned());
        Self { child, lines, clients, events }
    }

    pub(crate) fn client(&self) -> Client {
        let stream = TcpStream::connect(&self.clients).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (socket, _) = client(format!("ws://{}/", self.clients), stream).expect("a handshake");
        Client(socket)
    }

    /// Ends it in good order; what it says at the end.
    pub(crate) fn end(mut self) -> Value {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        let status = self.child.wait().expect("it ends");
        let lines: Vec<String> = self.lines.iter().collect();
        assert_eq!(status.code(), Some(0), "{lines:?}");
        account(&lines.join("\n"))
    }
}

impl Drop for Bridge {
    /// A test that fails leaves no bridge behind.
    fn drop(&mut self) {
        // Nothing is there to be ended when `end` has.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Client(pub(crate) WebSocket<TcpStream>);

impl Client {
    fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).expect("sent");
    }

    fn told(&mut self) -> Value {
        loop {
            let read = match self.0.read() {
                // Stopped and woken by who runs it: a read with a timeout ends then (signal(7)).
                Err(Error::Io(error)) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.expect("a message within the patience"),
            };
            match read {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Nothing comes for a while.
    fn nothing_more(&mut self) {
        self.0.get_ref().set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        let heard = self.0.read();
        assert!(matches!(heard, Err(Error::Io(_))), "{heard:?}");
        self.0.get_ref().set_read_timeout(Some(PATIENCE)).expect("a timeout");
    }
}

fn message(kind: &str, (origin, endpoint): (&str, &str), payload: &Value) -> Value {
    let environment = origin.split('/').next().unwrap_or_default();
    json!({
        "messageType": kind, "origin": origin, "endpoint": endpoint, "payload": payload,
        "context": { "uuid": "7c9e6679", "environment": environment },
    })
}

fn event(name: &str, data: &Value) -> Value {
    let payload = json!({ "eventName": name, "data": data, "source": "page" });
    message("event", ("browser/events", "server/events"), &payload)
}

#[test]
fn messages_become_events_and_events_messages() {
    let subscriber = Subscriber::start(&["--type", "legacy-jtag", "--count", "1"]);
    let bridge = Bridge::start(&["--target", &subscriber.target(), "--name", "bridge"]);
    let (mut page, mut other) = (bridge.client(), bridge.client());
    // As the real client begins.
    page.say(&json!({
        "messageType": "event", "endpoint": "session/handshake",
        "payload": { "sessionId": "s-1", "timestamp": "2025-07-24T01:02:03.004Z" },
    }));
    let said = event("chat:said", &json!({ "text": "größe \u{1b}[2J" }));
    page.say(&said);
    assert_eq!(other.told(), said);
    let ended = subscriber.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line: Value = serde_json::from_slice(&ended.stdout).expect("a line of JSON");
    assert_eq!(line["payload"], json!({ "legacyType": "jtag", "originalEvent": said }));
    assert!(!ended.stdout.contains(&0x1b), "nothing raw on a terminal");

    let wrapped =
        r#"{"legacyType":"jtag","originalEvent":{"type":"health.update","data":{"n":1}}}"#;
    let to = ["pub", "--to", &bridge.events, "--type", "legacy-jtag"];
    let published = run_with(&to, wrapped.as_bytes());
    assert_eq!(published.status.code(), Some(0), "{}", text(&published.stderr));
    for client in [&mut page, &mut other] {
        let told = client.told();
        assert_eq!(
            (&told["messageType"], &told["origin"]),
            (&json!("event"), &json!("server/events"))
        );
        assert_eq!(told["payload"]["eventName"], "health.update");
        assert_eq!(told["payload"]["data"], json!({ "n": 1 }));
        client.nothing_more();
    }
    let account = bridge.end();
    assert_eq!(
        (&account["bridge"]["clients"], &account["bridge"]["heard"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(account["legacy"]["routed"], 1);
    assert_eq!(account["balanced"], true);
}

#[test]
fn requests_find_who_answers_and_responses_who_asked() {
    let bridge = Bridge::start(&[]);
    let (mut page, mut daemon) = (bridge.client(), bridge.client());
    daemon.say(&message("event", ("server/commands", "browser/events"), &json!({ "n": 1 })));
    assert_eq!(page.told()["payload"]["n"], 1);
    let mut request =
        message("request", ("browser/console", "server/commands/ping"), &json!({ "n": 2 }));
    request["correlationId"] = "corr_1753300000000_ab12cd34".into();
    page.say(&request);
    assert_eq!(daemon.told(), request);
    let mut response = message("response", ("server/commands/ping", "browser"), &json!({ "n": 3 }));
    response["correlationId"] = request["correlationId"].clone();
    daemon.say(&response);
    assert_eq!(page.told(), response);
    // A client that goes is nobody's endpoint any more.
    drop(daemon);
    let until = Instant::now() + PATIENCE;
    for number in 0.. {
        request["correlationId"] = format!("corr_{number}").into();
        page.say(&request);
        page.0.get_ref().set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        match page.0.read() {
            Ok(Message::Text(text)) => {
                let told: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(told["payload"]["errorCode"], "no_endpoint", "{told}");
                break;
            }
            _ => assert!(Instant::now() < until, "the daemon is still there"),
        }
    }
    bridge.end();
}

#[test]
fn bad_input_is_told_by_name_and_the_others_go_on() {
    let bridge = Bridge::start(&["--clients", "8"]);
    let (mut bad, mut good) = (bridge.client(), bridge.client());
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let long = format!("\"{}\"", "x".repeat(10 << 20));
    for (text, name) in [("{", "malformed"), (&deep, "too_deep"), (&long, "too_long")] {
        bad.0.send(Message::text(text)).expect("sent");
        assert_eq!(bad.told()["payload"]["data"]["error"], name);
    }
    bad.0.send(Message::Binary(Bytes::from_static(b"{\"a\":\"\xff\"}"))).expect("sent");
    assert_eq!(bad.told()["payload"]["data"]["error"], "invalid_utf8");
    // A Buffer of Node's is a binary message.
    let said = event("as:bytes", &json!(1));
    bad.0.send(Message::Binary(said.to_string().into_bytes().into())).expect("sent");
    assert_eq!(good.told(), said);
    // Beyond what is read at all: the socket ends and says why.
    let endless = "x".repeat(13_000_000);
    // The bridge may say goodbye before it has all of it.
    let _ = bad.0.send(Message::text(endless));
    let frame = loop {
        match bad.0.read().expect("a goodbye") {
            Message::Close(frame) => break frame.expect("with a reason"),
            Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((frame.code, frame.reason.as_str()), (CloseCode::Size, "too_long"));
    let mut again = bridge.client();
    let said = event("chat:said", &json!(2));
    again.say(&said);
    assert_eq!(good.told(), said);
    let account = bridge.end();
    let refused = &account["bridge"]["refused"];
    assert_eq!(
        *refused,
        json!({ "invalid_utf8": 1, "malformed": 1, "too_deep": 1, "too_long": 2 })
    );
    assert_eq!(account["sockets"]["ended"]["too_long"], 1);
}

/// Sends bytes that may be an HTTP request; what came back.
fn raw(bridge: &Bridge, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(&bridge.clients).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request).expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_is_no_websocket_and_pages_from_elsewhere_are_turned_away() {
    let bridge = Bridge::start(&["--allow-origin", "https://desk.example"]);
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (more, status) in [
        ("Origin: https://desk.example\r\n", "101"),
        ("Origin: http://localhost:9000\r\n", "101"),
        ("Origin: https://evil.example\r\n", "403"),
        ("X-Bad: a\x01b\r\n", "400"),
        ("X-Bad\x1b[2J: a\r\n", "400"),
        ("\0: a\r\n", "400"),
    ] {
        let request = format!("{upgrade}{more}\r\n");
        let mut stream = TcpStream::connect(&bridge.clients).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).expect("an answer");
        assert_eq!(line.split(' ').nth(1), Some(status), "{more:?}: {line:?}");
    }
    assert!(raw(&bridge, b"POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 400"));
    assert!(raw(&bridge, b"\x16\x03\x01 TLS hello\r\n\r\n").starts_with("HTTP/1.1 400"));
    let mut client = bridge.client();
    client.0.send(Message::Ping(Bytes::from_static(b"there?"))).expect("sent");
    assert_eq!(client.0.read().expect("an answer"), Message::Pong(Bytes::from_static(b"there?")));
    client.0.close(None).expect("closes");
    while client.0.read().is_ok() {}
    let account = bridge.end();
    assert_eq!(account["sockets"]["ended"]["origin"], 1);
    assert_eq!(account["sockets"]["ended"]["handshake"], 5);
    assert_eq!(account["sockets"]["ended"]["closed"], 1);
}

#[test]
fn clients_have_an_end_and_a_frozen_one_stops_nobody() {
    let bridge = Bridge::start(&["--clients", "3"]);
    let (mut page, mut other, frozen) = (bridge.client(), bridge.client(), bridge.client());
    let stream = TcpStream::connect(&bridge.clients).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert!(client(format!("ws://{}/", bridge.clients), stream).is_err(), "no room for a fourth");
    // 120 MB, of which the frozen one takes what its kernel holds and the bridge 1,000 messages.
    let large = "x".repeat(60_000);
    for number in 0..2_000 {
        page.say(&event("flood", &json!({ "n": number, "text": large })));
        assert_eq!(other.told()["payload"]["data"]["n"], number);
    }
    drop(frozen);
    let account = bridge.end();
    assert_eq!(account["sockets"]["turned_away"], 1);
    assert!(account["sockets"]["shed_slow_client"].as_u64() > Some(0), "{account}");
}

#[test]
fn the_words_of_the_command_are_checked() {
    for (words, told) in [
        (["--listen", "127.0.0.1:9001"], "ws://HOST:PORT"),
        (["--listen", "wss://127.0.0.1:9001"], "proxy"),
        (["--way", "crtical=udp://127.0.0.1:9"], "did you mean critical"),
        (["--way", "critical"], "PRIORITY=TARGET"),
        (["--clients", "0"], "1.."),
    ] {
        let output = run(&[&["jtag-bridge"], &words[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(text(&output.stderr).contains(told), "{}", text(&output.stderr));
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("ws://{}", taken.local_addr().expect("bound"));
    let output = run(&["jtag-bridge", "--listen", &address]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot listen"), "{}", text(&output.stderr));
}

/// A client in JavaScript with the package `ws`, as legacy programs are; `scripts/legacy-client`
/// fetches the package and runs this. Without it there is nothing to run.
#[test]
fn a_real_javascript_client_connects() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let modules = target.join("legacy-client/node_modules");
    let is_wanted = std::env::var_os("WIRELOOM_LEGACY_CLIENT").is_some();
    if !modules.join("ws").is_dir() && !is_wanted {
        return;
    }
    let bridge = Bridge::start(&[]);
    let mut daemon = bridge.client();
    daemon.say(&message("event", ("server/commands", "browser/events"), &json!({ "n": 1 })));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/legacy-client.cjs");
    let script = Command::new("node")
        .args([script.as_os_str(), format!("ws://{}", bridge.clients).as_ref()])
        .env("NODE_PATH", &modules)
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    // It emits an event, then asks; it ends well when it was answered and has heard an event.
    let emitted = daemon.told();
    assert_eq!(emitted["payload"]["eventName"], "chat:said");
    let request = daemon.told();
    assert_eq!(request["endpoint"], "server/commands/ping");
    let mut response =
        message("response", ("server/commands/ping", "browser"), &json!({ "pong": 1 }));
    response["correlationId"] = request["correlationId"].clone();
    daemon.say(&response);
    daemon.say(&event("health.update", &json!({ "status": "healthy" })));
    let output = script.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stdout));
    assert_eq!(text(&output.stdout).lines().last(), Some("ok: handshake, event, response, event"));
    bridge.end();
}
