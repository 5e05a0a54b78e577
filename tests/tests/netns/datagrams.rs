//! Datagrams on a network that loses and doubles them, changes its size or refuses them: what is
//! promised is that the receiver's account is exact. F01, F03, F06, F12, F13, F14.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::attacker::{Attack, Attacker};
use crate::fleet::{Fleet, datagram, reliable};
use crate::journal::{DATAGRAM, RELIABLE};
use crate::topology::PORT;
use crate::{Case, PATIENCE, Run, eventually};

pub(crate) const CASES: &[Case] = &[
    ("datagrams_at_loss", lossy),
    ("datagrams_sent_twice", doubled),
    ("datagrams_of_a_stranger", strange),
    ("path_narrower_and_wider", narrow),
    ("receive_buffer_of_4_kib", small_buffer),
    ("port_that_refuses", refusing),
];

/// The events of node 0 for node 1: sent, delivered, told as lost, carried before they were heard.
struct Account {
    sent: u64,
    delivered: u64,
    lost: u64,
    before: u64,
}

/// Reads both books until they agree: `sent = delivered + lost + before`. Then makes sure that the
/// handlers have had the same, nothing twice.
fn reconcile(fleet: &mut Fleet) -> Account {
    let mut account = Account { sent: 0, delivered: 0, lost: 0, before: 0 };
    let begun = Instant::now();
    loop {
        account.sent = fleet.look(0).at("/ledger/links/udp:~1~110.77.0.2:7000");
        let look = fleet.look(1);
        let reliable = fleet.arrivals(1).count((RELIABLE, 0, 1));
        account.delivered = look.at("/ledger/received/events") - reliable;
        account.lost = look.at("/ledger/received/lost");
        account.before = look.at("/ledger/received/before_join");
        if account.sent == account.delivered + account.lost + account.before {
            break;
        }
        let Account { sent, delivered, lost, before } = account;
        let waited = begun.elapsed() > PATIENCE;
        assert!(!waited, "{sent} sent, {delivered} delivered, {lost} lost, {before} before");
        sleep(Duration::from_millis(50));
    }
    let arrived = fleet.arrivals(1).once((DATAGRAM, 0, 1));
    assert_eq!(arrived, account.delivered, "handlers have had what is delivered");
    account
}

/// Publishes, and waits until it is sent.
fn publish(fleet: &mut Fleet, count: u64, rate: u64) {
    fleet.feed(0, &datagram(1), count, rate);
    fleet.settle(PATIENCE);
    eventually("the rings to be empty", PATIENCE, || {
        fleet.look(0).at("/ledger/published/in_flight") == 0
    });
}

/// F01: what is not delivered is told as lost, to the event.
fn lossy(run: &Run) -> String {
    let mut figures = Vec::new();
    let mut fleet = Fleet::start(run, 2, json!({}));
    let count = if run.long { 200_000 } else { 20_000 };
    for (offloads, what) in [(false, "datagrams"), (true, "runs")] {
        fleet.topology.set_offloads(offloads);
        for permille in [10, 50, 100, 200] {
            publish(&mut fleet, 100, 5_000);
            let before = reconcile(&mut fleet);
            fleet.topology.lose(permille);
            publish(&mut fleet, count, 20_000);
            let dropped = fleet.topology.counted(1);
            fleet.topology.lose(0);
            // What comes after tells of a gap before it.
            publish(&mut fleet, 100, 5_000);
            let after = reconcile(&mut fleet);
            let lost = after.lost - before.lost;
            assert!(dropped > 0 && lost > 0, "something was lost at {permille}/1000");
            figures.push(format!("{} % of {what}: {lost} told lost", permille / 10));
        }
    }
    let look = fleet.look(1);
    assert_eq!(look.at("/lost"), look.at("/ledger/received/lost"), "handlers were told the same");
    let Account { sent, delivered, lost, .. } = reconcile(&mut fleet);
    format!("{sent} sent = {delivered} delivered + {lost} lost; {}", figures.join(", "))
}

/// F03: a datagram that comes twice is delivered once, and counted.
fn doubled(run: &Run) -> String {
    let mut fleet = Fleet::start(run, 2, json!({}));
    fleet.topology.set_offloads(false);
    fleet.topology.double(0, 1, 50);
    fleet.topology.set_rules(1, &[format!("udp dport {PORT} counter")]);
    publish(&mut fleet, if run.long { 500_000 } else { 50_000 }, 20_000);
    let Account { sent, delivered, lost, before } = reconcile(&mut fleet);
    let taken_away = lost + before;
    assert!(taken_away == 0 || fleet.look(1).at("/ledger/kernel_drops") > 0, "{taken_away} lost");
    let mut counted = (0, 0);
    eventually("the kernel's count and the node's to agree", PATIENCE, || {
        counted = (fleet.topology.counted(1), fleet.look(1).counter("datagrams_received"));
        counted.0 == counted.1
    });
    let (sent_once, twice) =
        (fleet.look(0).counter("packets_sent"), fleet.look(1).counter("packets_duplicate"));
    assert!(twice > 0, "none came twice: {counted:?}");
    format!(
        "{sent} events sent, {delivered} delivered once; {} datagrams for {sent_once} packets, \
         {twice} dropped as had before",
        counted.0
    )
}

