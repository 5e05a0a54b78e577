//! Who is suspected, by how many, and what comes of it.

use std::net::SocketAddr;

use wireloom_control::membership::{Identity, MemberState, Membership};
use wireloom_wire::gossip::{NACK, SUSPECT, SWIM};
use wireloom_wire::{EventTypeId, NodeId};

use super::hostile::packet;
use super::mesh;
use super::network::{MS, Network, SECOND, address};

fn downs(network: &Network) -> usize {
    network.nodes.iter().map(|node| node.downs.len()).sum()
}

#[test]
fn a_death_that_many_see_is_known_to_all_in_four_seconds() {
    let mut times = Vec::new();
    for seed in 40..47 {
        let mut network = mesh(seed, 120, true);
        network.run(5 * SECOND);
        network.crash(60);
        times.push(network.converge(10 * MS, 8 * SECOND).expect("all know") / MS);
    }
    times.sort_unstable();
    println!("120 nodes: one that died is known to be dead after {times:?} ms");
    // A single witness has six seconds to wait.
    assert!(times[times.len() / 2] <= 4_000 && times[0] > 2_000, "{times:?}");
}

#[test]
fn who_refutes_a_suspicion_keeps_its_life() {
    for seed in 50..54 {
        let mut network = mesh(seed, 40, true);
        network.run(5 * SECOND);
        // Long enough to be suspected, and not to be given up.
        network.nodes[7].paused_until_ns = network.now_ns + 1_500 * MS;
        network.run(30 * SECOND);
        let machine = network.nodes[7].machine.as_ref().expect("it runs");
        let own = machine.members().into_iter().find(|member| member.is_self);
        assert!(own.is_some_and(|own| own.refutations > 0), "it was suspected");
        assert_eq!(machine.counts().renewals, 0, "nobody called it dead");
        assert_eq!(downs(&network), 0);
    }
}

#[test]
fn a_lossy_network_kills_nobody() {
    for (seed, loss) in [(60, 0.05), (61, 0.1)] {
        let mut network = mesh(seed, 60, true);
        network.loss = loss;
        network.run(60 * SECOND);
        assert_eq!(downs(&network), 0, "loss {loss}");
    }
}

#[test]
fn witnesses_hear_whom_they_asked() {
    let mut network = mesh(62, 20, true);
    network.run(3 * SECOND);
    network.crash(4);
    network.run(5 * SECOND);
    let (mut nacks, mut missed, mut worst) = (0, 0, 1);
    for node in &network.nodes {
        let Some(machine) = &node.machine else { continue };
        nacks += machine.counts().nacks_heard;
        missed += machine.counts().nacks_missed;
        worst = worst.max(machine.health().multiplier());
    }
    assert!(nacks > 3, "{nacks} negative answers");
    assert_eq!((missed, worst), (0, 1), "a dead member is nobody else's fault");
}

#[test]
fn two_who_reach_each_other_through_others_alone_blame_nobody() {
    let mut network = mesh(66, 12, true);
    network.apart = Some((0, 1));
    network.run(60 * SECOND);
    assert_eq!(downs(&network), 0);
    for (index, node) in network.nodes.iter().enumerate() {
        let machine = node.machine.as_ref().expect("it runs");
        let nacks = (machine.counts().nacks_heard, machine.counts().nacks_missed);
        assert_eq!((nacks, machine.health().multiplier()), ((0, 0), 1), "node {index}");
    }
}

/// As many lies as there are members, told to all: a member is suspected by everybody.
#[test]
fn lies_about_a_healthy_member_do_not_kill_it() {
    let mut network = mesh(63, 20, true);
    network.run(3 * SECOND);
    for _ in 0..20 {
        for origin in 0..25 {
            let payload = suspicion(identity(5), identity(origin));
            let lie = packet(1, SUSPECT, &payload);
            for index in 0..20 {
                let now_ns = network.now_ns;
                let machine = network.nodes[index].machine.as_mut().expect("it runs");
                machine.on_packet(address(origin), &lie, now_ns);
                network.settle(index);
            }
        }
        network.run(SECOND);
    }
    assert_eq!(downs(&network), 0);
    let machine = network.nodes[0].machine.as_ref().expect("it runs");
    assert_eq!(machine.counts().refused_suspicion, 6, "of five that do not exist, and its own");
    let stranger = packet(1, SUSPECT, &suspicion(identity(40), identity(6)));
    let now_ns = network.now_ns;
    let machine = network.nodes[0].machine.as_mut().expect("it runs");
    machine.on_packet(address(6), &stranger, now_ns);
    assert_eq!(machine.counts().refused_suspicion, 7, "against one that does not exist");
}

