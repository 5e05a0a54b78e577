//! The nodes of a case: processes in namespaces, their files, and what all of them promise.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::journal::{Arrivals, RELIABLE};
use crate::process::{Look, Process};
use crate::topology::{Topology, address};
use crate::{PATIENCE, Run, eventually};

/// Where a node is, whether it lives or not.
struct Place {
    process: Option<Process>,
    life: u32,
}

/// The nodes.
pub(crate) struct Fleet {
    places: Vec<Place>,
    pub(crate) topology: Topology,
    folder: PathBuf,
    settings: Value,
}

/// A reliable target.
pub(crate) fn reliable(index: usize) -> String {
    format!("tcp://{}", address(index))
}

/// A target for datagrams.
pub(crate) fn datagram(index: usize) -> String {
    format!("udp://{}", address(index))
}

pub(crate) fn name(index: usize) -> String {
    format!("node-{index}")
}

/// A number of nodes as it stands in files.
pub(crate) fn short(index: usize) -> u32 {
    u32::try_from(index).expect("few nodes")
}

impl Fleet {
    /// So many places, all empty. `settings` hold for all nodes; with `"cluster"` they are members.
    pub(crate) fn new(run: &Run, nodes: usize, settings: Value) -> Self {
        let folder = std::env::temp_dir().join(&run.prefix);
        std::fs::create_dir_all(&folder).expect("a folder");
        let places = (0..nodes).map(|_| Place { process: None, life: 0 }).collect();
        Self { places, topology: Topology::new(&run.prefix, nodes), folder, settings }
    }

    /// The same with everybody alive; members know each other.
    pub(crate) fn start(run: &Run, nodes: usize, settings: Value) -> Self {
        let mut fleet = Self::new(run, nodes, settings);
        (0..nodes).for_each(|index| fleet.revive(index));
        if fleet.settings["cluster"].is_string() {
            fleet.converge(&(0..nodes).collect::<Vec<_>>());
        }
        fleet
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn others(&self, index: usize) -> Vec<usize> {
        (0..self.count()).filter(|other| *other != index).collect()
    }

    /// Starts the next life of a node.
    pub(crate) fn revive(&mut self, index: usize) {
        self.revive_with(index, &json!({}));
    }

    /// The same with settings of its own.
    pub(crate) fn revive_with(&mut self, index: usize, own: &Value) {
        let mut settings = self.settings.clone();
        let seeds: Vec<String> = self.others(index).into_iter().map(address).collect();
        let place = &mut self.places[index];
        place.life += 1;
        let told = json!({ "name": name(index), "listen": address(index), "index": index,
            "life": place.life, "journal": self.folder.join(name(index)), "seeds": seeds });
        for (key, value) in told.as_object().into_iter().chain(own.as_object()).flatten() {
            settings[key] = value.clone();
        }
        let program = std::env::current_exe().expect("this program");
        let mut command = self.topology.command(index, program.to_str().expect("UTF-8"));
        place.process = Some(Process::start(command.args(["node", &settings.to_string()])));
    }

    /// Ends a node's life without a word.
    pub(crate) fn kill(&mut self, index: usize) {
        self.places[index].process = None;
    }

    pub(crate) fn is_alive(&self, index: usize) -> bool {
        self.places[index].process.is_some()
    }

    pub(crate) fn life(&self, index: usize) -> u32 {
        self.places[index].life
    }

    pub(crate) fn process(&mut self, index: usize) -> &mut Process {
        self.places[index].process.as_mut().expect("it lives")
    }

    pub(crate) fn signal(&mut self, index: usize, signal: Signal) {
        self.process(index).signal(signal);
    }

    /// Lets a node publish so many more events (0: until [`Fleet::hold`]), so many a second.
    pub(crate) fn feed(&mut self, index: usize, target: &str, count: u64, rate: u64) {
        self.process(index).say(&format!("feed {target} {count} {rate}"));
    }

    /// The living that publish reliable events to a node.
    pub(crate) fn feeding(&mut self, to: usize) -> Vec<usize> {
        let mut others = self.others(to);
        others.retain(|from| self.is_alive(*from) && self.look(*from).feeds(&reliable(to)));
        others
    }

    /// Nobody publishes any more.
    pub(crate) fn hold(&mut self) {
        for place in &mut self.places {
            if let Some(process) = &mut place.process {
                process.say("hold");
            }
        }
    }

    pub(crate) fn look(&mut self, index: usize) -> Look {
        self.process(index).look()
    }

    /// Waits until every event of the living is published and has a fate.
    pub(crate) fn settle(&mut self, patience: Duration) {
        for index in 0..self.count() {
            if self.is_alive(index) {
                let what = format!("the events of {}", name(index));
                eventually(&what, patience, || self.look(index).is_settled());
            }
        }
    }

    /// Waits until these nodes hold each other, and nobody else, for up.
    pub(crate) fn converge(&mut self, nodes: &[usize]) {
        self.converge_each(nodes, nodes);
    }

    /// Waits until each of `observers` holds `nodes`, and nobody else, for up.
    pub(crate) fn converge_each(&mut self, observers: &[usize], nodes: &[usize]) {
        let names: Vec<String> = nodes.iter().map(|index| name(*index)).collect();
        for index in observers {
            let what = format!("{} to see {names:?} up", name(*index));
            eventually(&what, PATIENCE, || self.look(*index).up() == names);
        }
    }

    pub(crate) fn arrivals(&self, index: usize) -> Arrivals {
        Arrivals::read(&self.folder.join(name(index)))
    }

    /// Everything accepted from one node for another has arrived: once, in order, in one life each,
    /// and the publisher's books say the same. How many events.
    pub(crate) fn assert_whole(&mut self, from: usize, to: usize) -> u64 {
        let look = self.look(from);
        let accepted = look.accepted(&reliable(to));
        let fates = look.fates(&reliable(to));
        assert!(accepted > 0, "nothing was published from {from} to {to}");
        assert_eq!(fates, [("delivered".to_owned(), accepted)], "from {from} to {to}");
        let source = (RELIABLE, short(from), self.life(from));
        self.arrivals(to).assert_whole(source, accepted);
        let ledger = &look.0["ledger"];
        assert_eq!(ledger["balanced"], true, "{ledger}");
        assert_eq!(look.at("/ledger/reliable/in_flight"), 0);
        accepted
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
