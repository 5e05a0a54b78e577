//! Who is suspected, by how many, and what comes of it.

use wireloom_control::membership::Identity;
use wireloom_wire::NodeId;
use wireloom_wire::gossip::SUSPECT;

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

/// As many lies as there are members, told to all: a member is suspected by everybody.
#[test]
fn lies_about_a_healthy_member_do_not_kill_it() {
    let mut network = mesh(63, 20, true);
    network.run(3 * SECOND);
    let identity = |index: usize| Identity {
        life: 1,
        node: NodeId(index as u64 + 1),
        address: address(index),
    };
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
    assert!(machine.counts().refused_suspicion > 0, "of members that do not exist");
}

fn suspicion(suspect: Identity, origin: Identity) -> Vec<u8> {
    let mut payload = vec![1, 0, 0];
    for identity in [suspect, origin] {
        payload.extend_from_slice(&identity.life.to_le_bytes());
        payload.extend_from_slice(&identity.node.0.to_le_bytes());
        let std::net::SocketAddr::V4(address) = identity.address else { panic!("IPv4") };
        payload.push(4);
        payload.extend_from_slice(&address.ip().octets());
        payload.extend_from_slice(&address.port().to_le_bytes());
    }
    payload
}

#[test]
fn the_suspect_is_told_first() {
    let mut network = mesh(64, 5, true);
    let mut machine = network.nodes[0].machine.take().expect("it runs");
    let mut now_ns = network.now_ns;
    // Nobody answers any more: whoever was probed is suspected.
    loop {
        now_ns += 10 * MS;
        assert!(now_ns < network.now_ns + 10 * SECOND, "it suspects nobody");
        machine.on_time(now_ns);
        for (to, bytes) in machine.take_packets() {
            let checked = wireloom_wire::decode_packet(&bytes, true).expect("genuine");
            let mut frames = checked.frames().flatten();
            let Some(frame) = frames.find(|frame| frame.header.event_type == SUSPECT) else {
                continue;
            };
            let told = (1..5).find(|index| address(*index) == to).expect("a member");
            let suspect = &frame.payload()[3..];
            assert_eq!(suspect[8..16], (told as u64 + 1).to_le_bytes(), "another was told first");
            return;
        }
    }
}
