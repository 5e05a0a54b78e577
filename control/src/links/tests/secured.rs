//! Links over TLS: what goes by them, whom they are refused to, what is told of them.

use std::sync::Mutex;

use super::*;
use crate::tally::{Delivery, Undelivered};
use crate::tls::tests::authority::Authority;

const PATIENCE: Duration = Duration::from_secs(5);

fn credentials(authority: &Authority, index: usize) -> Credentials {
    authority.node(&format!("node-{index}"), NodeId(index as u64 + 1))
}

fn secured(model: StreamModel, settings: &ReliableSettings) -> (Pair, Authority) {
    let authority = Authority::new("c");
    let both = [0, 1].map(|index| Some(credentials(&authority, index)));
    (Pair::with(model, settings, both), authority)
}

fn hasty() -> ReliableSettings {
    ReliableSettings {
        attempts: 2,
        undelivered_after: Duration::ZERO,
        connect_timeout: Duration::from_millis(200),
        ..settings()
    }
}

/// Why the first event of the first side is given up.
fn reason(pair: &mut Pair) -> Undelivered {
    pair.sides[0].attach(address(1), 1 << 16);
    pair.sides[0].publish(1, 100);
    pair.until("the end of the event", PATIENCE, |pair| {
        pair.sides[0].tally.delivery(0) != Delivery::Pending
    });
    match pair.sides[0].tally.delivery(0) {
        Delivery::Undelivered(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_go_both_ways_through_cuts_and_partial_writes() {
    let harsh = StreamModel {
        cut_ppm: 4_000,
        partial_ppm: 200_000,
        full_ppm: 100_000,
        delay_ns_max: 300_000,
        buffer_bytes: 20_000,
        ..StreamModel::default()
    };
    for compression in [false, true] {
        let settings = ReliableSettings { compression, ..settings() };
        let (pair, _) = secured(StreamModel::default(), &settings);
        let mut pair = pair.talk(1 << 16);
        pair.network.set_model(harsh);
        for round in 0..60 {
            for side in &mut pair.sides {
                side.publish(20, 50 + 37 * round);
            }
            pair.run(Duration::from_millis(3));
        }
        pair.network.set_model(StreamModel::default());
        pair.until("everything", PATIENCE, |pair| {
            let [a, b] = &pair.sides;
            a.is_through(b) && b.is_through(a)
        });
        pair.assert_in_order();
        let cut = pair.network.counts().cut;
        assert!(cut > 2 && pair.sides[0].published > 300, "{cut} cuts");
        for side in &pair.sides {
            assert!(side.counted(Counter::TlsHandshakes) > 2);
            assert_eq!(side.counted(Counter::TlsKeyUpdates), 0);
            assert_eq!(side.counted(Counter::LinksBroken), 0);
        }
    }
}

#[test]
fn a_hello_for_another_node_is_refused_by_name() {
    let authority = Authority::new("c");
    let mallory = authority.node("mallory", NodeId(66));
    let both = [Some(mallory.clone()), Some(credentials(&authority, 1))];
    let mut pair = Pair::with(StreamModel::default(), &hasty(), both);
    assert_eq!(reason(&mut pair), Undelivered::Refused(Refusal::Identity));
    assert!(pair.sides[1].counted(Counter::HellosIdentity) >= 2);
    assert!(pair.sides[1].seen.is_empty());
    // And who is dialled is believed no more.
    let both = [Some(credentials(&authority, 0)), Some(mallory)];
    let mut pair = Pair::with(StreamModel::default(), &hasty(), both);
    assert_eq!(reason(&mut pair), Undelivered::Untrusted(Distrust::Node));
    assert!(pair.sides[0].counted(Counter::LinksUntrusted) >= 2);
    assert!(pair.sides[1].seen.is_empty(), "no event was sent to it");
}

#[test]
fn plain_nodes_and_secured_ones_refuse_each_other_by_name() {
    let authority = Authority::new("c");
    let both = [None, Some(credentials(&authority, 1))];
    let mut pair = Pair::with(StreamModel::default(), &hasty(), both);
    assert_eq!(reason(&mut pair), Undelivered::Refused(Refusal::Secured));
    assert!(pair.sides[1].counted(Counter::TlsPlain) >= 2);
    let both = [Some(credentials(&authority, 0)), None];
    let mut pair = Pair::with(StreamModel::default(), &hasty(), both);
    assert_eq!(reason(&mut pair), Undelivered::Untrusted(Distrust::Plain));
    assert!(pair.sides[1].counted(Counter::HellosTls) >= 2);
    assert_eq!(pair.sides[1].counted(Counter::HellosMalformed), 0);
}

#[test]
fn another_authority_and_a_silent_peer_have_their_names() {
    let (ours, theirs) = (Authority::new("c"), Authority::new("c"));
    let both = [Some(credentials(&ours, 0)), Some(credentials(&theirs, 1))];
    let mut pair = Pair::with(StreamModel::default(), &hasty(), both);
    assert_eq!(reason(&mut pair), Undelivered::Untrusted(Distrust::Certificate));
    assert!(pair.sides[1].counted(Counter::TlsRefused) >= 2);

    let (mut pair, _) = secured(StreamModel::default(), &hasty());
    // It takes streams and says nothing.
    pair.network.crash(address(1), true);
    let mut silent = pair.network.node(address(1));
    silent.accept();
    assert_eq!(reason(&mut pair), Undelivered::Untrusted(Distrust::Deadline));
}

#[test]
fn who_is_revoked_is_ended_within_two_cycles_and_told_why_when_it_comes_back() {
    let (pair, authority) = secured(StreamModel::default(), &hasty());
    let mut pair = pair.talk(1 << 16);
    authority.revoke("node-0");
    // Its thread sleeps; it looks within a quarter of a second.
    pair.run(Duration::from_millis(260));
    assert_eq!(pair.sides[1].counted(Counter::TlsRevoked), 1);
    assert!(pair.sides[1].links.lines.is_empty(), "the line has ended");
    let seen = pair.sides[1].seen.len();
    pair.sides[0].publish(1, 100);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.sides[1].seen.len(), seen, "nothing comes of it any more");
}

type Told = Arc<Mutex<Vec<LinksNotice>>>;

fn listen(side: &Side) -> Told {
    let told = Told::default();
    let book = Arc::clone(&told);
    let listener = Box::new(move |notice| book.lock().expect("no panic").push(notice));
    side.port.commands.push(LinksCommand::OnNotice(listener)).expect("room");
    told
}

fn introduce(side: &mut Side, peer: usize) {
    side.port.commands.push(LinksCommand::Introduce(address(peer))).expect("room");
    side.asleep = false;
}

/// Set, secret, whether this side dialled.
type Keys = (u16, Secret, bool);

/// What is told: where, who, keys; or the end.
fn of(told: &Told) -> Vec<(SocketAddr, u64, Option<Keys>)> {
    let told = told.lock().expect("no panic");
    let each = told.iter().filter_map(|notice| match notice {
        LinksNotice::Authenticated { address, identity, secret, set_id, is_dialler } => {
            Some((*address, identity.node.0, Some((*set_id, secret.clone(), *is_dialler))))
        }
        LinksNotice::Ended { address, node } => Some((*address, node.0, None)),
        LinksNotice::Note { .. } => None,
    });
    each.collect()
}

#[test]
fn introduced_peers_have_a_line_without_events_and_keys_in_common() {
    let pool_of_two = ReliableSettings { pool: 2, ..settings() };
    let (mut pair, _) = secured(StreamModel::default(), &pool_of_two);
    let told = [0, 1].map(|index| listen(&pair.sides[index]));
    introduce(&mut pair.sides[0], 1);
    pair.until("the keys", PATIENCE, |_| told.iter().all(|told| !of(told).is_empty()));
    let [dialler, acceptor] = [0, 1].map(|index| of(&told[index]));
    let ((to, node, ours), (from, peer, theirs)) = (dialler[0].clone(), acceptor[0].clone());
    assert_eq!((to, node, from, peer), (address(1), 2, address(0), 1));
    let (ours, theirs) = (ours.expect("keys"), theirs.expect("keys"));
    assert_eq!((ours.0, &ours.1, ours.2), (theirs.0, &theirs.1, !theirs.2));
    assert!(ours.2 && ours.0 != 0);
    // The other side asks too: the line that is there will do, and nobody is told twice.
    introduce(&mut pair.sides[1], 0);
    pair.run(Duration::from_secs(10));
    assert_eq!(pair.sides[1].counted(Counter::LinksDialled), 0);
    assert_eq!((of(&told[0]).len(), of(&told[1]).len()), (1, 1), "it is kept alive");
    // Whoever listens later hears of it as well.
    let late = listen(&pair.sides[1]);
    pair.sides[1].asleep = false;
    pair.run(Duration::from_millis(1));
    assert_eq!(of(&late), acceptor);
    // Events go by it, or by one of their own.
    pair.sides[0].attach(address(1), 1 << 16);
    pair.sides[0].publish(50, 1_000);
    pair.until("events", PATIENCE, |pair| pair.sides[0].is_through(&pair.sides[1]));
    // It has gone: the end is told, and it is dialled again and again.
    pair.network.crash(address(1), false);
    pair.until("the end", PATIENCE, |_| of(&told[0]).len() == 2);
    assert_eq!(of(&told[0])[1], (address(1), 2, None));
    pair.run(Duration::from_millis(300));
    assert!(pair.sides[0].counted(Counter::LinksUnreachable) > 3);
    pair.sides[0].port.commands.push(LinksCommand::Part(address(1))).expect("room");
}

#[test]
fn keys_are_renewed_by_another_line_and_no_event_is_lost() {
    let hourly = ReliableSettings { renew_after: Duration::from_millis(200), ..settings() };
    let (mut pair, _) = secured(StreamModel::default(), &hourly);
    let told = [0, 1].map(|index| listen(&pair.sides[index]));
    introduce(&mut pair.sides[0], 1);
    introduce(&mut pair.sides[1], 0);
    for (from, to) in [(0, 1), (1, 0)] {
        pair.sides[from].attach(address(to), 1 << 16);
    }
    for round in 0..200 {
        pair.sides[round % 2].publish(3, 400);
        pair.run(Duration::from_millis(5));
    }
    pair.until("everything", PATIENCE, |pair| {
        let [a, b] = &pair.sides;
        a.is_through(b) && b.is_through(a)
    });
    pair.assert_in_order();
    let renewed: u64 = pair.sides.iter().map(|side| side.counted(Counter::LinksRenewed)).sum();
    assert!((3..40).contains(&renewed), "{renewed}");
    for told in &told {
        let told = of(told);
        assert!(told.iter().all(|(.., keys)| keys.is_some()), "never without a line");
        let mut sets: Vec<_> = told.iter().flat_map(|(.., keys)| keys.clone()).collect();
        assert!(sets.len() > 3);
        sets.dedup_by_key(|keys| keys.1.0);
        assert_eq!(sets.len(), told.len(), "each line has keys of its own");
    }
    for side in &pair.sides {
        assert!(side.links.lines.len() <= 2, "old lines go: {}", side.links.lines.len());
    }
}
