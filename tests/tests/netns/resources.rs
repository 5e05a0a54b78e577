//! What a node has too little of: descriptors, memory, bandwidth; and many nodes that come back at
//! once. F11, F19, F20, F27.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::attacker::{Attack, Attacker};
use crate::control_group::ControlGroup;
use crate::fleet::{Fleet, datagram, reliable};
use crate::journal::DATAGRAM;
use crate::{Case, PATIENCE, Run, eventually};

pub(crate) const CASES: &[Case] = &[
    ("no_descriptor_left", exhausted),
    ("no_descriptor_to_dial_with", undialled),
    ("many_publishers_come_back_at_once", herd),
    ("flood_into_little_memory", flood),
    ("bandwidth_of_1_mbit", thin),
];

/// Lets a process open so many descriptors more than it has; the number that is out of reach now.
fn limit_descriptors(fleet: &mut Fleet, index: usize, more: usize) -> usize {
    let process = fleet.process(index);
    let most = process.next_descriptor() + more;
    let words = ["--pid".to_owned(), process.id().to_string(), format!("--nofile={most}:20000")];
    let status = Command::new("prlimit").args(words).status().expect("util-linux is installed");
    assert!(status.success(), "prlimit");
    most
}

/// F20: connections that cannot be accepted cost no processor, and are accepted when they can be.
fn exhausted(run: &Run) -> String {
    let mut fleet = Fleet::new(run, 3, json!({ "attempts": u32::MAX, "backoff_max_ms": 500 }));
    (0..2).for_each(|index| fleet.revive(index));
    fleet.feed(0, &reliable(1), 0, 200);
    eventually("the honest link", PATIENCE, || fleet.look(0).fated(&reliable(1), "delivered") > 0);
    let most = limit_descriptors(&mut fleet, 1, 8);
    let seconds = if run.long { 20 } else { 4 };
    let attacker = Attacker::start(&fleet.topology, (2, 1), Attack::Silent, (seconds, 60));
    eventually("the last descriptor to be taken", PATIENCE, || {
        fleet.process(1).next_descriptor() >= most
    });
    let (begun, used) = (Instant::now(), fleet.process(1).cpu());
    sleep(Duration::from_secs(seconds - 2));
    let delivered = fleet.look(0).fated(&reliable(1), "delivered");
    let used = fleet.process(1).cpu().saturating_sub(used).as_secs_f64();
    let share = 100.0 * used / begun.elapsed().as_secs_f64();
    assert!(share < 30.0, "{share:.0} % of a processor for nothing: it spins");
    // A link that is cut now finds no place, until the strangers have gone.
    fleet.topology.reset_connections(0, 1);
    attacker.end();
    let begun = Instant::now();
    // At once, as it is: not when the peers have dialled often enough.
    eventually("the link to be accepted", Duration::from_secs(15), || {
        fleet.look(0).fated(&reliable(1), "delivered") > delivered + 200
    });
    let back = begun.elapsed().as_secs_f64();
    fleet.hold();
    fleet.settle(PATIENCE);
    let events = fleet.assert_whole(0, 1);
    format!(
        "{events} events, {share:.0} % of a processor without descriptors, flows {back:.1} s \
         after there were some"
    )
}

/// F20: a node that has no descriptor for a link tries again, seldom, until it has one.
fn undialled(run: &Run) -> String {
    let mut fleet = Fleet::start(run, 2, json!({ "attempts": u32::MAX, "backoff_max_ms": 500 }));
    limit_descriptors(&mut fleet, 0, 0);
    fleet.feed(0, &reliable(1), 1_000, 0);
    let (begun, used) = (Instant::now(), fleet.process(0).cpu());
    sleep(Duration::from_secs(if run.long { 20 } else { 3 }));
    let used = fleet.process(0).cpu().saturating_sub(used).as_secs_f64();
    let share = 100.0 * used / begun.elapsed().as_secs_f64();
    let look = fleet.look(0);
    let (dials, most) = (look.counter("links_dialled"), 10 + 8 * begun.elapsed().as_secs());
    assert_eq!(look.fated(&reliable(1), "delivered"), 0, "there was no descriptor for a link");
    assert!(dials > 1 && dials <= most && share < 30.0, "{dials} dials, {share:.0} %");
    limit_descriptors(&mut fleet, 0, 64);
    fleet.settle(PATIENCE);
    let events = fleet.assert_whole(0, 1);
    format!("{dials} dials in vain, {share:.0} % of a processor, then {events} events")
}

