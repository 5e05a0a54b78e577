//! What only a kernel does: refusals, full queues, narrow paths, errors of earlier datagrams. Each
//! ends in the same rules, for every backend with real sockets. The namespaces are made and removed
//! by the tests themselves.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use wireloom_dataplane::io::{Destination, Message, Receive, Segmentation, Sent, Transmit};
use wireloom_dataplane::poller::{ParkedBy, Poller};
use wireloom_dataplane::socket::{SocketConfig, open};

use crate::rig::{Backend, pattern, socket};
use crate::support::{eventually, inside_namespace};

const PATIENCE: Duration = Duration::from_secs(20);

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// An address at which nobody listens.
fn closed_port() -> SocketAddr {
    UdpSocket::bind(any_port()).unwrap().local_addr().unwrap()
}

fn receive_from(backend: &Backend, socket: UdpSocket) -> (Destination, Box<dyn Receive>) {
    let destination = Destination::new(0, socket.local_addr().unwrap());
    (destination, backend.receive(vec![socket]))
}

fn collect(receive: &mut dyn Receive, count: usize) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    eventually(PATIENCE, || {
        receive.receive(&mut |arrival| {
            datagrams.extend(arrival.datagrams().map(<[u8]>::to_vec));
        });
        datagrams.len() >= count
    });
    datagrams
}

pub(crate) fn a_closed_peer_stops_nobody(backend: &Backend) {
    let (open_peer, mut receive) = receive_from(backend, socket(any_port(), 0));
    let closed_peer = Destination::new(0, closed_port());
    let mut transmit = backend.transmit(vec![socket(any_port(), 0)]);
    for number in 0..50_u32 {
        let bytes = number.to_le_bytes();
        let slices = [IoSlice::new(&bytes)];
        let to_both =
            [Message::single(&closed_peer, &slices), Message::single(&open_peer, &slices)];
        let sent = transmit.send(&to_both);
        assert_eq!(sent, Sent { messages: 2, would_block: false, failed_datagrams: 0 });
    }
    let expected: Vec<_> = (0..50_u32).map(|number| number.to_le_bytes().to_vec()).collect();
    assert_eq!(collect(&mut *receive, 50), expected);
}

/// A connected socket gets the ICMP error of an earlier datagram in the way of the next one.
pub(crate) fn an_error_of_an_earlier_datagram_costs_no_later_one(backend: &Backend) {
    let (open_peer, mut receive) = receive_from(backend, socket(any_port(), 0));
    let closed_peer = Destination::new(0, closed_port());
    let out = socket(any_port(), 0);
    out.connect(closed_peer.address()).unwrap();
    let mut transmit = backend.transmit(vec![out]);
    let mut expected = Vec::new();
    for number in 0..50_u32 {
        let run = pattern(200, number as usize);
        let slices = [IoSlice::new(&run)];
        let segment_bytes = if number % 2 == 0 { 50 } else { 1_000 };
        // One call each: within a call the kernel swallows the error and ends the call early.
        for message in [
            Message::single(&closed_peer, &slices),
            Message::segmented(&open_peer, &slices, segment_bytes),
        ] {
            let sent = transmit.send(&[message]);
            assert_eq!(sent, Sent { messages: 1, would_block: false, failed_datagrams: 0 });
        }
        expected.extend(run.chunks(segment_bytes).map(<[u8]>::to_vec));
    }
    assert_eq!(collect(&mut *receive, expected.len()), expected);
    let counters = transmit.counters();
    assert!(counters.peer_errors >= 40, "{counters:?}");
    assert_eq!(counters.refused, 0);
}

