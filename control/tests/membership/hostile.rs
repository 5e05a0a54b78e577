//! Packets from strangers and liars: bounded, counted, and named.

use std::net::SocketAddr;

use rand::RngExt;
use wireloom_control::membership::{MEMBERS_MAX, Membership};
use wireloom_wire::gossip::{
    CONTROL_PACKET_BYTES_MAX, ControlPacket, HELLO, PULL, SUSPECT, SWIM, WELCOME,
};
use wireloom_wire::{EventTypeId, NodeId, SessionId};

use super::mesh;
use super::network::{MS, Network, SECOND, address, machine, record};
use super::suspicion::suspicion;

pub(crate) fn packet(cluster: u32, event_type: EventTypeId, payload: &[u8]) -> Vec<u8> {
    packet_of(NodeId(66), cluster, event_type, payload)
}

/// A packet of this node.
fn packet_of(source: NodeId, cluster: u32, event_type: EventTypeId, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [0; CONTROL_PACKET_BYTES_MAX];
    let mut packet = ControlPacket::new(&mut bytes);
    assert!(packet.push(event_type, payload));
    packet.finish(source, SessionId(cluster)).to_vec()
}

/// A hello as a stranger with this index would send it.
fn hello_of(index: usize) -> Vec<u8> {
    let mut stranger = machine(record(index, 1), 1);
    stranger.hello(address(0), SECOND);
    stranger.take_packets().remove(0).1
}

fn asks(packet: &[u8]) -> bool {
    let packet = wireloom_wire::decode_packet(packet, true).expect("genuine");
    packet.frames().flatten().any(|frame| frame.header.event_type == PULL)
}

fn one() -> Membership {
    machine(record(0, 1), 1)
}

#[test]
fn every_refusal_has_its_own_count() {
    let mut one = one();
    let now_ns = 10 * SECOND;
    let from = address(9);
    one.on_packet(from, b"noise", now_ns);
    assert_eq!(one.counts().refused_malformed, 1);
    one.on_packet(from, &packet(2, SWIM, &[1; 80]), now_ns);
    assert_eq!(one.counts().refused_cluster, 1);
    one.on_packet(from, &packet(1, SWIM, &[9; 80]), now_ns);
    assert_eq!(one.counts().refused_version, 1);
    one.on_packet(from, &packet(1, EventTypeId(77), &[1; 40]), now_ns);
    assert_eq!(one.counts().refused_type, 1);
    one.on_packet(from, &packet(1, HELLO, &[1; 200]), now_ns);
    assert_eq!(one.counts().refused_malformed, 2, "an unpadded hello");
    one.on_packet(address(8), &hello_of(9), now_ns);
    assert_eq!(one.counts().refused_address, 1, "a hello from where it does not live");
    let mut stranger = machine(record(5, 1), 1);
    stranger.on_packet(address(0), &hello_of(0), SECOND);
    let welcome = stranger.take_packets().remove(0).1;
    one.on_packet(address(5), &welcome, now_ns);
    assert_eq!(one.counts().refused_unasked, 1, "a welcome nobody asked for");
    assert_eq!((one.up(), one.take_packets().len()), (0, 0), "nobody was answered or believed");
}

/// A question for a node's own record (0) or for its table (1), as long as a hello.
fn pull(what: u8) -> Vec<u8> {
    let hello = hello_of(0);
    let checked = wireloom_wire::decode_packet(&hello, true).expect("genuine");
    let frame = checked.frames().next().expect("a frame").expect("well formed");
    let mut payload = vec![1, what];
    payload.resize(frame.payload().len(), 0);
    packet(1, PULL, &payload)
}

/// The answer of a stranger at the fifth address to this packet of the first.
fn answer_to(packet: &[u8]) -> Vec<u8> {
    let mut stranger = machine(record(5, 1), 1);
    stranger.on_packet(address(0), packet, SECOND);
    stranger.take_packets().remove(0).1
}

/// A welcome that says it knew this life at the first address.
fn welcome_after(known_life: u64) -> Vec<u8> {
    let honest = answer_to(&hello_of(0));
    let checked = wireloom_wire::decode_packet(&honest, true).expect("a packet");
    let frame = checked.frames().next().expect("a frame").expect("well formed");
    let mut payload = vec![1];
    payload.extend_from_slice(&known_life.to_le_bytes());
    payload.extend_from_slice(&frame.payload()[9..]);
    packet_of(checked.header.source, 1, WELCOME, &payload)
}

