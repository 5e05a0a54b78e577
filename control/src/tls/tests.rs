//! Two ends over one network in memory, driven by hand; and one over the kernel's TCP.

pub(crate) mod authority;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::simulated::{SimulatedSockets, SimulatedStreams, StreamModel};
use authority::Authority;
use wireloom_wire::NodeId;

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 7_000))
}

pub(crate) fn config(credentials: Credentials, clock: &Clock) -> TlsConfig {
    TlsConfig {
        credentials,
        limits: HandshakeLimits::default(),
        clock: clock.clone(),
        counters: Arc::default(),
        plain_answer: vec![VERSION; 48],
    }
}

type End = TlsSockets<SimulatedSockets>;

struct Net {
    clock: Clock,
    streams: SimulatedStreams,
}

impl Net {
    fn new(model: StreamModel) -> Self {
        Self { clock: Clock::simulated(), streams: SimulatedStreams::new(3, model) }
    }

    fn end(&self, last: u8, credentials: Credentials) -> End {
        TlsSockets::new(self.streams.node(address(last)), config(credentials, &self.clock))
    }

    /// A moment later, what became ready.
    fn step(&self, ends: &mut [&mut End]) -> Vec<Vec<Ready>> {
        let now_ns = self.clock.advance(Duration::from_micros(100));
        self.streams.advance_to(now_ns);
        let news = ends.iter_mut().map(|end| {
            let mut ready = Vec::new();
            end.poll(&mut ready);
            ready
        });
        news.collect()
    }

    /// Dials and waits for both ends; each may fail.
    fn meet(&self, a: &mut End, b: &mut End) -> (SocketId, Option<SocketId>) {
        let dialled = a.dial(address(2)).expect("dials");
        for _ in 0..20_000 {
            self.step(&mut [a, b]);
            if let Some(accepted) = b.accept() {
                return (dialled, Some(accepted));
            }
            if a.is_open(dialled).is_err() {
                return (dialled, None);
            }
        }
        (dialled, None)
    }
}

fn counted(end: &End, counter: Counter) -> u64 {
    end.config.counters.read(counter)
}

fn bytes_of(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 7).to_le_bytes()[0]).collect()
}

