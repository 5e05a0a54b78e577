//! Faults by seed, and then: the network heals and all agree again.

use std::net::SocketAddr;

use rand::RngExt;

use super::mesh;
use super::network::{Cut, MS, Network, SECOND, address, group, record};

/// A minute of everything at once.
fn storm(network: &mut Network, multicast: bool) {
    let nodes = network.nodes.len();
    for _ in 0..60 {
        let index = network.random.random_range(0..nodes);
        match network.random.random_range(0..8) {
            0 => network.crash(index),
            1 | 2 if network.nodes[index].machine.is_none() => rejoin(network, index, multicast),
            3 => {
                let pause_ns = network.random.random_range(0..20 * SECOND);
                network.nodes[index].paused_until_ns = network.now_ns + pause_ns;
            }
            4 => network.split(Cut::Both),
            5 => network.split(Cut::OneWay),
            6 => network.cut = Cut::None,
            _ => network.loss = network.random.random_range(0.0..0.3),
        }
        let step_ns = network.random.random_range(0..2 * SECOND);
        network.run(step_ns);
    }
}

fn hellos(multicast: bool) -> Vec<SocketAddr> {
    if multicast { vec![group()] } else { vec![address(0), address(1)] }
}

fn rejoin(network: &mut Network, index: usize, multicast: bool) {
    network.start(index, &hellos(multicast));
}

/// As discovery does: everybody says hello again now and then.
fn heal(network: &mut Network, multicast: bool) {
    network.cut = Cut::None;
    network.loss = 0.0;
    for index in 0..network.nodes.len() {
        network.nodes[index].paused_until_ns = 0;
        if network.nodes[index].machine.is_none() {
            rejoin(network, index, multicast);
        } else {
            network.hello(index, &hellos(multicast));
        }
    }
}

#[test]
fn after_any_faults_all_agree_again() {
    let seeds = std::env::var("WIRELOOM_SEEDS").ok().and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(10_u64) {
        let nodes = 3 + usize::try_from(seed % 5).expect("small") * 5;
        let multicast = seed % 2 == 0;
        let mut network = mesh(seed, nodes, multicast);
        storm(&mut network, multicast);
        heal(&mut network, multicast);
        if let Err(wrong) = network.converge(500 * MS, 60 * SECOND) {
            panic!("seed {seed}, {nodes} nodes: {wrong:#?}");
        }
        network.run(20 * SECOND);
        let wrong = network.disagreements();
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    }
}

#[test]
fn a_partition_heals_without_anybody_saying_hello() {
    let mut network = mesh(7, 20, true);
    network.split(Cut::Both);
    network.run(40 * SECOND);
    assert!(!network.disagreements().is_empty(), "the sides lost each other");
    network.cut = Cut::None;
    let took = network.converge(100 * MS, 60 * SECOND).expect("they find each other");
    println!("a partition of 40 s was healed in {} ms", took / MS);
}

#[test]
fn two_nodes_of_which_one_is_not_heard_both_see_it() {
    for seed in 0..20 {
        let mut network = mesh(seed, 2, true);
        network.run(5 * SECOND);
        network.silence(0);
        network.run(60 * SECOND);
        for (index, other) in [(0, 1), (1, 0)] {
            let machine = network.nodes[index].machine.as_ref().expect("it runs");
            // Who is not heard is told that it is dead, and suspects the other at that time.
            assert!(!machine.is_up(address(other)), "seed {seed}: {index} holds {other} for up");
        }
    }
}

#[test]
fn a_member_with_a_twentieth_of_a_processor_is_not_declared_dead() {
    for seed in 0..5 {
        let mut network = mesh(seed, 20, true);
        network.nodes[3].slow = true;
        network.run(120 * SECOND);
        for node in &network.nodes {
            assert_eq!(node.downs, [], "seed {seed}");
        }
    }
}

#[test]
fn a_node_that_hears_nothing_is_slow_to_call_others_dead() {
    let mut network = mesh(13, 30, true);
    network.run(5 * SECOND);
    network.nodes[3].deaf = true;
    network.run(12 * SECOND);
    let deaf = &network.nodes[3];
    let machine = deaf.machine.as_ref().expect("it runs");
    let times = machine.health().multiplier();
    println!("deaf for 12 s: {times} times as patient, {} of 29 called dead", deaf.downs.len());
    assert!(times > 3, "{times}");
    assert!(deaf.downs.len() <= 5, "{:?}", deaf.downs);
    network.nodes[3].deaf = false;
    network.run(40 * SECOND);
    let machine = network.nodes[3].machine.as_ref().expect("it runs");
    assert_eq!(machine.health().multiplier(), 1, "it is answered again");
}

