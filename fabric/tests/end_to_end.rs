//! Nodes over real sockets on loopback: typed events, dynamic events, refusals, ledgers.

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use wireloom::{
    Encoding, Event, Interface, IoBackend, Mode, Node, NodeError, Polled, PolledAny, Priority,
    Refused, ShedReason, SubscribeError, Target, TraceContext,
};

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(
    Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, serde::Serialize, serde::Deserialize,
)]
#[event(type = "user-interaction", priority = "high")]
struct UserInteraction {
    user_id: u64,
    action: String,
    tags: Vec<String>,
}

/// The same type name with another shape, as an older build would have it.
mod older {
    #[derive(wireloom::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(type = "user-interaction")]
    pub(crate) struct UserInteraction {
        pub(crate) user_id: u32,
        pub(crate) action: String,
    }
}

fn interaction(user_id: u64) -> UserInteraction {
    UserInteraction { user_id, action: "click".into(), tags: vec!["a".into(), "ü".into()] }
}

fn listen_for_interactions(node: &Node) -> Receiver<(u64, u64, String)> {
    let (heard, hears) = mpsc::channel();
    node.on::<UserInteraction>(move |event, envelope| {
        let text = format!("{} {}", event.action, event.tags.len());
        let _ = heard.send((event.user_id.to_native(), envelope.sequence(), text));
    })
    .expect("subscribes");
    hears
}

/// Waits until `done`; what the workers do takes its time.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn start(name: &str) -> Node {
    Node::builder(name).start().expect("a node on loopback starts")
}

#[test]
fn a_typed_event_reaches_a_typed_handler_in_order_and_the_ledgers_balance() {
    for mode in [Mode::Shared, Mode::Dedicated] {
        let listener = Node::builder("listener").mode(mode).start().expect("starts");
        let hears = listen_for_interactions(&listener);
        let speaker = Node::builder("speaker").mode(mode).start().expect("starts");
        let mut router = speaker.router();
        let target = Target::Node(listener.address());
        for user_id in 0..1_000 {
            let accepted = router.route(&interaction(user_id), &target).expect("accepted");
            assert_eq!(accepted.sequence, user_id);
        }
        for expected in 0..1_000 {
            let (user_id, sequence, text) = hears.recv_timeout(PATIENCE).expect("arrives");
            assert_eq!((user_id, sequence), (expected, expected));
            assert_eq!(text, "click 2");
        }
        let sent = speaker.close();
        assert_eq!((sent.published.accepted, sent.published.sent), (1_000, 1_000));
        assert!(sent.balanced, "{sent:?}");
        let received = listener.close();
        assert_eq!((received.received.delivered, received.received.lost), (1_000, 0));
        assert!(received.balanced, "{received:?}");
        assert_eq!(received.handlers["user-interaction"].delivered, 1_000);
    }
}

/// The same by rings, also where a worker parks between events; where the kernel has none, the
/// nodes say so and work all the same.
#[test]
fn io_uring_carries_the_same_or_a_note_says_why_not() {
    for mode in [Mode::Shared, Mode::Dedicated] {
        let node = |name| Node::builder(name).mode(mode).io(IoBackend::Uring).start();
        let (listener, speaker) =
            (node("listener").expect("starts"), node("speaker").expect("starts"));
        for note in listener.notes() {
            assert!(note.starts_with("no io_uring, system calls instead: "), "{note}");
        }
        let hears = listen_for_interactions(&listener);
        let mut router = speaker.router();
        let target = Target::Node(listener.address());
        let mut expected = 0..;
        for (burst, pause) in [(1, 30), (1, 30), (1_000, 0), (3, 30), (1_000, 0)] {
            let numbers: Vec<u64> = expected.by_ref().take(burst).collect();
            for user_id in &numbers {
                router.route(&interaction(*user_id), &target).expect("accepted");
            }
            for user_id in &numbers {
                assert_eq!(hears.recv_timeout(PATIENCE).expect("arrives").0, *user_id);
            }
            std::thread::sleep(Duration::from_millis(pause));
        }
        let parked = |node: &Node| node.workers().iter().all(|worker| worker.parks > 0);
        eventually("parked", || parked(&listener) && parked(&speaker));
        let (sent, received) = (speaker.close(), listener.close());
        assert_eq!((sent.published.sent, received.received.delivered), (2_005, 2_005));
        assert!(sent.balanced && received.balanced, "{sent:?} {received:?}");
    }
}

