//! Methods of an object as handlers: by signature, one at a time, until the guard is dropped.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rkyv::Archived;
use wireloom::events::Exception;
use wireloom::{Envelope, Mode, Node, Priority, RequestError, SubscribeError, Target, handlers};

use crate::{PATIENCE, Tick, Tock, eventually, start};

struct Clockwork {
    says: Sender<String>,
    ticks: u64,
    dropped: Arc<AtomicBool>,
}

impl Drop for Clockwork {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::Release);
    }
}

#[handlers]
impl Clockwork {
    #[on]
    fn tick(&mut self, tick: &Archived<Tick>, envelope: &Envelope<'_>) {
        assert_eq!(envelope.priority(), Priority::Normal);
        self.ticks += tick.number.to_native();
        self.say(&format!("tick {}", self.ticks));
    }

    #[on]
    fn also_tick(&mut self, tick: Tick) {
        self.say(&format!("also {} after {}", tick.number, self.ticks));
    }

    #[on(once)]
    fn first_tock(&mut self, tock: Tock, _envelope: &Envelope<'_>) {
        self.say(&format!("first {}", tock.words));
    }

    #[on]
    fn tock(&self, tock: &Archived<Tock>) {
        assert!(tock.number != 13, "thirteen");
        self.say(&format!("tock {}", tock.words));
    }

    /// Not a handler.
    fn say(&self, words: &str) {
        let _ = self.says.send(words.to_owned());
    }
}

#[handlers]
impl Answers {
    #[on]
    fn double(&mut self, request: Tick) -> Result<Tick, &'static str> {
        self.asked += 1;
        if request.number > 100 { Err("too much") } else { Ok(Tick { number: 2 * request.number }) }
    }

    #[on]
    fn asked(&self, _request: &Archived<Tock>) -> Tick {
        Tick { number: self.asked }
    }
}

#[derive(Default)]
struct Answers {
    asked: u64,
}

fn clockwork() -> (Clockwork, Receiver<String>, Arc<AtomicBool>) {
    let (says, said) = mpsc::channel();
    let dropped = Arc::new(AtomicBool::new(false));
    (Clockwork { says, ticks: 0, dropped: Arc::clone(&dropped) }, said, dropped)
}

fn tock(number: u64, words: &str) -> Tock {
    Tock { number, words: words.into() }
}

#[test]
fn methods_take_what_their_signatures_say_until_the_guard_is_dropped() {
    let node = start("node");
    let (object, said, dropped) = clockwork();
    let guard = node.install(object).expect("installs");
    let mut router = node.router();
    router.route(&Tick { number: 3 }, Target::Local).expect("accepted");
    router.route(&Tick { number: 4 }, Target::Local).expect("accepted");
    for words in ["a", "b"] {
        router.route(&tock(1, words), Target::Local).expect("accepted");
    }
    let heard: Vec<String> =
        (0..7).map(|_| said.recv_timeout(PATIENCE).expect("it says so")).collect();
    let expected =
        ["tick 3", "also 3 after 3", "tick 7", "also 4 after 7", "first a", "tock a", "tock b"];
    assert_eq!(heard, expected);
    eventually("counted", || node.ledger().received.delivered == 4);
    let ledger = node.ledger();
    // Each method counts its own: two for ticks, one and once for tocks.
    assert_eq!((ledger.handlers["tick"].delivered, ledger.handlers["tock"].delivered), (4, 3));
    assert!(!dropped.load(Ordering::Acquire));
    guard.end().expect("the worker takes commands");
    router.route(&Tick { number: 1 }, Target::Local).expect("accepted");
    eventually("the object is dropped", || dropped.load(Ordering::Acquire));
    eventually("nobody's", || node.ledger().received.unsubscribed == 1);
    assert!(said.try_recv().is_err());
}