pub(crate) fn no_route_and_no_permission_are_refusals_of_their_own_message(backend: &Backend) {
    let (open_peer, mut receive) = receive_from(backend, socket(any_port(), 0));
    let mut transmit = backend.transmit(vec![socket(any_port(), 0)]);
    // A broadcast without SO_BROADCAST; an IPv6 address through an IPv4 socket.
    let forbidden = Destination::new(0, "127.255.255.255:9".parse().unwrap());
    let foreign = Destination::new(0, "[::1]:9".parse().unwrap());
    let run = pattern(300, 1);
    let slices = [IoSlice::new(&run)];
    let messages = [
        Message::single(&forbidden, &slices),
        Message::segmented(&open_peer, &slices, 100),
        Message::segmented(&foreign, &slices, 100),
        Message::single(&open_peer, &slices),
    ];
    let sent = transmit.send(&messages);
    assert_eq!(sent, Sent { messages: 4, would_block: false, failed_datagrams: 4 });
    let mut expected: Vec<_> = run.chunks(100).map(<[u8]>::to_vec).collect();
    expected.push(run.clone());
    assert_eq!(collect(&mut *receive, 4), expected);
    // Neither was the fault of segmentation.
    assert!(transmit.segmentation().max_segments > 1);
    assert_eq!(transmit.counters().segmentation_failures, 0);
}

pub(crate) fn what_is_longer_than_a_slot_is_dropped_whole_and_counted(backend: &Backend) {
    let backend = backend.with_slots(2_048);
    let peer = socket(any_port(), 0);
    let destination = Destination::new(0, peer.local_addr().unwrap());
    let mut receive = backend.receive(vec![peer]);
    let mut transmit = backend.transmit(vec![socket(any_port(), 0)]);
    let lengths = [10, 2_049, 2_048, 60_000, 11];
    for length in lengths {
        let bytes = pattern(length, length);
        let slices = [IoSlice::new(&bytes)];
        assert_eq!(transmit.send(&[Message::single(&destination, &slices)]).messages, 1);
    }
    let mut datagrams = Vec::new();
    let received = receive.receive(&mut |arrival| datagrams.push(arrival.bytes.to_vec()));
    // The dropped ones count against the call's bound all the same.
    assert_eq!((received.datagrams, received.would_block), (5, true));
    assert_eq!(datagrams, [10, 2_048, 11].map(|length| pattern(length, length)));
    assert_eq!(receive.counters().truncated, 2);
}

/// `SO_RXQ_OVFL`: the next arrival after the drops tells of them, before the socket falls quiet.
pub(crate) fn drops_are_known_with_the_next_arrival(backend: &Backend) {
    let (destination, mut receive) = receive_from(backend, socket(any_port(), 4_096));
    let mut transmit = backend.transmit(vec![socket(any_port(), 0)]);
    let bytes = [0; 100];
    let slices = [IoSlice::new(&bytes)];
    let message = Message::single(&destination, &slices);
    assert_eq!(transmit.send(&[message; 60]).messages, 60);
    let mut arrived = collect(&mut *receive, 1).len() as u64;
    assert_eq!(
        receive.counters().kernel_drops,
        0,
        "all of these were queued before the first drop"
    );
    assert_eq!(transmit.send(&[message]).messages, 1);
    arrived += collect(&mut *receive, 1).len() as u64;
    assert_eq!(receive.counters().kernel_drops, 61 - arrived);
}

pub(crate) fn several_sockets_are_all_served_and_named(backend: &Backend) {
    let sockets = [(); 3].map(|()| socket(any_port(), 0));
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let mut receive = backend.receive(sockets.into());
    let outs = vec![socket(any_port(), 0), socket(any_port(), 0)];
    let sources = [outs[0].local_addr().unwrap(), outs[1].local_addr().unwrap()];
    let mut transmit = backend.transmit(outs);
    // The destination says by which socket: 1, 0, 1.
    let destinations = [(1, addresses[0]), (0, addresses[1]), (1, addresses[2])]
        .map(|(out, address)| Destination::new(out, address));
    let slices = [IoSlice::new(b"to each")];
    let messages = destinations.each_ref().map(|to| Message::single(to, &slices));
    assert_eq!(transmit.send(&messages).messages, 3);
    let mut heard = Vec::new();
    let received = receive.receive(&mut |arrival| {
        assert_eq!(arrival.bytes, b"to each");
        heard.push((arrival.socket, arrival.source));
    });
    assert_eq!((received.datagrams, received.would_block), (3, true));
    heard.sort_unstable();
    assert_eq!(heard, [(0, sources[1]), (1, sources[0]), (2, sources[1])]);
    // An empty round costs one call a socket, or none at all.
    let before = receive.counters().calls;
    receive.receive(&mut |_| ());
    let calls = if matches!(backend, Backend::Mio(_)) { 3 } else { 0 };
    assert_eq!(receive.counters().calls, before + calls);
}

