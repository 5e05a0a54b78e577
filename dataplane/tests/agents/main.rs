//! Sender and receiver agents on a simulated network: lanes, packing, flow control,
//! back-pressure of the way out, records nobody can route, and datagrams nobody should believe.

#![expect(clippy::disallowed_types, reason = "a test's notebook; no worker waits for it")]

mod flow;
mod pair;
mod sealed;

use wireloom_dataplane::command::SenderCommand;
use wireloom_dataplane::counters::Counter;
use wireloom_dataplane::flow::FlowControl;
use wireloom_dataplane::io::simulated::LinkModel;
use wireloom_dataplane::limits::DATAGRAM_BYTES_MAX;
use wireloom_dataplane::link::LinkId;
use wireloom_dataplane::outbound::mark;
use wireloom_ring::Producer;
use wireloom_wire::Priority;

use pair::{Pair, host, put};

#[test]
fn small_events_share_packets_and_a_run_of_packets_is_one_send() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    for sequence in 0..140 {
        put(&mut producer, sequence, 64);
    }
    pair.settle();
    let expected: Vec<_> = (0..140).map(|sequence| (2, sequence, 64)).collect();
    assert_eq!(pair.events(), expected);
    assert_eq!(pair.sent(Counter::EventsSent), 140);
    // 14 frames of 96 bytes and a header of 48 fill 1,392 bytes exactly.
    assert_eq!(pair.sent(Counter::PacketsSent), 10);
    assert_eq!(pair.sent(Counter::BytesSent), 10 * 1_392);
    assert_eq!(pair.sent(Counter::SendCalls), 1, "ten equal packets leave as one");
}

#[test]
fn a_short_last_packet_joins_the_run_unpadded() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    for sequence in 0..141 {
        put(&mut producer, sequence, 64);
    }
    pair.settle();
    assert_eq!(pair.events().len(), 141);
    assert_eq!(pair.sent(Counter::SendCalls), 1);
    assert_eq!(pair.sent(Counter::BytesSent), 10 * 1_392 + 48 + 96);
}

#[test]
fn rings_with_little_to_say_share_a_packet() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    let mut producers: Vec<_> = (0..6).map(|_| pair.attach(Priority::Normal)).collect();
    for (sequence, producer) in producers.iter_mut().enumerate() {
        mark(producer, link).expect("room");
        put(producer, sequence as u64, 20 + sequence);
    }
    pair.settle();
    let mut events = pair.events();
    events.sort_unstable();
    assert_eq!(events, (0..6).map(|n| (2, n as u64, 20 + n)).collect::<Vec<_>>());
    assert_eq!(pair.sent(Counter::PacketsSent), 1);
}

#[test]
fn packets_of_unlike_length_are_padded_into_runs_and_arrive_unpadded() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    let sizes: Vec<usize> = (0..300).map(|n| 190 + (n * 37) % 60).collect();
    for (sequence, size) in sizes.iter().enumerate() {
        put(&mut producer, sequence as u64, *size);
    }
    pair.settle();
    let expected: Vec<_> = sizes.iter().enumerate().map(|(n, size)| (2, n as u64, *size)).collect();
    assert_eq!(pair.events(), expected);
    let (packets, runs) = (pair.sent(Counter::PacketsSent), pair.sent(Counter::SendCalls));
    assert!(runs * 4 < packets, "{packets} packets left in {runs} sends");
    assert_eq!(pair.received(Counter::PacketTrailing), 0);
}

