//! The agent of the membership machine: it reads the control packets the receivers pass on, sends
//! the machine's, says hello as discovery wants, and publishes the table of members. It runs on the
//! control thread (or in the caller's loop, or under virtual time) and never waits.

mod secrecy;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use wireloom_dataplane::agent::Agent;
use wireloom_dataplane::command::Commands;
use wireloom_dataplane::control_path::read_control;
use wireloom_dataplane::io::{Message, Transmit};
use wireloom_dataplane::launch::Families;
use wireloom_ring::{Consumer, Records, record_spacing};

use crate::discovery::Discovery;
use crate::membership::{Change, Counts, Member, Membership, Record, RecordError, Roster};

pub use self::secrecy::Secrecy;
use self::secrecy::Veil;

/// Packets taken in one cycle.
const PACKETS_PER_CYCLE: usize = 256;

/// How often the table is published without a change, so that suspicion shows, ns.
const REFRESH_NS: u64 = 500_000_000;

/// How often names are resolved while nobody is known, ns.
const RESOLVE_NS: u64 = 10_000_000_000;

/// What hears of members: runs on the control thread, so it must not wait.
pub type MemberHandler = Box<dyn FnMut(&Change) + Send>;

/// What the node tells the agent.
pub enum MeshCommand {
    /// Say something else of this node.
    Update(Box<dyn FnOnce(&mut Record) + Send>),
    /// Tell this handler of members; of those that are up already first.
    OnMember(MemberHandler),
}

impl std::fmt::Debug for MeshCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Update(_) => "Update",
            Self::OnMember(_) => "OnMember",
        })
    }
}

/// How the node reaches the agent.
#[derive(Debug, Clone, Default)]
pub struct MeshPort {
    /// The table of members.
    pub roster: Arc<Roster>,
    /// Its commands.
    pub commands: Commands<MeshCommand>,
    counts: Arc<Mutex<Counts>>,
}

impl MeshPort {
    /// What the machine has counted, half a second old at most.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The agent. `T` is its way out.
pub struct Mesh<T> {
    machine: Membership,
    discovery: Discovery,
    names: Names,
    transmit: T,
    families: Families,
    arrivals: Vec<Consumer>,
    port: MeshPort,
    handlers: Vec<MemberHandler>,
    refresh_at_ns: u64,
    veil: Option<Veil>,
}

impl<T> std::fmt::Debug for Mesh<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").field("machine", &self.machine).finish_non_exhaustive()
    }
}

/// Host names of seeds, resolved on threads of their own: a look-up waits for the network.
#[derive(Debug, Default)]
struct Names {
    names: Vec<String>,
    found: Commands<Vec<SocketAddr>>,
    at_ns: u64,
}

impl Names {
    fn resolve(&mut self, now_ns: u64) {
        self.at_ns = now_ns + RESOLVE_NS;
        for name in &self.names {
            let (name, found) = (name.clone(), self.found.clone());
            let look_up = move || {
                if let Ok(addresses) = name.to_socket_addrs() {
                    let _ = found.push(addresses.take(16).collect());
                }
            };
            // Without a thread the name is tried again later.
            let _ = std::thread::Builder::new().name("wl-resolve".into()).spawn(look_up);
        }
    }
}

impl<T: Transmit> Mesh<T> {
    /// An agent that reads `arrivals` and sends by `transmit`.
    #[must_use]
    pub fn new(
        (machine, discovery): (Membership, Discovery),
        names: Vec<String>,
        (transmit, families): (T, Families),
        arrivals: Vec<Consumer>,
        port: MeshPort,
    ) -> Self {
        let names = Names { names, ..Names::default() };
        let mesh = Self {
            machine,
            discovery,
            names,
            transmit,
            families,
            arrivals,
            port,
            handlers: Vec::new(),
            refresh_at_ns: 0,
            veil: None,
        };
        mesh.publish();
        mesh
    }

    /// The same agent, which seals what it says and heeds only what was sealed. Nodes find each
    /// other by beacons then, and say hello when they have keys of each other.
    #[must_use]
    pub fn with_secrecy(mut self, secrecy: Box<dyn Secrecy>) -> Self {
        self.veil = Some(Veil::new(secrecy));
        self
    }

    fn publish(&self) {
        let members: Vec<Arc<Member>> = self.machine.members().into_iter().map(Arc::new).collect();
        let counts = *self.machine.counts();
        *self.port.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
        if *self.port.roster.table() != members {
            self.port.roster.publish(Arc::new(members));
        }
    }