/// F06: what no node sends is dropped by name, and nothing beside it suffers.
fn strange(run: &Run) -> String {
    let mut fleet = Fleet::new(run, 3, json!({}));
    (0..2).for_each(|index| fleet.revive(index));
    let seconds = if run.long { 20 } else { 4 };
    publish(&mut fleet, 100, 5_000);
    let stranger = Attacker::start(&fleet.topology, (2, 1), Attack::Datagrams, (seconds, 0));
    publish(&mut fleet, 5_000 * seconds, 5_000);
    stranger.end();
    let Account { sent, delivered, .. } = reconcile(&mut fleet);
    let look = fleet.look(1);
    let full = look.at("/ledger/kernel_drops") > 0;
    assert!(sent == delivered || full, "{delivered} of {sent} honest events");
    let dropped = look.0["ledger"]["dropped_datagrams"].clone();
    let reasons = dropped.as_object().expect("a map");
    let sum: u64 = reasons.values().filter_map(serde_json::Value::as_u64).sum();
    assert!(reasons.len() >= 3 && sum > 1_000, "{dropped}");
    format!("{delivered} honest events, {sum} strange datagrams dropped: {dropped}")
}

/// F12: the network takes 1,500 bytes, then 1,280, then 1,500 again.
fn narrow(run: &Run) -> String {
    let mut fleet = Fleet::start(run, 2, json!({}));
    fleet.feed(0, &reliable(1), 0, 3_000);
    fleet.feed(0, &datagram(1), 0, 3_000);
    let changes = if run.long { 20 } else { 2 };
    for _ in 0..changes {
        for bytes in [1_500, 1_280] {
            fleet.topology.set_mtu(bytes);
            sleep(Duration::from_millis(800));
        }
    }
    // Whoever follows the path loses nothing any more.
    let mut refused = 0;
    eventually("packets to follow the path", PATIENCE, || {
        let before = fleet.look(0).counter("datagrams_refused");
        sleep(Duration::from_millis(500));
        refused = fleet.look(0).counter("datagrams_refused");
        refused == before
    });
    fleet.hold();
    fleet.settle(PATIENCE);
    let events = fleet.assert_whole(0, 1);
    let Account { sent, delivered, lost, .. } = reconcile(&mut fleet);
    assert!(delivered > sent / 2, "{delivered} of {sent}");
    format!(
        "{events} reliable events; of {sent} by datagrams {lost} lost, {refused} datagrams refused"
    )
}

/// F13: a receiver with hardly a buffer loses much and knows how much; reliable events wait.
fn small_buffer(run: &Run) -> String {
    let mut fleet = Fleet::new(run, 2, json!({}));
    fleet.revive(0);
    fleet.revive_with(1, &json!({ "receive_buffer": 4_096 }));
    let count = if run.long { 1_000_000 } else { 100_000 };
    fleet.feed(0, &reliable(1), count / 10, 0);
    fleet.feed(0, &datagram(1), count, 0);
    fleet.settle(PATIENCE);
    let events = fleet.assert_whole(0, 1);
    publish(&mut fleet, 100, 1_000);
    let Account { sent, delivered, lost, before } = reconcile(&mut fleet);
    let drops = fleet.look(1).at("/ledger/kernel_drops");
    assert!(lost + before == 0 || drops > 0, "who lost events names the kernel's drops");
    format!(
        "{events} reliable events; of {sent} by datagrams {delivered} delivered, {lost} lost, \
         {drops} buffers dropped by the kernel"
    )
}

/// F14: each datagram to a host without a listener is answered by a refusal; others are not hurt.
fn refusing(run: &Run) -> String {
    let mut fleet = Fleet::new(run, 3, json!({}));
    fleet.revive(0);
    fleet.revive(2);
    let (begun, used) = (Instant::now(), fleet.process(0).cpu());
    let seconds = if run.long { 20 } else { 4 };
    fleet.feed(0, &datagram(1), 5_000 * seconds, 5_000);
    fleet.feed(0, &datagram(2), 5_000 * seconds, 5_000);
    fleet.settle(PATIENCE);
    let used = fleet.process(0).cpu().saturating_sub(used).as_secs_f64();
    let share = 100.0 * used / begun.elapsed().as_secs_f64();
    let mut arrived = 0;
    eventually("what goes to the living", PATIENCE, || {
        arrived = fleet.arrivals(2).once((DATAGRAM, 0, 1));
        arrived == 5_000 * seconds
    });
    fleet.revive(1);
    fleet.feed(0, &datagram(1), 500, 1_000);
    eventually("events at the port that listens now", PATIENCE, || {
        fleet.arrivals(1).count((DATAGRAM, 0, 1)) > 0
    });
    assert!(share < 90.0, "{share:.0} % of a processor for 10,000 events a second");
    format!("{arrived} events beside as many refused, {share:.0} % of a processor, then accepted")
}