#[test]
fn an_idle_node_sleeps_and_says_what_its_workers_did() {
    let node = Node::builder("idle").mode(Mode::Dedicated).start().expect("starts");
    eventually("asleep", || node.workers().iter().all(|worker| worker.parks > 0));
    let before = node.workers();
    assert_eq!(
        before.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(),
        ["wl-sender", "wl-receiver-0"]
    );
    std::thread::sleep(Duration::from_millis(500));
    for (before, after) in before.iter().zip(node.workers()) {
        // A park lasts 100 ms when nothing happens: a few cycles, not thousands.
        assert!(after.cycles - before.cycles < 500, "{before:?} {after:?}");
    }
}

#[test]
fn events_of_this_process_say_who_published_them_and_wait_in_its_account() {
    let (node, mut invoker) = Node::builder("alone").start_invoker().expect("starts");
    let (heard, hears) = mpsc::channel();
    node.on::<UserInteraction>(move |event, envelope| {
        let (id, text) = (event.user_id.to_native(), event.action.len());
        let _ = heard.send((id, text, envelope.source(), envelope.sequence()));
    })
    .expect("subscribes");
    let mut publisher = node.publisher::<UserInteraction>(&Target::Local).expect("a publisher");
    let mut router = node.router();
    // Small, as long as no record before, and small again.
    let lengths = [5, 6_000, 7, 9_000, 0];
    let event = |user_id: usize| UserInteraction {
        user_id: user_id as u64,
        action: "x".repeat(lengths[user_id % lengths.len()]),
        tags: Vec::new(),
    };
    let events: Vec<_> = (0..15).map(event).collect();
    for event in &events[..5] {
        publisher.publish(event).expect("accepted");
    }
    for event in &events[5..10] {
        router.route(event, Target::Local).expect("accepted");
    }
    assert_eq!(router.route_batch(&events[10..], &Target::Local).accepted, 5);
    assert_eq!(node.ledger().received.local_in_flight, 15, "accepted, and not dispatched");
    invoker.drain(10_000);
    let ledger = node.ledger();
    assert_eq!((ledger.received.local, ledger.received.local_in_flight), (15, 0));
    assert!(ledger.balanced, "{ledger:?}");
    let sequences = (0..5).chain(0..10);
    for (event, sequence) in events.iter().zip(sequences) {
        let expected = (event.user_id, event.action.len(), node.id(), sequence);
        assert_eq!(hears.try_recv(), Ok(expected));
    }
}

#[test]
fn a_local_event_needs_no_network() {
    let node = start("alone");
    let hears = listen_for_interactions(&node);
    let mut router = node.router();
    router.route(&interaction(7), Target::Local).expect("accepted");
    assert_eq!(hears.recv_timeout(PATIENCE).expect("arrives").0, 7);
    let ledger = node.close();
    assert_eq!((ledger.received.local, ledger.received.delivered), (1, 1));
    assert_eq!(ledger.published.sent, 0);
    assert!(ledger.balanced);
}

#[test]
fn a_ring_subscriber_polls_events_in_place_on_its_own_thread() {
    let listener = start("listener");
    let mut subscriber = listener.subscribe::<UserInteraction>().expect("subscribes");
    assert!(!subscriber.wait(Duration::from_millis(5)), "nothing yet");
    let speaker = start("speaker");
    let mut router = speaker.router();
    let target = Target::Node(listener.address());
    for user_id in 0..100 {
        router.route(&interaction(user_id), &target).expect("accepted");
    }
    let mut next = 0;
    while next < 100 {
        assert!(subscriber.wait(PATIENCE), "event {next} does not come");
        subscriber.poll(16, |polled| match polled {
            Polled::Event(event, envelope) => {
                assert_eq!(event.user_id, next);
                assert_eq!(envelope.source(), speaker.id());
                assert_eq!(envelope.priority(), Priority::High);
                next += 1;
            }
            other => panic!("{other:?}"),
        });
    }
    assert!(listener.ledger().balanced);
}