#[test]
fn a_word_against_who_is_dead_already_is_old_and_no_lie() {
    let mut alone = Alone::among(11);
    let suspect = alone.suspects();
    while alone.machine.is_up(address(suspect)) {
        alone.step();
    }
    let others = (1..11).filter(|one| alone.machine.is_up(address(*one))).collect::<Vec<_>>();
    assert!(others.len() > 5);
    for witness in others {
        let word = packet(1, SUSPECT, &suspicion(identity(suspect), identity(witness)));
        alone.machine.on_packet(address(witness), &word, alone.now_ns);
    }
    assert_eq!(alone.machine.counts().refused_suspicion, 0);
}

#[test]
fn who_hears_a_word_against_itself_refutes_it() {
    let mut network = mesh(65, 10, true);
    // Until there are no other news to go with.
    network.run(20 * SECOND);
    let lie = packet(1, SUSPECT, &suspicion(identity(5), identity(6)));
    let now_ns = network.now_ns;
    network.nodes[5].machine.as_mut().expect("it runs").on_packet(address(6), &lie, now_ns);
    network.settle(5);
    let who_knows = |network: &Network| {
        let knows = |index: &usize| {
            let members = network.nodes[*index].machine.as_ref().expect("it runs").members();
            let refuted: Vec<u16> = members.iter().map(|of| of.refutations).collect();
            refuted == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
        };
        (0..10).filter(knows).count()
    };
    network.run(30 * MS);
    assert!(who_knows(&network) >= 4, "three are told at once");
    let machine = network.nodes[5].machine.as_ref().expect("it runs");
    assert_eq!(machine.health().multiplier(), 2, "a node that is suspected is more patient");
    network.run(5 * SECOND);
    assert_eq!(who_knows(&network), 10);
}

fn identity(index: usize) -> Identity {
    Identity { life: 1, node: NodeId(index as u64 + 1), address: address(index) }
}

pub(crate) fn suspicion(suspect: Identity, origin: Identity) -> Vec<u8> {
    let mut payload = vec![1, 0, 0];
    for identity in [suspect, origin] {
        payload.extend_from_slice(&identity.life.to_le_bytes());
        payload.extend_from_slice(&identity.node.0.to_le_bytes());
        let SocketAddr::V4(address) = identity.address else { panic!("IPv4") };
        payload.push(4);
        payload.extend_from_slice(&address.ip().octets());
        payload.extend_from_slice(&address.port().to_le_bytes());
    }
    payload
}

/// What a packet holds: types and payloads.
type Frames = Vec<(EventTypeId, Vec<u8>)>;

/// A machine whose packets nobody gets, and when it goes on.
struct Alone {
    machine: Membership,
    now_ns: u64,
}

impl Alone {
    /// One of so many that all know each other.
    fn among(machines: usize) -> Self {
        let mut network = mesh(64, machines, true);
        let machine = network.nodes[0].machine.take().expect("it runs");
        Self { machine, now_ns: network.now_ns }
    }

    /// Lets 10 ms pass; gives what it says: to whom, and the frames.
    fn step(&mut self) -> Vec<(SocketAddr, Frames)> {
        self.now_ns += 10 * MS;
        self.machine.on_time(self.now_ns);
        let read = |(to, bytes): (SocketAddr, Vec<u8>)| {
            let packet = wireloom_wire::decode_packet(&bytes, true).expect("genuine");
            let frames = packet.frames().flatten();
            let frames = frames.map(|of| (of.header.event_type, of.payload().to_vec())).collect();
            (to, frames)
        };
        self.machine.take_packets().into_iter().map(read).collect()
    }