pub(crate) fn a_busy_socket_leaves_the_others_their_turn(backend: &Backend) {
    let sockets = [(); 3].map(|()| socket(any_port(), 4 << 20));
    let destinations =
        sockets.each_ref().map(|socket| Destination::new(0, socket.local_addr().unwrap()));
    let mut receive = backend.receive(sockets.into());
    let mut transmit = backend.transmit(vec![socket(any_port(), 0)]);
    let slices = [IoSlice::new(b"one of many")];
    let [busy, quiet, busy_too] = &destinations;
    for _ in 0..5 {
        let many = [busy, busy_too].map(|to| [Message::single(to, &slices); 100]).concat();
        assert_eq!(transmit.send(&many).messages, 200);
        assert_eq!(transmit.send(&[Message::single(quiet, &slices)]).messages, 1);
        let mut heard = [0; 3];
        let mut call = |heard: &mut [usize; 3]| {
            receive.receive(&mut |arrival| heard[arrival.socket] += arrival.datagram_count());
        };
        // A call in which another takes everything, then a turn for each.
        (0..4).for_each(|_| call(&mut heard));
        assert_eq!(heard[1], 1, "{heard:?}");
        assert!(heard[0] > 0 && heard[2] > 0, "{heard:?}");
        (0..100).for_each(|_| call(&mut heard));
        assert_eq!(heard, [100, 1, 100]);
    }
    let rearmed = receive.counters().rearmed;
    assert_eq!(rearmed > 0, !matches!(backend, Backend::Mio(_)), "{rearmed}");
    assert_eq!(receive.counters().errors, 0);
}

pub(crate) fn an_arrival_ends_a_park_and_so_does_a_wake(backend: &Backend) {
    let (destination, mut receive) = receive_from(backend, socket(any_port(), 0));
    let mut transmit = backend.transmit(vec![socket(any_port(), 0)]);
    let mut poller = Poller::new().unwrap();
    receive.register(&mut poller).unwrap();
    assert_eq!(poller.park(Duration::from_micros(200)), ParkedBy::Timeout);
    for _ in 0..3 {
        let slices = [IoSlice::new(b"arrived")];
        assert_eq!(transmit.send(&[Message::single(&destination, &slices)]).messages, 1);
        assert_eq!(poller.park(Duration::from_secs(20)), ParkedBy::Socket);
        assert_eq!(receive.receive(&mut |_| ()).datagrams, 1);
        // Once drained, the socket is quiet.
        assert_eq!(poller.park(Duration::from_micros(200)), ParkedBy::Timeout);
        poller.waker().wake().unwrap();
        assert_eq!(poller.park(Duration::from_secs(20)), ParkedBy::Wake);
        assert_eq!(poller.park(Duration::ZERO), ParkedBy::Timeout);
    }
}