#[test]
fn a_subscriber_whose_ring_was_full_is_told_how_many_events_it_missed() {
    let (node, mut invoker) =
        Node::builder("alone").ring_bytes(256 << 10, 4_096).start_invoker().expect("starts");
    let mut slow = node.subscribe::<UserInteraction>().expect("subscribes");
    let mut router = node.router();
    for user_id in 0..500 {
        router.route(&interaction(user_id), Target::Local).expect("accepted");
    }
    invoker.drain(1_000);
    let (mut events, mut shed) = (0, 0);
    let mut poll = |slow: &mut wireloom::Subscriber<UserInteraction>| {
        slow.poll(1_000, |polled| match polled {
            Polled::Event(..) => events += 1,
            Polled::Shed(told) => {
                assert_eq!(told.reason, ShedReason::RingFull);
                shed += told.events;
            }
            other => panic!("{other:?}"),
        });
        (events, shed)
    };
    let (before, _) = poll(&mut slow);
    assert!((1..500).contains(&before), "{before}");
    // The notice stands before the next event.
    router.route(&interaction(500), Target::Local).expect("accepted");
    invoker.drain(1_000);
    let (events, shed) = poll(&mut slow);
    assert_eq!((events, events + shed), (before + 1, 501));
    let ledger = node.ledger();
    assert_eq!(ledger.received.shed["events_shed_ring_full"], shed);
    assert!(ledger.balanced, "{ledger:?}");
}

#[test]
fn trace_and_deadline_travel_with_the_event() {
    let listener = start("listener");
    let (heard, hears) = mpsc::channel();
    listener
        .on::<UserInteraction>(move |_, envelope| {
            let _ = heard.send((envelope.trace(), envelope.deadline_ns()));
        })
        .expect("subscribes");
    let speaker = start("speaker");
    let mut router = speaker.router();
    let trace = TraceContext { trace_id: [7; 16], span_id: [9; 8], sampled: true };
    router.set_trace(Some(trace));
    // Far enough away: events whose deadline is over do not travel.
    let deadline_ns = u64::MAX / 2;
    router.set_deadline_ns(Some(deadline_ns));
    router.route(&interaction(1), Target::Node(listener.address())).expect("accepted");
    assert_eq!(hears.recv_timeout(PATIENCE).expect("arrives"), (Some(trace), Some(deadline_ns)));
}

#[test]
fn another_schema_is_refused_and_counted_with_both_fingerprints_never_misread() {
    let listener = start("listener");
    let hears = listen_for_interactions(&listener);
    let mut ring = listener.subscribe::<UserInteraction>().expect("subscribes");
    let speaker = start("speaker");
    let mut router = speaker.router();
    let target = Target::Node(listener.address());
    let old = older::UserInteraction { user_id: 5, action: "click".into() };
    router.route(&old, &target).expect("the sender cannot know");
    // The kernel may turn two datagrams around when the sender changes its core between them.
    eventually("the old one", || {
        listener.ledger().received.shed.get("events_refused_schema") == Some(&1)
    });
    router.route(&interaction(6), &target).expect("accepted");
    assert_eq!(hears.recv_timeout(PATIENCE).expect("arrives").0, 6, "only the right schema");
    assert!(ring.wait(PATIENCE));
    ring.poll(9, |polled| assert!(matches!(polled, Polled::Event(event, _) if event.user_id == 6)));
    let ledger = listener.close();
    assert_eq!(ledger.received.shed["events_refused_schema"], 1);
    let handled = &ledger.handlers["user-interaction"];
    let [theirs, ours] = handled.schema_mismatch.clone().expect("counted with fingerprints");
    let hex = |fingerprint: wireloom::Fingerprint| format!("{:08x}", fingerprint.0);
    assert_eq!(theirs, hex(<older::UserInteraction as Event>::FINGERPRINT32));
    assert_eq!(ours, hex(UserInteraction::FINGERPRINT32));
    assert!(ledger.balanced, "{ledger:?}");
}