    /// Goes on until it suspects somebody, whom it tells so first.
    fn suspects(&mut self) -> usize {
        for _ in 0..1_000 {
            for (to, frames) in self.step() {
                let Some((_, payload)) = frames.iter().find(|of| of.0 == SUSPECT) else { continue };
                let told = (1..50).find(|index| address(*index) == to).expect("a member");
                let suspect = (told as u64 + 1).to_le_bytes();
                assert_eq!(payload[11..19], suspect, "another was told first");
                return told;
            }
        }
        panic!("nobody answers, and it suspects nobody");
    }
}

#[test]
fn the_suspect_is_told_first_and_with_whatever_else_it_is_sent() {
    let mut alone = Alone::among(5);
    let suspect = alone.suspects();
    let (mut told, until_ns) = (0, alone.now_ns + 6 * SECOND);
    while alone.now_ns < until_ns {
        for (to, frames) in alone.step() {
            if to == address(suspect) && frames.iter().any(|of| of.0 == SWIM) {
                assert_eq!(frames[0].0, SUSPECT, "its answer to the rest refutes it");
                told += 1;
            }
        }
    }
    assert!(told > 0, "it is probed while it is suspected");
}

/// How long a member of eleven is suspected before it is called dead when these suspect it too, for
/// a node whose three helpers have said nothing, so that it is four times as patient.
fn suspected_for(witnesses: impl Fn(usize) -> Vec<Identity>) -> u64 {
    let mut alone = Alone::among(11);
    let suspect = alone.suspects();
    assert_eq!((alone.machine.health().multiplier(), alone.machine.counts().nacks_missed), (4, 3));
    let begun_ns = alone.now_ns;
    for witness in witnesses(suspect) {
        let word = packet(1, SUSPECT, &suspicion(identity(suspect), witness));
        alone.machine.on_packet(witness.address, &word, alone.now_ns);
    }
    alone.machine.take_changes();
    while alone.machine.is_up(address(suspect)) {
        assert!(alone.now_ns < begun_ns + 60 * SECOND, "it is never called dead");
        alone.step();
    }
    (alone.now_ns - begun_ns) / MS
}

#[test]
fn who_is_late_or_heard_by_nobody_probes_less_often() {
    let mut alone = Alone::among(11);
    alone.now_ns += 3 * SECOND;
    alone.step();
    assert_eq!((alone.machine.counts().pauses, alone.machine.health().multiplier()), (1, 2));

    let mut alone = Alone::among(11);
    let lost = |alone: &Alone| {
        let members = alone.machine.members();
        members.iter().filter(|of| of.state != MemberState::Alive).count()
    };
    alone.suspects();
    let begun_ns = alone.now_ns;
    while lost(&alone) < 3 {
        assert!(alone.now_ns < begun_ns + 60 * SECOND, "it probes no more");
        alone.step();
    }
    // Four and seven times half a second, where a node in good health takes one second for both.
    let took = (alone.now_ns - begun_ns) / MS;
    assert!((4_000..8_000).contains(&took), "{took} ms");
}

#[test]
fn a_negative_answer_nobody_asked_for_is_counted_and_changes_nothing() {
    let mut machine = super::network::machine(super::network::record(0, 1), 1);
    let mut payload = suspicion(identity(4), identity(3));
    payload.drain(1..3);
    machine.on_packet(address(4), &packet(1, NACK, &payload), SECOND);
    assert_eq!((machine.counts().refused_unasked, machine.counts().nacks_heard), (1, 0));
}

#[test]
fn witnesses_shorten_a_suspicion_from_three_seconds_to_one_and_a_half() {
    let some = |count: usize| {
        suspected_for(|suspect| {
            (1..11).filter(|one| *one != suspect).take(count).map(identity).collect()
        })
    };
    assert_eq!([some(0), some(1), some(3), some(5)], [12_000, 9_000, 6_000, 6_000]);
    let twice = suspected_for(|suspect| vec![identity(if suspect == 1 { 2 } else { 1 }); 2]);
    assert_eq!(twice, 9_000, "one that says it twice");
    assert_eq!(suspected_for(|suspect| vec![identity(suspect)]), 12_000, "its own word");
    let unknown = suspected_for(|_| (20..23).map(identity).collect());
    assert_eq!(unknown, 12_000, "of who is no member");
    assert_eq!(suspected_for(|_| vec![identity(0)]), 12_000, "our own, come back");
}
