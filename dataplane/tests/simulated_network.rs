//! The simulated network: the same seed gives the same faults, every fault is counted, time decides
//! when copies arrive.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::io::IoSlice;
use std::net::SocketAddr;

use wireloom_dataplane::io::simulated::{
    FaultCounts, LinkModel, SimulatedNetwork, SimulatedReceive, SimulatedTransmit,
};
use wireloom_dataplane::io::{Destination, Message, Receive, Transmit};

const FAULTY: LinkModel = LinkModel {
    loss: 0.1,
    duplicate: 0.05,
    reorder: 0.1,
    corrupt: 0.02,
    delay_ns_min: 1_000,
    delay_ns_max: 500_000,
};

fn address(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

fn send(transmit: &mut SimulatedTransmit, to: SocketAddr, bytes: &[u8]) {
    let destination = Destination::new(0, to);
    let slices = [IoSlice::new(bytes)];
    let sent = transmit.send(&[Message::single(&destination, &slices)]);
    assert_eq!((sent.messages, sent.would_block), (1, false));
}

fn drain(receive: &mut SimulatedReceive) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    loop {
        let received = receive.receive(&mut |arrival| datagrams.push(arrival.bytes.to_vec()));
        if received.datagrams == 0 {
            return datagrams;
        }
    }
}

/// copies + duplicated = delivered + lost + overflowed + in_flight.
fn assert_balanced(counts: &FaultCounts) {
    let out = counts.delivered + counts.lost + counts.overflowed + counts.in_flight;
    assert_eq!(counts.copies + counts.duplicated, out, "{counts:?}");
}

/// 2,000 numbered datagrams, 10 µs apart; returns what arrived at each look, and the counts.
fn run(seed: u64, model: LinkModel) -> (Vec<Vec<u8>>, FaultCounts) {
    let network = SimulatedNetwork::new(seed, model);
    let (mut transmit, _) = network.endpoint(address(1), &[]);
    let (_, mut receive) = network.endpoint(address(2), &[]);
    let mut arrived = Vec::new();
    for number in 0..2_000_u64 {
        network.advance_to(number * 10_000);
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.resize(100, 0xaa);
        send(&mut transmit, address(2), &bytes);
        if number % 3 == 0 {
            arrived.extend(drain(&mut receive));
        }
        assert_balanced(&network.counts());
    }
    while let Some(due_ns) = network.next_due_ns() {
        network.advance_to(due_ns);
        arrived.extend(drain(&mut receive));
        assert_balanced(&network.counts());
    }
    (arrived, network.counts())
}

#[test]
fn the_same_seed_gives_the_same_faults_and_another_seed_others() {
    let (first, counts) = run(7, FAULTY);
    assert_eq!((first.clone(), counts), run(7, FAULTY));
    assert_ne!((first, counts), run(8, FAULTY));
}

#[test]
fn every_fault_is_injected_and_counted_exactly() {
    let (arrived, counts) = run(42, FAULTY);
    assert_eq!((counts.datagrams, counts.copies, counts.in_flight), (2_000, 2_000, 0));
    assert_eq!(arrived.len() as u64, counts.delivered);
    assert_eq!(counts.delivered, 2_000 - counts.lost + counts.duplicated);
    for (count, expected) in [
        (counts.lost, 200),
        (counts.duplicated, 90),
        (counts.corrupted, 38),
        (counts.reordered, 190),
    ] {
        assert!((expected / 2..expected * 2).contains(&count), "{count} for {expected}");
    }
    // A corrupted copy differs in one bit from what was sent; all others are as sent.
    let corrupt = arrived.iter().filter(|bytes| {
        let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let flipped: u32 = bytes[8..].iter().map(|byte| (byte ^ 0xaa).count_ones()).sum();
        assert!(flipped <= 1);
        flipped == 1 || number >= 2_000
    });
    // A flip in the low bits of the number is not seen here.
    let corrupt = corrupt.count() as u64;
    assert!(corrupt <= counts.corrupted && corrupt * 10 >= counts.corrupted * 8, "{corrupt}");
}

#[test]
fn without_reordering_everything_arrives_in_order_however_delays_vary() {
    let model = LinkModel { reorder: 0.0, corrupt: 0.0, duplicate: 0.0, ..FAULTY };
    let (arrived, counts) = run(3, model);
    assert!(counts.lost > 0 && counts.reordered == 0);
    let numbers: Vec<u64> =
        arrived.iter().map(|bytes| u64::from_le_bytes(bytes[..8].try_into().unwrap())).collect();
    assert!(numbers.is_sorted());
    let (arrived, counts) = run(3, LinkModel { reorder: 0.1, ..model });
    let inversions = arrived.windows(2).filter(|pair| pair[0][..8] > pair[1][..8]).count() as u64;
    assert!(counts.reordered > 100 && inversions > 20, "{inversions} of {}", counts.reordered);
}

