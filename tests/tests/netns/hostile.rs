//! Strangers at the TCP port of a node while an honest link delivers. F06, F39 in part.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::attacker::{Attack, Attacker};
use crate::fleet::{Fleet, reliable};
use crate::{Case, PATIENCE, Run, eventually};

pub(crate) const CASES: &[Case] = &[("strangers_at_the_port", strangers)];

/// Connections of strangers; a node keeps 64 that have not said hello, and fewer time out.
const CONNECTIONS: usize = 150;
const STRANGERS_MAX: usize = 64;
const STRANGERS_FEW: usize = 40;

/// One kind of stranger after the other.
fn strangers(run: &Run) -> String {
    let mut fleet = Fleet::new(run, 3, json!({ "connect_ms": 2_000, "attempts": u32::MAX }));
    (0..2).for_each(|index| fleet.revive(index));
    fleet.feed(0, &reliable(1), 0, 2_000);
    eventually("the honest link", PATIENCE, || fleet.look(0).fated(&reliable(1), "delivered") > 0);
    let before = fleet.process(1).descriptors();
    let (seconds, mut most) = (if run.long { 20 } else { 3 }, 0);
    for (attack, connections) in [
        (Attack::Noise, 1),
        (Attack::Slow, CONNECTIONS),
        (Attack::Silent, STRANGERS_FEW),
        (Attack::Silent, CONNECTIONS),
    ] {
        let attacker = Attacker::start(&fleet.topology, (2, 1), attack, (seconds, connections));
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            let delivered = fleet.look(0).fated(&reliable(1), "delivered");
            eventually("the honest link to go on", Duration::from_secs(10), || {
                fleet.look(0).fated(&reliable(1), "delivered") > delivered
            });
            most = most.max(fleet.process(1).descriptors());
        }
        attacker.end();
    }
    let again = cut_among_strangers(&mut fleet, seconds);
    assert!(most <= before + STRANGERS_MAX + 4, "{most} descriptors, {before} before");
    eventually("the strangers to be gone", PATIENCE, || {
        fleet.process(1).descriptors() <= before + 1
    });
    fleet.hold();
    fleet.settle(PATIENCE);
    let events = fleet.assert_whole(0, 1);
    let look = fleet.look(1);
    let counted = |name: &str| {
        let count = look.counter(name);
        assert!(count > 0, "no {name}");
        count
    };
    format!(
        "{events} events, a link cut among them back after {again:.1} s, {} strangers refused, {} \
         closed for others, {} timed out, at most {most} descriptors",
        counted("hellos_refused_malformed"),
        counted("handshakes_shed"),
        counted("handshakes_expired")
    )
}

/// The honest link is cut while strangers hold all places of those who have not said hello: it is
/// back at once, in the place of one of them, before any has timed out. After how many seconds.
fn cut_among_strangers(fleet: &mut Fleet, seconds: u64) -> f64 {
    let shape = (seconds, CONNECTIONS);
    let attacker = Attacker::start(&fleet.topology, (2, 1), Attack::Silent, shape);
    let shed = fleet.look(1).counter("handshakes_shed");
    eventually("the places to be taken", PATIENCE, || {
        fleet.look(1).counter("handshakes_shed") > shed
    });
    let delivered = fleet.look(0).fated(&reliable(1), "delivered");
    let expired = fleet.look(1).counter("handshakes_expired");
    fleet.topology.reset_connections(0, 1);
    let begun = Instant::now();
    // More than can have been under way when it was cut.
    eventually("the link to be back", PATIENCE, || {
        fleet.look(0).fated(&reliable(1), "delivered") > delivered + 1_000
    });
    let again = begun.elapsed().as_secs_f64();
    assert_eq!(fleet.look(1).counter("handshakes_expired"), expired, "back after {again:.1} s");
    attacker.end();
    again
}
