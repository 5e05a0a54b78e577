//! Nodes that are killed, stopped and started again while reliable events are on their way.

use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::fleet::{Fleet, reliable, short};
use crate::journal::RELIABLE;
use crate::{Case, Draw, PATIENCE, Run};

pub(crate) const CASES: &[Case] = &[
    ("nodes_killed_stopped_and_started", chaos),
    ("receiver_killed_behind_slow_handlers", behind_handlers),
    ("receiver_that_stays_dead", stays_dead),
    ("one_node_started_again_and_again", again_and_again),
];

/// What the nodes of these cases have: they try for as long as it takes.
fn stubborn(run: &Run) -> serde_json::Value {
    json!({ "cluster": run.prefix, "attempts": u32::MAX, "ack_ms": 2_000, "backoff_max_ms": 2_000 })
}

/// Three nodes publish to each other, members of a cluster; one after the other meets its fate.
fn chaos(run: &Run) -> String {
    let mut fleet = Fleet::start(run, 3, stubborn(run));
    let mut draw = Draw(run.seed ^ 2);
    let publish = |fleet: &mut Fleet, index: usize| {
        for other in fleet.others(index) {
            fleet.feed(index, &reliable(other), 0, 400);
        }
    };
    (0..3).for_each(|index| publish(&mut fleet, index));
    let (faults, mut stops, mut kills) = (if run.long { 60 } else { 12 }, 0, 0);
    for fault in 0..faults {
        sleep(draw.between_ms(100, 700));
        let victim = draw.index(3);
        if draw.below(5) < 2 {
            fleet.signal(victim, Signal::STOP);
            let long = run.long && fault == faults / 2;
            sleep(if long { Duration::from_secs(30) } else { draw.between_ms(50, 3_000) });
            fleet.signal(victim, Signal::CONT);
            stops += 1;
        } else {
            fleet.kill(victim);
            sleep(draw.between_ms(0, 1_000));
            fleet.revive(victim);
            publish(&mut fleet, victim);
            kills += 1;
        }
    }
    fleet.hold();
    fleet.settle(PATIENCE);
    fleet.converge(&[0, 1, 2]);
    let (mut events, mut again) = (0, 0);
    for to in 0..3 {
        let (arrived, doubled) = check(&mut fleet, to);
        (events, again) = (events + arrived, again + doubled);
    }
    format!(
        "{kills} killed, {stops} stopped, {events} events, {again} of them again in a later life \
         of a killed receiver"
    )
}

/// What a node received over all its lives: of publishers that live everything, of lives that were
/// killed everything up to some number. How many events, and how many came again in a later life.
fn check(fleet: &mut Fleet, to: usize) -> (u64, u64) {
    let arrivals = fleet.arrivals(to);
    let (mut events, mut again) = (0, 0);
    for source in arrivals.sources() {
        let (numbers, doubled) = arrivals.in_order(source);
        let count = numbers.len() as u64;
        assert!(numbers.iter().copied().eq(0..count), "{source:?} at {to}: there is a hole");
        assert!(doubled == 0 || fleet.life(to) > 1, "{source:?} at {to}: twice in one life");
        (events, again) = (events + count, again + doubled);
    }
    for from in fleet.feeding(to) {
        let look = fleet.look(from);
        let accepted = look.accepted(&reliable(to));
        let source = (RELIABLE, short(from), fleet.life(from));
        let (numbers, _) = arrivals.in_order(source);
        assert_eq!(numbers.len() as u64, accepted, "from {from} to {to}: all that was accepted");
        assert_eq!(look.fated(&reliable(to), "delivered"), accepted, "from {from} to {to}");
        assert_eq!(look.0["ledger"]["balanced"], true, "{}", look.0["ledger"]);
    }
    (events, again)
}

