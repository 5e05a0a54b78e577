//! The cases every backend must pass.

use std::io::IoSlice;

use wireloom_dataplane::io::{DATAGRAM_BYTES_MAX, Destination, Message, SLICES_MAX};

use wireloom_wire::{
    FRAME_HEADER_BYTES, NodeId, PACKET_HEADER_BYTES, PacketFlags, PacketHeader, SessionId,
};

use crate::rig::{Backend, Rig, pattern};

pub(crate) fn single_datagrams_of_every_length(backend: &Backend) {
    let mut rig = backend.rig(1);
    let lengths =
        [1, 2, 15, 16, 17, 63, 64, 65, 1_199, 1_400, 1_472, 2_047, 2_048, 2_049, 9_000, 65_000];
    let expected: Vec<_> = lengths.iter().map(|length| pattern(*length, *length)).collect();
    for datagram in &expected {
        rig.send_bytes(0, datagram, 0);
    }
    rig.expect(0, &expected);
    assert_eq!(rig.transmit.counters().datagrams, lengths.len() as u64);
    assert_eq!(rig.transmit.counters().refused, 0);
}

pub(crate) fn a_zero_length_datagram_is_delivered_and_counted(backend: &Backend) {
    let mut rig = backend.rig(1);
    rig.send_bytes(0, b"before", 0);
    rig.send(0, &[], 0);
    rig.send(0, &[IoSlice::new(&[]), IoSlice::new(&[])], 0);
    // A segmented message of nothing is one empty datagram, too.
    rig.send(0, &[], 64);
    rig.send_bytes(0, b"behind", 0);
    rig.expect(0, &[&b"before"[..], b"", b"", b"", b"behind"]);
    assert_eq!(rig.transmit.counters().datagrams, 5);
}

pub(crate) fn the_largest_datagram_passes(backend: &Backend) {
    let mut rig = backend.rig(1);
    let largest = pattern(DATAGRAM_BYTES_MAX, 3);
    rig.send_bytes(0, &largest, 0);
    rig.expect(0, &[&largest]);
    // Gathered from as many slices as a datagram may have.
    let slices: Vec<IoSlice<'_>> = largest.chunks(64).map(IoSlice::new).collect();
    assert_eq!(slices.len(), SLICES_MAX);
    rig.send(0, &slices, 0);
    rig.expect(0, &[&largest]);
}

pub(crate) fn what_is_too_large_is_refused_and_the_rest_goes_on(backend: &Backend) {
    let mut rig = backend.rig(1);
    let huge = pattern(2 * DATAGRAM_BYTES_MAX + 200, 5);
    let too_long = [IoSlice::new(&huge[..=DATAGRAM_BYTES_MAX])];
    let runs_too_long = [IoSlice::new(&huge)];
    let too_many = vec![IoSlice::new(&huge[..1]); SLICES_MAX + 1];
    let fine = [IoSlice::new(b"fine")];
    let destination = rig.destinations[0].clone();
    let messages = [
        Message::single(&destination, &fine),
        Message::single(&destination, &too_long),
        Message::single(&destination, &fine),
        // Three datagrams.
        Message::segmented(&destination, &runs_too_long, DATAGRAM_BYTES_MAX + 1),
        Message::single(&destination, &too_many),
        Message::single(&destination, &fine),
    ];
    let sent = rig.transmit.send(&messages);
    assert_eq!((sent.messages, sent.would_block, sent.failed_datagrams), (6, false, 5));
    rig.expect(0, &[b"fine"; 3]);
    let counters = rig.transmit.counters();
    assert_eq!((counters.refused, counters.datagrams), (5, 3));
    // The kernel was not asked about what cannot pass.
    let simulated = matches!(backend, Backend::Simulated);
    assert_eq!(counters.calls, if simulated { 1 } else { 3 });
}

pub(crate) fn segments_arrive_as_datagrams_with_a_short_last_one(backend: &Backend) {
    let mut rig = backend.rig(1);
    for (bytes, segment_bytes) in
        [(640, 64), (641, 64), (703, 64), (64, 64), (63, 64), (65, 64), (1_400 * 46, 1_400), (9, 1)]
    {
        let run = pattern(bytes, segment_bytes);
        rig.send_bytes(0, &run, segment_bytes);
        let expected: Vec<_> = run.chunks(segment_bytes).collect();
        rig.expect(0, &expected);
    }
    assert_eq!(rig.transmit.counters().segmentation_failures, 0);
}

