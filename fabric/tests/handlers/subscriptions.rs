//! A handler ends when it is said to, not later; and once is once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use wireloom::{Mode, Node, Target};

use crate::{PATIENCE, Tick, counting, eventually, start, start_in};

/// Publishes to `node` as fast as it takes, until dropped.
struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Load {
    fn on(node: &Node) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut router, stopped) = (node.router(), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                match router.route(&Tick { number }, Target::Local) {
                    Ok(_) => number += 1,
                    Err(_) => thread::yield_now(),
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(thread::JoinHandle::join);
    }
}

#[test]
fn after_its_end_a_handler_does_not_run_under_load() {
    for mode in [Mode::Shared, Mode::Dedicated] {
        let node = start_in(mode);
        let load = Load::on(&node);
        for round in 0..50 {
            let (runs, running) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
            let (count, inside) = (Arc::clone(&runs), Arc::clone(&running));
            let listening = node.listen::<Tick>(move |_tick, _envelope| {
                inside.store(true, Ordering::Relaxed);
                count.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(50));
                inside.store(false, Ordering::Relaxed);
            });
            let listening = listening.expect("subscribes");
            eventually("runs", || runs.load(Ordering::Relaxed) > 0);
            if round % 2 == 0 {
                listening.end().expect("the worker takes commands");
            } else {
                let ids = listening.forget();
                thread::sleep(Duration::from_micros(300));
                assert_eq!(ids.len(), 1);
                node.off(ids[0]).expect("the worker takes commands");
                node.off(ids[0]).expect("twice is no error");
            }
            assert!(!running.load(Ordering::Relaxed), "it is in the middle of an event");
            let at_end = runs.load(Ordering::Relaxed);
            thread::sleep(Duration::from_micros(500));
            assert_eq!(runs.load(Ordering::Relaxed), at_end, "it ran after its end");
        }
        drop(load);
        eventually("quiet", || node.ledger().received.local_in_flight == 0);
        let ledger = node.close();
        assert!(ledger.balanced, "{ledger:?}");
    }
}

#[test]
fn a_dropped_guard_ends_its_handler_and_a_forgotten_one_does_not() {
    let node = start("node");
    let load = Load::on(&node);
    let (kept, dropped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let listen = |runs: &Arc<AtomicU64>| node.listen::<Tick>(counting(runs)).expect("subscribes");
    let guard = listen(&dropped);
    listen(&kept).forget();
    eventually("both run", || [&kept, &dropped].iter().all(|of| of.load(Ordering::Relaxed) > 0));
    drop(guard);
    // Only the closure holds the other clone: it is freed when the handler is.
    eventually("its closure is freed", || Arc::strong_count(&dropped) == 1);
    let (before, goes_on) = (dropped.load(Ordering::Relaxed), kept.load(Ordering::Relaxed));
    eventually("the other goes on", || kept.load(Ordering::Relaxed) > goes_on);
    assert_eq!(dropped.load(Ordering::Relaxed), before);
    drop(load);
}

#[test]
fn a_handler_can_end_itself_without_waiting_for_itself() {
    let node = Arc::new(start("node"));
    let load = Load::on(&node);
    let (says, said) = mpsc::channel();
    let (id, mine) = (Arc::new(AtomicU64::new(0)), Arc::downgrade(&node));
    let known = Arc::clone(&id);
    let subscription = node.on::<Tick>(move |_, _| {
        let Some(node) = mine.upgrade() else { return };
        let begun = Instant::now();
        let own = wireloom::SubscriptionId(known.load(Ordering::Acquire));
        if own.0 > 0 {
            node.off(own).expect("the worker takes commands");
            let _ = says.send(begun.elapsed());
        }
    });
    id.store(subscription.expect("subscribes").0, Ordering::Release);
    let took = said.recv_timeout(PATIENCE).expect("it ran");
    assert!(took < Duration::from_secs(1), "it waited {took:?} for its own worker");
    eventually("it is gone", || matches!(said.try_recv(), Err(mpsc::TryRecvError::Disconnected)));
    drop(load);
}

#[test]
fn once_is_once_also_for_many_events_of_one_packet() {
    let (node, speaker) = (start("listener"), start("speaker"));
    let (first, second) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let once = |runs: &Arc<AtomicU64>| node.once::<Tick>(counting(runs));
    once(&first).expect("subscribes");
    let mut publisher =
        speaker.publisher::<Tick>(&Target::Node(node.address())).expect("a way there");
    let mut burst = publisher.burst();
    for number in 0..100 {
        burst.publish(&Tick { number }).expect("room");
    }
    drop(burst);
    eventually("all came", || node.ledger().received.events == 100);
    assert_eq!(first.load(Ordering::Relaxed), 1);
    let ledger = node.ledger();
    assert_eq!((ledger.received.delivered, ledger.received.unsubscribed), (1, 99), "{ledger:?}");
    assert!(ledger.balanced, "{ledger:?}");
    // Ended before its event it never runs.
    let cancelled = once(&second).expect("subscribes");
    node.off(cancelled).expect("the worker takes commands");
    node.router().route(&Tick { number: 0 }, Target::Local).expect("accepted");
    eventually("it came", || node.ledger().received.local == 1);
    assert_eq!(second.load(Ordering::Relaxed), 0);
}

#[test]
fn once_is_once_at_several_receivers() {
    let node = Node::builder("many").mode(Mode::Dedicated).receivers(2).start().expect("starts");
    let speakers: Vec<Node> = (0..8).map(|number| start(&format!("speaker-{number}"))).collect();
    let runs = Arc::new(AtomicU64::new(0));
    node.once::<Tick>(counting(&runs)).expect("subscribes");
    for speaker in &speakers {
        let target = Target::Node(node.address());
        speaker.router().route(&Tick { number: 1 }, target).expect("accepted");
    }
    eventually("all came", || node.ledger().received.events == 8);
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[test]
fn what_has_run_once_leaves_no_place_taken() {
    let node = start("node");
    let (mut router, runs) = (node.router(), Arc::new(AtomicU64::new(0)));
    // More than a node has places for at a time.
    for number in 1..=4_200 {
        node.once::<Tick>(counting(&runs)).expect("a place is free again");
        router.route(&Tick { number }, Target::Local).expect("accepted");
        let until = Instant::now() + PATIENCE;
        while runs.load(Ordering::Relaxed) < number {
            assert!(Instant::now() < until, "number {number} did not run");
            thread::yield_now();
        }
    }
    let ledger = node.close();
    assert_eq!(ledger.handlers["tick"].delivered, 4_200, "also of handlers that are gone");
}