#[test]
fn one_ring_reaches_several_links_and_each_link_stays_in_order() {
    let mut pair = Pair::new();
    let links = [pair.link(0, 1_400, 1_400), pair.link(1, 1_400, 1_400)];
    let mut producer = pair.attach(Priority::Normal);
    for sequence in 0..100 {
        mark(&mut producer, links[(sequence % 2) as usize]).expect("room");
        put(&mut producer, sequence, 40);
    }
    pair.settle();
    let events = pair.events();
    assert_eq!(events.len(), 100);
    for parity in 0..2 {
        let own: Vec<u64> = events.iter().map(|e| e.1).filter(|s| s % 2 == parity).collect();
        assert!(own.is_sorted(), "{own:?}");
    }
    assert!(pair.sent(Counter::PacketsSent) < 20, "packets are shared though the links alternate");
}

#[test]
fn higher_lanes_leave_first_and_lower_lanes_are_not_starved() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    let mut bulk = pair.attach(Priority::Background);
    let mut urgent = pair.attach(Priority::Critical);
    for producer in [&mut bulk, &mut urgent] {
        mark(producer, link).expect("room");
    }
    for sequence in 0..2_000 {
        put(&mut bulk, sequence, 64);
        put(&mut urgent, sequence, 64);
    }
    // One duty cycle: the urgent lane fills it, the bulk lane gets its least.
    pair.sending.do_work();
    pair.network.advance_to(1);
    pair.receiving.drain(10);
    let events = pair.events();
    let bulk_events = events.iter().filter(|event| event.0 == 4).count();
    let urgent_events = events.len() - bulk_events;
    assert!(urgent_events > 500, "{urgent_events}");
    assert!((1..=30).contains(&bulk_events), "{bulk_events}");
    assert_eq!(events[0].0, 0, "the urgent packet is first");
    pair.settle();
    assert_eq!(pair.events().len() + events.len(), 4_000);
}

#[test]
fn what_the_way_out_does_not_take_stays_in_order_and_nothing_is_sent_twice() {
    let mut pair = Pair::new();
    let link = pair.link(0, 512, 512);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    for sequence in 0..500 {
        put(&mut producer, sequence, 50);
    }
    let mut seen = Vec::new();
    for room in [0, 1, 0, 3, 7, 2, 0, 40] {
        pair.network.set_send_limit(host(1), Some(room));
        pair.sending.do_work();
        pair.settle();
        seen.extend(pair.events());
    }
    assert!(pair.sent(Counter::SendBlocked) > 0, "the limit was felt");
    assert!(seen.len() < 500, "something is still waiting");
    pair.network.set_send_limit(host(1), None);
    pair.settle();
    seen.extend(pair.events());
    assert_eq!(seen, (0..500).map(|n| (2, n, 50)).collect::<Vec<_>>());
    assert_eq!(pair.received(Counter::PacketsDuplicate), 0);
    assert_eq!(pair.received(Counter::EventsLost), 0);
}

#[test]
fn what_is_urgent_is_sent_before_the_rest_is_taken_from_its_rings() {
    for priority in [Priority::Critical, Priority::High] {
        let mut pair = Pair::new();
        let link = pair.link(0, 1_400, 1_400);
        let (mut bulk, mut urgent) = (pair.attach(Priority::Normal), pair.attach(priority));
        for producer in [&mut bulk, &mut urgent] {
            mark(producer, link).expect("room");
        }
        for sequence in 0..100 {
            put(&mut bulk, sequence, 64);
        }
        put(&mut urgent, 100, 64);
        pair.network.set_send_limit(host(1), Some(0));
        pair.sending.do_work();
        // The kernel has not taken the one, so nobody looks at the others.
        assert!(urgent.consumed_position() > 0);
        assert_eq!(bulk.consumed_position(), 0, "{priority:?}");
        pair.network.set_send_limit(host(1), None);
        pair.clock.advance(std::time::Duration::from_millis(1));
        pair.sending.do_work();
        assert!(bulk.consumed_position() > 0);
        pair.settle();
        let numbers: Vec<u64> = pair.events().iter().map(|event| event.1).collect();
        assert_eq!(numbers, std::iter::once(100).chain(0..100).collect::<Vec<_>>());
    }
}

