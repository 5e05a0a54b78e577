//! The legacy interface as a program meets it, on real nodes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use serde_json::json;

use super::*;
use crate::jtag::LegacyJtag;
use crate::jtag::filter::Pattern;
use crate::jtag::listeners::LISTENERS_MAX;
use crate::{Event as _, Intake, PolledAny, Refused, SlowPolicy};

const PATIENCE: Duration = Duration::from_secs(10);

fn local() -> (Node, LegacyEvents) {
    let node = Node::builder("legacy").start().unwrap();
    let events = LegacyEvents::new(&node, &Target::Local).unwrap();
    (node, events)
}

fn hears(events: &LegacyEvents, name: &str) -> (Unsubscribe, Receiver<Value>) {
    let (heard, hears) = channel();
    let listens = events.on(name, move |data| {
        let _ = heard.send(data.clone());
    });
    (listens.unwrap(), hears)
}

#[test]
fn emit_calls_listeners_of_the_exact_name_in_order_before_it_returns() {
    let (_node, events) = local();
    let order: Arc<Mutex<Vec<u32>>> = Arc::default();
    let mut held = Vec::new();
    for (name, number) in [("a", 1), ("a", 2), ("a.b", 8), ("A", 9), ("a", 3)] {
        let order = Arc::clone(&order);
        let listens = events.on(name, move |data| {
            assert_eq!(data["n"], 7);
            order.lock().unwrap().push(number);
        });
        held.push(listens.unwrap());
    }
    let emitted = events.emit("a", &json!({ "n": 7 })).unwrap();
    assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
    assert_eq!((emitted.listeners, emitted.panicked, emitted.routed), (3, 0, 1));
    held.remove(1).unsubscribe();
    events.emit("a", &json!({ "n": 7 })).unwrap();
    assert_eq!(*order.lock().unwrap(), [1, 2, 3, 1, 3], "one listener was removed");
    drop(held);
    assert_eq!(events.emit("a", &json!({ "n": 7 })).unwrap().listeners, 0);
}

#[test]
fn a_listener_that_panics_is_counted_and_told_and_stops_nobody() {
    let node = Node::builder("panics").start().unwrap();
    let (told, tells) = channel();
    let told = Mutex::new(told);
    let events = LegacyEvents::builder(&node)
        .on_fault(move |fault| {
            let _ = told.lock().unwrap().send(fault.clone());
        })
        .start()
        .unwrap();
    let _bad = events.on("a", |_| panic!("broken \u{1b}[2J")).unwrap();
    let (_good, heard) = hears(&events, "a");
    for number in 0..3 {
        let emitted = events.emit("a", &json!(number)).unwrap();
        assert_eq!((emitted.listeners, emitted.panicked), (1, 1));
        assert_eq!(heard.try_recv(), Ok(json!(number)));
    }
    assert_eq!((events.counts().panicked, events.counts().delivered), (3, 3));
    let fault = tells.try_recv().unwrap();
    assert!(matches!(&fault, LegacyFault::ListenerPanicked { name, .. } if name == "a"));
    assert!(!fault.to_string().contains('\u{1b}'), "{fault}");
}

#[test]
fn once_is_once_and_ids_unsubscribe() {
    let (_node, events) = local();
    let calls = Arc::new(AtomicUsize::new(0));
    let (counted, inside) = (Arc::clone(&calls), events.clone());
    let once = events.once("a", move |_| {
        // Before it has returned, too.
        if counted.fetch_add(1, Ordering::Relaxed) < 8 {
            inside.emit("a", &Value::Null).unwrap();
        }
    });
    let id = once.unwrap().keep();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| events.emit("a", &Value::Null).unwrap());
        }
    });
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert!(!events.unsubscribe(id), "it has gone by itself");
    let (listens, heard) = hears(&events, "a");
    let id = listens.keep();
    events.emit("a", &json!(1)).unwrap();
    assert!(events.unsubscribe(id));
    assert!(!events.unsubscribe(id));
    events.emit("a", &json!(2)).unwrap();
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [json!(1)]);
}

