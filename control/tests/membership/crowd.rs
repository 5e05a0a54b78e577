//! Many machines at once: they join by group and by seeds over a lossy network, some crash, some
//! leave, some restart, and all agree each time.
#![expect(clippy::print_stdout, reason = "the figures are what the long run is for")]

use std::net::SocketAddr;
use std::time::Instant;

use super::network::{MS, Network, SECOND, address};

/// The seeds; they hear the group too.
const SEEDS: usize = 3;

struct Crowd {
    network: Network,
    seeds: Vec<SocketAddr>,
    begun: Instant,
}

impl Crowd {
    fn new(machines: usize) -> Self {
        let mut network = Network::new(30, machines);
        network.loss = 0.01;
        let seeds = (0..SEEDS).map(address).collect();
        Self { network, seeds, begun: Instant::now() }
    }

    /// Every tenth machine finds the others by the group, the rest by seeds.
    fn start(&mut self, index: usize) {
        let by_group = index < SEEDS || index.is_multiple_of(10);
        let seeds = if by_group { &[] } else { &self.seeds[..] };
        self.network.start_discovering(index, by_group, seeds);
    }

    /// The machines from `first` on, one of `each`.
    fn some(&self, first: usize, each: usize) -> Vec<usize> {
        (first..self.network.nodes.len()).step_by(each).collect()
    }

    fn agree(&mut self, what: &str, at_most_ns: u64) {
        let took = self.network.converge(50 * MS, at_most_ns);
        let took = took.unwrap_or_else(|wrong| panic!("{what}: {:?}", wrong.first()));
        println!(
            "{what}: all agree after {} ms; {:.1} s on the wall so far",
            took / MS,
            self.begun.elapsed().as_secs_f64()
        );
    }
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn live(machines: usize) {
    let before_kb = resident_kb();
    let mut crowd = Crowd::new(machines);
    for index in 0..machines {
        crowd.start(index);
        crowd.network.run(10 * SECOND / machines as u64);
    }
    crowd.agree("all have joined within 10 s", 60 * SECOND);
    let each = crowd.network.bytes / machines as u64;
    println!("{machines} machines: {each} bytes sent by each until all knew all");
    crowd.network.run(5 * SECOND);
    let bytes = crowd.network.bytes;
    crowd.network.run(5 * SECOND);
    let each = (crowd.network.bytes - bytes) / 5 / machines as u64;
    let memory_kb = (resident_kb() - before_kb) / machines as u64;
    println!("{each} bytes a second sent by each at rest, {memory_kb} kB of memory each");

    let crashed = crowd.some(7, 100);
    crashed.iter().for_each(|index| crowd.network.crash(*index));
    crowd.agree("one of a hundred has crashed", 30 * SECOND);

    let left = crowd.some(8, 100);
    for index in &left {
        crowd.network.leave(*index);
    }
    crowd.agree("one of a hundred has left", 10 * SECOND);

    let restarted = crowd.some(9, 100);
    for index in restarted.iter().chain(&crashed) {
        crowd.network.crash(*index);
        crowd.start(*index);
    }
    crowd.agree("one of a hundred has restarted, and the dead are back", 30 * SECOND);

    for node in &crowd.network.nodes {
        let lost = |(_, of): &(u64, SocketAddr)| {
            !crashed.iter().chain(&left).chain(&restarted).any(|index| address(*index) == *of)
        };
        assert!(!node.downs.iter().any(lost), "a healthy one was called dead: {:?}", node.downs);
    }
}

#[test]
fn hundreds_of_machines_join_crash_leave_and_restart() {
    live(300);
}

/// Takes a minute or so: `scripts/check machines`. WIRELOOM_MACHINES asks for other numbers.
#[test]
#[ignore = "long: a stage of scripts/check"]
fn a_thousand_machines_join_crash_leave_and_restart() {
    let machines = std::env::var("WIRELOOM_MACHINES").ok().and_then(|text| text.parse().ok());
    live(machines.unwrap_or(1_000));
}