#[test]
fn while_urgent_events_flow_the_rest_leaves_in_short_packets() {
    for priority in [Priority::Critical, Priority::High] {
        let mut pair = Pair::new();
        let link = pair.link_with(0, DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MAX, FlowControl::Off);
        let (mut bulk, mut urgent) = (pair.attach(Priority::Normal), pair.attach(priority));
        for producer in [&mut bulk, &mut urgent] {
            mark(producer, link).expect("room");
        }
        put(&mut urgent, 0, 64);
        (0..700).for_each(|sequence| put(&mut bulk, sequence, 64));
        // One longer than a short cycle, and what comes behind it.
        put(&mut bulk, 700, 40_000);
        (701..1_500).for_each(|sequence| put(&mut bulk, sequence, 64));
        let mut taken = 0;
        let mut cycle = |pair: &mut Pair, micros| {
            pair.clock.advance(std::time::Duration::from_micros(micros));
            pair.sending.do_work();
            let more =
                bulk.consumed_position() - std::mem::replace(&mut taken, bulk.consumed_position());
            (more, pair.sent(Counter::PacketsSent))
        };
        // The mark lies before the first, and the urgent one's bytes count.
        assert_eq!(cycle(&mut pair, 0), (16 + 165 * 96, 2), "{priority:?}");
        for _ in 0..3 {
            assert_eq!(cycle(&mut pair, 6_000).0, 166 * 96, "{priority:?}");
        }
        // Nothing urgent for 20 ms: as much as a packet holds.
        let (bytes, _) = cycle(&mut pair, 2_001);
        assert_eq!(bytes, 37 * 96 + 40_032 + 227 * 96, "{priority:?}");
        put(&mut urgent, 1, 64);
        assert_eq!(cycle(&mut pair, 1).0, 165 * 96);
        pair.settle();
        let events = pair.events();
        let numbers: Vec<u64> = events.iter().filter(|e| e.0 == 2).map(|e| e.1).collect();
        assert_eq!(numbers, (0..1_500).collect::<Vec<_>>());
    }
}

#[test]
fn an_event_longer_than_a_short_cycle_goes_alone() {
    let mut pair = Pair::new();
    let link = pair.link_with(0, DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MAX, FlowControl::Off);
    let (mut bulk, mut urgent) = (pair.attach(Priority::Normal), pair.attach(Priority::Critical));
    for producer in [&mut bulk, &mut urgent] {
        mark(producer, link).expect("room");
    }
    put(&mut urgent, 0, 64);
    for (sequence, payload) in (0..).zip([64, 40_000, 40_000, 64]) {
        put(&mut bulk, sequence, payload);
    }
    let mut packets = Vec::new();
    while packets.last().is_none_or(|sent| *sent < 5) && packets.len() < 9 {
        pair.sending.do_work();
        packets.push(pair.sent(Counter::PacketsSent));
    }
    assert_eq!(packets, [2, 3, 4, 5], "the urgent and a small one, two long ones, a small one");
    pair.settle();
    assert_eq!(pair.events().len(), 5);
}

#[test]
fn a_blocked_sender_asks_to_be_run_again_soon_and_marks_no_tail_past_what_waits() {
    let mut pair = Pair::new();
    let link = pair.link(0, 512, 512);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    pair.network.set_send_limit(host(1), Some(0));
    put(&mut producer, 0, 50);
    pair.sending.do_work();
    let now_ns = pair.clock.now_ns();
    let again_ns = pair.sending.deadline_ns().expect("it waits for the kernel");
    assert!(again_ns <= now_ns + 1_000_000, "{} ns", again_ns - now_ns);
    let Pair { sending, network, receiving, clock, receiver, .. } = pair;
    network.set_send_limit(host(1), None);
    drop(sending);
    network.advance_to(clock.now_ns() + 1);
    let mut receiving = receiving;
    receiving.drain(10);
    let heard = receiver.receivers[0].counters.read(Counter::PacketsReceived);
    assert_eq!(heard, 0, "a marker would have overtaken the waiting packet");
}