#[test]
fn a_method_that_panics_is_told_of_and_the_others_go_on() {
    std::panic::set_hook(Box::new(|_| ()));
    let node = start("node");
    let (tells, told) = mpsc::channel();
    node.on::<Exception>(move |exception, _| {
        let _ = tells.send((exception.event_type.to_string(), exception.message.to_string()));
    })
    .expect("subscribes");
    let (object, said, _) = clockwork();
    let _guard = node.install(object).expect("installs");
    let mut router = node.router();
    router.route(&tock(13, "x"), Target::Local).expect("accepted");
    router.route(&Tick { number: 1 }, Target::Local).expect("accepted");
    for expected in ["first x", "tick 1", "also 1 after 1"] {
        assert_eq!(said.recv_timeout(PATIENCE).as_deref(), Ok(expected));
    }
    let (event_type, message) = told.recv_timeout(PATIENCE).expect("told");
    assert_eq!(event_type, "tock");
    assert!(message.starts_with("thirteen (handler "), "{message}");
}

#[test]
fn methods_answer_requests() {
    let (desk, client) = (start("desk"), start("client"));
    let guard = desk.install(Answers::default()).expect("installs");
    let (mut router, target) = (client.router(), Target::Node(desk.address()));
    let doubled = router.request::<_, Tick>(&Tick { number: 21 }, &target, PATIENCE);
    assert_eq!(doubled.map(|tick| tick.number), Ok(42));
    let failed = router.request::<_, Tick>(&Tick { number: 101 }, &target, PATIENCE);
    let Err(RequestError::Failed { message, .. }) = failed.map(|tick| tick.number) else {
        panic!("it was answered")
    };
    assert_eq!(message, "too much");
    let asked = router.request::<_, Tick>(&tock(0, ""), &target, PATIENCE);
    assert_eq!(asked.map(|tick| tick.number), Ok(2));
    // Another that answers the same is refused, and leaves nothing behind.
    let second = desk.install(Answers::default()).err();
    assert_eq!(second, Some(SubscribeError::AlreadyAnswered("tick")));
    drop(guard);
    let mut ask = || router.request::<_, Tick>(&Tick { number: 1 }, &target, PATIENCE);
    eventually("nobody answers", || matches!(ask(), Err(RequestError::NoResponder { .. })));
    let _again = desk.install(Answers::default()).expect("installs");
    assert_eq!(ask().map(|tick| tick.number), Ok(2));
}

/// Counts, slowly and without care for other threads.
struct Careless {
    inside: Arc<AtomicBool>,
    threads: Arc<Mutex<Vec<thread::ThreadId>>>,
    runs: Arc<AtomicU64>,
    onces: Arc<AtomicU64>,
}

#[handlers]
impl Careless {
    #[on]
    fn tick(&mut self, _tick: &Archived<Tick>) {
        assert!(!self.inside.swap(true, Ordering::AcqRel), "two at a time");
        let this = thread::current().id();
        let mut threads = self.threads.lock().expect("no panic");
        if !threads.contains(&this) {
            threads.push(this);
        }
        drop(threads);
        thread::sleep(Duration::from_micros(200));
        self.inside.store(false, Ordering::Release);
        self.runs.fetch_add(1, Ordering::AcqRel);
    }

    #[on(once)]
    fn once(&mut self, _tick: &Archived<Tick>) {
        self.onces.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn at_several_receivers_no_two_methods_run_at_a_time_and_once_is_once() {
    let node = Node::builder("many").mode(Mode::Dedicated).receivers(2).start().expect("starts");
    let (threads, runs, onces) =
        (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)), Arc::default());
    let object = Careless {
        inside: Arc::default(),
        threads: Arc::clone(&threads),
        runs: Arc::clone(&runs),
        onces: Arc::clone(&onces),
    };
    let _guard = node.install(object).expect("installs");
    // Many flows: some for each receiver.
    let speakers: Vec<Node> = (0..8).map(|number| start(&format!("speaker-{number}"))).collect();
    let target = Target::Node(node.address());
    let mut routers: Vec<_> = speakers.iter().map(Node::router).collect();
    for number in 0..50 {
        for router in &mut routers {
            router.route(&Tick { number }, &target).expect("accepted");
        }
    }
    eventually("all ran", || runs.load(Ordering::Acquire) == 400);
    assert_eq!(onces.load(Ordering::Acquire), 1);
    assert_eq!(threads.lock().expect("no panic").len(), 2, "both receivers had some");
    assert_eq!(node.ledger().received.delivered, 400);
}
