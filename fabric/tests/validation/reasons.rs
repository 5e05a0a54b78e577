//! The reasons that the tree's refusals have: each drop is counted under one.

use std::sync::atomic::Ordering;

use wireloom::{Event, Policy, Priority, Reason, Target, ValidationResult};

use crate::loopback::{node, taken, until};
use crate::support::{entry, refused};

#[derive(
    Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, serde::Serialize, serde::Deserialize,
)]
#[event(type = "reading")]
struct Reading {
    celsius: u32,
}

/// Another shape under the same name.
mod other {
    #[derive(wireloom::Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
    #[event(type = "reading")]
    pub(super) struct Reading {
        pub(super) fahrenheit: String,
    }
}

#[derive(Event, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
#[event(type = "secret")]
struct Secret {
    number: u32,
}

const POLICY: &str = "[[allow]]\nnode = \"*\"\nverb = \"publish\"\ntypes = \"reading\"\n\
    [[limit]]\nnode = \"*\"\ntypes = \"reading\"\nrate = 1\nburst = 1\n";

#[test]
fn what_a_policy_refuses_has_its_reason() {
    let (desk, feed) = (node("desk"), node("feed"));
    let (readings, secrets) = (taken::<Reading>(&desk), taken::<Secret>(&desk));
    assert_eq!(desk.validations(), [], "nothing is refused yet");
    desk.apply_policy(Some(Policy::parse("p.toml", POLICY).expect("a policy"))).expect("room");
    let (mut router, to) = (feed.router(), Target::Node(desk.address()));
    router.route(&Secret { number: 1 }, &to).expect("sent");
    for celsius in 0..3 {
        router.route(&Reading { celsius }, &to).expect("sent");
    }
    until("all have come", || {
        refused(&desk, Reason::Unauthorized) == 1 && refused(&desk, Reason::RateLimitExceeded) == 2
    });
    assert_eq!((readings.load(Ordering::Relaxed), secrets.load(Ordering::Relaxed)), (1, 0));
    let entry = entry(&desk, "events_unauthorized").expect("its counter");
    assert_eq!(
        serde_json::to_string(&entry).expect("plain"),
        concat!(
            r#"{"valid":false,"reason":"Unauthorized","counter":"events_unauthorized","#,
            r#""unit":"events","refused":1}"#
        )
    );
    let mut told: Vec<_> = desk.audit().iter().map(ValidationResult::from).collect();
    told.sort_by_key(|of| of.reason);
    let expected = [Reason::RateLimitExceeded, Reason::Unauthorized].map(ValidationResult::from);
    assert_eq!(told, expected, "the audit log says the same");
}

#[test]
fn another_schema_wrong_json_and_a_past_deadline_have_their_reasons() {
    let (desk, feed) = (node("desk-2"), node("feed-2"));
    let readings = taken::<Reading>(&desk);
    desk.register_json::<Reading>().expect("its codec");
    let (mut router, to) = (feed.router(), Target::Node(desk.address()));
    router.route(&other::Reading { fahrenheit: "70".into() }, &to).expect("sent");
    let json = br#"{"celsius":"warm"}"#;
    router.route_json("reading", Priority::Normal, json, &to).expect("sent");
    until("both are refused", || refused(&desk, Reason::SchemaValidationFailed) == 2);
    let converted = entry(&desk, "events_refused_conversion").expect("its counter");
    let last = converted.last.expect("why");
    assert!(last.starts_with("reading: line 1 column 17: celsius: "), "{last}");
    router.set_deadline_ns(Some(1));
    router.route(&Reading { celsius: 1 }, &to).expect("taken");
    until("it is over", || refused(&feed, Reason::Expired) + refused(&desk, Reason::Expired) == 1);
    assert_eq!(readings.load(Ordering::Relaxed), 0);
}

/// A datagram that comes twice, as from somebody who recorded it.
#[test]
fn what_comes_twice_is_a_replay() {
    let desk = node("desk-3");
    let readings = taken::<Reading>(&desk);
    let recorder = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let feed = node("feed-3");
    let to = Target::Node(recorder.local_addr().expect("bound"));
    feed.router().route(&Reading { celsius: 1 }, &to).expect("sent");
    let mut datagram = [0; 2048];
    let length = recorder.recv(&mut datagram).expect("recorded");
    for _ in 0..3 {
        recorder.send_to(&datagram[..length], desk.address()).expect("sent");
    }
    until("the second and third are refused", || refused(&desk, Reason::Replay) == 2);
    assert_eq!(readings.load(Ordering::Relaxed), 1);
    assert_eq!(entry(&desk, "packets_duplicate").expect("its counter").unit, "packets");
}
