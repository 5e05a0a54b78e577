//! Whole nodes of a cluster on a simulated network: the product's own agents, one loop, virtual
//! time, one seed; loss and delay, nodes that stop and start, and then: all agree.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use wireloom::simulated::{LinkModel, SimulatedNetwork};
use wireloom::{Clock, Invoker, Node};

const MS: u64 = 1_000_000;
const GROUP: &str = "239.255.87.76:9076";

struct Mesh {
    network: SimulatedNetwork,
    clock: Clock,
    nodes: Vec<Option<(Node, Invoker)>>,
    now_ns: u64,
}

fn address(index: usize) -> SocketAddr {
    let last = u8::try_from(index + 1).expect("few nodes");
    ([10, 0, 0, last], 9_000).into()
}

impl Mesh {
    fn new(seed: u64, nodes: usize, loss: f64) -> Self {
        let model = LinkModel {
            loss,
            duplicate: loss / 4.0,
            reorder: loss / 4.0,
            corrupt: loss / 10.0,
            delay_ns_min: MS / 10,
            delay_ns_max: 2 * MS,
        };
        let clock = Clock::simulated();
        let network = SimulatedNetwork::new(seed, model);
        let nodes = (0..nodes).map(|_| None).collect();
        let mut mesh = Self { network, clock, nodes, now_ns: 1_000 * MS };
        mesh.run(MS);
        mesh
    }

    fn start(&mut self, index: usize, multicast: bool) {
        let builder = Node::builder(&format!("node-{index}")).listen(&address(index).to_string());
        let builder =
            if multicast { builder.discover(GROUP) } else { builder.seed("10.0.0.1:9000") };
        let started = builder.start_simulated(&self.network, self.clock.clone());
        self.nodes[index] = Some(started.expect("a simulated node starts"));
    }

    /// Runs everybody but those in `paused`.
    fn run_without(&mut self, for_ns: u64, paused: &[usize]) {
        let end_ns = self.now_ns + for_ns;
        while self.now_ns < end_ns {
            self.now_ns += MS;
            self.clock.advance_to(self.now_ns);
            self.network.advance_to(self.now_ns);
            for (index, node) in self.nodes.iter_mut().enumerate() {
                if let Some((_, invoker)) = node.as_mut().filter(|_| !paused.contains(&index)) {
                    invoker.drain(8);
                }
            }
        }
    }

    fn run(&mut self, for_ns: u64) {
        self.run_without(for_ns, &[]);
    }

    fn agree(&self) -> bool {
        let running = self.nodes.iter().flatten().count();
        self.nodes.iter().flatten().all(|(node, _)| {
            node.members().iter().filter(|member| member.is_up()).count() == running
        })
    }

    fn converge(&mut self, at_most_ns: u64) -> u64 {
        let begun_ns = self.now_ns;
        while !self.agree() {
            assert!(self.now_ns - begun_ns < at_most_ns, "{:?}", self.views());
            self.run(10 * MS);
        }
        self.now_ns - begun_ns
    }

    fn views(&self) -> Vec<Vec<(String, &'static str)>> {
        let view = |(node, _): &(Node, Invoker)| {
            let members = node.members();
            members.iter().map(|of| (of.name().to_owned(), of.state.name())).collect()
        };
        self.nodes.iter().flatten().map(view).collect()
    }
}

#[test]
fn simulated_nodes_agree_whatever_the_network_does() {
    for seed in 0..8_u64 {
        let count = 2 + usize::try_from(seed % 6).expect("small");
        let loss = [0.0, 0.05, 0.2][usize::try_from(seed % 3).expect("small")];
        let multicast = seed % 2 == 0;
        let mut mesh = Mesh::new(seed, count, loss);
        for index in 0..count {
            mesh.start(index, multicast);
            mesh.run(20 * MS);
        }
        let took = mesh.converge(20_000 * MS);
        println!("seed {seed}: {count} nodes, loss {loss}: all known after {} ms", took / MS);
        // One stands still for eight seconds, and another ends and starts again.
        mesh.run_without(8_000 * MS, &[count - 1]);
        mesh.nodes[0] = None;
        mesh.run(500 * MS);
        mesh.start(0, multicast);
        mesh.network.set_model(LinkModel::LOSSLESS);
        mesh.converge(60_000 * MS);
        mesh.run(10_000 * MS);
        assert!(mesh.agree(), "seed {seed}: {:?}", mesh.views());
    }
}
