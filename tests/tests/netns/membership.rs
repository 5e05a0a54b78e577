//! Members of a cluster whose network is cut in two, whose processes stand still, or that get a
//! twentieth of a processor: who is called dead, and how all come together again. F08, F10, F17,
//! F18.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::control_group::ControlGroup;
use crate::fleet::{Fleet, datagram, name, reliable};
use crate::topology::address;
use crate::{Case, PATIENCE, Run, eventually};

pub(crate) const CASES: &[Case] = &[
    ("one_way_partition", one_way),
    ("member_with_a_twentieth_of_a_processor", throttled),
    ("partition_of_two_and_three", partition),
    ("stopped_members", stopped),
];

fn fleet(run: &Run, nodes: usize) -> Fleet {
    Fleet::start(
        run,
        nodes,
        json!({ "cluster": run.prefix, "attempts": u32::MAX,
        "ack_ms": 2_000, "backoff_max_ms": 2_000 }),
    )
}

/// F10: within each side events go on; across, they wait until the network heals.
fn partition(run: &Run) -> String {
    let mut fleet = fleet(run, 5);
    let (few, many) = ([0, 1], [2, 3, 4]);
    let ways = [(0, 1), (2, 3), (3, 4), (0, 2), (4, 1)];
    for (from, to) in ways {
        fleet.feed(from, &reliable(to), 0, 300);
    }
    let rounds = if run.long { 10 } else { 1 };
    let (mut apart, mut together) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..rounds {
        let begun = Instant::now();
        for near in few {
            for far in many {
                fleet.topology.block(near, far);
                fleet.topology.block(far, near);
            }
        }
        fleet.converge(&few);
        fleet.converge(&many);
        apart = apart.max(begun.elapsed());
        for (from, to) in &ways[..3] {
            let before = fleet.look(*from).fated(&reliable(*to), "delivered");
            eventually("events within a side", PATIENCE, || {
                fleet.look(*from).fated(&reliable(*to), "delivered") > before
            });
        }
        fleet.topology.heal();
        let begun = Instant::now();
        fleet.converge(&[0, 1, 2, 3, 4]);
        together = together.max(begun.elapsed());
    }
    fleet.hold();
    fleet.settle(PATIENCE);
    let events: u64 = ways.map(|(from, to)| fleet.assert_whole(from, to)).iter().sum();
    format!(
        "{rounds} times, apart after {:.1} s, together again after {:.1} s, {events} events",
        apart.as_secs_f64(),
        together.as_secs_f64()
    )
}

/// F08: nothing of node 0 reaches node 1, the other way is free. With a third node that reaches
/// both nobody is dead; without it both see it.
fn one_way(run: &Run) -> String {
    let mut fleet = fleet(run, 3);
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        fleet.feed(from, &reliable(to), 0, 300);
    }
    fleet.topology.block(0, 1);
    sleep(Duration::from_secs(if run.long { 30 } else { 8 }));
    for index in 0..3 {
        let downs = fleet.look(index).downs();
        assert!(downs.is_empty(), "{} calls {downs:?} dead", name(index));
    }
    fleet.topology.heal();
    fleet.hold();
    fleet.settle(PATIENCE);
    let ways = [(0, 1), (1, 2), (2, 0)];
    let events: u64 = ways.map(|(from, to)| fleet.assert_whole(from, to)).iter().sum();

    fleet.kill(2);
    fleet.converge(&[0, 1]);
    // Who of the two is the first to find the other dead is a matter of chance.
    let (mut apart, mut together) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..if run.long { 5 } else { 3 } {
        fleet.topology.block(0, 1);
        let begun = Instant::now();
        fleet.converge_each(&[0], &[0]);
        fleet.converge_each(&[1], &[1]);
        apart = apart.max(begun.elapsed());
        fleet.topology.heal();
        let begun = Instant::now();
        fleet.converge(&[0, 1]);
        together = together.max(begun.elapsed());
    }
    format!(
        "with a third nobody was dead, {events} events; without, both saw it within {:.1} s, and \
         were together again after {:.1} s",
        apart.as_secs_f64(),
        together.as_secs_f64()
    )
}

/// F17: one second is no death; after a longer time the member comes back and blames nobody.
fn stopped(run: &Run) -> String {
    let mut fleet = fleet(run, 3);
    let ways = [(0, 2), (2, 1)];
    for (from, to) in ways {
        fleet.feed(from, &reliable(to), 0, 300);
    }
    for _ in 0..2 {
        fleet.signal(2, Signal::STOP);
        sleep(Duration::from_secs(1));
        fleet.signal(2, Signal::CONT);
        sleep(Duration::from_secs(3));
    }
    for index in 0..3 {
        let downs = fleet.look(index).downs();
        assert!(downs.is_empty(), "1 s is no death: {} says {downs:?}", name(index));
    }
    fleet.signal(2, Signal::STOP);
    sleep(Duration::from_secs(if run.long { 30 } else { 6 }));
    let missed = fleet.look(0).downs().len() + fleet.look(1).downs().len();
    fleet.signal(2, Signal::CONT);
    fleet.converge(&[0, 1, 2]);
    for (index, may) in [(0, 2), (1, 2), (2, 2)] {
        let downs = fleet.look(index).downs();
        let wrong: Vec<&String> = downs.iter().filter(|of| **of != address(may)).collect();
        assert!(wrong.is_empty(), "{} calls {wrong:?} dead", name(index));
    }
    assert!(fleet.look(2).downs().is_empty(), "who was stopped blames nobody");
    fleet.hold();
    fleet.settle(PATIENCE);
    let events: u64 = ways.map(|(from, to)| fleet.assert_whole(from, to)).iter().sum();
    format!(
        "1 s twice: no death; then {missed} of 2 found it dead, and it came back; \
         {events} events"
    )
}

/// F18: the slow one is slow to answer and slow to hear; nobody healthy is dead for that.
fn throttled(run: &Run) -> String {
    let mut fleet = fleet(run, 5);
    for index in 0..4 {
        fleet.feed(index, &reliable(4), 0, 200);
        fleet.feed(4, &datagram(index), 0, 200);
    }
    let group = ControlGroup::with_a_twentieth(&run.prefix, fleet.process(4).id());
    let (begun, used) = (Instant::now(), fleet.process(4).cpu());
    sleep(Duration::from_secs(if run.long { 60 } else { 15 }));
    let used = fleet.process(4).cpu().saturating_sub(used).as_secs_f64();
    let share = 100.0 * used / begun.elapsed().as_secs_f64();
    let mut slow_downs = 0;
    for index in 0..5 {
        let (healthy, slow): (Vec<String>, Vec<String>) =
            fleet.look(index).downs().into_iter().partition(|of| *of != address(4));
        assert!(healthy.is_empty(), "{} calls healthy members dead: {healthy:?}", name(index));
        slow_downs += slow.len();
    }
    let held = group.read("cpu.stat");
    let held = held.lines().find_map(|line| line.strip_prefix("nr_throttled ")).unwrap_or("?");
    drop(group);
    fleet.hold();
    fleet.settle(PATIENCE);
    fleet.converge(&[0, 1, 2, 3, 4]);
    let events: u64 = (0..4).map(|from| fleet.assert_whole(from, 4)).sum();
    assert!(share < 8.0, "it was not throttled: {share:.1} %");
    format!(
        "{share:.1} % of a processor (held {held} times), no healthy member dead, the slow one \
         {slow_downs} times, {events} reliable events to it"
    )
}
