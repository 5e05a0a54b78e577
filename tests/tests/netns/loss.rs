//! F01 for reliable events: random loss both ways, segments one by one and in whole runs.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::fleet::{Fleet, reliable};
use crate::{Case, Run};

pub(crate) const CASES: &[Case] = &[
    ("reliable_at_20_percent_loss", |run| lossy(run, 200, 10_000)),
    ("reliable_at_10_percent_loss", |run| lossy(run, 100, 30_000)),
    ("reliable_at_5_percent_loss", |run| lossy(run, 50, 80_000)),
    ("reliable_at_1_percent_loss", |run| lossy(run, 10, 150_000)),
    ("reliable_without_loss", |run| lossy(run, 0, 200_000)),
];

/// Two nodes publish to each other while so many packets in a thousand are lost at each. With the
/// settings of a node that was told nothing: five attempts, 10 s for an acknowledgement.
fn lossy(run: &Run, permille: u32, events: u64) -> String {
    let mut fleet = Fleet::start(run, 2, json!({}));
    let events = if run.long { 4 * events } else { events };
    let mut figures = Vec::new();
    for (offloads, what) in [(false, "segments"), (true, "runs")] {
        fleet.topology.set_offloads(offloads);
        fleet.topology.lose(permille);
        let begun = Instant::now();
        for (from, to) in [(0, 1), (1, 0)] {
            fleet.feed(from, &reliable(to), events, 0);
        }
        fleet.settle(Duration::from_secs(120));
        let took = begun.elapsed().as_secs_f64();
        let lost = fleet.topology.counted(0) + fleet.topology.counted(1);
        assert!(permille == 0 || lost > 0, "the network lost something");
        figures.push(format!("{what} {took:.1} s, {lost} packets lost"));
    }
    let arrived = fleet.assert_whole(0, 1) + fleet.assert_whole(1, 0);
    assert_eq!(arrived, 4 * events, "two ways, twice");
    let (near, far) = (fleet.look(0), fleet.look(1));
    let dialled = near.counter("links_dialled") + far.counter("links_dialled");
    let resent = near.counter("packets_resent") + far.counter("packets_resent");
    figures.push(format!("{arrived} events, {dialled} dials, {resent} packets on a second link"));
    figures.join("; ")
}
