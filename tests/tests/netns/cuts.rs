//! Links that end while events flow: reset, gone silent, without a cable. F07, F09.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fleet::{Fleet, reliable};
use crate::journal::RELIABLE;
use crate::topology::PORT;
use crate::{Case, Draw, PATIENCE, Run, eventually};

pub(crate) const CASES: &[Case] = &[
    ("links_reset_100_times", reset),
    ("links_reset_behind_slow_handlers", reset_behind_handlers),
    ("silent_links", silent),
    ("cable_out_and_in", cable),
    ("blackhole_then_heal", blackhole),
    ("nobody_answers", refused),
];

/// Events a second of a feed whose links are cut.
const RATE: u64 = 5_000;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Waits until a node's events are acknowledged again; how long that took.
fn flows_again(fleet: &mut Fleet, from: usize, to: usize) -> Duration {
    let (begun, target) = (Instant::now(), reliable(to));
    let before = fleet.look(from).fated(&target, "delivered");
    eventually("events to flow again", PATIENCE, || {
        fleet.look(from).fated(&target, "delivered") > before
    });
    begun.elapsed()
}

/// Ends the feeds, waits for every fate, and makes sure that all arrived; the figures.
fn finish(fleet: &mut Fleet, from: usize, to: usize) -> String {
    fleet.hold();
    fleet.settle(PATIENCE);
    let events = fleet.assert_whole(from, to);
    let look = fleet.look(from);
    let (dials, cut) = (look.counter("links_dialled"), look.counter("links_cut"));
    let (silent, resent) = (look.counter("links_silent"), look.counter("packets_resent"));
    format!(
        "{events} events, {dials} dials, {cut} cut, {silent} silent, {resent} packets sent again"
    )
}

/// Cuts the links of a feed so often: the connections are destroyed by either kernel, or each
/// packet is answered by a reset.
fn cut_often(fleet: &mut Fleet, cuts: u64, draw: &mut Draw) {
    for cut in 0..cuts {
        flows_again(fleet, 0, 1);
        sleep(draw.between_ms(0, 20));
        match cut % 4 {
            0 | 2 => fleet.topology.reset_connections(0, 1),
            1 => fleet.topology.reset_connections(1, 0),
            _ => {
                let rule = format!("tcp dport {PORT} reject with tcp reset");
                fleet.topology.set_rules(1, &[rule]);
                sleep(draw.between_ms(5, 60));
                fleet.topology.heal();
            }
        }
    }
    flows_again(fleet, 0, 1);
}

/// (a) Cuts at any instant of a feed that its receiver keeps up with.
fn reset(run: &Run) -> String {
    let mut fleet = Fleet::start(run, 2, json!({ "attempts": u32::MAX }));
    fleet.feed(0, &reliable(1), 0, RATE);
    let cuts = if run.long { 500 } else { 100 };
    cut_often(&mut fleet, cuts, &mut Draw(run.seed));
    let figures = finish(&mut fleet, 0, 1);
    let look = fleet.look(0);
    assert!(look.counter("links_cut") >= cuts * 9 / 10, "links were really cut: {figures}");
    assert!(look.counter("packets_resent") > 0, "with packets on them: {figures}");
    // A cut costs a dial, or a few while every packet is answered by a reset.
    assert!(look.counter("links_dialled") <= 4 * cuts, "a dial storm: {figures}");
    format!("{cuts} cuts, {figures}")
}

/// The same with packets in the receiver's ring that no handler has had: a new link goes on behind
/// them, although they are not acknowledged.
fn reset_behind_handlers(run: &Run) -> String {
    let mut fleet = Fleet::start(run, 2, json!({ "attempts": u32::MAX, "handler_us": 100 }));
    fleet.feed(0, &reliable(1), 0, 0);
    let cuts = if run.long { 200 } else { 24 };
    cut_often(&mut fleet, cuts, &mut Draw(run.seed ^ 4));
    format!("{cuts} cuts, {}", finish(&mut fleet, 0, 1))
}

/// (b) Everything is dropped for a while, longer and shorter than the time for an acknowledgement.
fn silent(run: &Run) -> String {
    let settings = json!({ "ack_ms": 400, "connect_ms": 1_000, "attempts": u32::MAX });
    let mut fleet = Fleet::start(run, 2, settings);
    let mut draw = Draw(run.seed ^ 1);
    fleet.feed(0, &reliable(1), 0, RATE);
    let (cuts, mut dark) = (if run.long { 200 } else { 25 }, Duration::ZERO);
    for _ in 0..cuts {
        flows_again(&mut fleet, 0, 1);
        let one_way = draw.below(2) == 0;
        fleet.topology.block(0, 1);
        if !one_way {
            fleet.topology.block(1, 0);
        }
        let time = draw.between_ms(10, 800);
        sleep(time);
        dark += time;
        fleet.topology.heal();
    }
    flows_again(&mut fleet, 0, 1);
    let figures = finish(&mut fleet, 0, 1);
    assert!(fleet.look(0).counter("links_silent") > cuts / 8, "some fell silent: {figures}");
    assert!(fleet.look(0).counter("links_dialled") <= 6 * cuts, "a dial storm: {figures}");
    format!("{cuts} times {:.1} s dark in all, {figures}", dark.as_secs_f64())
}