#[test]
fn an_event_larger_than_packets_are_filled_travels_alone_and_one_too_large_is_shed() {
    let mut pair = Pair::new();
    let link = pair.link(0, 512, 2_048);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    put(&mut producer, 0, 30);
    put(&mut producer, 1, 1_500);
    put(&mut producer, 2, 3_000);
    put(&mut producer, 3, 30);
    pair.settle();
    assert_eq!(pair.events(), [(2, 0, 30), (2, 1, 1_500), (2, 3, 30)]);
    assert_eq!(pair.sent(Counter::EventsOversized), 1);
    assert_eq!(pair.sent(Counter::EventsTaken), 4);
    assert_eq!(pair.sent(Counter::EventsSent), 3);
}

#[test]
fn events_without_a_link_are_counted_and_a_link_that_comes_a_moment_later_is_waited_for() {
    let mut pair = Pair::new();
    let mut producer = pair.attach(Priority::Normal);
    pair.sending.do_work();
    mark(&mut producer, LinkId(5)).expect("room");
    put(&mut producer, 0, 30);
    pair.sending.do_work();
    assert_eq!(pair.sent(Counter::EventsUnroutable), 0, "first it waits for the command");
    pair.link(5, 1_400, 1_400);
    pair.settle();
    assert_eq!(pair.events(), [(2, 0, 30)]);
    pair.sender.sender.commands.push(SenderCommand::RemoveLink(LinkId(5))).expect("room");
    put(&mut producer, 1, 30);
    pair.settle();
    assert_eq!(pair.sent(Counter::EventsUnroutable), 1);
    assert!(pair.sender.returns.free() > 0, "the removed link came back to be freed");
}

#[test]
fn a_closed_ring_that_waits_for_its_link_is_not_dropped() {
    let mut pair = Pair::new();
    let link = pair.link(3, 1_400, 1_400);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    put(&mut producer, 0, 30);
    pair.settle();
    pair.sender.sender.commands.push(SenderCommand::RemoveLink(link)).expect("room");
    pair.sending.do_work();
    put(&mut producer, 1, 30);
    drop(producer);
    pair.sending.do_work();
    pair.link(3, 1_400, 1_400);
    pair.settle();
    assert_eq!((pair.sent(Counter::EventsSent), pair.sent(Counter::EventsUnroutable)), (2, 0));
}

#[test]
fn rings_that_fill_every_cycle_take_turns() {
    let mut pair = Pair::new();
    // Nobody answers within two cycles.
    let link = pair.link_with(0, 1_400, 1_400, FlowControl::Off);
    let mut producers = [pair.attach(Priority::Normal), pair.attach(Priority::Normal)];
    for (producer, payload) in producers.iter_mut().zip([64, 65]) {
        mark(producer, link).expect("room");
        for sequence in 0..1_500 {
            put(producer, sequence, payload);
        }
    }
    pair.sending.do_work();
    pair.sending.do_work();
    pair.network.advance_to(1);
    pair.receiving.drain(10);
    let events = pair.events();
    for payload in [64, 65] {
        let own = events.iter().filter(|event| event.2 == payload).count();
        assert!(own > 300, "{own} of {} in two cycles", events.len());
    }
}

#[test]
fn a_closed_publishers_ring_is_drained_and_given_back() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    put(&mut producer, 0, 30);
    drop(producer);
    pair.settle();
    assert_eq!(pair.events(), [(2, 0, 30)]);
    assert_eq!(pair.sender.returns.free(), 1);
}