#[test]
fn a_listener_may_emit_listen_and_unsubscribe() {
    let (_node, events) = local();
    let (_b, heard) = hears(&events, "b");
    let inside = events.clone();
    let held: Arc<Mutex<Option<Unsubscribe>>> = Arc::default();
    let own = Arc::clone(&held);
    let listens = events.on("a", move |data| {
        inside.emit("b", data).unwrap();
        let _more = inside.on("b", |_| {}).unwrap();
        drop(own.lock().unwrap().take());
    });
    *held.lock().unwrap() = Some(listens.unwrap());
    events.emit("a", &json!(1)).unwrap();
    events.emit("a", &json!(2)).unwrap();
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [json!(1)]);
    events.close();
}

#[test]
fn wait_for_gets_the_next_event_or_says_how_long_it_waited() {
    let (_node, events) = local();
    let other = events.clone();
    let waiter = std::thread::spawn(move || other.wait_for("system.ready", PATIENCE));
    let until = Instant::now() + PATIENCE;
    while !waiter.is_finished() && Instant::now() < until {
        events.emit("system.other", &json!(0)).unwrap();
        events.emit("system.ready", &json!({ "version": "1" })).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(waiter.join().unwrap(), Ok(json!({ "version": "1" })));
    let late = events.wait_for("never", Duration::from_millis(30)).unwrap_err();
    assert_eq!(late.to_string(), "Event never timeout after 30 ms");
    let (begin, most) = (Instant::now(), Duration::from_secs(1));
    assert!(events.wait_for("never", most).is_err());
    assert!((most..most * 5 / 2).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    assert_eq!(events.emit("never", &Value::Null).unwrap().listeners, 0, "it has unsubscribed");
    assert_eq!(WAIT_TIMEOUT.as_millis(), 10_000);
}

#[test]
fn streams_filter_take_and_close() {
    let (_node, events) = local();
    let filter = Filter::all().event_name(Pattern::regex("^chat:").unwrap());
    let even = |event: &crate::jtag::LegacyEvent| event.data.as_u64().unwrap().is_multiple_of(2);
    let stream = events.stream(filter).filter(even).take(2);
    let all = events.stream(Filter::all());
    for number in 0..5 {
        events.emit(if number == 0 { "other" } else { "chat:said" }, &json!(number)).unwrap();
    }
    let taken: Vec<_> = stream.map(|event| (event.name, event.data)).collect();
    assert_eq!(taken, [("chat:said".into(), json!(2)), ("chat:said".into(), json!(4))]);
    all.close();
    let mut slow = events.stream(Filter::all());
    for number in 0..1_005 {
        events.emit("chat:said", &json!(number)).unwrap();
    }
    assert_eq!(slow.shed(), 5);
    let first = slow.next_within(PATIENCE).unwrap();
    assert_eq!((first.source.as_str(), first.data), ("legacy", json!(0)));
    let mut panics = events.stream(Filter::all().predicate(|_| panic!("no")));
    events.emit("a", &Value::Null).unwrap();
    assert_eq!(panics.next_within(Duration::ZERO), None);
    let waiter = std::thread::spawn(move || slow.count());
    events.close();
    assert_eq!(waiter.join().unwrap(), 1_000, "closing ends streams after what waits in them");
    assert_eq!(events.emit("a", &Value::Null), Err(EmitError::Closed));
}

#[test]
fn an_event_that_may_not_be_is_seen_by_nobody() {
    let (_node, events) = local();
    let (_listens, heard) = hears(&events, "a");
    for name in ["", "a\u{1b}[2J", "a\n", &"x".repeat(256)] {
        let error = events.emit(name, &Value::Null).expect_err(name);
        assert!(matches!(error, EmitError::Event(MessageError::BadText { .. })), "{error}");
        assert!(events.on(name, |_| {}).is_err());
    }
    let mut deep = json!(1);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    assert_eq!(events.emit("a", &deep), Err(MessageError::TooDeep.into()));
    assert!(heard.try_recv().is_err());
    assert_eq!(events.counts().emitted, 0);
    assert!(events.relay(b"{\"messageType\":\"event\"}").is_err());
    assert_eq!(LISTENERS_MAX, 100_000);
}

#[test]
fn what_no_target_takes_now_is_tried_three_times_and_what_it_never_takes_is_told() {
    let node = Node::builder("retries").seed("127.0.0.1:9").start().unwrap();
    let (told, tells) = channel();
    let told = Mutex::new(told);
    let events = LegacyEvents::builder(&node)
        .ways(Ways::to(&Target::named("nobody")))
        .on_fault(move |fault| {
            let _ = told.lock().unwrap().send(fault.clone());
        })
        .start()
        .unwrap();
    let (_listens, heard) = hears(&events, "a");
    let begin = Instant::now();
    for number in 0..1_000 {
        let emitted = events.emit("a", &json!(number)).unwrap();
        assert_eq!((emitted.listeners, emitted.waiting, emitted.routed), (1, 1, 0));
    }
    let full = events.emit("a", &json!("more")).unwrap_err();
    assert!(matches!(full, EmitError::NotSent { reason: NotSent::QueueFull, .. }), "{full}");
    assert_eq!(heard.try_iter().count(), 1_001, "listeners here have seen all of them");
    for _ in 0..1_000 {
        let fault = tells.recv_timeout(PATIENCE).unwrap();
        assert!(matches!(fault, LegacyFault::GivenUp(NotSent::Refused(_))), "{fault}");
    }
    let time = begin.elapsed();
    assert!((1_400..9_000).contains(&time.as_millis()), "three times 500 ms: {time:?}");
    let counts = events.counts();
    assert_eq!((counts.given_up, counts.queue_full, counts.waiting), (1_000, 1, 0));
    assert_eq!(counts.retries, 3, "one refusal counts for all that wait behind");
}

#[test]
fn what_finds_no_room_waits_and_nothing_overtakes_it() {
    let (node, mut turns) = Node::builder("driven").start_invoker().unwrap();
    let events = LegacyEvents::new(&node, &Target::Local).unwrap();
    let intake = Intake::of(SlowPolicy::DropNewest).ring_bytes(16 << 20);
    let mut any = node.subscribe_any_with(&[LegacyJtag::TYPE], intake).unwrap();
    let words = "x".repeat(1_000);
    let emit = |number: u64| events.emit("a", &json!({ "n": number, "words": words })).unwrap();
    let mut number = 0;
    while emit(number).waiting == 0 {
        number += 1;
        assert!(number < 10_000, "the ring has an end");
    }
    // There is room again, and what waits is not tried yet.
    turns.drain(1_000);
    assert_eq!((emit(number + 1).waiting, events.counts().waiting), (1, 2));
    let until = Instant::now() + PATIENCE;
    while events.counts().waiting > 0 {
        assert!(Instant::now() < until, "it is tried again");
        turns.do_work();
        std::thread::sleep(Duration::from_millis(1));
    }
    turns.drain(1_000);
    let mut heard = Vec::new();
    while any.poll(100, |polled| {
        let PolledAny::Event(frame) = polled else { panic!("{polled:?}") };
        let event = LegacyJtag::from_json(frame.payload()).unwrap().event().unwrap();
        heard.push(event.data["n"].as_u64().unwrap());
    }) > 0
    {}
    assert_eq!(heard, (0..=number + 1).collect::<Vec<_>>());
    let counts = events.counts();
    assert_eq!((counts.routed, counts.given_up, counts.refused), (number + 2, 0, 0));
}

#[test]
fn a_closed_node_and_a_large_event_are_refused_by_name() {
    let node = Node::builder("refusals").start().unwrap();
    let target = Target::node("127.0.0.1:9");
    let events = LegacyEvents::new(&node, &target).unwrap();
    let large = events.emit("a", &json!("x".repeat(200_000))).unwrap_err();
    let EmitError::NotSent { name, reason, .. } = large else { panic!("{large}") };
    assert_eq!(name, "a");
    assert!(matches!(reason, NotSent::Refused(Refused::TooLarge { .. })), "{reason}");
    drop(node);
    let closed = events.emit("a", &Value::Null).unwrap_err();
    assert!(closed.to_string().contains("closed"), "{closed}");
    assert_eq!(events.counts().refused, 2);
}
