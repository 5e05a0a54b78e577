//! A request's time is judged by the clock of whoever answers: whoever asks may have any.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wireloom::encode::serialize;
use wireloom::{Event, Node, PolledAny, RequestError, ShedReason, Target};
use wireloom_wire::{Correlation, ExchangeKind, FrameEncoder, FrameHeader, ReplyWay};

use crate::peer::{Peer, header, written};
use crate::{PATIENCE, Sum, SumRequest, asks, counter, eventually, start};

const HOUR: Duration = Duration::from_secs(3_600);

/// The askers' clocks, by what they are ahead of ours, in ns.
fn clocks() -> [u64; 3] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    [now - HOUR, now, now + HOUR].map(|of| u64::try_from(of.as_nanos()).expect("before 2554"))
}

/// A node that takes as many ms for an answer as it is asked to.
fn slow() -> Node {
    let desk = start("desk");
    desk.respond::<SumRequest, _>(|request, _| {
        thread::sleep(Duration::from_millis(request.numbers[0].to_native()));
        Sum { total: 0, words: String::new() }
    })
    .expect("responds");
    desk
}

/// A request as a node writes it whose clock says so, and that waits so long.
fn request(peer: &Peer, id: u64, (made_ns, waits): (u64, Duration), takes_ms: u64) -> Vec<u8> {
    let std::net::IpAddr::V4(ip) = peer.address().ip() else { panic!("IPv4") };
    let correlation = Correlation {
        id,
        kind: ExchangeKind::Request,
        way: ReplyWay::Datagram,
        address: ip.to_ipv6_mapped().octets(),
        port: peer.address().port(),
        subject: Sum::TYPE_ID,
    };
    let header = header("sum-request?", SumRequest::FINGERPRINT32);
    let deadline_ns = made_ns + u64::try_from(waits.as_nanos()).expect("not long");
    let encoder = FrameEncoder::new(FrameHeader { timestamp_ns: made_ns, ..header });
    let encoder = encoder.with_deadline(deadline_ns).with_correlation(&correlation);
    written(&encoder, &serialize(&asks(&[takes_ms]), 512).expect("small"))
}

#[test]
fn whoever_asks_with_a_clock_of_another_hour_is_answered() {
    let (desk, mut peer) = (slow(), Peer::new());
    for (id, made_ns) in (1..).zip(clocks()) {
        let asked = request(&peer, id, (made_ns, PATIENCE), 0);
        peer.sends(desk.address(), &[asked]);
        let heard = peer.hears();
        assert_eq!((heard.kind, heard.id), (ExchangeKind::Reply, id));
    }
    assert_eq!(counter(&desk, "events_expired"), 0);
}

#[test]
fn what_waited_too_long_behind_a_slow_one_is_expired_whatever_the_askers_clock_says() {
    let (desk, mut peer) = (slow(), Peer::new());
    for (round, made_ns) in (1..).zip(clocks()) {
        let at = |waits_ms| (made_ns, Duration::from_millis(waits_ms));
        let asked = [
            request(&peer, round * 10, at(20_000), 200),
            request(&peer, round * 10 + 1, at(50), 0),
            request(&peer, round * 10 + 2, at(20_000), 0),
            // It was over when it was sent.
            request(&peer, round * 10 + 3, at(0), 0),
        ];
        peer.sends(desk.address(), &asked);
        let heard = [peer.hears(), peer.hears()].map(|of| (of.kind, of.id));
        let (kind, ids) = (ExchangeKind::Reply, [round * 10, round * 10 + 2]);
        assert_eq!(heard, ids.map(|id| (kind, id)), "the other two nobody waits for");
        eventually("counted", || counter(&desk, "events_expired") == 2 * round);
    }
    let ledger = desk.close();
    assert!(ledger.balanced, "{ledger:?}");
    let handled = &ledger.handlers["sum-request"];
    assert_eq!((handled.delivered, handled.refused), (6, 0), "{ledger:?}");
    assert_eq!(ledger.received.shed["events_expired"], 6, "{ledger:?}");
}

#[test]
fn what_waits_in_a_ring_of_the_node_expires_there() {
    let desk = slow();
    let mut router = desk.router();
    let other = start("client");
    let mut client = other.router();
    let timeout = Duration::from_millis(50);
    for (round, target) in (1..).zip([Target::Local, Target::Reliable(desk.address())]) {
        let router = if target == Target::Local { &mut router } else { &mut client };
        let slow = router.begin_request::<_, Sum>(&asks(&[300]), &target, PATIENCE);
        let behind = router.begin_request::<_, Sum>(&asks(&[0]), &target, timeout);
        let late = RequestError::TimedOut { request: "sum-request", waited: timeout };
        assert_eq!(behind.expect("sent").wait(), Err(late), "{target}");
        assert_eq!(slow.expect("sent").wait().map(|of| of.total), Ok(0), "{target}");
        eventually("counted", || counter(&desk, "events_expired") == round);
    }
}

#[test]
fn what_lies_in_a_subscribers_ring_expires_by_our_clock_whatever_the_askers_says() {
    let (desk, mut peer) = (start("desk"), Peer::new());
    let mut hears = desk.subscribe_any(&[]).expect("subscribes");
    for (round, made_ns) in (1..).zip(clocks()) {
        let at = |waits_ms| (made_ns, Duration::from_millis(waits_ms));
        let asked = [
            request(&peer, round * 10, at(20_000), 0),
            request(&peer, round * 10 + 1, at(50), 0),
            request(&peer, round * 10 + 2, at(20_000), 0),
        ];
        peer.sends(desk.address(), &asked);
        assert!(hears.wait(PATIENCE), "they are in the ring");
        thread::sleep(Duration::from_millis(60));
        let mut heard = Vec::new();
        hears.poll(10, |polled| match polled {
            PolledAny::Event(event, ..) => heard.push((event.envelope.deadline_ns(), None)),
            PolledAny::Shed(shed) => heard.push((None, Some((shed.reason, shed.events)))),
            other => panic!("{other:?}"),
        });
        let event = (Some(made_ns + 20_000_000_000), None);
        let shed = (None, Some((ShedReason::Expired, 1)));
        assert_eq!(heard, [event, shed, event], "round {round}");
    }
    let ledger = hears.ledger();
    assert_eq!(ledger.rings["every type"].given_up["expired"], 3, "{ledger:?}");
    assert!(ledger.balanced, "{ledger:?}");
}
