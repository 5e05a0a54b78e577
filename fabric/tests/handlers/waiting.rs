//! Waiting for one event: the first that is wanted, owned, or word that none came.

use std::thread;
use std::time::{Duration, Instant};

use wireloom::{Target, WaitError};

use crate::{PATIENCE, Tick, Tock, eventually, start};

#[test]
fn the_first_wanted_event_is_given_owned_and_none_before_the_call() {
    let node = start("node");
    let mut router = node.router();
    router.route(&Tick { number: 1 }, Target::Local).expect("accepted");
    eventually("dispatched", || node.ledger().received.unsubscribed == 1);
    let expected = node.expect::<Tick>().expect("subscribes");
    for number in [2, 3] {
        router.route(&Tick { number }, Target::Local).expect("accepted");
    }
    let third = node.expect_where::<Tock>(|tock, envelope| {
        tock.number.to_native() == 3 && envelope.priority() == wireloom::Priority::Normal
    });
    for number in 0..5 {
        let tock = Tock { number, words: format!("tock {number}") };
        router.route(&tock, Target::Local).expect("accepted");
    }
    let tick = expected.wait(PATIENCE).expect("it came");
    assert_eq!(tick.number, 2, "the first since it was expected");
    let tock = third.expect("subscribes").wait(PATIENCE).expect("it came");
    assert_eq!((tock.number, tock.words.as_str()), (3, "tock 3"));
}

#[test]
fn a_wait_wakes_when_the_event_comes_and_ends_when_none_does() {
    let node = start("node");
    let mut router = node.router();
    let begun = Instant::now();
    let waited = node.wait_for::<Tick>(Duration::from_millis(50));
    let none = WaitError::TimedOut { event_type: "tick", waited: Duration::from_millis(50) };
    assert_eq!(waited.map(|tick| tick.number), Err(none));
    assert!(begun.elapsed() >= Duration::from_millis(50));
    let speaker = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        for number in 0..10 {
            router.route(&Tick { number }, Target::Local).expect("accepted");
        }
    });
    let seven = |tick: &rkyv::Archived<Tick>, _: &wireloom::Envelope<'_>| tick.number == 7;
    let tick = node.wait_for_where::<Tick>(PATIENCE, seven).expect("it came");
    assert_eq!(tick.number, 7);
    speaker.join().expect("it routed");
    let refused = node.wait_for_where::<Tick>(Duration::from_millis(20), |_, _| false);
    assert!(matches!(refused, Err(WaitError::TimedOut { .. })));
}