/// Sends until the kernel takes no more, waits, goes on with what is left.
fn send_all(transmit: &mut dyn Transmit, messages: &[Message<'_>]) -> usize {
    let (mut done, mut blocked) = (0, 0);
    let finished = eventually(PATIENCE, || {
        let sent = transmit.send(&messages[done..]);
        assert_eq!(sent.failed_datagrams, 0);
        done += sent.messages;
        assert_eq!(sent.would_block, done < messages.len());
        blocked += usize::from(sent.would_block);
        done == messages.len()
    });
    assert!(finished, "{done} of {} messages in time", messages.len());
    blocked
}

/// A slow link in front of a small send buffer: the send stops, resumes, and nothing is lost, sent
/// twice or out of order, also where it stopped inside a message.
pub(crate) fn a_full_send_buffer_blocks_and_the_rest_follows_in_order(backend: &Backend) {
    let slow = "ip link set lo up mtu 1500 && \
                tc qdisc add dev lo root tbf rate 80mbit burst 4000 limit 4000000";
    let name = backend.test("a_full_send_buffer_blocks_and_the_rest_follows_in_order");
    if !inside_namespace(&name, slow) {
        return;
    }
    for segmentation in [true, false] {
        let (destination, mut receive) = receive_from(backend, socket(any_port(), 4 << 20));
        let config = SocketConfig { send_buffer_bytes: 20_000, ..SocketConfig::new(any_port()) };
        let out = open(&config).unwrap().socket;
        let mut transmit = backend.segmenting(segmentation).transmit(vec![out]);
        let runs: Vec<_> = (0..60).map(|number| pattern(1_000 + 137 * number, number)).collect();
        let slices: Vec<_> = runs.iter().map(|run| [IoSlice::new(run)]).collect();
        let messages: Vec<_> =
            slices.iter().map(|slices| Message::segmented(&destination, slices, 1_200)).collect();
        let blocked = send_all(&mut *transmit, &messages);
        assert!(blocked > 0, "the buffer was never full");
        assert_eq!(transmit.counters().would_block, blocked as u64);
        let expected: Vec<_> = runs.iter().flat_map(|run| run.chunks(1_200)).collect();
        let arrived = collect(&mut *receive, expected.len());
        assert_eq!(arrived.len(), expected.len());
        assert!(arrived == expected, "content and order, segmentation {segmentation}");
        assert_eq!(transmit.counters().datagrams, expected.len() as u64);
        assert_eq!(receive.counters().kernel_drops, 0);
    }
}

/// The caller breaks the rule and comes back with another message than the one it had to finish.
pub(crate) fn what_a_caller_abandons_is_counted(backend: &Backend) {
    let slow = "ip link set lo up mtu 1500 && \
                tc qdisc add dev lo root tbf rate 1mbit burst 4000 limit 4000000";
    if !inside_namespace(&backend.test("what_a_caller_abandons_is_counted"), slow) {
        return;
    }
    let (destination, _receive) = receive_from(backend, socket(any_port(), 4 << 20));
    let config = SocketConfig { send_buffer_bytes: 20_000, ..SocketConfig::new(any_port()) };
    let out = vec![open(&config).unwrap().socket];
    let mut transmit = backend.segmenting(false).transmit(out);
    let run = pattern(120_000, 1);
    let slices = [IoSlice::new(&run)];
    let sent = transmit.send(&[Message::segmented(&destination, &slices, 1_200)]);
    assert_eq!((sent.messages, sent.would_block, sent.failed_datagrams), (0, true, 0));
    let begun = transmit.counters().datagrams;
    assert!((1..100).contains(&begun), "{begun}");
    let other = [IoSlice::new(b"another")];
    let sent = transmit.send(&[Message::single(&destination, &other)]);
    assert_eq!(sent.failed_datagrams, 100 - begun);
    assert_eq!(transmit.counters().refused, 100 - begun);
}

/// F12, the path: segments longer than the path takes. Alone they are refused as well, so this is
/// not segmentation's fault: it stays on, and what fits goes on being segmented.
pub(crate) fn f12_a_path_too_narrow_for_the_segments_leaves_segmentation_on(backend: &Backend) {
    let name = backend.test("f12_a_path_too_narrow_for_the_segments_leaves_segmentation_on");
    if !inside_namespace(&name, "ip link set lo up mtu 1280") {
        return;
    }
    let (destination, mut receive) = receive_from(backend, socket(any_port(), 1 << 20));
    let mut transmit = backend.transmit(vec![socket(any_port(), 0)]);
    let run = pattern(5_000, 7);
    let slices = [IoSlice::new(&run)];
    let too_long = Message::segmented(&destination, &slices, 1_400);
    let fits = Message::segmented(&destination, &slices, 1_252);
    let sent = transmit.send(&[too_long, fits, too_long, fits]);
    // 1,400 three times is refused, the last 800 bytes of each pass.
    assert_eq!(sent, Sent { messages: 4, would_block: false, failed_datagrams: 6 });
    let mut expected: Vec<Vec<u8>> = Vec::new();
    for _ in 0..2 {
        expected.push(run[4_200..].to_vec());
        expected.extend(run.chunks(1_252).map(<[u8]>::to_vec));
    }
    assert_eq!(collect(&mut *receive, expected.len()), expected);
    assert!(transmit.segmentation() != Segmentation::NONE);
    assert_eq!(transmit.counters().segmentation_failures, 0);
}