#[test]
fn a_stopped_node_comes_back_in_a_new_incarnation_and_blames_nobody() {
    for (pause_s, lives) in [(2, false), (5, false), (30, true)] {
        let mut network = mesh(9, 10, true);
        network.run(5 * SECOND);
        let before = network.nodes[4].machine.as_ref().expect("it runs").members();
        let own = |members: &[wireloom_control::membership::Member]| {
            members.iter().find(|member| member.is_self).map(|member| member.incarnation())
        };
        network.nodes[4].paused_until_ns = network.now_ns + pause_s * SECOND;
        network.run(pause_s * SECOND);
        let took = network.converge(10 * MS, 20 * SECOND).expect("it is back");
        network.run(5 * SECOND);
        let after = network.nodes[4].machine.as_ref().expect("it runs").members();
        println!("a stop of {pause_s} s: known again after {} ms", took / MS);
        let (before, after) = (own(&before), own(&after));
        assert!(after > before || pause_s < 5, "{before:?} {after:?}");
        let renewed = after.map(|of| of.0) > before.map(|of| of.0);
        assert!(renewed || !lives, "a node declared dead begins a new life");
        assert_eq!(network.nodes[4].downs, [], "it did not run, the others did");
        let machine = network.nodes[4].machine.as_ref().expect("it runs");
        assert!(machine.counts().pauses > 0);
    }
}

#[test]
fn a_restart_whose_clock_was_set_back_takes_its_place_all_the_same() {
    let mut network = mesh(10, 10, true);
    network.crash(3);
    network.start_as(3, record(3, 1_000_000), &[group()]);
    network.run(SECOND);
    network.crash(3);
    // By then it is dead to all: no table has it, only tombstones.
    network.run(20 * SECOND);
    network.start_as(3, record(3, 7), &[group()]);
    network.run(SECOND);
    let machine = network.nodes[3].machine.as_ref().expect("it runs");
    assert!(machine.own().identity.life > 1_000_000, "it lives after its former life");
    network.run(30 * SECOND);
    assert_eq!(network.disagreements(), Vec::<String>::new());
}

#[test]
fn a_restart_with_the_life_it_died_in_takes_its_place_at_once() {
    let mut network = mesh(14, 10, true);
    network.crash(3);
    network.converge(10 * MS, 10 * SECOND).expect("it is known to be dead");
    network.start_as(3, record(3, 1), &[group()]);
    network.run(100 * MS);
    assert_eq!(network.disagreements(), Vec::<String>::new());
    let machine = network.nodes[3].machine.as_ref().expect("it runs");
    assert_eq!(machine.own().identity.life, 2, "its first welcome said which life is over");
}

/// The indices of members that share their name, as each of the others sees it.
fn sharing(network: &Network) -> Vec<Vec<usize>> {
    let of = |index: &usize| {
        let members = network.nodes[*index].machine.as_ref().expect("it runs").members();
        let shares = |index: &usize| {
            members.iter().any(|of| of.address() == address(*index) && of.shares_name)
        };
        (0..network.nodes.len()).filter(shares).collect()
    };
    network.running().iter().map(of).collect()
}

#[test]
fn nodes_of_one_name_are_told_and_all_stay() {
    let mut network = Network::new(11, 7);
    for index in 0..5 {
        network.start(index, &[group()]);
    }
    for index in [5, 6] {
        let mut twin = record(index, 1);
        twin.name = "node-2".into();
        network.start_as(index, twin, &[group()]);
    }
    network.run(10 * SECOND);
    assert_eq!(sharing(&network), vec![Vec::<usize>::new(); 7], "a restart at another port?");
    network.run(30 * SECOND);
    assert_eq!(network.disagreements(), Vec::<String>::new());
    assert!(network.nodes.iter().all(|node| node.shared_names == ["node-2"]));
    assert_eq!(sharing(&network), vec![vec![2, 5, 6]; 7]);
    for (dies, share) in [(2, &[5, 6][..]), (5, &[])] {
        network.crash(dies);
        network.converge(100 * MS, 20 * SECOND).expect("all know that it died");
        assert_eq!(sharing(&network), vec![share; network.running().len()], "the dead share none");
    }
    assert!(network.nodes.iter().all(|node| node.shared_names == ["node-2"]), "told once");
}

#[test]
fn another_node_at_a_dead_ones_address_takes_its_place_at_once() {
    let mut network = mesh(12, 10, true);
    network.crash(3);
    let mut other = record(3, 5);
    other.identity.node = wireloom_wire::NodeId(999);
    other.name = "other".into();
    network.start_as(3, other, &[group()]);
    network.run(200 * MS);
    for (index, node) in network.nodes.iter().enumerate() {
        assert_eq!(node.downs.len(), usize::from(index != 3), "the dead one is told of");
        let members = node.machine.as_ref().expect("it runs").members();
        let names: Vec<_> = members.iter().filter(|of| of.is_up()).map(|of| of.name()).collect();
        assert!(names.contains(&"other") && !names.contains(&"node-3"), "{names:?}");
    }
}
