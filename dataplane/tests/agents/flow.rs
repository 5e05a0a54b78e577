//! Flow control: a sender stays within what its peer takes, and comes back when words are lost.

use std::time::Duration;

use wireloom_dataplane::command::SenderCommand;
use wireloom_dataplane::counters::Counter;
use wireloom_dataplane::flow::FlowControl;
use wireloom_dataplane::io::simulated::LinkModel;
use wireloom_dataplane::outbound::mark;
use wireloom_ring::{ClaimError, Producer};
use wireloom_wire::{NodeId, Priority, SessionId, Status};

use crate::pair::{Pair, host, put, try_put};

/// What every packet but the last of a stream holds here: 14 events of 64 bytes.
const PACKET_EVENTS: u64 = 14;
/// What a full packet of 1,392 bytes is charged.
const CHARGE: u64 = 1_400 + 416;

/// Fills the ring; returns the next sequence.
fn fill(producer: &mut Producer, mut sequence: u64) -> u64 {
    while try_put(producer, sequence, 64) != Err(ClaimError::Full) {
        sequence += 1;
    }
    sequence
}

impl Pair {
    /// A stream that has carried one event, and whose peer has spoken: it takes what its buffer
    /// holds.
    fn acquainted() -> (Self, Producer) {
        let mut pair = Self::new();
        let link = pair.link(0, 1_400, 1_400);
        let mut producer = pair.attach(Priority::Normal);
        mark(&mut producer, link).expect("room");
        put(&mut producer, 0, 64);
        pair.run(1, true);
        (pair, producer)
    }

    /// Runs the sending side for a while, the receiving side only when it is `awake`.
    fn run(&mut self, millis: u64, awake: bool) {
        for _ in 0..millis * 10 {
            self.sending.drain(100);
            self.clock.advance(Duration::from_micros(100));
            self.network.advance_to(self.clock.now_ns());
            if awake {
                self.receiving.drain(100);
            }
        }
    }
}

#[test]
fn a_held_stream_waits_for_a_sleeping_peer_and_loses_nothing() {
    let (mut pair, mut producer) = Pair::acquainted();
    assert!(pair.sent(Counter::EventsSent) == 1 && pair.events().len() == 1);
    assert!(pair.received(Counter::StatusesSent) > 0);
    // It sleeps, with a queue that overflows if more than a window comes.
    let window_packets = (512 << 10) / CHARGE;
    let queue = usize::try_from(window_packets).expect("small") + 48;
    pair.network.set_queue(host(2), queue);
    let mut next = 1;
    for _ in 0..40 {
        next = fill(&mut producer, next);
        pair.run(1, false);
    }
    let on_the_way = pair.sent(Counter::EventsSent) / PACKET_EVENTS;
    assert!((window_packets - 48..=window_packets + 48).contains(&on_the_way), "{on_the_way}");
    assert_eq!(fill(&mut producer, next), next, "the ring is full: publishers are refused");
    assert_eq!(pair.sent(Counter::WindowsUsedUp), 1);
    assert!(pair.sent(Counter::WindowQuestions) >= 3, "it asks");
    // The peer wakes: everything comes, in order, nothing was dropped.
    pair.run(20, true);
    next = fill(&mut producer, next);
    pair.run(20, true);
    let sequences: Vec<u64> = pair.events().into_iter().map(|(_, sequence, _)| sequence).collect();
    assert_eq!(sequences, (1..next).collect::<Vec<_>>());
    assert_eq!(pair.received(Counter::KernelDrops), 0);
    assert_eq!(pair.received(Counter::EventsLost), 0);
}

/// F32 by datagram.
#[test]
fn words_on_what_was_never_sent_open_no_window_and_close_none() {
    let (mut pair, mut producer) = Pair::acquainted();
    let lie = |next_sequence| {
        let (source, session) = (NodeId(11), SessionId(100));
        Status { source, session, lane: 2, next_sequence, window_bytes: u64::MAX }.encode()
    };
    let (mut next, mut lies) = (1, 0);
    for _ in 0..40 {
        next = fill(&mut producer, next);
        pair.run(1, false);
        // Far ahead, at the end of numbers, before the beginning.
        for far in [1 << 40, u64::MAX, 0] {
            pair.throw_at(host(1), &lie(far));
            lies += 1;
            pair.run(1, false);
        }
    }
    let (window_packets, on_the_way) =
        ((512 << 10) / CHARGE, pair.sent(Counter::EventsSent) / PACKET_EVENTS);
    assert!(on_the_way <= window_packets + 48, "{on_the_way} of {window_packets}");
    let impossible = pair.sent(Counter::StatusesImpossible);
    // Two that come between two looks are one.
    assert!((lies / 3..=lies / 3 * 2).contains(&impossible), "{impossible} of {lies}");
    let overtaken = pair.sender.receivers[0].counters.read(Counter::StatusesUnknown);
    assert_eq!(overtaken, lies / 3);
    // The peer wakes, and its true words are heard.
    for _ in 0..5 {
        pair.run(20, true);
        next = fill(&mut producer, next);
    }
    pair.run(20, true);
    assert_eq!(pair.events().len() as u64, next);
    assert_eq!(pair.received(Counter::KernelDrops) + pair.received(Counter::EventsLost), 0);
}