#[test]
fn a_life_at_the_end_of_numbers_is_not_followed() {
    let mut one = one();
    one.hello(address(5), SECOND);
    one.on_packet(address(5), &welcome_after(u64::MAX - 1), SECOND);
    assert_eq!(one.counts().refused_life, 1);
    assert_eq!(one.own().identity.life, 1);
}

#[test]
fn a_life_that_is_known_already_is_followed_by_the_next_which_has_refuted_nothing() {
    let mut one = one();
    one.hello(address(5), SECOND);
    one.on_packet(address(5), &welcome_after(0), SECOND);
    assert_eq!(one.own().identity.life, 1, "nobody knew it");
    let own = |one: &Membership| one.members().into_iter().find(|of| of.is_self).expect("itself");
    let origin = record(5, 1).identity;
    one.on_packet(
        address(5),
        &packet(1, SUSPECT, &suspicion(record(0, 1).identity, origin)),
        SECOND,
    );
    one.on_time(2 * SECOND);
    assert_eq!(own(&one).incarnation(), (1, 1));
    one.on_packet(address(5), &welcome_after(1), 2 * SECOND);
    assert_eq!(own(&one).incarnation(), (2, 0));
    assert_eq!(one.counts().renewals, 1);
}

#[test]
fn welcomes_that_come_late_and_pages_nobody_asked_for_are_not_believed() {
    let mut one = one();
    one.hello(address(5), SECOND);
    one.on_packet(address(5), &welcome_after(0), 7 * SECOND);
    let page = answer_to(&pull(0));
    one.on_packet(address(5), &page, 7 * SECOND);
    assert_eq!((one.counts().refused_unasked, one.up()), (2, 0));
}

#[test]
fn tables_are_given_so_often_in_a_second_and_without_the_dead() {
    let mut network = mesh(23, 3, true);
    network.crash(2);
    network.converge(10 * MS, 10 * SECOND).expect("it is known to be dead");
    let (question, now_ns) = (pull(1), network.now_ns + SECOND);
    let machine = network.nodes[0].machine.as_mut().expect("it runs");
    machine.take_packets();
    for _ in 0..2_000 {
        machine.on_packet(address(9), &question, now_ns);
    }
    let pages = machine.take_packets();
    assert_eq!((pages.len(), machine.counts().answers_shed), (500, 1_500));
    let has = |name: &str| pages[0].1.windows(name.len()).any(|part| part == name.as_bytes());
    assert!(has("node-1") && !has("node-2"));
}

#[test]
fn who_is_known_as_it_is_is_not_asked_for_its_record() {
    let mut network = mesh(24, 2, true);
    network.run(5 * SECOND);
    let [known, knows] = [1, 0].map(|index| network.nodes[index].machine.take());
    let (mut known, mut knows) = (known.expect("it runs"), knows.expect("it runs"));
    let mut heard = 0;
    for step in 0..100 {
        let now_ns = network.now_ns + step * SECOND / 10;
        known.on_time(now_ns);
        for (_, packet) in known.take_packets() {
            knows.on_packet(address(1), &packet, now_ns);
            heard += 1;
        }
        assert!(knows.take_packets().iter().all(|(_, packet)| !asks(packet)));
    }
    assert!(heard > 5, "{heard}");
}

/// What a node says to one member as it leaves, for another.
#[test]
fn what_was_meant_for_another_changes_nothing_and_hides_nothing() {
    let mut network = mesh(25, 4, true);
    network.run(5 * SECOND);
    let now_ns = network.now_ns;
    let mut leaves = network.nodes[2].machine.take().expect("it runs");
    leaves.take_packets();
    leaves.leave(now_ns);
    let says = leaves.take_packets();
    let machine = network.nodes[0].machine.as_mut().expect("it runs");
    let (own, others): (Vec<_>, Vec<_>) = says.into_iter().partition(|(to, _)| *to == address(0));
    assert!(!own.is_empty() && !others.is_empty());
    for (of, is_up) in [(others, true), (own, false)] {
        for (_, packet) in of {
            machine.on_packet(address(2), &packet, now_ns);
        }
        assert_eq!(machine.is_up(address(2)), is_up);
    }
}