pub(crate) fn slices_may_end_anywhere(backend: &Backend) {
    let mut rig = backend.rig(1);
    let run = pattern(48 * 7 + 500, 9);
    // Headers of 48, bodies that straddle the segments, empty slices between.
    for cuts in [vec![48, 52, 48, 0, 150, 1, 99], vec![7; 119], vec![0, 0, 836], vec![1; 836]] {
        let mut rest = run.as_slice();
        let mut slices = Vec::new();
        for cut in cuts {
            let (slice, behind) = rest.split_at(cut);
            slices.push(IoSlice::new(slice));
            rest = behind;
        }
        slices.push(IoSlice::new(rest));
        rig.send(0, &slices, 100);
        let expected: Vec<_> = run.chunks(100).collect();
        rig.expect(0, &expected);
        rig.send(0, &slices, 0);
        rig.expect(0, &[&run]);
    }
}

pub(crate) fn runs_beyond_every_limit_are_cut_smaller(backend: &Backend) {
    let mut rig = backend.rig(1);
    // More segments, more bytes and more slices than a kernel takes in one send.
    for (bytes, segment_bytes, slice_bytes) in [
        (300, 1, 300),
        (140_000, 1_400, 140_000),
        (6_000, 40, 2),
        (1_500, 1_500, 2),
        (3_000, 999, 1),
    ] {
        let run = pattern(bytes, 11);
        let slices: Vec<IoSlice<'_>> = run.chunks(slice_bytes).map(IoSlice::new).collect();
        rig.send(0, &slices, segment_bytes);
        let expected: Vec<_> = run.chunks(segment_bytes).collect();
        rig.expect(0, &expected);
    }
}

fn packet(lane: u8, frames: usize) -> Vec<u8> {
    let bytes = PACKET_HEADER_BYTES + frames * FRAME_HEADER_BYTES;
    let header = PacketHeader {
        flags: PacketFlags::SEQUENCED,
        lane,
        frame_count: frames as u16,
        length: bytes as u32,
        session: SessionId(1),
        source: NodeId(1),
        sequence: 0,
        first_event: 0,
    };
    let mut packet = header.encode(None).to_vec();
    packet.resize(bytes, 0);
    packet
}

/// Of packets that lie in the socket together, those of more urgent lanes come first.
pub(crate) fn packets_that_came_together_are_shown_by_lane(backend: &Backend) {
    let mut rig = backend.rig(1);
    // Of unlike lengths, so that the kernel joins none.
    let sent = [packet(3, 1), packet(1, 4), packet(0, 2), packet(1, 3)];
    for packet in &sent {
        rig.send_bytes(0, packet, 0);
    }
    rig.expect(0, &[&sent[2], &sent[1], &sent[3], &sent[0]]);
    // What is no packet has no lane: everything stays as it came.
    let sent = [packet(3, 1), packet(0, 2), vec![1, 0, 0, 7]];
    for packet in &sent {
        rig.send_bytes(0, packet, 0);
    }
    rig.expect(0, &sent);
}

/// A packet that comes while a long one is handled does not wait for those behind that one.
pub(crate) fn an_urgent_packet_goes_before_those_that_wait_for_a_long_one(backend: &Backend) {
    let mut rig = backend.rig(1);
    let (long, urgent) = ([700, 701, 702].map(|frames| packet(4, frames)), packet(0, 1));
    for packet in &long {
        rig.send_bytes(0, packet, 0);
    }
    let Rig { transmit, receivers, destinations, .. } = &mut rig;
    let mut shown = Vec::new();
    for _ in 0..4 {
        receivers[0].receive(&mut |arrival| {
            if shown.is_empty() {
                let slices = [IoSlice::new(&urgent)];
                let sent = transmit.send(&[Message::single(&destinations[0], &slices)]);
                assert_eq!((sent.messages, sent.failed_datagrams), (1, 0));
            }
            shown.push(arrival.bytes.to_vec());
        });
    }
    let lengths: Vec<usize> = shown.iter().map(Vec::len).collect();
    let expected = [&long[0], &urgent, &long[1], &long[2]];
    assert_eq!(lengths, expected.map(|packet| packet.len()));
    assert_eq!(shown.iter().collect::<Vec<_>>(), expected);
    // Between short ones nobody looks. The first is asked for alone.
    for frames in [2, 3, 4] {
        rig.send_bytes(0, &packet(4, frames), 0);
    }
    let receiver = &mut rig.receivers[0];
    assert_eq!(receiver.receive(&mut |_| ()).datagrams, 1);
    let calls = receiver.counters().calls;
    assert_eq!(receiver.receive(&mut |_| ()).datagrams, 2);
    assert_eq!(receiver.counters().calls, calls + 1);
}