#[test]
fn a_dynamic_event_travels_as_given_and_reaches_typed_handlers_of_its_name() {
    let listener = start("listener");
    listener.register_json::<UserInteraction>().expect("registers");
    let hears = listen_for_interactions(&listener);
    let mut any = listener.subscribe_any(&["user-interaction"]).expect("subscribes");
    let speaker = start("speaker");
    let mut router = speaker.router();
    let target = Target::Node(listener.address());
    let json = br#"{ "user_id": 12, "action":"tap" ,"tags":[]}"#;
    router.route_json("user-interaction", Priority::Normal, json, &target).expect("accepted");
    let (user_id, _, text) = hears.recv_timeout(PATIENCE).expect("the typed handler runs");
    assert_eq!((user_id, text.as_str()), (12, "tap 0"));
    let (mut texts, mut archives) = (0, 0);
    eventually("both forms", || {
        any.poll(9, |polled| {
            let PolledAny::Event(event) = polled else { panic!("{polled:?}") };
            let printed = listener.to_json(&event).expect("known").expect("converts");
            match event.encoding() {
                Encoding::Json => {
                    assert_eq!(event.type_name(), Some("user-interaction"));
                    assert_eq!((event.payload(), printed.as_slice()), (&json[..], &json[..]));
                    texts += 1;
                }
                Encoding::Rkyv => {
                    assert_eq!(printed, br#"{"user_id":12,"action":"tap","tags":[]}"#);
                    archives += 1;
                }
                Encoding::Raw => panic!("nobody sent raw bytes"),
            }
        });
        (texts, archives) == (1, 1)
    });
    let ledger = listener.close();
    assert!(ledger.balanced, "{ledger:?}");
}

#[test]
fn a_subscriber_of_several_types_gets_them_in_order_and_no_others() {
    let listener = start("listener");
    let mut some = listener.subscribe_any(&["red", "blue"]).expect("subscribes");
    let speaker = start("speaker");
    let mut router = speaker.router();
    let target = Target::Node(listener.address());
    for number in 0..90_u32 {
        let name = ["red", "green", "blue"][(number % 3) as usize];
        let json = number.to_string();
        router.route_json(name, Priority::Normal, json.as_bytes(), &target).expect("accepted");
    }
    let mut seen = Vec::new();
    eventually("all of them", || {
        some.poll(9, |polled| {
            let PolledAny::Event(event) = polled else { panic!("{polled:?}") };
            seen.push(String::from_utf8_lossy(event.payload()).parse::<u32>().expect("a number"));
        });
        seen.len() == 60
    });
    assert_eq!(seen, (0..90).filter(|number| number % 3 != 1).collect::<Vec<_>>());
    let ledger = listener.close();
    assert_eq!(ledger.received.unsubscribed, 30);
    assert!(ledger.balanced, "{ledger:?}");
}

#[test]
fn a_dynamic_event_nobody_converts_is_counted_and_bad_json_is_refused_with_its_place() {
    let listener = start("listener");
    let _hears = listen_for_interactions(&listener);
    let speaker = start("speaker");
    let mut router = speaker.router();
    let target = Target::Node(listener.address());
    let bad = router.route_json("x", Priority::Normal, b"{\"a\": }", &target).expect_err("bad");
    assert_eq!(bad.name(), "malformed");
    assert!(bad.to_string().contains("line 1 column 7"), "{bad}");
    let name = router.route_json("No Name", Priority::Normal, b"1", &target).expect_err("name");
    assert!(name.to_string().contains("type name"), "{name}");
    router.route_json("user-interaction", Priority::Normal, b"{}", &target).expect("accepted");
    router.route_json("nobody-wants-it", Priority::Normal, b"{}", &target).expect("accepted");
    eventually("counted", || listener.ledger().received.events == 2);
    let ledger = listener.close();
    assert_eq!(ledger.received.shed["events_unconverted"], 1);
    assert_eq!(ledger.received.unsubscribed, 1);
    assert!(ledger.balanced, "{ledger:?}");
}

#[test]
fn what_no_packet_holds_is_refused_at_the_call_and_nothing_beside_it_is_lost() {
    let listener = start("listener");
    let speaker = Node::builder("speaker").path_bytes(1_400).start().expect("starts");
    let mut any = listener.subscribe_any(&["user-interaction", "note"]).expect("subscribes");
    let mut router = speaker.router();
    let target = Target::Node(listener.address());
    let large = UserInteraction { user_id: 1, action: "x".repeat(2_000), tags: Vec::new() };
    let json = format!("\"{}\"", "x".repeat(2_000));
    for number in 0..2 {
        router.route(&interaction(number), &target).expect("accepted");
        // The ring would hold them.
        for refused in [
            router.route(&large, &target),
            router.route_json("note", Priority::Normal, json.as_bytes(), &target),
        ] {
            let Err(Refused::TooLarge { limit }) = refused else { panic!("{refused:?}") };
            assert!(limit <= 1_400, "{limit}");
        }
    }
    let mut heard = 0;
    eventually("the others", || {
        heard += any.poll(9, |polled| assert!(matches!(polled, PolledAny::Event(_)), "{polled:?}"));
        heard == 2
    });
    let [sent, received] = [speaker.close(), listener.close()];
    assert!(sent.balanced && received.balanced, "{sent:?} {received:?}");
    assert_eq!((sent.published.sent, sent.published.refused), (2, 4));
    assert_eq!(received.received.events, 2);
}

#[test]
fn refusals_have_names() {
    let (node, mut invoker) =
        Node::builder("slow").ring_bytes(4096, 4096).path_bytes(1_400).start_invoker().expect("ok");
    let mut router = node.router();
    let nowhere = Target::node("no-port");
    let refused = router.route(&interaction(1), &nowhere).expect_err("no address");
    assert_eq!(refused.name(), "no_route");
    let large = UserInteraction { user_id: 1, action: "x".repeat(5_000), tags: Vec::new() };
    let target = Target::node("127.0.0.1:19411");
    match router.route(&large, &target) {
        Err(Refused::TooLarge { limit }) => assert!(limit <= 1_400, "{limit}"),
        other => panic!("{other:?}"),
    }
    let mut accepted = 0;
    let full = loop {
        match router.route(&interaction(2), &target) {
            Ok(_) => accepted += 1,
            Err(refused) => break refused,
        }
        assert!(accepted < 1_000, "a 4 KiB ring takes no end of events");
    };
    assert_eq!(full, Refused::BackPressured);
    assert_eq!(node.ledger().published.in_flight, accepted);
    invoker.drain(100);
    router.route(&interaction(3), &target).expect("there is room again");
    invoker.drain(100);
    let ledger = node.ledger();
    assert_eq!((ledger.published.sent, ledger.published.refused), (accepted + 1, 2));
    assert!(ledger.balanced, "{ledger:?}");
    drop(node);
    assert_eq!(
        router.route(&interaction(4), Target::node("127.0.0.1:19412")),
        Err(Refused::Closed)
    );
}

#[test]
fn a_panicking_handler_is_counted_and_the_others_go_on() {
    let listener = start("listener");
    listener
        .on::<UserInteraction>(|event, _| assert!(event.user_id != 1, "a handler's own fault"))
        .expect("subscribes");
    let speaker = start("speaker");
    let mut router = speaker.router();
    for user_id in 0..3 {
        router.route(&interaction(user_id), Target::Node(listener.address())).expect("accepted");
    }
    eventually("all handled", || listener.ledger().received.events == 3);
    let ledger = listener.close();
    assert_eq!(ledger.received.delivered, 2);
    assert_eq!(ledger.received.shed["events_handler_panicked"], 1);
    assert!(ledger.balanced);
}

#[test]
fn several_receivers_share_the_port_and_ask_for_a_handler_each() {
    let node = Node::builder("wide").receivers(2).start().expect("starts");
    assert!(matches!(
        node.on::<UserInteraction>(|_, _| ()),
        Err(SubscribeError::OneHandlerManyReceivers(2))
    ));
    let (heard, hears) = mpsc::channel();
    node.on_each::<UserInteraction, _>(|_receiver| {
        let heard = heard.clone();
        move |event: &rkyv::Archived<UserInteraction>, _: &wireloom::Envelope<'_>| {
            let _ = heard.send(event.user_id.to_native());
        }
    })
    .expect("subscribes");
    let target = Target::Node(node.address());
    for sender in 0..8 {
        let speaker = start(&format!("speaker-{sender}"));
        speaker.router().route(&interaction(sender), &target).expect("accepted");
        drop(speaker);
    }
    let mut seen: Vec<u64> =
        (0..8).map(|_| hears.recv_timeout(PATIENCE).expect("arrives")).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..8).collect::<Vec<_>>());
}