/// F27: the node that many publish to starts again; they come back spread over time.
fn herd(run: &Run) -> String {
    let publishers = if run.long { 40 } else { 12 };
    let mut fleet = Fleet::new(run, publishers + 1, json!({ "attempts": u32::MAX }));
    (0..=publishers).for_each(|index| fleet.revive(index));
    let all: Vec<usize> = (1..=publishers).collect();
    for index in &all {
        fleet.feed(*index, &reliable(0), 0, 20);
    }
    for index in &all {
        eventually("each to be heard", PATIENCE, || {
            fleet.look(*index).fated(&reliable(0), "delivered") > 0
        });
    }
    fleet.kill(0);
    sleep(Duration::from_secs(2));
    fleet.revive(0);
    let begun = Instant::now();
    let before: Vec<u64> =
        all.iter().map(|index| fleet.look(*index).fated(&reliable(0), "delivered")).collect();
    for (index, before) in all.iter().zip(before) {
        eventually("each to be back", PATIENCE, || {
            fleet.look(*index).fated(&reliable(0), "delivered") > before
        });
    }
    let back = begun.elapsed().as_secs_f64();
    assert!(back < 30.0, "back after {back:.1} s");
    let mut dials = 0;
    for index in &all {
        let of = fleet.look(*index).counter("links_dialled");
        assert!(of <= 15, "node {index} dialled {of} times in two seconds of absence");
        dials += of;
    }
    format!("{publishers} publishers, all back after {back:.1} s, {dials} dials in all")
}

/// F19: a node that may have 24 MiB is sent more than its handlers take.
fn flood(run: &Run) -> String {
    const LIMIT: u64 = 24 << 20;
    let mut fleet = Fleet::new(run, 2, json!({}));
    fleet.revive(0);
    fleet.revive_with(1, &json!({ "handler_us": 100 }));
    let group = ControlGroup::with_memory(&run.prefix, fleet.process(1).id(), LIMIT);
    fleet.feed(0, &reliable(1), 0, 0);
    fleet.feed(0, &datagram(1), 0, 0);
    sleep(Duration::from_secs(if run.long { 30 } else { 4 }));
    let process = fleet.process(1).id();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a figure");
    let peak = peak.trim().to_owned();
    fleet.hold();
    fleet.settle(PATIENCE);
    let refused = fleet.look(0).at("/ledger/published/refused");
    let events = fleet.assert_whole(0, 1);
    assert!(refused > 0, "publishers were held back");
    let datagrams = fleet.arrivals(1).once((DATAGRAM, 0, 1));
    drop(group);
    format!(
        "{events} reliable events and {datagrams} by datagrams taken, {refused} calls held back, \
         {peak} at most resident"
    )
}

/// F11: the way out has a megabit a second for some seconds; then it has all again.
fn thin(run: &Run) -> String {
    let mut fleet = Fleet::start(run, 2, json!({}));
    let target = reliable(1);
    let rate_of = |fleet: &mut Fleet, time: Duration| {
        let (begun, before) = (Instant::now(), fleet.look(0).fated(&target, "delivered"));
        sleep(time);
        let events = fleet.look(0).fated(&target, "delivered") - before;
        events as f64 / begun.elapsed().as_secs_f64()
    };
    fleet.feed(0, &target, 0, 0);
    sleep(Duration::from_millis(300));
    let wide = rate_of(&mut fleet, Duration::from_secs(1));
    fleet.topology.set_rate(0, Some("1mbit"));
    sleep(Duration::from_secs(1));
    let thin = rate_of(&mut fleet, Duration::from_secs(if run.long { 20 } else { 4 }));
    fleet.topology.set_rate(0, None);
    let begun = Instant::now();
    eventually("the flow to be wide again", PATIENCE, || {
        rate_of(&mut fleet, Duration::from_millis(200)) > 20.0 * thin
    });
    let again = begun.elapsed().as_secs_f64();
    fleet.hold();
    fleet.settle(PATIENCE);
    let events = fleet.assert_whole(0, 1);
    let dials = fleet.look(0).counter("links_dialled");
    assert!(thin > 0.0 && wide > 20.0 * thin, "{wide:.0} and {thin:.0} events a second");
    format!(
        "{wide:.0} events a second, then {thin:.0}, wide again after {again:.1} s; {events} \
         events, {dials} dials"
    )
}