#[test]
fn copies_arrive_when_time_has_come_not_before() {
    let model = LinkModel { delay_ns_min: 1_000, delay_ns_max: 1_000, ..LinkModel::LOSSLESS };
    let network = SimulatedNetwork::new(1, model);
    let (mut transmit, _) = network.endpoint(address(1), &[]);
    let (_, mut receive) = network.endpoint(address(2), &[]);
    network.advance_to(5_000);
    send(&mut transmit, address(2), b"later");
    assert_eq!(network.next_due_ns(), Some(6_000));
    network.advance_to(5_999);
    assert!(drain(&mut receive).is_empty());
    assert_eq!(network.counts().in_flight, 1);
    // Time does not go back.
    network.advance_to(6_000);
    network.advance_to(1);
    assert_eq!(drain(&mut receive), [b"later"]);
    assert_eq!((network.next_due_ns(), network.counts().in_flight), (None, 0));
}

#[test]
fn groups_broadcasts_and_wildcards_reach_those_who_hear_them() {
    let network = SimulatedNetwork::new(1, LinkModel::LOSSLESS);
    let group: SocketAddr = "224.1.1.1:9000".parse().unwrap();
    let (mut transmit, mut own) = network.endpoint(address(7), &[group]);
    let (_, mut member) = network.endpoint(([10, 0, 0, 2], 8).into(), &[group]);
    let (_, mut wildcard) = network.endpoint(([0, 0, 0, 0], 7).into(), &[]);
    send(&mut transmit, group, b"group");
    send(&mut transmit, "255.255.255.255:7".parse().unwrap(), b"broadcast");
    send(&mut transmit, ([10, 9, 9, 9], 7).into(), b"any");
    send(&mut transmit, "224.1.1.2:9000".parse().unwrap(), b"other group");
    assert_eq!(drain(&mut own), [&b"group"[..], b"broadcast"]);
    assert_eq!(drain(&mut member), [b"group"]);
    assert_eq!(drain(&mut wildcard), [&b"broadcast"[..], b"any"]);
    let counts = network.counts();
    assert_eq!((counts.datagrams, counts.copies, counts.unrouted), (4, 5, 1));
    assert_balanced(&counts);
}

#[test]
fn a_full_queue_drops_the_newest_and_counts_it() {
    let network = SimulatedNetwork::new(1, LinkModel::LOSSLESS);
    let (mut transmit, _) = network.endpoint(address(1), &[]);
    let (_, mut receive) = network.endpoint(address(2), &[]);
    network.set_queue(address(2), 3);
    for number in 0..5_u8 {
        send(&mut transmit, address(2), &[number]);
    }
    assert_eq!(drain(&mut receive), [[0], [1], [2]]);
    assert_eq!(receive.counters().kernel_drops, 2);
    assert_eq!(network.counts().overflowed, 2);
    assert_balanced(&network.counts());
}

/// Rules 3 and 4 of the contract, where a limit stands in for a full send buffer.
#[test]
fn a_send_that_blocks_goes_on_where_it_stopped() {
    let network = SimulatedNetwork::new(1, LinkModel::LOSSLESS);
    let (mut transmit, _) = network.endpoint(address(1), &[]);
    let (_, mut receive) = network.endpoint(address(2), &[]);
    let destination = Destination::new(0, address(2));
    let slices = [IoSlice::new(b"abcdefgh")];
    let single = Message::single(&destination, &slices);
    let run = Message::segmented(&destination, &slices, 3);
    network.set_send_limit(address(1), Some(3));
    let sent = transmit.send(&[single, run, single]);
    assert_eq!((sent.messages, sent.would_block, sent.failed_datagrams), (1, true, 0));
    network.set_send_limit(address(1), Some(0));
    let sent = transmit.send(&[run, single]);
    assert_eq!((sent.messages, sent.would_block), (0, true));
    network.set_send_limit(address(1), None);
    let sent = transmit.send(&[run, single]);
    assert_eq!((sent.messages, sent.would_block), (2, false));
    assert_eq!(drain(&mut receive), [&b"abcdefgh"[..], b"abc", b"def", b"gh", b"abcdefgh"]);
    assert_eq!(transmit.counters().would_block, 2);
}

#[test]
fn a_healed_network_loses_nothing_more() {
    let network = SimulatedNetwork::new(5, LinkModel { loss: 1.0, ..LinkModel::LOSSLESS });
    let (mut transmit, _) = network.endpoint(address(1), &[]);
    let (_, mut receive) = network.endpoint(address(2), &[]);
    send(&mut transmit, address(2), b"lost");
    network.set_model(LinkModel::LOSSLESS);
    send(&mut transmit, address(2), b"kept");
    assert_eq!(drain(&mut receive), [b"kept"]);
    assert_eq!(network.counts().lost, 1);
}