#[test]
fn no_answer_is_longer_than_its_question() {
    let mut network = mesh(20, 60, true);
    let mut heard: Vec<Vec<u8>> = vec![hello_of(70)];
    // What a running mesh says, replayed to a member whose backlog is full of news.
    for index in 0..60 {
        let machine = network.nodes[index].machine.as_mut().expect("it runs");
        machine.update(|record| record.services.push("x".repeat(90))).expect("within bounds");
        for step in 0..400 {
            machine.on_time(network.now_ns + step * SECOND / 10);
            let sent = machine.take_packets().into_iter().filter(|(to, _)| *to == address(0));
            heard.extend(sent.map(|(_, bytes)| bytes));
        }
    }
    heard.push(pull(1));
    let now_ns = network.now_ns + SECOND;
    let machine = network.nodes[0].machine.as_mut().expect("it runs");
    machine.take_packets();
    let (mut answers, mut asked) = (0, 0);
    for question in heard {
        machine.on_packet(address(70), &question, now_ns);
        for (_, answer) in machine.take_packets() {
            // A node asks for a record it misses by a padded question, seldom.
            if asks(&answer) {
                asked += 1;
                continue;
            }
            answers += 1;
            assert!(answer.len() <= question.len(), "{} > {}", answer.len(), question.len());
        }
    }
    assert!(answers > 10 && asked <= 100, "{answers} {asked}");
}

#[test]
fn a_flood_of_made_up_members_stays_within_the_table() {
    let mut one = one();
    let mut now_ns = 10 * SECOND;
    for index in 1..3 * MEMBERS_MAX {
        now_ns += SECOND / 400;
        one.on_packet(address(index), &hello_of(index), now_ns);
        one.on_time(now_ns);
        one.take_packets();
        one.take_changes();
    }
    assert!(one.members().len() <= MEMBERS_MAX);
    assert!(one.counts().refused_full > 1_000, "{:?}", one.counts());
    for index in 1..10_000 {
        one.on_packet(address(index), &hello_of(index), now_ns);
    }
    let answers = one.take_packets().len();
    assert!(answers <= 600, "{answers} answers in an instant");
    assert!(one.counts().answers_shed > 5_000);
}

#[test]
fn changed_packets_of_a_real_mesh_break_nothing() {
    let mut network = mesh(21, 10, true);
    network.run(5 * SECOND);
    let mut genuine: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
    for index in 0..10 {
        let machine = network.nodes[index].machine.as_mut().expect("it runs");
        machine.update(|record| record.load_milli = 9).expect("within bounds");
        machine.hello(address(0), network.now_ns);
        machine.on_time(network.now_ns + SECOND);
        genuine.extend(machine.take_packets().into_iter().map(|(_, b)| (address(index), b)));
    }
    let mut liar = Network::new(22, 0).random;
    let now_ns = network.now_ns + 2 * SECOND;
    let machine = network.nodes[0].machine.as_mut().expect("it runs");
    let (mut refused, before) = (0, machine.counts().refused_malformed);
    for _ in 0..20_000 {
        let (from, bytes) = &genuine[liar.random_range(0..genuine.len())];
        let checked = wireloom_wire::decode_packet(bytes, true).expect("genuine");
        for frame in checked.frames().flatten() {
            let mut payload = frame.payload().to_vec();
            for _ in 0..liar.random_range(1..4) {
                let at = liar.random_range(0..payload.len());
                payload[at] = liar.random();
            }
            payload.truncate(liar.random_range(1..=payload.len()));
            machine.on_packet(*from, &packet(1, frame.header.event_type, &payload), now_ns);
            machine.take_packets();
        }
        refused = machine.counts().refused_malformed - before;
    }
    machine.on_time(now_ns + SECOND);
    assert!(refused > 1_000, "{refused}");
    assert!(machine.members().len() <= MEMBERS_MAX);
}

#[test]
fn a_packet_of_one_node_does_not_speak_for_another() {
    let mut one = one();
    one.hello(address(5), SECOND);
    one.take_packets();
    // What others said honestly, in packets of node 66.
    let mut other = machine(record(5, 1), 1);
    other.on_packet(address(0), &hello_of(0), SECOND);
    let welcome = other.take_packets().remove(0).1;
    other.leave(SECOND);
    let leave = other.take_packets().remove(0).1;
    for (count, said) in (1..).zip([hello_of(5), welcome.clone(), leave.clone()]) {
        let checked = wireloom_wire::decode_packet(&said, true).expect("genuine");
        let frame = checked.frames().next().expect("a frame").expect("well formed");
        let stolen = packet(1, frame.header.event_type, frame.payload());
        one.on_packet(address(5), &stolen, SECOND);
        assert_eq!(one.counts().refused_source, count);
        assert_eq!((one.up(), one.take_packets().len()), (0, 0));
    }
    one.on_packet(address(5), &welcome, SECOND);
    assert_eq!(one.up(), 1);
    one.on_packet(address(5), &leave, SECOND);
    assert_eq!((one.up(), one.counts().refused_source), (0, 3), "itself it may end");
}