pub(crate) fn order_holds_across_kinds_and_calls(backend: &Backend) {
    let mut rig = backend.rig(1);
    let destination = rig.destinations[0].clone();
    let mut number = 0_u32;
    for round in 0..20 {
        let mut expected = Vec::new();
        let mut runs = Vec::new();
        for kind in 0..25_u32 {
            let datagrams = if (kind + round) % 3 == 0 { 1 + kind % 7 } else { 1 };
            let mut run = Vec::new();
            for _ in 0..datagrams {
                expected.push(number.to_le_bytes().to_vec());
                run.extend(number.to_le_bytes());
                number += 1;
            }
            runs.push(run);
        }
        let slices: Vec<_> = runs.iter().map(|run| [IoSlice::new(run)]).collect();
        let messages: Vec<_> =
            slices.iter().map(|slices| Message::segmented(&destination, slices, 4)).collect();
        let sent = rig.transmit.send(&messages);
        assert_eq!((sent.messages, sent.failed_datagrams), (messages.len(), 0));
        rig.expect(0, &expected);
    }
}

pub(crate) fn one_send_reaches_several_destinations(backend: &Backend) {
    let mut rig = backend.rig(7);
    let destinations = rig.destinations.clone();
    // More messages than one batch, all over the same bytes, plus a run for each.
    let bytes = pattern(100, 2);
    let slices = [IoSlice::new(&bytes)];
    let unknown = Destination::new(1, destinations[0].address());
    let mut messages = Vec::new();
    for round in 0..20 {
        for destination in &destinations {
            let segment_bytes = if round % 2 == 0 { 0 } else { 30 };
            messages.push(Message::segmented(destination, &slices, segment_bytes.max(1)));
            messages.last_mut().unwrap().segment_bytes = segment_bytes;
        }
    }
    let simulated = matches!(backend, Backend::Simulated);
    if !simulated {
        messages.insert(5, Message::single(&unknown, &slices));
    }
    let sent = rig.transmit.send(&messages);
    assert_eq!((sent.messages, sent.would_block), (messages.len(), false));
    assert_eq!(sent.failed_datagrams, u64::from(!simulated), "a socket that does not exist");
    let mut expected: Vec<&[u8]> = Vec::new();
    for _ in 0..10 {
        expected.push(&bytes);
        expected.extend(bytes.chunks(30));
    }
    for receiver in 0..destinations.len() {
        rig.expect(receiver, &expected);
    }
}

pub(crate) fn ipv6_carries_the_same(backend: &Backend) {
    let mut rig = backend.rig_v6(1);
    let run = pattern(2_000, 8);
    rig.send_bytes(0, &run, 64);
    rig.send_bytes(0, &run, 0);
    rig.send(0, &[], 0);
    // The loopback interface carries 65,536 bytes, headers included.
    let largest = pattern(65_536 - 48, 1);
    rig.send_bytes(0, &largest, 0);
    let mut expected: Vec<_> = run.chunks(64).collect();
    expected.extend([run.as_slice(), &[], &largest]);
    rig.expect(0, &expected);
}