/// F09: the cable out for 200 ms and in again.
fn cable(run: &Run) -> String {
    let mut fleet = Fleet::start(run, 2, json!({ "ack_ms": 1_000, "attempts": u32::MAX }));
    let before = (fleet.process(0).descriptors(), fleet.process(1).descriptors());
    fleet.feed(0, &reliable(1), 0, RATE);
    let (flaps, begun) = (if run.long { 100 } else { 25 }, Instant::now());
    for _ in 0..flaps {
        fleet.topology.set_link(1, false);
        sleep(ms(200));
        fleet.topology.set_link(1, true);
        sleep(ms(200));
    }
    let took = begun.elapsed().as_secs();
    flows_again(&mut fleet, 0, 1);
    let figures = finish(&mut fleet, 0, 1);
    // Two links to the peer, of which one is used: one dial a second.
    let dials = fleet.look(0).counter("links_dialled");
    assert!(dials <= 2 + took, "more than a dial a second: {figures}");
    for (index, before) in [(0, before.0), (1, before.1)] {
        let now = fleet.process(index).descriptors();
        assert!(now <= before + 4, "descriptors leak: {before}, then {now}");
    }
    format!("{flaps} times, {figures}")
}

/// F07: nothing passes for seconds; what was published meanwhile waits in its ring.
fn blackhole(run: &Run) -> String {
    let mut fleet = Fleet::start(run, 2, json!({ "ack_ms": 1_000, "attempts": u32::MAX }));
    fleet.feed(0, &reliable(1), 0, RATE);
    let holes: &[u64] = if run.long { &[1, 5, 30] } else { &[1, 5] };
    let mut healed = Vec::new();
    for seconds in holes {
        flows_again(&mut fleet, 0, 1);
        let dials = fleet.look(0).counter("links_dialled");
        fleet.topology.block(0, 1);
        fleet.topology.block(1, 0);
        sleep(ms(1_000 * seconds));
        let dials = fleet.look(0).counter("links_dialled") - dials;
        assert!(dials <= 3 + seconds, "{dials} dials in {seconds} s of darkness");
        fleet.topology.heal();
        let took = flows_again(&mut fleet, 0, 1);
        // The pause before an attempt is 10 s at most, the attempt 5 s.
        assert!(took < Duration::from_secs(20), "{took:?} after {seconds} s of darkness");
        healed.push(format!("{seconds} s dark, flows after {:.1} s", took.as_secs_f64()));
    }
    format!("{}; {}", healed.join(", "), finish(&mut fleet, 0, 1))
}

/// Each dial is refused at once: pauses keep it from being a storm, and the events are told.
fn refused(run: &Run) -> String {
    let mut fleet = Fleet::new(run, 2, json!({ "undelivered_ms": 0 }));
    fleet.revive(0);
    let target = reliable(1);
    fleet.feed(0, &target, 1_000, 0);
    let begun = Instant::now();
    eventually("the events to be given up", PATIENCE, || fleet.look(0).is_settled());
    let (took, look) = (begun.elapsed(), fleet.look(0));
    assert_eq!(look.fates(&target), [("unreachable".to_owned(), 1_000)]);
    assert_eq!(look.at("/letters"), 1_000, "the dead-letter handler hears of each");
    let dials = look.counter("links_dialled");
    assert_eq!(dials, 5, "as many attempts as configured");
    // Now somebody listens: what comes next arrives, in a new session.
    fleet.revive(1);
    fleet.feed(0, &target, 1_000, 0);
    fleet.settle(PATIENCE);
    let look = fleet.look(0);
    let told = [("unreachable".to_owned(), 1_000), ("delivered".to_owned(), 1_000)];
    assert_eq!(look.fates(&target), told);
    let source = (RELIABLE, 0, 1);
    let numbers = fleet.arrivals(1).in_order(source);
    assert_eq!(numbers, ((1_000..2_000).collect(), 0));
    format!(
        "{dials} dials in {:.1} s, 1000 told as undelivered, 1000 delivered after",
        took.as_secs_f64()
    )
}
