//! Membership machines on a network in memory: joining, dying, healing, and hostile packets.
#![forbid(unsafe_code)]

mod crowd;
mod faults;
mod hostile;
mod identity;
mod network;
mod suspicion;

use network::{MS, Network, SECOND, address, group};

/// Everybody is up and knows everybody.
fn mesh(seed: u64, nodes: usize, multicast: bool) -> Network {
    let mut network = Network::new(seed, nodes);
    for index in 0..nodes {
        let seeds = [address(0), address(1)];
        network.start(index, if multicast { std::slice::from_ref(&GROUP) } else { &seeds });
        network.run(MS);
    }
    // Hellos beyond what a seed answers in a second are said again until somebody is known: each
    // five seconds, as discovery does.
    network.run(SECOND);
    for _ in 0..10 {
        let alone = |index: &usize| {
            network.nodes[*index].machine.as_ref().is_some_and(|machine| machine.up() == 0)
        };
        let alone: Vec<usize> = (0..nodes).filter(alone).collect();
        if alone.is_empty() {
            break;
        }
        for index in alone {
            network.hello(index, &[address(0), address(1)]);
        }
        network.run(5 * SECOND);
    }
    let took = network.converge(50 * MS, 20 * SECOND);
    assert!(took.is_ok(), "{:?}", took.err().unwrap_or_default().first());
    network
}

const GROUP: std::net::SocketAddr = std::net::SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(239, 255, 87, 76)),
    9_076,
);

fn quantile(times: &mut [u64], part: f64) -> u64 {
    times.sort_unstable();
    let last = times.len() - 1;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
    times[((last as f64) * part).round() as usize]
}

/// How long until all of a mesh know one more, ns, for several newcomers.
fn times_to_be_known(seed: u64, multicast: bool) -> Vec<u64> {
    let mut network = mesh(seed, 100, multicast);
    network.run(5 * SECOND);
    let mut times = Vec::new();
    for newcomer in 100..110 {
        network.nodes.push(network::Node::default());
        let hellos = if multicast { vec![group()] } else { vec![address(0), address(1)] };
        network.start(newcomer, &hellos);
        times.push(network.converge(MS, 10 * SECOND).expect("all know it"));
        network.run(2 * SECOND);
    }
    times
}

#[test]
fn a_new_node_is_known_to_a_hundred_at_once() {
    let mut times = times_to_be_known(1, true);
    let (p50, p99) = (quantile(&mut times, 0.5) / MS, quantile(&mut times, 0.99) / MS);
    println!("known to 100 by multicast: p50 {p50} ms, p99 {p99} ms");
    assert!(p99 < 50, "{times:?}");
    let mut times = times_to_be_known(2, false);
    let (p50, p99) = (quantile(&mut times, 0.5) / MS, quantile(&mut times, 0.99) / MS);
    println!("known to 100 by seeds: p50 {p50} ms, p99 {p99} ms");
    assert!(p99 < 2_000, "{times:?}");
}

#[test]
fn a_hundred_nodes_say_little() {
    let mut network = mesh(3, 100, true);
    network.run(60 * SECOND);
    let before = network.bytes;
    for second in 0..60 {
        // Each node's load moves once in a minute, and is told.
        for index in (0..100).filter(|index| index % 60 == second) {
            let machine = network.nodes[index].machine.as_mut().expect("it runs");
            machine.update(|record| record.load_milli += 500).expect("within bounds");
            network.settle(index);
        }
        network.run(SECOND);
    }
    let each = (network.bytes - before) / 60 / 100;
    println!("100 nodes: {each} bytes a second sent by each");
    assert!((100..20_000).contains(&each), "{each}");
    assert!(network.nodes.iter().all(|node| node.downs.is_empty()));
}

#[test]
fn many_nodes_join_by_seeds_and_nobody_healthy_is_declared_dead() {
    let mut network = mesh(4, 150, false);
    network.run(15 * SECOND);
    assert_eq!(network.disagreements(), Vec::<String>::new());
    let downs: usize = network.nodes.iter().map(|node| node.downs.len()).sum();
    assert_eq!(downs, 0);
}

#[test]
fn who_leaves_is_gone_at_once_and_who_dies_within_the_documented_time() {
    for (nodes, dead_ms) in [(3, 6_000), (10, 6_000), (100, 10_000)] {
        let mut network = mesh(5, nodes, true);
        network.run(10 * SECOND);
        network.leave(1);
        let took = network.converge(MS, SECOND).expect("all know that it left");
        println!("{nodes} nodes: all know that one left after {} ms", took / MS);
        network.crash(2);
        let took = network.converge(10 * MS, dead_ms * MS).expect("all know that it died");
        println!("{nodes} nodes: all know that one died after {} ms", took / MS);
        assert!(took > 2 * SECOND, "nobody is given up at once");
    }
}

#[test]
fn what_a_node_says_of_itself_reaches_all() {
    let mut network = mesh(6, 50, false);
    let machine = network.nodes[7].machine.as_mut().expect("it runs");
    machine.update(|record| record.services.push("sum".into())).expect("within bounds");
    network.settle(7);
    network.run(SECOND);
    for node in &network.nodes {
        let members = node.machine.as_ref().expect("it runs").members();
        let offers: Vec<_> = members.iter().filter(|member| member.offers("sum")).collect();
        assert_eq!(offers.len(), 1);
        assert_eq!(offers[0].address(), address(7));
    }
    assert!(
        network.nodes[7]
            .machine
            .as_mut()
            .expect("it runs")
            .update(|record| {
                record.services.push("x".repeat(500));
            })
            .is_err()
    );
}