pub(crate) fn a_receive_call_is_bounded_and_says_when_it_saw_the_end(backend: &Backend) {
    let mut rig = backend.rig(1);
    let receiver = &mut rig.receivers[0];
    let received = receiver.receive(&mut |arrival| panic!("{arrival:?}"));
    assert_eq!((received.datagrams, received.would_block), (0, true));
    for number in 0..200_u32 {
        rig.send_bytes(0, &number.to_le_bytes(), 0);
    }
    let mut seen = Vec::new();
    let mut calls = 0;
    loop {
        let before = seen.len();
        let received = rig.receivers[0].receive(&mut |arrival| {
            seen.extend(arrival.datagrams().map(<[u8]>::to_vec));
        });
        assert_eq!(received.datagrams, seen.len() - before);
        calls += 1;
        if received.would_block {
            break;
        }
        assert!(received.datagrams > 0 && received.datagrams <= 64, "{received:?}");
    }
    assert!(calls > 3, "200 datagrams in {calls} calls");
    let expected: Vec<_> = (0..200_u32).map(|number| number.to_le_bytes().to_vec()).collect();
    assert_eq!(seen, expected);
}

pub(crate) fn arrivals_are_aligned_and_name_their_source(backend: &Backend) {
    let mut rig = backend.rig(1);
    for length in [0, 1, 100, 5_000] {
        rig.send_bytes(0, &pattern(length, 4), 0);
    }
    rig.send_bytes(0, &pattern(640, 4), 64);
    let source = rig.source;
    let mut arrivals = 0;
    while arrivals < 5 {
        rig.receivers[0].receive(&mut |arrival| {
            assert_eq!((arrival.source, arrival.socket), (source, 0));
            assert_eq!(arrival.bytes.as_ptr().align_offset(64), 0);
            arrivals += 1;
        });
    }
}

pub(crate) fn a_full_receive_buffer_is_counted(backend: &Backend) {
    let mut rig = backend.rig_with_small_buffer();
    let mut arrived = 0;
    for round in 1..=3 {
        for number in 0..100_u32 {
            rig.send_bytes(0, &number.to_le_bytes(), 0);
        }
        // What was dropped last is known once the socket has been quiet for a while.
        for _ in 0..100 {
            arrived += rig.receivers[0].receive(&mut |_| ()).datagrams as u64;
        }
        let dropped = rig.receivers[0].counters().kernel_drops;
        assert!(arrived >= round, "the buffer holds at least one");
        assert!(dropped >= 50 * round, "round {round}: {dropped}");
        // Exact in every round: nothing is counted twice or forgotten.
        assert_eq!(rig.transmit.counters().datagrams, 100 * round);
        assert_eq!(arrived + dropped, 100 * round, "arrived + dropped = sent");
    }
}

pub(crate) fn random_messages_arrive_as_they_were_sent(backend: &Backend) {
    let mut rig = backend.rig(2);
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut random = move |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % bound
    };
    let source = pattern(200_000, 13);
    let destinations = rig.destinations.clone();
    for _ in 0..60 {
        let mut expected = [Vec::new(), Vec::new()];
        let mut plans = Vec::new();
        for _ in 0..1 + random(40) {
            let bytes = if random(10) == 0 { random(60_000) } else { random(1_500) };
            let begin = random(source.len() - bytes);
            let run = &source[begin..begin + bytes];
            let segment_bytes =
                if random(2) == 0 { 0 } else { 1 + random(bytes.max(1)).max(bytes / 150) };
            let to = random(2);
            let mut slices = Vec::new();
            let mut rest = run;
            while !rest.is_empty() && slices.len() < 40 {
                let (slice, behind) = rest.split_at(random(rest.len() + 1));
                slices.push(IoSlice::new(slice));
                rest = behind;
            }
            slices.push(IoSlice::new(rest));
            if segment_bytes == 0 || run.is_empty() {
                expected[to].push(run);
            } else {
                expected[to].extend(run.chunks(segment_bytes));
            }
            plans.push((to, slices, segment_bytes));
        }
        let messages: Vec<_> = plans
            .iter()
            .map(|(to, slices, segment_bytes)| match segment_bytes {
                0 => Message::single(&destinations[*to], slices),
                bytes => Message::segmented(&destinations[*to], slices, *bytes),
            })
            .collect();
        let sent = rig.transmit.send(&messages);
        assert_eq!((sent.messages, sent.failed_datagrams), (messages.len(), 0));
        for (to, expected) in expected.iter().enumerate() {
            rig.expect(to, expected);
        }
    }
}