/// A receiver dies with its ring full of events that no handler has had: none of them was
/// acknowledged, and the next life gets them.
fn behind_handlers(run: &Run) -> String {
    let settings = json!({ "attempts": u32::MAX, "handler_us": 300, "backoff_max_ms": 300 });
    let mut fleet = Fleet::start(run, 2, settings);
    let mut draw = Draw(run.seed ^ 3);
    let target = reliable(1);
    let source = (RELIABLE, 0, 1);
    fleet.feed(0, &target, 0, 0);
    let kills = if run.long { 40 } else { 8 };
    for _ in 0..kills {
        sleep(draw.between_ms(300, 900));
        fleet.kill(1);
        // What was reported as delivered had been handed to a handler.
        let delivered = fleet.look(0).fated(&target, "delivered");
        let (numbers, _) = fleet.arrivals(1).in_order(source);
        let had = numbers.len() as u64;
        assert!(numbers.iter().copied().eq(0..had), "there is a hole before {had}");
        assert!(delivered <= had, "{delivered} were reported, {had} had been handled");
        fleet.revive(1);
    }
    fleet.hold();
    fleet.settle(PATIENCE);
    let (events, again) = check(&mut fleet, 1);
    assert!(events > 0 && again > 0, "killed with events in between: {events}, {again}");
    format!("{kills} killed, {events} events, {again} of them again in a later life")
}

/// A receiver that does not come back in time: what it had is delivered, the rest is told.
fn stays_dead(run: &Run) -> String {
    let settings = json!({ "ack_ms": 1_000, "connect_ms": 1_000, "undelivered_ms": 1_000 });
    let mut fleet = Fleet::start(run, 2, settings);
    let target = reliable(1);
    fleet.feed(0, &target, 0, 3_000);
    sleep(Duration::from_millis(700));
    fleet.kill(1);
    sleep(Duration::from_millis(300));
    fleet.hold();
    fleet.settle(PATIENCE);
    let look = fleet.look(0);
    let (accepted, delivered) = (look.accepted(&target), look.fated(&target, "delivered"));
    let told: u64 = look.fates(&target).iter().filter(|(f, _)| f != "delivered").map(|f| f.1).sum();
    assert!(delivered > 0 && told > 0 && delivered + told == accepted, "{:?}", look.fates(&target));
    assert_eq!(look.at("/letters"), told, "one letter for each");
    let (numbers, again) = fleet.arrivals(1).in_order((RELIABLE, 0, 1));
    let had = numbers.len() as u64;
    assert!(numbers.iter().copied().eq(0..had) && again == 0);
    assert!(delivered <= had, "{delivered} were reported, {had} had been handled");
    fleet.revive(1);
    fleet.feed(0, &target, 500, 0);
    fleet.settle(PATIENCE);
    let (numbers, _) = fleet.arrivals(1).in_order((RELIABLE, 0, 1));
    let tail = &numbers[numbers.len() - 500..];
    assert!(tail.iter().copied().eq(accepted..accepted + 500), "what came after arrives");
    format!(
        "{accepted} accepted, {delivered} delivered, {told} told as undelivered ({} of those had \
         come), 500 after it came back",
        had - delivered
    )
}

/// F29: one identity starts many times; it is one member, and who publishes to it loses nothing.
fn again_and_again(run: &Run) -> String {
    let mut fleet = Fleet::start(run, 3, stubborn(run));
    fleet.feed(0, &reliable(1), 0, 500);
    let starts = if run.long { 100 } else { 20 };
    for _ in 0..starts {
        sleep(Duration::from_millis(100));
        fleet.kill(1);
        fleet.revive(1);
    }
    fleet.hold();
    fleet.settle(PATIENCE);
    fleet.converge(&[0, 1, 2]);
    let members = fleet.look(0).0["members"].as_array().map_or(0, Vec::len);
    assert!(members <= 3, "{members} entries for three nodes");
    let (events, again) = check(&mut fleet, 1);
    format!("{starts} starts, {members} entries, {events} events, {again} again in a later life")
}
