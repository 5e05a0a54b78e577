//! Taking part in a cluster: what the builder is told of it, which addresses a node announces and
//! why, and how the membership agent comes to the control thread.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use wireloom_control::StartError;
use wireloom_control::discovery::Discovery;
use wireloom_control::membership::{
    Identity, Interest, Membership, MembershipConfig, Record, Timing,
};
use wireloom_control::mesh::{Mesh, MeshCommand, MeshPort};
use wireloom_dataplane::agent::Invoker;
use wireloom_dataplane::command::ReceiverCommand;
use wireloom_dataplane::config::GroupMembership;
use wireloom_dataplane::control_path::ControlIntake;
use wireloom_dataplane::dispatch::{SubscriptionId, Wanted};
use wireloom_dataplane::io::Transmit;
use wireloom_dataplane::io::mio::MioTransmit;
use wireloom_dataplane::io::simulated::SimulatedTransmit;
use wireloom_dataplane::launch::Families;
use wireloom_dataplane::socket::{GroupJoin, Interface};
use wireloom_dataplane::wake::Wake;
use wireloom_wire::{EventTypeId, SessionId};

use crate::announce::Announcer;
use crate::builder::{NodeBuilder, NodeError};
use crate::config::ServiceChoice;
use crate::event::Event;
use crate::keying::MeshSeals;
use crate::node::Node;
use crate::shared::Shared;
use crate::target::Target;

/// The group nodes find each other in unless told another: of the block for use within an
/// organisation (239.255.0.0/16, RFC 2365), so that routers keep it at home.
pub const DISCOVERY_GROUP: &str = "239.255.87.76:9076";

/// A heartbeat is a packet to everybody: not more often.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

/// Control packets that wait for the control thread, bytes: some 180 of the longest.
const CONTROL_RING_BYTES: usize = 256 << 10;

/// What a builder was told of the cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterSettings {
    name: String,
    group: Option<SocketAddr>,
    seeds: Vec<SocketAddr>,
    names: Vec<String>,
    services: Vec<String>,
    profile: String,
    groups_of_types: HashMap<EventTypeId, SocketAddr>,
    notes: Vec<String>,
    heartbeat: Duration,
    choice: ServiceChoice,
}

/// Why the group cannot be joined on this interface, if so.
fn group_refused(group: SocketAddr, interface: &Interface) -> Option<std::io::Error> {
    let IpAddr::V4(ip) = group.ip() else { return None };
    let by = match interface {
        Interface::Address(address) => *address,
        _ => Ipv4Addr::UNSPECIFIED,
    };
    let scratch = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    scratch.and_then(|socket| socket.join_multicast_v4(&ip, &by)).err()
}

impl NodeBuilder {
    /// Joins the discovery group on the interface of the listen address. A network without
    /// multicast is no error: it stands in the notes, and seeds do.
    pub(crate) fn join_discovery(&mut self, probe: bool) {
        let Some(settings) = &mut self.cluster else { return };
        self.setup.cluster.clone_into(&mut settings.name);
        (settings.heartbeat, settings.choice) = (self.setup.heartbeat, self.setup.choice);
        let Some(group) = settings.group else { return };
        let interface = match (self.setup.plane.listen.ip(), &self.setup.plane.multicast.interface)
        {
            (IpAddr::V4(ip), Interface::Default) if !ip.is_unspecified() => Interface::Address(ip),
            (_, chosen) => chosen.clone(),
        };
        if let Some(error) = group_refused(group, &interface).filter(|_| probe) {
            settings.group = None;
            settings.notes.push(format!(
                "no discovery by multicast: {group} cannot be joined ({error}); name a seed, or \
                 listen on the address of an interface with multicast"
            ));
            return;
        }
        self.setup.plane.multicast.interface = interface.clone();
        self.setup.plane.groups.push(GroupMembership {
            join: GroupJoin { group: group.ip(), interface },
            port: group.port(),
        });
    }

    fn cluster_settings(&mut self) -> &mut ClusterSettings {
        self.cluster.get_or_insert_default()
    }

    /// Takes part in a cluster and finds its nodes by multicast in `group` (`group:port`, for
    /// example [`DISCOVERY_GROUP`]), which is joined on the interface of the listen address (that
    /// of [`NodeBuilder::multicast`] if one is named there). A library node does so only when told:
    /// it would open a port and speak to the network unasked. May be used together with
    /// [`NodeBuilder::seed`]. Where multicast does not work, [`Node::notes`] says so.
    #[must_use]
    pub fn discover(mut self, group: &str) -> Self {
        match Target::multicast(group) {
            Target::Multicast(address) => {
                self.cluster_settings().group = Some(address);
            }
            Target::Unresolved(error) => self.wrong = Some(error),
            _ => {}
        }
        self
    }