    fn take_commands(&mut self) -> Result<usize, RecordError> {
        let mut taken = 0;
        while let Some(command) = self.port.commands.pop() {
            taken += 1;
            match command {
                MeshCommand::Update(change) => self.machine.update(change)?,
                MeshCommand::OnMember(mut handler) => {
                    // What was found in the last cycle has been told: these and no others are up.
                    for member in self.machine.members() {
                        if member.is_up() && !member.is_self {
                            handler(&Change::Up(member.record.identity));
                        }
                    }
                    self.handlers.push(handler);
                }
            }
        }
        Ok(taken)
    }

    fn take_packets(&mut self, now_ns: u64) -> usize {
        let mut packets = 0;
        for arrivals in &mut self.arrivals {
            let batch = arrivals.read();
            let mut taken = 0;
            for record in Records::new(batch).take(PACKETS_PER_CYCLE) {
                match (read_control(record), &mut self.veil) {
                    (Some(passed), Some(veil)) if !passed.authenticated => {
                        let from = passed.sender;
                        if self.machine.hears_beacon(passed.packet)
                            && veil.secrecy.hint(from, now_ns)
                            && !self.machine.is_up(from)
                        {
                            self.machine.hello(from, now_ns);
                        }
                    }
                    (Some(passed), _) => {
                        self.machine.on_packet(passed.sender, passed.packet, now_ns);
                    }
                    (None, _) => {}
                }
                taken += record_spacing(record.len());
                packets += 1;
            }
            let taken = taken.min(batch.len());
            arrivals.release(taken);
        }
        packets
    }

    fn say_hello(&mut self, now_ns: u64) {
        let alone = self.machine.up() == 0;
        if alone && now_ns >= self.names.at_ns && !self.names.names.is_empty() {
            self.names.resolve(now_ns);
        }
        while let Some(found) = self.names.found.pop() {
            self.discovery.add_seeds(&found, now_ns);
        }
        let machine = &self.machine;
        let hellos = self.discovery.due(now_ns, alone, |address| machine.is_up(address));
        for to in hellos {
            if self.veil.is_some() && to.ip().is_multicast() {
                let beacon = self.machine.beacon();
                transmit(&mut self.transmit, (self.families, to), &beacon);
            } else {
                self.machine.hello(to, now_ns);
            }
        }
    }

    /// Says hello to who has got a key, after what waited for that.
    fn greet_keyed(&mut self, now_ns: u64) {
        let Some(veil) = &mut self.veil else { return };
        while let Some(address) = veil.secrecy.next_keyed() {
            for packet in veil.released(address, now_ns) {
                if let Some(sealed) = veil.seal(address, packet, now_ns) {
                    transmit(&mut self.transmit, (self.families, address), sealed);
                }
            }
            if !self.machine.is_up(address) {
                self.machine.hello(address, now_ns);
            }
        }
    }

    fn send(&mut self, now_ns: u64) -> usize {
        let packets = self.machine.take_packets();
        let count = packets.len();
        for (to, packet) in packets {
            match &mut self.veil {
                None => transmit(&mut self.transmit, (self.families, to), &packet),
                Some(veil) => {
                    if let Some(sealed) = veil.seal(to, packet, now_ns) {
                        transmit(&mut self.transmit, (self.families, to), sealed);
                    }
                }
            }
        }
        count
    }
}

/// A packet that the socket does not take now is dropped: the protocol lives with loss.
fn transmit<T: Transmit>(way_out: &mut T, (families, to): (Families, SocketAddr), packet: &[u8]) {
    if let Some(destination) = families.destination(to) {
        let slices = [std::io::IoSlice::new(packet)];
        way_out.send(&[Message::single(&destination, &slices)]);
    }
}

impl<T: Transmit> Agent for Mesh<T> {
    fn name(&self) -> &'static str {
        "mesh"
    }

    fn do_work(&mut self, now_ns: u64) -> usize {
        // What breaks a bound was refused to its caller before it was sent here.
        let commands = self.take_commands().unwrap_or(1);
        let packets = self.take_packets(now_ns);
        self.machine.on_time(now_ns);
        self.say_hello(now_ns);
        self.greet_keyed(now_ns);
        let sent = self.send(now_ns);
        let changes = self.machine.take_changes();
        if !changes.is_empty() || now_ns >= self.refresh_at_ns {
            self.refresh_at_ns = now_ns + REFRESH_NS;
            self.publish();
        }
        for change in &changes {
            self.handlers.iter_mut().for_each(|handler| handler(change));
        }
        commands + packets + sent
    }

    fn deadline_ns(&self) -> Option<u64> {
        let machine = self.machine.deadline_ns();
        let names = (!self.names.names.is_empty()).then_some(self.names.at_ns);
        let names = names.filter(|_| self.machine.up() == 0);
        let due = [machine, self.discovery.deadline_ns(), names, Some(self.refresh_at_ns)];
        due.into_iter().flatten().min()
    }

    fn on_close(&mut self, now_ns: u64) {
        self.machine.leave(now_ns);
        self.send(now_ns);
    }
}
