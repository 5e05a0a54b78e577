//! Lives that follow each other fast, clocks that jump, and many who come back at once.

use std::net::SocketAddr;

use super::mesh;
use super::network::{MS, Network, SECOND, address, group, record};

fn hundred_restarts(seed: u64) -> Network {
    let mut network = mesh(seed, 10, true);
    for _ in 0..100 {
        network.crash(4);
        network.start(4, &[group()]);
        network.run(300 * MS);
    }
    network
}

#[test]
fn a_node_that_restarts_a_hundred_times_is_one_member() {
    let mut network = hundred_restarts(70);
    network.converge(10 * MS, 10 * SECOND).expect("all agree");
    network.run(20 * SECOND);
    for node in &network.nodes {
        let machine = node.machine.as_ref().expect("it runs");
        let members = machine.members();
        assert_eq!(members.len(), 10, "no life stays behind, not even as a tombstone");
        let at = members.iter().find(|member| member.address() == address(4));
        let life = at.map(|member| member.record.identity.life);
        assert_eq!(life, Some(network.nodes[4].life), "the last life");
    }
    assert_eq!(network.disagreements(), Vec::<String>::new());
}

/// Two machines that both claim one address and node: the network gives each packet to the one that
/// was started last, as a switch would.
#[test]
fn a_clone_of_an_identity_does_not_keep_the_cluster_from_agreeing() {
    let mut network = mesh(71, 8, true);
    let mut clone = super::network::machine(record(3, 900), 5);
    for step in 0..60_u64 {
        let now_ns = network.now_ns;
        clone.on_time(now_ns);
        if step % 10 == 0 {
            clone.hello(group(), now_ns);
        }
        for (_, bytes) in clone.take_packets() {
            for index in (0..8).filter(|index| *index != 3) {
                let machine = network.nodes[index].machine.as_mut().expect("it runs");
                machine.on_packet(address(3), &bytes, now_ns);
                network.settle(index);
            }
        }
        network.run(500 * MS);
    }
    // The clone has gone; whoever is left takes its place again.
    network.converge(100 * MS, 60 * SECOND).expect("all agree");
    for node in &network.nodes {
        let members = node.machine.as_ref().expect("it runs").members();
        let there = members.iter().filter(|member| member.address() == address(3)).count();
        assert_eq!((members.len(), there), (8, 1), "one live entry");
        let lost = |(_, of): &(u64, SocketAddr)| *of != address(3);
        assert!(!node.downs.iter().any(lost), "the others are left alone");
    }
}

#[test]
fn a_clock_that_jumps_or_stands_still_kills_nobody() {
    let far_ns = i64::try_from(900 * SECOND).expect("it fits");
    for (seed, jump_ns) in [(72, far_ns), (73, -far_ns), (74, 0)] {
        let mut network = mesh(seed, 12, true);
        network.run(5 * SECOND);
        network.nodes[6].clock_ns = jump_ns;
        network.nodes[6].frozen_at_ns = (jump_ns == 0).then_some(network.now_ns);
        network.run(4 * SECOND);
        network.nodes[6].frozen_at_ns = None;
        network.run(30 * SECOND);
        assert_eq!(network.nodes[6].downs, [], "seed {seed}: it calls nobody dead");
        for (index, node) in network.nodes.iter().enumerate() {
            let others = node.downs.iter().filter(|(_, of)| *of != address(6)).count();
            assert_eq!(others, 0, "seed {seed}: node {index}");
        }
        assert_eq!(network.disagreements(), Vec::<String>::new(), "seed {seed}");
    }
}

/// A seed that restarts, and five hundred who have nobody else: their hellos do not come at once.
#[test]
fn five_hundred_come_back_to_a_restarted_seed() {
    let mut network = Network::new(75, 500);
    let seeds = [address(0)];
    for index in 0..500 {
        network.start_discovering(index, false, if index == 0 { &[] } else { &seeds });
        network.run(4 * MS);
    }
    network.converge(50 * MS, 30 * SECOND).expect("all have joined");
    network.crash(0);
    network.converge(50 * MS, 30 * SECOND).expect("all know that it is gone");
    network.start_discovering(0, false, &[]);
    let took = network.converge(50 * MS, 30 * SECOND).expect("all are back");
    println!("500 know their seed again after {} ms", took / MS);
    let seed = network.nodes[0].machine.as_ref().expect("it runs");
    assert_eq!(seed.counts().answers_shed, 0, "no more hellos in a second than are answered");
}