    /// Takes part in a cluster and says hello to the node at `host:port`; may be called again for
    /// more. A host name is looked up while the node runs, with all its addresses tried at once.
    #[must_use]
    pub fn seed(mut self, address: &str) -> Self {
        let settings = self.cluster_settings();
        match address.parse() {
            Ok(address) => settings.seeds.push(address),
            Err(_) => settings.names.push(address.to_owned()),
        }
        self
    }

    /// Offers a service under this name to the cluster; may be called again for more. Takes part
    /// in a cluster; how its nodes are found, [`NodeBuilder::discover`] and
    /// [`NodeBuilder::seed`] say.
    #[must_use]
    pub fn service(mut self, name: &str) -> Self {
        self.cluster_settings().services.push(name.to_owned());
        self
    }

    /// Time between two heartbeats to the discovery group, 100 ms at least; 5 s unless told. A node
    /// that takes part in no cluster sends none.
    #[must_use]
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.setup.heartbeat = every.max(HEARTBEAT_MIN);
        self
    }

    /// Which member an event for a service goes to when its target does not say
    /// ([`Choice::Configured`](crate::Choice::Configured)); in turn unless told.
    #[must_use]
    pub const fn service_choice(mut self, choice: ServiceChoice) -> Self {
        self.setup.choice = choice;
        self
    }

    /// A word on how this node is set up, for the table of members (16 bytes at most).
    #[must_use]
    pub fn profile_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.cluster_settings().profile);
        self
    }

    /// Sends events of type `E` for [`Target::Interested`] by one multicast packet to `group` when
    /// more than one node wants them. Every node that subscribes to the type must have joined it.
    #[must_use]
    pub fn group_of<E: Event>(mut self, group: &str) -> Self {
        match Target::multicast(group) {
            Target::Multicast(address) => {
                self.cluster_settings().groups_of_types.insert(E::TYPE_ID, address);
            }
            Target::Unresolved(error) => self.wrong = Some(error),
            _ => {}
        }
        self
    }
}

/// A node's place in its cluster; empty for one that takes part in none.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    joined: OnceLock<Joined>,
    wanted: Mutex<HashMap<SubscriptionId, Option<Vec<EventTypeId>>>>,
}

#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) port: MeshPort,
    wake: Option<Arc<Wake>>,
    pub(crate) announced: Vec<(SocketAddr, String)>,
    pub(crate) notes: Vec<String>,
    pub(crate) groups_of_types: HashMap<EventTypeId, SocketAddr>,
    pub(crate) choice: ServiceChoice,
}

impl Cluster {
    pub(crate) fn joined(&self) -> Option<&Joined> {
        self.joined.get()
    }

    /// The group that the node was told of for a type.
    pub(crate) fn group_of(&self, event_type: EventTypeId) -> Option<SocketAddr> {
        self.joined()?.groups_of_types.get(&event_type).copied()
    }

    /// A subscription begins: the cluster hears what this node wants.
    pub(crate) fn want(&self, id: SubscriptionId, wanted: &Wanted) {
        let types = match wanted {
            Wanted::Every => None,
            Wanted::Types(types) => Some(types.clone()),
            Wanted::Unread(_) | Wanted::Gaps | Wanted::Unanswered => return,
        };
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(id, types);
        self.say_interest();
    }

    pub(crate) fn no_longer_want(&self, id: SubscriptionId) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.say_interest();
    }

    fn interest(&self) -> Interest {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.values().any(Option::is_none) {
            return Interest::Every;
        }
        Interest::of(wanted.values().flatten().flatten().copied().collect())
    }

    fn say_interest(&self) {
        if let Some(joined) = self.joined() {
            let interest = self.interest();
            joined.command(MeshCommand::Update(Box::new(move |record| {
                record.interest = interest;
            })));
        }
    }
}

impl Joined {
    /// Tells the agent; false when it takes no commands.
    pub(crate) fn command(&self, command: MeshCommand) -> bool {
        let taken = self.port.commands.push(command).is_ok();
        if let Some(wake) = &self.wake {
            wake.notify();
        }
        taken
    }
}

/// The address packets to `to` leave from.
pub(crate) fn route_source(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|ip| !ip.is_unspecified())
}

/// The addresses a node announces, the chief one first, each with the reason.
fn announced(local: SocketAddr, settings: &ClusterSettings) -> Vec<(SocketAddr, String)> {
    let port = local.port();
    if !local.ip().is_unspecified() {
        return vec![(local, "it listens there".into())];
    }
    let ways = settings
        .seeds
        .iter()
        .map(|seed| (*seed, "seed"))
        .chain(settings.group.map(|group| (group, "discovery group")));
    let mut found: Vec<(SocketAddr, String)> = Vec::new();
    for (to, what) in ways {
        let source = route_source(to).filter(|ip| ip.is_ipv4() == local.is_ipv4());
        let source = source.map(|ip| SocketAddr::new(ip, port));
        if let Some(address) = source.filter(|of| !found.iter().any(|(known, _)| known == of)) {
            found.push((address, format!("packets to the {what} {to} leave from there")));
        }
    }
    let loopback: IpAddr =
        if local.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let loopback = SocketAddr::new(loopback, port);
    if !found.iter().any(|(known, _)| *known == loopback) {
        found.push((loopback, "it listens on every interface of this host".into()));
    }
    found.truncate(wireloom_control::membership::ADDRESSES_MAX);
    found
}