/// Sends as an owner does: until it would block, then when it is told that it may write.
fn carry(net: &Net, (a, from): (&mut End, SocketId), (b, to): (&mut End, SocketId), all: &[u8]) {
    let (mut sent, mut got) = (0, Vec::new());
    let (mut writable, mut readable) = (true, true);
    let mut room = vec![0; 100_000];
    for _ in 0..200_000 {
        while writable && sent < all.len() {
            let (head, tail) = all[sent..].split_at((all.len() - sent) / 3);
            let rest = all.len() - sent;
            match a.write(from, &[IoSlice::new(head), IoSlice::new(&[]), IoSlice::new(tail)]) {
                Ok(bytes) => {
                    sent += bytes;
                    writable = bytes == rest;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => writable = false,
                Err(error) => panic!("{error}"),
            }
        }
        while readable {
            match b.read(to, &mut room) {
                Ok(0) => panic!("ended"),
                Ok(bytes) => {
                    got.extend_from_slice(&room[..bytes]);
                    readable = bytes == room.len();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => readable = false,
                Err(error) => panic!("{error}"),
            }
        }
        if got.len() == all.len() {
            assert!(got == all, "altered");
            return;
        }
        let news = net.step(&mut [a, b]);
        writable |= news[0].iter().any(|ready| ready.socket == from && ready.writable);
        readable |= news[1].iter().any(|ready| ready.socket == to && ready.readable);
    }
    panic!("stuck: {sent} sent, {} of {} got", got.len(), all.len());
}

#[test]
fn both_ends_know_each_other_and_carry_bytes_both_ways_in_pieces() {
    let harsh = StreamModel {
        partial_ppm: 300_000,
        full_ppm: 200_000,
        delay_ns_max: 300_000,
        buffer_bytes: 9_000,
        ..StreamModel::default()
    };
    for model in [StreamModel::default(), harsh] {
        let (net, authority) = (Net::new(model), Authority::new("c"));
        let mut a = net.end(1, authority.node("a", NodeId(1)));
        let mut b = net.end(2, authority.node("b", NodeId(2)));
        let (dialled, accepted) = net.meet(&mut a, &mut b);
        let accepted = accepted.expect("open");
        assert!(a.is_open(dialled).expect("open"));
        assert_eq!(a.peer_identity(dialled).map(|peer| peer.node), Some(NodeId(2)));
        assert_eq!(b.peer_identity(accepted).map(|peer| &*peer.name), Some("a"));
        let label = "EXPORTER-wireloom data";
        let secret = a.export(dialled, label).expect("open");
        assert_eq!(Some(&secret), b.export(accepted, label).as_ref());
        assert_ne!(Some(&secret), a.export(dialled, "EXPORTER-wireloom set").as_ref());
        carry(&net, (&mut a, dialled), (&mut b, accepted), &bytes_of(300_000));
        carry(&net, (&mut b, accepted), (&mut a, dialled), &bytes_of(250_000));
        carry(&net, (&mut a, dialled), (&mut b, accepted), &bytes_of(1));
        // What is written is read before the end, and the end is one.
        a.write(dialled, &[IoSlice::new(b"last")]).expect("room");
        a.close(dialled);
        let mut room = [0; 100];
        let mut seen = Vec::new();
        for _ in 0..1_000 {
            let news = net.step(&mut [&mut a, &mut b]);
            if news[1].iter().any(|ready| ready.readable) {
                match b.read(accepted, &mut room) {
                    Ok(0) => break,
                    Ok(bytes) => seen.extend_from_slice(&room[..bytes]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        assert_eq!(seen, b"last");
        assert_eq!(b.read(accepted, &mut room).expect("the end"), 0);
        assert_eq!((a.sessions.len(), a.leaving.len()), (0, 0));
        assert_eq!(counted(&b, Counter::TlsHandshakes), 1);
        assert_eq!(counted(&b, Counter::TlsKeyUpdates), 0);
    }
}

#[test]
fn a_writer_is_held_back_by_a_reader_that_does_not_read() {
    let (net, authority) = (Net::new(StreamModel::default()), Authority::new("c"));
    let mut a = net.end(1, authority.node("a", NodeId(1)));
    let mut b = net.end(2, authority.node("b", NodeId(2)));
    let (dialled, _) = net.meet(&mut a, &mut b);
    let chunk = bytes_of(1 << 20);
    let taken = a.write(dialled, &[IoSlice::new(&chunk)]).expect("some");
    // What the network holds, and four records.
    assert!((64 << 10..200 << 10).contains(&taken), "{taken}");
    for _ in 0..100 {
        assert!(a.write(dialled, &[IoSlice::new(&chunk)]).is_err(), "no room");
        net.step(&mut [&mut a, &mut b]);
    }
}

fn failure(end: &mut End, socket: SocketId) -> Option<Distrust> {
    let open = end.is_open(socket);
    let error = open.err().or_else(|| end.read(socket, &mut [0; 64]).err())?;
    Distrust::of(&error)
}

#[test]
fn who_is_not_trusted_is_refused_by_name_at_both_ends() {
    let ours = Authority::new("c");
    let theirs = Authority::new("c");
    let net = Net::new(StreamModel::default());
    let mut desk = net.end(2, ours.node("desk", NodeId(2)));
    // Of another authority: the dialler finds out first.
    let mut feed = net.end(1, theirs.node("feed", NodeId(1)));
    let (dialled, accepted) = net.meet(&mut feed, &mut desk);
    assert_eq!(accepted, None);
    assert_eq!(failure(&mut feed, dialled), Some(Distrust::Certificate));
    (0..50).for_each(|_| drop(net.step(&mut [&mut feed, &mut desk])));
    assert_eq!(counted(&desk, Counter::TlsRefused), 1);
    assert_eq!(counted(&feed, Counter::TlsCertificate), 1);
    // Of another cluster.
    let mut feed = net.end(4, ours.node_of("d", "feed", NodeId(1)));
    let dialled = feed.dial(address(2)).expect("dials");
    (0..200).for_each(|_| drop(net.step(&mut [&mut feed, &mut desk])));
    assert!(desk.accept().is_none());
    assert_eq!(feed.read(dialled, &mut [0; 64]).expect("the end"), 0);
    assert_eq!(counted(&desk, Counter::TlsCluster), 1);
    // Revoked while it was away.
    let mut feed = net.end(3, ours.node("feed", NodeId(1)));
    ours.revoke("feed");
    let dialled = feed.dial(address(2)).expect("dials");
    (0..2_000).for_each(|_| drop(net.step(&mut [&mut feed, &mut desk])));
    assert!(desk.accept().is_none());
    assert_eq!(feed.read(dialled, &mut [0; 64]).expect("the end"), 0);
    feed.close(dialled);
    (0..50).for_each(|_| drop(net.step(&mut [&mut feed, &mut desk])));
    assert_eq!(counted(&desk, Counter::TlsRevoked), 1);
    net.clock.advance(Duration::from_secs(1));
    net.step(&mut [&mut desk]);
    assert!(desk.sessions.is_empty() && desk.strangers.is_empty() && desk.leaving.is_empty());
}

#[test]
fn who_names_no_protocol_is_not_let_in() {
    let (net, authority) = (Net::new(StreamModel::default()), Authority::new("c"));
    let mut desk = net.end(2, authority.node("desk", NodeId(2)));
    let mut feed = net.end(1, authority.speaking(&[], ("c", "feed", NodeId(1))));
    assert_eq!(net.meet(&mut feed, &mut desk).1, None);
    (0..50).for_each(|_| drop(net.step(&mut [&mut feed, &mut desk])));
    assert!(desk.accept().is_none());
    assert_eq!(counted(&desk, Counter::TlsBroken), 1);
}

#[test]
fn who_is_revoked_while_connected_is_ended() {
    let (net, authority) = (Net::new(StreamModel::default()), Authority::new("c"));
    let mut a = net.end(1, authority.node("a", NodeId(1)));
    let mut b = net.end(2, authority.node("b", NodeId(2)));
    let (_, accepted) = net.meet(&mut a, &mut b);
    let accepted = accepted.expect("open");
    authority.revoke("other");
    net.step(&mut [&mut a, &mut b]);
    assert_eq!(b.distrust(accepted), None);
    authority.revoke("a");
    let news = net.step(&mut [&mut a, &mut b]);
    assert!(news[1].iter().any(|ready| ready.socket == accepted && ready.ends));
    assert_eq!(b.distrust(accepted), Some(Distrust::Revoked));
    assert_eq!(failure(&mut b, accepted), Some(Distrust::Revoked));
    assert_eq!(b.export(accepted, "EXPORTER-wireloom data"), None);
}

#[test]
fn who_speaks_without_tls_is_told_in_the_plain_and_closed() {
    let (net, authority) = (Net::new(StreamModel::default()), Authority::new("c"));
    let mut desk = net.end(2, authority.node("desk", NodeId(2)));
    let mut plain = net.streams.node(address(1));
    for (words, answer) in [(&[VERSION; 300][..], 48), (&b"GET / HTTP/1.1\r\n\r\n"[..], 0)] {
        let socket = plain.dial(address(2)).expect("dials");
        let (mut said, mut ended) = (Vec::new(), false);
        for step in 0..100 {
            net.step(&mut [&mut desk]);
            if step == 5 {
                plain.write(socket, &[IoSlice::new(words)]).expect("room");
            }
            let mut room = [0; 100];
            match plain.read(socket, &mut room) {
                Ok(0) => ended = true,
                Ok(bytes) => said.extend_from_slice(&room[..bytes]),
                Err(_) => {}
            }
            if said.len() == 48 {
                plain.close(socket);
            }
        }
        assert_eq!(said, vec![VERSION; answer]);
        assert!(ended || answer > 0);
    }
    assert_eq!(counted(&desk, Counter::TlsPlain), 2);
    assert!(desk.sessions.is_empty() && desk.leaving.is_empty() && desk.strangers.is_empty());
}

#[test]
fn a_hello_without_an_end_is_read_up_to_its_bound() {
    let (net, authority) = (Net::new(StreamModel::default()), Authority::new("c"));
    let mut desk = net.end(2, authority.node("desk", NodeId(2)));
    let mut stranger = net.streams.node(address(1));
    let socket = stranger.dial(address(2)).expect("dials");
    // Records of 1,000 bytes of a client's hello that says it has 60,000.
    let mut record = vec![22, 3, 1, 3, 232, 1, 0, 234, 96];
    record.resize(5 + 1_000, 0);
    let mut sent = 0;
    for round in 0..200 {
        net.step(&mut [&mut desk]);
        if round >= 5 && stranger.write(socket, &[IoSlice::new(&record)]).is_ok() {
            sent += record.len();
            record[5..9].fill(0);
        }
        if counted(&desk, Counter::TlsBroken) > 0 {
            break;
        }
    }
    assert_eq!(counted(&desk, Counter::TlsBroken), 1);
    assert!((16 << 10..24 << 10).contains(&sent), "{sent}");
}

#[test]
fn strangers_wait_below_while_nobody_accepts() {
    let (net, authority) = (Net::new(StreamModel::default()), Authority::new("c"));
    let mut desk = net.end(2, authority.node("desk", NodeId(2)));
    desk.set_accepting(false);
    let mut feed = net.end(1, authority.node("feed", NodeId(1)));
    let dialled = feed.dial(address(2)).expect("dials");
    (0..200).for_each(|_| drop(net.step(&mut [&mut feed, &mut desk])));
    assert!(desk.sessions.is_empty() && desk.deadline_ns().is_none(), "nothing to be done");
    assert!(!feed.is_open(dialled).expect("it waits"));
    desk.set_accepting(true);
    let opens = (0..2_000).any(|_| {
        net.step(&mut [&mut feed, &mut desk]);
        desk.accept().is_some()
    });
    assert!(opens);
}

#[test]
fn half_open_handshakes_expire_and_are_shed_oldest_first() {
    let (net, authority) = (Net::new(StreamModel::default()), Authority::new("c"));
    let mut desk = net.end(2, authority.node("desk", NodeId(2)));
    let mut strangers: Vec<_> =
        (0..70_u8).map(|index| net.streams.node(address(100 + index))).collect();
    let (mut dialled, mut came) = (Vec::new(), BTreeSet::new());
    for stranger in &mut strangers {
        dialled.push(stranger.dial(address(2)).expect("dials"));
        net.step(&mut [&mut desk]);
        came.extend(desk.strangers.keys().copied());
    }
    net.step(&mut [&mut desk]);
    came.extend(desk.strangers.keys().copied());
    assert_eq!((desk.strangers.len(), desk.sessions.len(), came.len()), (64, 64, 70));
    assert!(desk.strangers.keys().eq(came.iter().skip(6)), "the oldest have given way");
    net.step(&mut [&mut desk]);
    for (place, (stranger, socket)) in strangers.iter_mut().zip(dialled).enumerate() {
        stranger.poll(&mut Vec::new());
        let waits = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let is_open = stranger.read(socket, &mut [0; 9]).is_err_and(waits);
        assert_eq!(is_open, place >= 6, "{place}");
    }
    assert_eq!(counted(&desk, Counter::TlsShed), 6);
    let mut feed = net.end(1, authority.node("feed", NodeId(1)));
    assert!(net.meet(&mut feed, &mut desk).1.is_some(), "an honest one gets in");
    let due_ns = desk.deadline_ns().expect("strangers");
    assert!(due_ns > net.clock.now_ns());
    net.clock.advance(Duration::from_secs(5));
    net.step(&mut [&mut desk]);
    assert_eq!((desk.strangers.len(), desk.sessions.len()), (0, 1));
    assert_eq!(counted(&desk, Counter::TlsExpired), 63);
}

/// Handshakes are computed for four at a time, and these dribble bytes so that they always have
/// something to be looked at: a newcomer has its turn among them.
#[test]
fn those_who_dribble_take_no_turns_of_those_who_come_later() {
    let (net, authority) = (Net::new(StreamModel::default()), Authority::new("c"));
    let mut desk = net.end(2, authority.node("desk", NodeId(2)));
    let mut feed = net.end(1, authority.node("feed", NodeId(1)));
    let mut dribblers: Vec<_> = (0..40_u8)
        .map(|index| {
            let mut dribbler = net.streams.node(address(100 + index));
            let socket = dribbler.dial(address(2)).expect("dials");
            (dribbler, socket)
        })
        .collect();
    net.step(&mut [&mut desk]);
    assert_eq!(desk.turns.len(), desk.strangers.len() - HANDSHAKES_PER_CYCLE);
    let dribble = |dribblers: &mut Vec<(SimulatedSockets, SocketId)>, bytes: &[u8]| {
        for (dribbler, socket) in dribblers {
            let _ = dribbler.write(*socket, &[IoSlice::new(bytes)]);
        }
    };
    // The beginning of a hello that goes on.
    dribble(&mut dribblers, &[22, 3, 1, 2, 0, 1, 0, 1, 252]);
    (0..20).for_each(|_| drop(net.step(&mut [&mut desk])));
    feed.dial(address(2)).expect("dials");
    let is_in = (0..200).any(|_| {
        dribble(&mut dribblers, &[0]);
        net.step(&mut [&mut feed, &mut desk]);
        desk.accept().is_some()
    });
    assert!(is_in, "each has a turn in eleven cycles");
    assert_eq!(desk.strangers.len(), 40, "and the others are still there");
}

#[test]
fn one_address_begins_five_at_once_and_twenty_a_second() {
    let (net, authority) = (Net::new(StreamModel::default()), Authority::new("c"));
    let mut desk = net.end(2, authority.node("desk", NodeId(2)));
    let mut flood = net.streams.node(address(1));
    for _ in 0..100 {
        flood.dial(address(2)).expect("dials");
    }
    (0..5).for_each(|_| drop(net.step(&mut [&mut desk])));
    assert_eq!((desk.strangers.len(), counted(&desk, Counter::TlsLimited)), (5, 95));
}

#[test]
fn nodes_of_one_address_that_prove_themselves_are_let_in_at_any_rate() {
    let (net, authority) = (Net::new(StreamModel::default()), Authority::new("c"));
    let mut desk = net.end(2, authority.node("desk", NodeId(2)));
    let mut feed = net.end(1, authority.node("feed", NodeId(1)));
    let begun_ns = net.clock.now_ns();
    for number in 0..12 {
        assert!(net.meet(&mut feed, &mut desk).1.is_some(), "{number}");
    }
    assert_eq!(counted(&desk, Counter::TlsLimited), 0);
    assert!(net.clock.now_ns() - begun_ns < 200_000_000, "at 20 a second it were 350 ms");
}

#[test]
fn a_flood_of_key_updates_ends_the_line() {
    let (net, authority) = (Net::new(StreamModel::default()), Authority::new("c"));
    let mut a = net.end(1, authority.node("a", NodeId(1)));
    let mut b = net.end(2, authority.node("b", NodeId(2)));
    let (dialled, accepted) = net.meet(&mut a, &mut b);
    let accepted = accepted.expect("open");
    // One is as good as none.
    for (rounds, distrust) in [(1, None), (1, Some(Distrust::KeyUpdates))] {
        for _ in 0..rounds {
            a.sessions.get_mut(&dialled).expect("open").renew_keys();
        }
        a.write(dialled, &[IoSlice::new(b"and on")]).expect("room");
        (0..5).for_each(|_| drop(net.step(&mut [&mut a, &mut b])));
        let mut room = [0; 100];
        let read = b.read(accepted, &mut room);
        match distrust {
            None => assert_eq!(read.expect("data"), 6),
            Some(_) => assert_eq!(read.err().as_ref().and_then(Distrust::of), distrust),
        }
    }
    assert_eq!(counted(&b, Counter::TlsKeyUpdates), 1);
}

#[test]
fn who_outlives_its_certificate_is_ended_though_nobody_says_so() {
    let (net, authority) = (Net::new(StreamModel::default()), Authority::new("c"));
    let unix_s = |net: &Net| net.clock.unix_ns(net.clock.now_ns()) / 1_000_000_000;
    let expires_unix_s = unix_s(&net) + 10;
    authority.expires(expires_unix_s);
    let mut a = net.end(1, authority.node("a", NodeId(1)));
    let mut b = net.end(2, authority.node("b", NodeId(2)));
    let (dialled, accepted) = net.meet(&mut a, &mut b);
    let accepted = accepted.expect("open");
    let is_open = |a: &mut End| a.is_open(dialled).is_ok_and(|open| open);
    while unix_s(&net) < expires_unix_s + 5 {
        net.clock.advance(Duration::from_millis(100));
        net.step(&mut [&mut a, &mut b]);
        assert!(is_open(&mut a), "clocks may differ, they say");
    }
    authority.expire();
    assert!(a.deadline_ns().expect("it looks again") <= net.clock.now_ns() + LOOK_NS);
    net.clock.advance(Duration::from_nanos(LOOK_NS));
    net.step(&mut [&mut a, &mut b]);
    assert_eq!(a.distrust(dialled), Some(Distrust::Expired));
    assert_eq!(b.distrust(accepted), Some(Distrust::Expired));
    assert_eq!(counted(&a, Counter::TlsOutdated) + counted(&b, Counter::TlsOutdated), 2);
}
