//! A peer that answers wrongly, twice, or what nobody asked, and one that asks in the name of
//! others: everything is counted, and the right reply still comes.

use std::net::Ipv4Addr;
use std::time::Duration;

use wireloom::{Failure, Node, RequestError, Target};
use wireloom_wire::*;

use crate::peer::Peer;
use crate::{PATIENCE, Product, SumRequest, adds, asks, counter, eventually, start};

fn answer(to: &Correlation) -> Correlation {
    let subject = <Product as wireloom::Event>::TYPE_ID;
    let (kind, way) = (ExchangeKind::Reply, ReplyWay::Local);
    Correlation { kind, way, address: [0; 16], port: 0, subject, id: to.id }
}

#[test]
fn the_first_reply_counts_and_the_others_are_dropped_by_name() {
    let (client, mut peer) = (start("client"), Peer::new());
    let mut router = client.router();
    let pending = router.begin_request::<_, Product>(&asks(&[]), peer.target(), PATIENCE);
    let pending = pending.expect("sent");
    let asked = peer.hears();
    assert_eq!(asked.kind, ExchangeKind::Request);
    assert_eq!((asked.way, asked.port), (ReplyWay::Datagram, client.address().port()));
    let (to, right) = (client.address(), answer(&asked));
    let seven = 7_u64.to_le_bytes();
    // An id nobody gave away, and then the reply three times.
    peer.says(to, "wl.reply", (&Correlation { id: asked.id ^ 1 << 60, ..right }, &seven));
    for _ in 0..3 {
        peer.says(to, "wl.reply", (&right, &seven));
    }
    assert_eq!(pending.wait(), Ok(Product { total: 7 }));
    eventually("duplicates", || counter(&client, "replies_duplicate") == 2);
    assert_eq!(counter(&client, "replies_late"), 1);
}

#[test]
fn a_reply_that_is_none_is_an_error_by_name() {
    let (client, mut peer) = (start("client"), Peer::new());
    let (mut router, to) = (client.router(), client.address());
    let mut ask =
        |peer: &mut Peer, event_type: &str, change: fn(&mut Correlation), payload: &[u8]| {
            let pending = router.begin_request::<_, Product>(&asks(&[]), peer.target(), PATIENCE);
            let pending = pending.expect("sent");
            let mut says = answer(&peer.hears());
            change(&mut says);
            peer.says(to, event_type, (&says, payload));
            pending.wait().expect_err("no reply")
        };
    let cut = ask(&mut peer, "wl.reply", |_| (), b"cut");
    assert!(matches!(cut, RequestError::Unreadable { .. }), "{cut:?}");
    let other = ask(&mut peer, "wl.reply", |says| says.subject = EventTypeId(5), &[7; 8]);
    let RequestError::Failed { reason, .. } = &other else { panic!("{other:?}") };
    assert_eq!(*reason, Failure::OtherReply);
    let denies = |says: &mut Correlation| says.kind = ExchangeKind::Denial;
    for (payload, expected) in [(&b""[..], ""), (b"\xc8words", "words"), (b"\x02\xff", "\u{fffd}")]
    {
        let denied = ask(&mut peer, "wl.denial", denies, payload);
        let RequestError::Failed { reason, message, .. } = denied else { panic!("{denied:?}") };
        assert_eq!(message, expected);
        assert_eq!(reason == Failure::Responder, payload.first() == Some(&2));
    }
}

#[test]
fn nobody_is_answered_at_a_group_or_at_very_many_addresses() {
    let (desk, mut peer) = (start("desk"), Peer::new());
    adds(&desk);
    let ask = |peer: &mut Peer, ip: Ipv4Addr, port: u16| {
        let asked = Correlation {
            id: 1,
            kind: ExchangeKind::Request,
            way: ReplyWay::Datagram,
            address: ip.to_ipv6_mapped().octets(),
            port,
            subject: EventTypeId(1),
        };
        peer.says(desk.address(), "sum-request?", (&asked, b"no request"));
    };
    for ip in [Ipv4Addr::new(224, 1, 1, 1), Ipv4Addr::BROADCAST, Ipv4Addr::UNSPECIFIED] {
        ask(&mut peer, ip, 9);
    }
    eventually("none sent", || counter(&desk, "replies_shed") == 3);
    assert!(desk.ledger().links.is_empty(), "{:?}", desk.ledger().links);
    let mut asked = 3;
    for last in 1..=6 {
        for port in 1..=100 {
            ask(&mut peer, Ipv4Addr::new(127, 0, 0, last), port);
            asked += 1;
            if port % 20 == 0 {
                eventually("heard", || desk.ledger().received.events == asked);
            }
        }
    }
    eventually("settled", || counter(&desk, "replies_shed") >= 3 + 600 - 512);
    assert!(desk.ledger().links.len() <= 512, "{}", desk.ledger().links.len());
    // Its own links it can still make.
    let other: Node = start("other");
    let target = Target::Node(other.address());
    let reply = desk.router().request::<SumRequest, Product>(&asks(&[]), &target, PATIENCE);
    assert_eq!(reply, Err(RequestError::NoResponder { request: "sum-request" }));
    std::thread::sleep(Duration::from_millis(1));
}