impl Shared {
    /// The membership agent, ready to run, and the receivers told to pass it its packets.
    fn mesh<T: Transmit>(
        &self,
        settings: &ClusterSettings,
        way_out: (T, Families),
        wake: Option<Arc<Wake>>,
    ) -> Result<Mesh<T>, NodeError> {
        let announced = announced(self.address(), settings);
        let now_ns = self.clock().now_ns();
        let unix_ns = self.clock().unix_ns(now_ns);
        let address = announced[0].0;
        let identity = Identity { life: unix_ns / 1_000_000, node: self.id(), address };
        let mut record = Record::new(identity, self.name());
        record.addresses = announced.iter().map(|(address, _)| *address).collect();
        record.services.clone_from(&settings.services);
        record.profile.clone_from(&settings.profile);
        record.interest = self.cluster.interest();
        let machine = Membership::new(MembershipConfig {
            record,
            cluster: SessionId(wireloom_wire::event_type_id(&settings.name).0),
            seed: unix_ns ^ self.id().0,
            timing: Timing::default(),
        })?;
        let mut arrivals = Vec::new();
        for receiver in 0..self.receivers() {
            let ring = self.ring(CONTROL_RING_BYTES);
            let (producer, consumer) = ring.map_err(|_| NodeError::Stalled)?;
            let intake = Box::new(ControlIntake::new(producer, wake.clone()));
            let command = ReceiverCommand::AttendControl(intake);
            self.to_receiver(receiver, command).map_err(|()| NodeError::Stalled)?;
            arrivals.push(consumer);
        }
        let discovery = Discovery::new(settings.group, &settings.seeds, now_ns);
        let port = MeshPort::default();
        let names = settings.names.clone();
        let mesh = Mesh::new((machine, discovery), names, way_out, arrivals, port.clone());
        let mesh = match &self.keys {
            Some(book) => mesh.with_secrecy(Box::new(MeshSeals::new(Arc::clone(book)))),
            None => mesh,
        };
        let groups_of_types = settings.groups_of_types.clone();
        let notes = settings.notes.clone();
        let choice = settings.choice;
        let joined = Joined { port, wake, announced, notes, groups_of_types, choice };
        let _ = self.cluster.joined.set(joined);
        // What was subscribed to in between.
        self.cluster.say_interest();
        self.meet_members();
        Ok(mesh)
    }
}

impl Node {
    /// Gives the control thread the membership agent, when the builder was told of a cluster.
    pub(crate) fn join_cluster(&self, settings: Option<ClusterSettings>) -> Result<(), NodeError> {
        let Some(settings) = settings else { return Ok(()) };
        let (sockets, families, wake) = {
            let mut control = self.shared.control.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(control) = control.as_mut() else { return Err(NodeError::Stalled) };
            let sockets = std::mem::take(&mut control.plane.control_sockets);
            (sockets, control.plane.families, control.wake().cloned())
        };
        let transmit = MioTransmit::new(sockets).map_err(StartError::Conductor)?;
        let mesh = self.shared.mesh(&settings, (transmit, families), wake)?;
        self.shared.add_task(Box::new(mesh)).map_err(|_| NodeError::Stalled)?;
        let announcer = Announcer::new(&self.shared, settings.group, settings.heartbeat);
        self.shared.add_task(Box::new(announcer)).map_err(|_| NodeError::Stalled)
    }

    /// As [`Node::join_cluster`] on a simulated network.
    pub(crate) fn join_simulated(
        &self,
        settings: Option<ClusterSettings>,
        transmit: SimulatedTransmit,
        invoker: &mut Invoker,
    ) -> Result<(), NodeError> {
        let Some(settings) = settings else { return Ok(()) };
        let families = {
            let control = self.shared.control.lock().unwrap_or_else(PoisonError::into_inner);
            control.as_ref().map(|control| control.plane.families).unwrap_or_default()
        };
        let mesh = self.shared.mesh(&settings, (transmit, families), None)?;
        invoker.add(Box::new(mesh));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_to_announce_has_a_reason() {
        let settings = ClusterSettings {
            seeds: vec![([127, 0, 0, 1], 9).into()],
            ..ClusterSettings::default()
        };
        let one = announced(([127, 0, 0, 1], 7).into(), &settings);
        assert_eq!(one, [(([127, 0, 0, 1], 7).into(), "it listens there".to_owned())]);
        let all = announced(([0, 0, 0, 0], 7).into(), &settings);
        assert_eq!(all[0].0.to_string(), "127.0.0.1:7");
        assert!(all[0].1.contains("seed 127.0.0.1:9"), "{all:?}");
        assert_eq!(all.len(), 1, "each address once");
    }
}