#[test]
fn an_unsubscribed_handler_no_longer_runs() {
    let node = start("alone");
    let (heard, hears) = mpsc::channel();
    let subscription = node
        .on::<UserInteraction>(move |event, _| {
            let _ = heard.send(event.user_id.to_native());
        })
        .expect("subscribes");
    let mut router = node.router();
    router.route(&interaction(1), Target::Local).expect("accepted");
    assert_eq!(hears.recv_timeout(PATIENCE), Ok(1));
    node.off(subscription).expect("unsubscribes");
    // The handler is freed on the control side, which closes its channel.
    assert_eq!(hears.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    router.route(&interaction(2), Target::Local).expect("accepted");
    eventually("counted", || node.ledger().received.unsubscribed == 1);
}

#[test]
fn a_node_without_a_certificate_stays_on_its_host_unless_told_otherwise() {
    let group = "239.1.2.3:4567";
    for (builder, place) in [
        (Node::builder("x").listen("0.0.0.0:0"), "0.0.0.0:0"),
        (Node::builder("x").join(group), "group 239.1.2.3:4567 on interface default"),
    ] {
        let refused = builder.start().expect_err("other hosts could reach it");
        assert!(matches!(&refused, NodeError::Insecure { places } if places == place), "{refused}");
        assert!(refused.to_string().contains("--insecure"), "{refused}");
    }
    let open = Node::builder("x").listen("0.0.0.0:0").insecure().start().expect("it was told");
    assert!(open.is_insecure());
    let notes = open.notes().join("\n");
    assert!(notes.contains("insecure: other hosts reach this node at 0.0.0.0:0"), "{notes}");
    let here = Interface::Address(std::net::Ipv4Addr::LOCALHOST);
    let closed = Node::builder("x").join_on(group, here).insecure().start().expect("on this host");
    assert!(!closed.is_insecure(), "nobody else reaches it: {:?}", closed.notes());
}

#[test]
fn a_port_in_use_and_wrong_settings_say_what_to_do() {
    let first = start("first");
    let address = first.address().to_string();
    let taken = Node::builder("second").listen(&address).start().expect_err("in use");
    let text = taken.to_string();
    assert!(text.contains(&first.address().port().to_string()), "{text}");
    assert!(!text.contains('\n'), "{text}");
    let ring = Node::builder("x").ring_bytes(5_000, 4_096).start().expect_err("no power of two");
    assert!(matches!(ring, NodeError::RingBytes { nearest: 8_192, .. }), "{ring}");
    let core = Node::builder("x").cores(&[9_999]).start().expect_err("no such core").to_string();
    assert!(core.contains("9999"), "{core}");
    assert!(Node::builder("x").listen("nonsense").start().is_err());
    assert!(Node::builder("x").join("127.0.0.1:9").start().is_err());
}