#[test]
fn loss_at_the_end_is_seen_through_tail_markers() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    put(&mut producer, 0, 30);
    pair.settle();
    pair.network.set_model(LinkModel { loss: 1.0, ..LinkModel::LOSSLESS });
    put(&mut producer, 1, 30);
    put(&mut producer, 2, 30);
    pair.settle();
    assert_eq!(pair.received(Counter::EventsLost), 0, "nobody knows yet");
    pair.network.set_model(LinkModel::LOSSLESS);
    // The first deadline may be that of the earlier event, put off since.
    for _ in 0..2 {
        let deadline = pair.sending.deadline_ns().expect("a marker is due");
        pair.clock.advance_to(deadline);
        pair.settle();
    }
    assert_eq!(pair.received(Counter::EventsLost), 2);
    let gaps = pair.seen.lock().expect("one thread").1.clone();
    assert_eq!(gaps.iter().map(|gap| (gap.from, gap.to)).collect::<Vec<_>>(), [(1, 3)]);
    for _ in 0..20 {
        pair.clock.advance(std::time::Duration::from_secs(2));
        pair.settle();
    }
    assert_eq!(pair.sent(Counter::TailMarkers), 6, "then the stream is silent");
    assert_eq!(pair.sending.deadline_ns(), None);
}

#[test]
fn datagrams_nobody_should_believe_are_counted_by_reason_and_change_nothing() {
    let mut pair = Pair::new();
    let link = pair.link(0, 1_400, 1_400);
    let mut producer = pair.attach(Priority::Normal);
    mark(&mut producer, link).expect("room");
    let good = |pair: &mut Pair, producer: &mut Producer, sequence| {
        put(producer, sequence, 30);
        pair.settle();
        assert_eq!(pair.events(), [(2, sequence, 30)], "the good flow goes on");
    };
    good(&mut pair, &mut producer, 0);
    pair.throw(&[]);
    pair.throw(&[1; 47]);
    assert_eq!(pair.received(Counter::PacketTruncated), 2);
    pair.throw(&[9; 1_000]);
    assert_eq!(pair.received(Counter::PacketVersion), 1);
    let mut state = 1_u64;
    for _ in 0..500 {
        let length = (state % 1_500) as usize;
        let random: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_le_bytes()[4]
            })
            .collect();
        pair.throw(&random);
    }
    pair.throw(&vec![1; DATAGRAM_BYTES_MAX]);
    good(&mut pair, &mut producer, 1);
    let markers = pair.sent(Counter::TailMarkers);
    assert_eq!(pair.received(Counter::DatagramsReceived), 2 + 3 + 500 + 1 + markers);
    assert_eq!(pair.received(Counter::PacketsReceived), 2 + markers);
    assert_eq!(pair.received(Counter::EventsLost), 0);
}

#[test]
fn a_flood_of_the_smallest_events_to_many_links_leaves_each_lower_lane_its_least() {
    let mut pair = Pair::new();
    let links: Vec<_> = (0..30).map(|id| pair.link(id, 1_400, 1_400)).collect();
    let mut flood = pair.attach(Priority::High);
    let lower = [Priority::Normal, Priority::Low, Priority::Background];
    let mut others = lower.map(|priority| pair.attach(priority));
    pair.settle();
    // Marks between the frames: each is a span of its own, and spans end before bytes do.
    for sequence in 0..2_500 {
        mark(&mut flood, links[(sequence % 30) as usize]).expect("room");
        put(&mut flood, sequence, 0);
    }
    for producer in &mut others {
        mark(producer, links[0]).expect("room");
        for sequence in 0..200 {
            put(producer, sequence, 64);
        }
    }
    pair.sending.do_work();
    pair.network.advance_to(1);
    pair.receiving.drain(10);
    let events = pair.events();
    for lane in 2..5 {
        let least = events.iter().filter(|event| event.0 == lane).count();
        // 1,344 bytes are 14 frames of 96.
        assert!(least >= 14, "{least} of lane {lane}");
    }
    let flooded = events.iter().filter(|event| event.0 == 1).count();
    assert!(flooded > 700, "{flooded}: spans are for the flood first");
}