#[test]
fn a_peer_that_never_answers_is_sent_to_without_a_window_after_a_while() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    pair.network.set_queue(host(2), 10);
    let next = fill(&mut producer, 0);
    pair.run(50, false);
    let held = pair.sent(Counter::EventsSent);
    assert!(held > 0 && held < next, "the first window only: {held} of {next}");
    pair.run(600, false);
    assert_eq!(pair.sent(Counter::EventsSent), next);
    // It speaks at last, and from then on its window counts: no more is sent than it takes.
    pair.run(5, true);
    let next = fill(&mut producer, next);
    let used_up = pair.sent(Counter::WindowsUsedUp);
    for _ in 0..10 {
        fill(&mut producer, next);
        pair.run(1, false);
    }
    assert_eq!(pair.sent(Counter::WindowsUsedUp), used_up + 1);
}

#[test]
fn words_may_be_lost_and_the_stream_still_goes_on() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    let (mut next, lossy) = (0, LinkModel { loss: 0.3, ..LinkModel::LOSSLESS });
    pair.network.set_model(lossy);
    for _ in 0..60 {
        next = fill(&mut producer, next);
        pair.run(10, true);
    }
    pair.network.set_model(LinkModel::LOSSLESS);
    pair.run(3_000, true);
    assert_eq!(pair.sent(Counter::EventsSent), next);
    let delivered = pair.events().len() as u64;
    let (lost, before) =
        (pair.received(Counter::EventsLost), pair.received(Counter::EventsBeforeJoin));
    assert_eq!(delivered + lost + before, next);
    assert!(lost > 0 && delivered > next / 2, "{delivered} of {next}");
}

#[test]
fn shedding_drops_here_what_the_peer_does_not_take_and_counts_it() {
    let mut pair = Pair::new();
    let link = pair.link_with(0, 1_400, 1_400, FlowControl::Shed);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    put(&mut producer, 0, 64);
    pair.run(1, true);
    let mut next = 1;
    for _ in 0..20 {
        next = fill(&mut producer, next);
        pair.run(1, false);
    }
    let (sent, shed) = (pair.sent(Counter::EventsSent), pair.sent(Counter::EventsShedWindow));
    assert!(shed > 0 && sent + shed == next, "{sent} sent, {shed} shed of {next}");
    pair.run(20, true);
    assert_eq!(pair.events().len() as u64, sent);
    assert_eq!(pair.received(Counter::EventsLost), 0, "what was shed has no place in the stream");
}

#[test]
fn without_flow_control_everything_leaves_and_the_peer_drops() {
    let mut pair = Pair::new();
    let link = pair.link_with(0, 1_400, 1_400, FlowControl::Hold);
    let change = SenderCommand::SetFlow(link, FlowControl::Off);
    pair.sender.sender.commands.push(change).expect("room");
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    pair.network.set_queue(host(2), 100);
    let mut next = 0;
    for _ in 0..10 {
        next = fill(&mut producer, next);
        pair.run(1, false);
    }
    assert_eq!(pair.sent(Counter::EventsSent), next);
    pair.run(3_000, true);
    let (lost, delivered) = (pair.received(Counter::EventsLost), pair.events().len() as u64);
    assert!(lost > 0 && lost + delivered == next, "{lost} + {delivered} of {next}");
}

#[test]
fn one_slow_peer_does_not_stop_another_rings_peer() {
    let mut pair = Pair::new();
    let slow = pair.link(0, 1_400, 1_400);
    let fast = pair.link_with(1, 1_400, 1_400, FlowControl::Off);
    let (mut to_slow, mut to_fast) = (pair.attach(Priority::Normal), pair.attach(Priority::Normal));
    mark(&mut to_slow, slow).expect("room");
    mark(&mut to_fast, fast).expect("room");
    let mut next = 0;
    for _ in 0..10 {
        next = fill(&mut to_slow, next);
        pair.run(1, false);
    }
    let held = pair.sent(Counter::EventsSent);
    for sequence in 0..100 {
        put(&mut to_fast, sequence, 64);
    }
    pair.run(1, false);
    assert_eq!(pair.sent(Counter::EventsSent), held + 100);
}
